"""Film files to frames, with the packets of their sound."""

import math
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from stylecore.errors import StylecoreError
from stylecore.video.colors import FrameConverter
from stylecore.video.config import FilmSettings
from stylecore.video.frames import FilmFacts, Frame, Item, Pixels, Sound

READABLE = "mov,matroska,webm,gif,avi,mpegts,mpeg"
"""Only formats of cameras, browsers and editors, and none that refers to other files: playlists stay closed."""
SUFFIXES = (".mp4", ".mov", ".m4v", ".webm", ".mkv", ".gif", ".avi", ".mpg", ".ts", ".3gp")
"""Shown in errors; files are recognized by their content."""
STREAMS = ("mpegts", "mpeg")
"""Transport and program streams."""
MICROSECOND = Fraction(1, av.time_base)
IPT = 15
"""AVColorSpace of Dolby Vision's own color space."""
DOLBY_VISION = ("dvh1", "dvhe")
"""Codec tags of films that only Dolby Vision's decoder shows in their colors."""


class FilmReader:
    """A film file that is open.

    Attributes:
        facts: of the film as it will be painted.
        left_out: frames that were not given, since their times run backwards, as where two films were joined.
    """

    def __init__(self, container: Any, name: str, settings: FilmSettings) -> None:
        self._container = container
        self._name = name
        self._settings = settings
        self._stream = _picture_track(container, name)
        self._converter = FrameConverter(name)
        self._start = Fraction(container.start_time or 0) * MICROSECOND + _exact(settings.begin or 0)
        self._sounds = {stream.index: track for track, stream in enumerate(container.streams.audio)}
        self._time_base: Fraction = self._stream.time_base
        self._why_undecoded = ""
        self.left_out = 0
        first = self._first_frame()
        self._turns, self._mirrored = _orientation(first)
        aspect = self._stream.sample_aspect_ratio or Fraction(1)
        self._stored = _fitted(max(1, round(first.width * aspect)), first.height, settings.max_side)
        self._check_size(*self._stored)  # square pixels may be many times as many
        width, height = self._stored[:: -1 if self._turns % 2 else 1]
        self._rate = self._stream.average_rate or self._stream.guessed_rate or Fraction(25)
        length = self._length_to_paint()
        self.facts = FilmFacts(
            name,
            width,
            height,
            rate=self._rate / settings.every,
            time_base=self._time_base,
            frames=None if length is None else max(1, math.ceil(length * self._rate / settings.every)),
            seconds=None if length is None else float(length),
            sounds=tuple(container.streams.audio),
        )

    def items(self, small: tuple[int, int]) -> Iterator[Item]:
        """The frames and the packets of sound, in the order of the file.

        Args:
            small: (height, width) at which frames are painted.

        Raises:
            StylecoreError: when no frame can be decoded, or there is none in the chosen part.
        """
        settings = self._settings
        last, seen, given = None, 0, 0
        self._why_undecoded = ""
        begins = deque[int]()
        end = math.inf if settings.end is None else _exact(settings.end) - _exact(settings.begin or 0)
        self._rewind()
        for packet in self._packets(self._stream, *self._container.streams.audio):
            if packet.stream.index in self._sounds:
                if (sound := self._shifted(packet, end)) is not None:
                    yield sound
                continue
            if self._container.format.name == "avi" and packet.size:
                begins.append(packet.dts)
            for frame in self._decoded(packet):
                time = self._time_of(frame, seen, begins)
                if time * self._time_base >= end:
                    if not given:
                        raise self._nothing_to_paint("there are no frames in this part of it")
                    return
                if last is not None and time <= last:
                    self.left_out += 1
                    continue
                if time < 0:  # before the chosen part
                    continue
                seen, last = seen + 1, time
                if (seen - 1) % settings.every:
                    continue
                given += 1
                yield self._frame(frame, time, small)
        if not given:
            raise self._nothing_to_paint(self._why_undecoded or "there are no frames in this part of it")

    @property
    def notices(self) -> tuple[str, ...]:
        """Things worth telling the user when the film is read, each a clause about "the film"."""
        if self.left_out > 1:
            return (f"{self.left_out} frames whose times run backwards were left out",)
        return ("a frame whose time runs backwards was left out",) if self.left_out else ()

    def _packets(self, *streams: Any) -> Iterator[Any]:
        """The packets of these streams, and an empty one of each at the end."""
        try:
            yield from self._container.demux(*streams)
        except IndexError:  # PyAV's at the end, where a stream appeared in the middle of the file
            return
        except av.FFmpegError as error:
            raise self._nothing_to_paint(f"it cannot be read to its end ({error.strerror})") from error

    def _decoded(self, packet: Any) -> list[av.VideoFrame]:
        """The frames of a packet: none of a damaged one, since what follows may be whole."""
        try:
            return packet.decode()
        except av.FFmpegError as error:
            self._why_undecoded = f"its frames cannot be decoded ({error})"
            return []

    def _nothing_to_paint(self, why: str) -> StylecoreError:
        return StylecoreError(f"{self._name} cannot be painted: {why}.")

    def _frame(self, frame: av.VideoFrame, time: int, small: tuple[int, int]) -> Frame:
        whole = (self.facts.height, self.facts.width)
        pixels = self._upright(frame, whole)
        small_pixels = pixels if small == whole else self._upright(frame, small)
        duration = frame.duration or 0
        if self.facts.seconds is not None:  # a damaged file may say more
            duration = min(duration, round(self.facts.seconds / self._time_base) - time)
        return Frame(pixels, small_pixels, time, max(duration, 0))

    def _upright(self, frame: av.VideoFrame, size: tuple[int, int]) -> Pixels:
        height, width = size[:: -1 if self._turns % 2 else 1]
        pixels = np.rot90(self._converter.convert(frame, width, height), self._turns)
        return np.ascontiguousarray(pixels[:, ::-1] if self._mirrored else pixels)

    def _first_frame(self) -> av.VideoFrame:
        """The first frame, which tells what the header may not: rotation, size, transparency."""
        self._stream.thread_type = "AUTO"
        self._check_size(self._stream.width, self._stream.height)
        self._rewind()
        first = next((frame for packet in self._packets(self._stream) for frame in self._decoded(packet)), None)
        if first is None:
            raise self._nothing_to_paint(self._why_undecoded or "it has no frames")
        self._check_size(first.width, first.height)
        if first.colorspace == IPT or self._stream.codec_tag in DOLBY_VISION:
            raise StylecoreError(
                f"{self._name} has the colors of Dolby Vision, which are not known here; convert it to BT.709 first."
            )
        return first

    def _check_size(self, width: int, height: int) -> None:
        limit = self._settings.max_pixels
        if width * height > limit:
            raise StylecoreError(
                f"{self._name} has frames of {width} x {height} pixels, more than the limit of {limit:,}; "
                "reduce it with a video editor, or raise the limit with --max-pixels."
            )

    def _rewind(self) -> None:
        """To the last frame before the chosen part that can be decoded by itself."""
        # Streams have no index of such frames: a seek to a time would end between two of them.
        place = 0 if self._container.format.name in STREAMS else int(self._start / self._time_base)
        try:
            self._container.seek(place, stream=self._stream)
        except av.FFmpegError:  # a file that cannot seek: from its very beginning, or behind its end
            with suppress(av.FFmpegError):
                self._container.seek(0)

    def _time_of(self, frame: av.VideoFrame, number: int, begins: deque[int]) -> int:
        """Units of the time base since the beginning of the chosen part.

        Args:
            begins: of an AVI file, the times of its packets. It has none of its frames, and those that FFmpeg guesses
                are in disorder where frames refer to later ones. Frames come in the order in which they are shown.
        """
        pts = begins.popleft() if begins else frame.pts
        if pts is None:
            return round(number / self._rate / self._time_base)
        return pts - round(self._start / self._time_base)

    def _shifted(self, packet: Any, end: float | Fraction) -> Sound | None:
        """The packet, its time since the beginning of the chosen part; None outside."""
        if packet.pts is None:
            return None
        shift = round(self._start / packet.time_base)
        packet.pts -= shift
        packet.dts = packet.pts if packet.dts is None else packet.dts - shift
        chosen = self._settings.begin is None or packet.pts >= 0
        if not chosen or packet.pts * packet.time_base >= end:
            return None
        return Sound(packet, self._sounds[packet.stream.index])

    def _length_to_paint(self) -> Fraction | None:
        """Seconds of the chosen part."""
        stream, settings = self._stream, self._settings
        if stream.duration:
            length = stream.duration * stream.time_base
        elif self._container.duration:
            length = self._container.duration * MICROSECOND
        else:
            length = self._measured_length()
        if length is None:
            return None
        begin = _exact(settings.begin or 0)
        return max(Fraction(0), min(length, _exact(settings.end) if settings.end is not None else length) - begin)

    def _measured_length(self) -> Fraction | None:
        """Seconds, by the packets of the whole file: browsers record films without length and rate in the header."""
        with suppress(av.FFmpegError):
            self._container.seek(0)
        times = sorted(packet.pts for packet in self._packets(self._stream) if packet.pts is not None)
        if len(times) < 2 or times[0] == times[-1]:
            return None
        between = (times[-1] - times[0]) * self._time_base / (len(times) - 1)
        self._rate = (1 / between).limit_denominator(1001)
        return between * len(times)


@contextmanager
def open_file(path: Path, settings: FilmSettings) -> Iterator[FilmReader]:
    """Open a film file.

    Raises:
        StylecoreError: the file is missing, empty, no film, broken, has no picture or frames, frames that are too
            large, or no known colors.
    """
    name = str(path)
    if not path.is_file():
        raise StylecoreError(f"{name} does not exist." if not path.exists() else f"{name} is not a file.")
    if path.stat().st_size == 0:
        raise StylecoreError(f"{name} is empty, so there is no film to paint.")
    options = {"format_whitelist": READABLE, "protocol_whitelist": "file"}
    with ExitStack() as stack:
        try:
            container = stack.enter_context(av.open(name, options=options, metadata_errors="replace"))
            film = FilmReader(container, name, settings)
        except PermissionError:
            raise StylecoreError(f"{name} cannot be read: permission denied.") from None
        except av.error.EOFError:
            raise StylecoreError(f"{name} cannot be painted: it ends before its first frame.") from None
        except av.FFmpegError as error:
            raise StylecoreError(
                f"{name} cannot be read: it is broken, cut short, or no film ({', '.join(SUFFIXES)})."
            ) from error
        yield film


def _picture_track(container: Any, name: str) -> Any:
    for stream in container.streams.video:
        if stream.disposition & stream.disposition.attached_pic:  # an album's cover
            continue
        if stream.codec_context is None:
            raise StylecoreError(f"{name} cannot be painted: its pictures are of a kind that is not known here.")
        return stream
    what = "only sound" if container.streams.audio else "no pictures"
    raise StylecoreError(f"{name} holds {what}, so there is nothing to paint.")


def _orientation(frame: av.VideoFrame) -> tuple[int, bool]:
    """Quarter turns counterclockwise, and whether the turned frame is mirrored, as some phones store selfies."""
    turns = round(frame.rotation / 90)
    stored: Any = frame.side_data.get("DISPLAYMATRIX")
    if stored is None:
        return turns % 4, False
    # x' = a x + c y and y' = b x + d y. A mirror negates a and c, from which FFmpeg tells the angle too.
    a, b, _, c, d = np.frombuffer(stored, np.int32)[:5].astype(float)
    mirrored = a * d - b * c < 0
    return (2 - turns if mirrored else turns) % 4, mirrored


def _exact(time: float) -> Fraction:
    """0.2 as a fifth."""
    return Fraction(time).limit_denominator(1_000_000)


def _fitted(width: int, height: int, max_side: int | None) -> tuple[int, int]:
    """(width, height), reduced to a longest side."""
    scale = min(1.0, (max_side or math.inf) / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))
