"""Tiny films that the tests make."""

import functools
import math
import tempfile
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from stylecore.inference.engine import Engine
from stylecore.johnson.style_model import StyleCard, StyleModel
from stylecore.johnson.transform_net import TransformNet, TransformNetConfig

WIDTH, HEIGHT, RATE = 64, 48, 10


def tiny_engine(noise: float = 0.0) -> Engine:
    config = TransformNetConfig(residual_blocks=1, width=0.0625, input_noise=noise)
    return Engine(StyleModel(TransformNet(config), StyleCard("tiny", network=config)), "cpu", "torch")


def picture(number: int, width: int = WIDTH, height: int = HEIGHT) -> NDArray[np.uint8]:
    """(height, width, 3): smooth, bright at the left, with red at the top; its brightness tells its number."""
    rows, columns = np.linspace(0, 1, height)[:, None], np.linspace(0, 1, width)[None]
    base = 60 + 10 * number
    planes = [base + 80 * (1 - rows) + 0 * columns, base + 60 * (1 - columns) + 0 * rows, base + 0 * rows * columns]
    return np.stack(planes, -1).clip(0, 255).astype(np.uint8)


def write_film(path: Path, times: Sequence[int] = range(6), **how: Any) -> Path:
    """A film whose frames begin at these tenths of a second; `how` is as `_film` has it."""
    path.write_bytes(_film(path.suffix, tuple(times), **how))
    return path


@functools.cache
def _film(
    suffix: str,
    times: tuple[int, ...],
    *,
    size: tuple[int, int] = (WIDTH, HEIGHT),
    sound: str | None = None,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    rotation: int = 0,
    mirrored: bool = False,
    aspect: Fraction | None = None,
) -> bytes:
    """The file, which is written once."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"film{suffix}"
        with av.open(str(path), "w") as container:
            stream = container.add_stream(codec, rate=RATE)
            stream.width, stream.height, stream.pix_fmt = *size, pix_fmt
            stream.codec_context.time_base = Fraction(1, RATE)
            if aspect:
                stream.codec_context.sample_aspect_ratio = aspect
            if rotation or mirrored:
                stream.set_display_rotation(rotation, hflip=mirrored)
            track = container.add_stream(sound, rate=48000, layout="mono") if sound else None
            for number, time in enumerate(times):
                frame = av.VideoFrame.from_ndarray(picture(number, *size), "rgb24")
                frame = frame.reformat(format=pix_fmt)
                frame.pts, frame.time_base = time, Fraction(1, RATE)
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
            if track is not None:
                _write_sound(container, track, (max(times) + 1) / RATE)
        return path.read_bytes()


def _write_sound(container: av.container.OutputContainer, track: av.AudioStream, seconds: float) -> None:
    context = track.codec_context
    samples = np.sin(np.arange(int(48000 * seconds)) * 2 * math.pi * 440 / 48000).astype(np.float32)[None] / 2
    frame = av.AudioFrame.from_ndarray(samples, "fltp", "mono")
    frame.sample_rate, frame.pts = 48000, 0
    resampler = av.AudioResampler(context.format, "mono", 48000, frame_size=context.frame_size or 1024)
    for part in [*resampler.resample(frame), *resampler.resample(None)]:
        container.mux(track.encode(part))
    container.mux(track.encode(None))


def read_film(path: Path) -> tuple[list[NDArray[np.uint8]], list[float]]:
    """The frames and their times in seconds."""
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
    return [frame.to_ndarray(format="rgb24") for frame in frames], [frame.time for frame in frames]


def sound_packets(path: Path) -> list[bytes]:
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(audio=0) if packet.size]
