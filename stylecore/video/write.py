"""Frames and packets of sound to film files."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import av
import numpy as np
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc, VideoReformatter

from stylecore.errors import StylecoreError
from stylecore.files import refuse_replacing, replaced_folder, replaced_whole
from stylecore.video.colors import BT709
from stylecore.video.folder import FolderWriter
from stylecore.video.frames import FilmFacts, Pixels, Sound

FORMATS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm", ".gif": "gif"}
"""Suffix to FFmpeg's name."""

H264 = {"preset": "veryfast", "crf": "18"}
REFUSED_BY_MOV = ("flac", "opus", "truehd")
"""Kinds of sound that FFmpeg counts among those of mov, and writes only to mp4."""
VP9 = {"deadline": "realtime", "cpu-used": "6", "row-mt": "1", "crf": "28", "b": "0"}
DAMAGED = (av.error.InvalidDataError, av.error.PatchWelcomeError)
"""What FFmpeg finds in packets of sound; a full disk is another error."""
FINEST_TIME_BASE = Fraction(1, 1_000_000)
"""Of encoders."""
LONGEST_OF_MP4 = 2**31 - 1
"""Units of time that a frame may last."""
SHORTEST_OF_GIF = 2
"""Hundredths of a second: browsers show shorter frames more slowly."""


class FilmWriter:
    """Writes one film file.

    Args:
        path: of the file.
        format: FFmpeg's name of it, a value of `FORMATS`.
        facts: of the film that was painted.

    Attributes:
        notices: things worth telling the user, each a clause about "the film".
    """

    def __init__(self, path: Path, format: str, facts: FilmFacts) -> None:
        options = {"movflags": "+faststart"} if format in ("mp4", "mov") else {}
        self._container = av.open(str(path), "w", format=format, options=options)
        self._average = _average(facts)
        self._last: tuple[Pixels, int, int] | None = None
        notices: list[str] = []
        if format == "gif":
            self._pictures: _VideoTrack | _GifTrack = _GifTrack(self._container, facts)
        else:
            self._pictures = _VideoTrack(self._container, format, facts)
        self._sounds: list[_Copied | _Converted | None] = []
        for stream in facts.sounds:
            self._sounds.append(_sound_track(self._container, format, stream, notices))
        self.notices = tuple(dict.fromkeys(notices))

    def write(self, pixels: Pixels, time: int, duration: int = 0) -> None:
        """Write a frame.

        Args:
            time: in units of the film's time base, larger than that of the frame before.
            duration: in the same units, if it is the last one; 0 for that of most frames.
        """
        self._pictures.write(pixels, time)
        self._last = (pixels, time, duration)

    def write_sound(self, sound: Sound) -> None:
        if (track := self._sounds[sound.track]) is not None:
            track.write(sound.packet)

    def finish(self) -> None:
        """Write what the encoders hold back, and the file's index."""
        if self._last is not None:
            pixels, time, duration = self._last
            # FFmpeg shows the last frame as long as frames last on average.
            if 4 * duration >= 5 * self._average:
                self._pictures.write(pixels, time + duration - self._average)
        self._pictures.finish()
        for track in self._sounds:
            if track is not None:
                track.finish()
        try:
            self._container.close()
        except DAMAGED:  # a packet of sound that was held back, and those behind it; the file is whole without them
            self.notices += ("its end may be missing, since the sound there is damaged",)

    def discard(self) -> None:
        with suppress(*DAMAGED):
            self._container.close()


class _VideoTrack:
    def __init__(self, container: Any, format: str, facts: FilmFacts) -> None:
        self._container = container
        name, options = ("libvpx-vp9", VP9) if format == "webm" else ("libx264", H264)
        self._stream = container.add_stream(name, rate=_simple_rate(facts.rate), options=options)
        # Two pixels share a color, so sides are even; the last row or column is repeated.
        self._stream.width, self._stream.height = facts.width + facts.width % 2, facts.height + facts.height % 2
        self._stream.pix_fmt = "yuv420p"
        context = self._stream.codec_context
        context.time_base = max(facts.time_base, FINEST_TIME_BASE)
        context.colorspace, context.color_range = BT709, ColorRange.MPEG
        context.color_trc, context.color_primaries = ColorTrc.BT709, ColorPrimaries.BT709
        self._time_base = facts.time_base
        self._average = _average(facts)
        self._end = 0
        self._begin = 0
        self._packet: Any = None
        self._reformatter = VideoReformatter()

    def write(self, pixels: Pixels, time: int) -> None:
        height, width = pixels.shape[:2]
        if height % 2 or width % 2:
            pixels = np.pad(pixels, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        frame = self._reformatter.reformat(
            av.VideoFrame.from_ndarray(pixels, "rgb24"),
            format="yuv420p",
            dst_colorspace=Colorspace.ITU709,
            dst_color_range=ColorRange.MPEG,
            interpolation="BICUBIC",
        )
        frame.color_trc, frame.color_primaries = ColorTrc.BT709, ColorPrimaries.BT709
        frame.pts, frame.time_base = time, self._time_base
        self._end = time + self._average
        self._mux(self._stream.encode(frame))

    def finish(self) -> None:
        self._mux(self._stream.encode(None))
        if self._packet is None:
            return
        if self._container.format.name in ("mp4", "mov"):
            # Its frames last until the next one is decoded, and the length of the film is the sum.
            end = round(self._end * self._time_base / self._packet.time_base)
            self._packet.duration = min(max(1, end - (self._packet.dts - self._begin)), LONGEST_OF_MP4)
        _mux(self._container, [self._packet])

    def _mux(self, packets: list[Any]) -> None:
        """The newest packet waits: it may be the last one."""
        for packet in packets:
            if self._packet is None:
                self._begin = packet.dts
            else:
                _mux(self._container, [self._packet])
            self._packet = packet


class _GifTrack:
    """A GIF has 256 colors in a frame, which FFmpeg's filters choose, and times in hundredths of a second."""

    def __init__(self, container: Any, facts: FilmFacts) -> None:
        self._container = container
        self._stream = container.add_stream("gif", rate=_simple_rate(min(facts.rate, Fraction(50))))
        self._stream.width, self._stream.height = facts.width, facts.height
        self._stream.pix_fmt = "pal8"
        self._stream.codec_context.time_base = Fraction(1, 100)
        self._time_base = facts.time_base
        self._last: int | None = None

    def write(self, pixels: Pixels, time: int) -> None:
        hundredths = round(time * self._time_base * 100)
        if self._last is not None and hundredths < self._last + SHORTEST_OF_GIF:
            return
        self._last = hundredths
        # A new graph for each frame: within one, the palette of a frame waits for the next.
        graph = av.filter.Graph()
        frame = av.VideoFrame.from_ndarray(pixels, "rgb24")
        source = graph.add_buffer(
            width=frame.width, height=frame.height, format=frame.format, time_base=Fraction(1, 100)
        )
        split, generate = graph.add("split"), graph.add("palettegen", "stats_mode=single")
        use, sink = graph.add("paletteuse", "new=1:dither=sierra2_4a"), graph.add("buffersink")
        source.link_to(split)
        split.link_to(generate, 0)
        split.link_to(use, 1, 0)
        generate.link_to(use, 0, 1)
        use.link_to(sink)
        graph.configure()
        graph.push(frame)
        graph.push(None)
        colored = graph.pull()
        colored.pts, colored.time_base = hundredths, Fraction(1, 100)
        self._container.mux(self._stream.encode(colored))

    def finish(self) -> None:
        self._container.mux(self._stream.encode(None))


class _Copied:
    """A sound track that is copied untouched, except for packets that the new file cannot hold."""

    def __init__(self, container: Any, stream: Any) -> None:
        self._container = container
        self._stream = container.add_stream_from_template(stream)
        self._order = _Order(strict=not container.format.flags & av.format.Flags.ts_nonstrict.value)

    def write(self, packet: Any) -> None:
        if self._order.keeps(packet):
            packet.stream = self._stream
            _mux(self._container, [packet])

    def finish(self) -> None:
        pass


class _Converted:
    """A sound track of a kind that the new file cannot hold, encoded anew."""

    def __init__(self, container: Any, stream: Any, codec: str) -> None:
        self._container = container
        rate = 48000 if codec == "libopus" else stream.codec_context.sample_rate
        layout = "mono" if stream.codec_context.channels == 1 else "stereo"
        self._stream = container.add_stream(codec, rate=rate, layout=layout)
        self._resampler: Any = None
        self._order = _Order(strict=False)
        self._end = 0

    def write(self, packet: Any) -> None:
        if packet.size and not self._order.keeps(packet):
            return
        try:
            frames = packet.decode()
        except av.FFmpegError:  # a damaged part; what follows may be whole
            return
        for frame in frames:
            self._encode(frame)

    def _encode(self, frame: Any) -> None:
        if self._resampler is None:
            context = self._stream.codec_context
            context.open(strict=False)
            self._resampler = av.AudioResampler(
                context.format, context.layout, context.sample_rate, frame_size=context.frame_size or None
            )
        for part in self._resampler.resample(frame):
            if part.pts is not None:  # a little too early, where times are damaged
                part.pts = max(part.pts, self._end)
                self._end = part.pts + part.samples
            _mux(self._container, self._stream.encode(part))

    def finish(self) -> None:
        if self._resampler is not None:
            self._encode(None)
            _mux(self._container, self._stream.encode(None))


class _Order:
    """Tells the packets of a sound track whose times run backwards, as where two films were joined.

    Args:
        strict: two packets may not begin at the same time. Matroska takes them: those of TrueHD are so short that
            their times may be equal by rounding.
    """

    def __init__(self, strict: bool) -> None:
        self._least_step = int(strict)
        self._last: int | None = None

    def keeps(self, packet: Any) -> bool:
        if self._last is not None and packet.dts < self._last + self._least_step:
            return False
        self._last = packet.dts
        return True


def _mux(container: Any, packets: list[Any]) -> None:
    """Write packets without those that are damaged.

    FFmpeg holds packets back to sort them, so that a damaged one of sound may be found with one of the pictures.
    """
    for packet in packets:
        with suppress(*DAMAGED):
            container.mux(packet)


Writer = FilmWriter | FolderWriter


@contextmanager
def open_target(target: Path, facts: FilmFacts) -> Iterator[Writer]:
    """The writer of a film; what was written is at `target` when the block ends, and is removed when it fails.

    Args:
        target: a film (`FORMATS`), which is replaced, or a folder for frames, which is new or empty.

    Raises:
        StylecoreError: the film cannot be written.
    """
    if target.is_dir():  # empty, and never replaced: it may be a mounted disk, or the present folder of a shell
        with TemporaryDirectory(dir=target, prefix=".") as frames:
            yield FolderWriter(Path(frames))
            for file in sorted(Path(frames).iterdir()):
                file.rename(target / file.name)
        return
    if is_folder(target):
        with replaced_folder(target) as folder:
            yield FolderWriter(folder)
        return
    try:
        with replaced_whole(target) as temporary:
            writer = FilmWriter(temporary, FORMATS[target.suffix.lower()], facts)
            try:
                yield writer
                writer.finish()
            except BaseException:
                writer.discard()
                raise
    except av.FFmpegError as error:
        raise StylecoreError(f"{target} cannot be written: {error.strerror or error}.") from error


def check_target(target: Path, source: Path) -> None:
    """Check that the film can be written, before the work begins.

    Raises:
        StylecoreError: a format that is not known, a missing folder, one that is not empty, or the film that is to be
            painted.
    """
    refuse_replacing(target, source)
    if is_folder(target):
        if target.exists() and not target.is_dir():
            raise StylecoreError(f"{target} is a file; name a folder for the frames, or a film with its suffix.")
        if target.is_dir() and any(target.iterdir()):
            raise StylecoreError(f"the folder {target} is not empty; name a new one for the frames.")
        return
    if target.suffix.lower() not in FORMATS:
        raise StylecoreError(f"-o {target} must end in {', '.join(FORMATS)}, or be a folder, without a suffix.")
    if not target.parent.is_dir():
        raise StylecoreError(f"the folder {target.parent} does not exist, so {target.name} cannot be written there.")


def is_folder(target: Path) -> bool:
    """Whether frames are written to a folder: it exists, or the name has no suffix."""
    return target.is_dir() or not target.suffix


def _sound_track(container: Any, format: str, stream: Any, notices: list[str]) -> _Copied | _Converted | None:
    if format == "gif":
        notices.append("a GIF has no sound")
        return None
    if stream.codec_context is None or not stream.codec_context.sample_rate:  # a damaged one has no rate
        notices.append("a sound track of a kind that is not known here was left out")
        return None
    name = stream.codec_context.name
    if name in container.supported_codecs and not (format == "mov" and name in REFUSED_BY_MOV):
        return _Copied(container, stream)
    codec = "libopus" if format == "webm" else "aac"
    notices.append(f"its sound ({name}) became {codec.removeprefix('lib')}, as this file needs")
    return _Converted(container, stream, codec)


def _average(facts: FilmFacts) -> int:
    """How long a frame lasts on average, in units of the film's time base."""
    return max(1, round(1 / facts.rate / facts.time_base))


def _simple_rate(rate: Fraction) -> Fraction:
    """A rate that encoders take, with a denominator of at most 1001."""
    return rate.limit_denominator(1001) or Fraction(1)
