"""Several photos in one style, as a zip."""

import html
import tempfile
import time
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.utils import get_upload_folder
from markupsafe import Markup

from demo.errors import sentence_of
from demo.page import photos_input
from demo.services.stylize import Stylizer, Wanted, settings_of
from demo.status import progress_status, result_line, run_in_batch, start_and_stop, status_line
from demo.words import file_name, seconds_text
from stylecore.errors import StylecoreError
from stylecore.pictures.write import encode_picture


def stylize_all(stylizer: Stylizer, photos: Sequence[str], wanted: Wanted) -> Iterator[tuple[str, str | None]]:
    """Stylize the photos one after another; say how far it is, as HTML, and at the end give all in a zip, a file in
    Gradio's cache.

    A photo that cannot be read is named and left out.

    Raises:
        StylecoreError: without photos, for too many, or when none could be stylized.
    """
    most = stylizer.limits.batch_photos
    if not photos:
        raise StylecoreError("there are no photos yet; drop some, or choose them.")
    if len(photos) > most:
        raise StylecoreError(f"choose at most {most} photos at once, not {len(photos)}.")
    title = stylizer.title(wanted.asked[0])
    folder = Path(tempfile.mkdtemp(dir=get_upload_folder()))
    file = folder / f"{file_name('photos', wanted.style)}.zip"
    left_out: list[str] = []
    names: set[str] = set()
    started = time.perf_counter()
    with zipfile.ZipFile(file, "w") as archive:  # pictures are compressed already
        for index, photo in enumerate(photos):
            now = f"{index} of {len(photos)} photos, now <strong>{html.escape(Path(photo).name)}</strong>"
            yield progress_status(now, index / len(photos)), None
            try:
                content, suffix = _stylized(stylizer, photo, wanted)
            except StylecoreError as error:
                left_out.append(Markup("{} is left out: {}").format(Path(photo).name, sentence_of(error)))
                continue
            archive.writestr(_new_name(file_name(Path(photo).stem, wanted.style), suffix, names), content)
    if not names:
        file.unlink()
        raise StylecoreError("none of these files could be painted; choose photos.")
    count, seconds = f"{len(names)} photo{'' if len(names) == 1 else 's'}", time.perf_counter() - started
    yield result_line(count, title, seconds_text(seconds), notes=left_out), str(file)


def _stylized(stylizer: Stylizer, photo: str, wanted: Wanted) -> tuple[bytes, str]:
    """The picture as a file, and its suffix: JPEG, or PNG where it is transparent."""
    result = stylizer.stylize(photo, *wanted.asked, wanted.longest_side, wanted.brush)
    pixels = result.finish(wanted.strength, wanted.keep_colors)
    settings = settings_of(result, wanted.strength, wanted.keep_colors)
    if result.alpha is not None:
        return encode_picture(pixels, "PNG", alpha=result.alpha, exif=result.exif, settings=settings), "png"
    return encode_picture(pixels, "JPEG", exif=result.exif, settings=settings), "jpg"


def _new_name(stem: str, suffix: str, names: set[str]) -> str:
    """`stem.suffix`, or with a number where that is taken; it is added to the names."""
    name, number = f"{stem}.{suffix}", 2
    while name in names:
        name, number = f"{stem}-{number}.{suffix}", number + 1
    names.add(name)
    return name


def build_batch(stylizer: Stylizer, settings: Sequence[Any]) -> None:
    """Lay out the accordion for several photos, and connect it.

    Args:
        stylizer: paints them.
        settings: the components of a `Wanted`, in the order of its fields.
    """
    most = stylizer.limits.batch_photos
    with gr.Accordion("Several photos", open=False, elem_id="batch-more"):
        photos = photos_input(
            label=f"Up to {most} photos", file_count="multiple", file_types=["image"], height=150, elem_id="batch"
        )
        status = gr.HTML(
            status_line("All in the style and with the settings above, as a zip."), elem_id="batch-status"
        )
        buttons = start_and_stop("Paint them all", "batch")
        download = gr.DownloadButton("Download the zip", elem_id="batch-zip", visible=False)

    def run(photos: list[str] | None, *wanted: Any) -> Iterator[dict[Any, Any]]:
        yield {download: gr.DownloadButton(visible=False)}
        for said, file in stylize_all(stylizer, photos or [], Wanted(*wanted)):
            yield {status: said, download: gr.DownloadButton(value=file, visible=file is not None)}

    run_in_batch(buttons, [buttons[0].click, photos.upload], run, [photos, *settings], [status, download])
