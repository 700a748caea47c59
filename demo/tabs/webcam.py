"""The webcam, stylized live."""

import base64
import html
import io
import time
from typing import Any

import gradio as gr

from demo.page import live_input
from demo.services.limits import LIVE
from demo.services.stylize import Stylizer, Webcam, mixed
from demo.status import AT_ONCE, progress_status, status_line, waited_for
from demo.theme import script
from stylecore.library import CHAMPION
from stylecore.pictures.read import load_picture
from stylecore.pictures.write import encode_picture
from stylecore.video.frames import to_pixels

LIVE_SECONDS_BETWEEN_FRAMES = 0.2


def live(stylizer: Stylizer, webcam: Webcam, frame: bytes | None, style: str) -> tuple[str, str] | None:
    """The next frame of a webcam, painted: HTML of the picture and of the line below it. None when it was dropped.

    Raises:
        StylecoreError: when there is no such style, or the frame is no picture.
    """
    if frame is None or not style:
        return None
    limits = stylizer.limits
    picture = load_picture(io.BytesIO(frame), max_side=limits.live_side, max_pixels=limits.photo_pixels)
    started = time.perf_counter()
    painted = stylizer.live(to_pixels(picture.pixels), style, webcam)
    if painted is None:
        return None
    seconds = time.perf_counter() - started
    content = base64.b64encode(encode_picture(painted, "JPEG")).decode()
    title = html.escape(stylizer.title(style))
    height, width = painted.shape[1:]
    return (
        f'<img class="live" alt="Your webcam, painted" src="data:image/jpeg;base64,{content}">',
        progress_status(f"<strong>{title}</strong> · {width} &times; {height} pixels · {seconds:.2f} s a frame"),
    )


def build_live(stylizer: Stylizer, style: gr.State, mix: gr.Dropdown, share: gr.Slider) -> None:
    """Lay out the accordion with the webcam, and connect it.

    Args:
        style: holds the name of the chosen style.
        mix, share: the second style, and its share.
    """
    limits = stylizer.limits
    with gr.Accordion("Live from the webcam", open=False, elem_id="live-more"):
        gr.HTML(
            f"<p class='hint'>You, painted as you move, in the style you chose, by its fast network, with strokes "
            f"that stay on things. Frames are reduced to {limits.live_side} pixels, never stored, and dropped when "
            f"they come too fast. It stops by itself after {limits.live_seconds:g} seconds. A recording is made by "
            "your browser, and stays there.</p>"
        )
        with gr.Row(elem_classes="pair"):
            camera = live_input(
                label="Webcam",
                height=230,
                min_width=140,
                webcam_options=gr.WebcamOptions(
                    mirror=True, constraints={"video": {"width": {"ideal": 640}, "height": {"ideal": 480}}}
                ),
                buttons=[],
                elem_id="camera",
            )
            painted = gr.HTML('<div class="live empty"></div>', min_height=230, elem_id="live")
        live_status = gr.HTML(status_line("&nbsp;"), elem_id="live-status")
        record = gr.Button("Record", elem_id="live-record")
    webcam = gr.State(Webcam())

    def paint_frame(webcam: Webcam, frame: bytes | None, style: str, mix: str | None, share: float) -> tuple[Any, Any]:
        return live(stylizer, webcam, frame, mixed(style, CHAMPION, mix, share)[0]) or (gr.skip(), gr.skip())

    camera.stream(
        paint_frame,
        [webcam, camera, style, mix, share],
        [painted, live_status],
        stream_every=LIVE_SECONDS_BETWEEN_FRAMES,
        time_limit=limits.live_seconds,
        concurrency_id=LIVE,
        concurrency_limit=2,
        **waited_for(live_status),
    )
    record.click(None, None, [record], js=script("record_live"), **AT_ONCE)
