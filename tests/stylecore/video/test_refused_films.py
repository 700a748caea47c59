"""Films that cannot be painted: one sentence each, and nothing is left behind."""

import errno
import itertools
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from films import picture, read_film, sound_packets, tiny_engine, write_film
from PIL import Image

from stylecore.errors import StylecoreError
from stylecore.video.config import FilmSettings
from stylecore.video.paint import paint_film
from stylecore.video.read import FilmReader

ENGINE = tiny_engine()


def refused(source: Path, target: Path, settings: FilmSettings | None = None) -> str:
    there = {path: path.read_bytes() for path in source.parent.iterdir() if path.is_file()}
    with pytest.raises(StylecoreError) as caught:
        paint_film(ENGINE, source, target, settings or FilmSettings())
    assert {path: path.read_bytes() for path in source.parent.iterdir() if path.is_file()} == there
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert sentence.endswith(".")
    return sentence


def test_missing_empty_broken_and_other_files(tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    assert "does not exist" in refused(tmp_path / "none.mp4", out)
    (empty := tmp_path / "empty.mp4").touch()
    assert "is empty" in refused(empty, out)
    (text := tmp_path / "text.mp4").write_text("no film\n" * 100)
    assert "broken, cut short, or no film" in refused(text, out)
    film = write_film(tmp_path / "film.mp4").read_bytes()
    (short := tmp_path / "short.mp4").write_bytes(film[: len(film) // 2])
    assert "broken, cut short, or no film" in refused(short, out)
    (playlist := tmp_path / "list.m3u8").write_text(f"#EXTM3U\n#EXTINF:1,\n{tmp_path}/film.mp4\n#EXT-X-ENDLIST\n")
    assert "no film" in refused(playlist, out)


def test_a_film_of_sound_alone(tmp_path: Path) -> None:
    path = tmp_path / "sound.m4a"
    with av.open(str(path), "w", format="mp4") as container:
        track = container.add_stream("aac", rate=48000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        frame.sample_rate = 48000
        container.mux([*track.encode(frame), *track.encode(None)])
    assert "holds only sound" in refused(path, tmp_path / "out.mp4")


def test_pictures_of_an_unknown_kind(tmp_path: Path) -> None:
    film = write_film(tmp_path / "film.mp4")
    film.write_bytes(film.read_bytes().replace(b"avc1\0", b"new1\0"))
    assert "of a kind that is not known here" in refused(film, tmp_path / "out.mp4")


def test_names_in_another_alphabet(tmp_path: Path) -> None:
    film = write_film(tmp_path / "film.mp4")
    film.write_bytes(film.read_bytes().replace(b"VideoHandler", "VidéoHandler".encode("latin-1")))
    assert paint_film(ENGINE, film, tmp_path / "out.mp4", FilmSettings()).frames == 6


def test_a_film_without_frames(tmp_path: Path) -> None:
    path = tmp_path / "none.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        container.start_encoding()
    assert "ends before its first frame" in refused(path, tmp_path / "out.mp4")


def test_frames_that_are_too_large_are_not_decoded(tmp_path: Path) -> None:
    film = tmp_path / "4k.mp4"
    with av.open(str(film), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 4096, 2304, "yuv420p"
        container.mux([*stream.encode(av.VideoFrame(4096, 2304, "yuv420p")), *stream.encode(None)])
    assert "4096 x 2304 pixels, more than the limit of 9,000,000" in refused(film, tmp_path / "out.mp4")
    small = write_film(tmp_path / "small.mp4", [0])
    assert "--max-pixels" in refused(small, tmp_path / "out.mp4", FilmSettings(max_pixels=3000))
    wide = write_film(tmp_path / "wide.mp4", [0], aspect=Fraction(10))
    assert "640 x 48 pixels" in refused(wide, tmp_path / "out.mp4", FilmSettings(max_pixels=4000))
    assert paint_film(ENGINE, wide, tmp_path / "out.mp4", FilmSettings(max_pixels=4000, max_side=64)).width == 64


def test_a_part_without_frames(tmp_path: Path) -> None:
    film = write_film(tmp_path / "film.mp4")
    assert "no frames in this part" in refused(film, tmp_path / "out.mp4", FilmSettings(begin=100))
    film = write_film(tmp_path / "pause.mp4", [0, 30])
    assert "no frames in this part" in refused(film, tmp_path / "out.mp4", FilmSettings(begin=1, end=2))


def test_a_damaged_part_is_left_out(tmp_path: Path) -> None:
    content = bytearray(write_film(tmp_path / "film.mkv", range(20), codec="mjpeg", pix_fmt="yuvj420p").read_bytes())
    middle = len(content) // 2
    content[middle : middle + 300] = bytes(300)
    (damaged := tmp_path / "damaged.mkv").write_bytes(content)
    paint_film(ENGINE, damaged, tmp_path / "out.mp4", FilmSettings(strength=0, calm=0))
    frames, _ = read_film(tmp_path / "out.mp4")
    assert 10 <= len(frames) <= 20


def test_damaged_sound_that_is_converted_is_left_out(tmp_path: Path) -> None:
    film = write_film(tmp_path / "film.mkv", range(20), sound="aac")
    content = bytearray(film.read_bytes())
    with av.open(str(film)) as container:
        packets = [(packet.pos, packet.size) for packet in container.demux(audio=0) if packet.size]
    for begin, size in packets[10:20]:
        content[begin + 8 : begin + size] = b"\xaa" * (size - 8)
    film.write_bytes(content)
    paint_film(ENGINE, film, tmp_path / "out.webm", FilmSettings(strength=0, calm=0))
    assert len(sound_packets(tmp_path / "out.webm")) > 50


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_two_films_one_behind_the_other_give_the_first_one_with_a_notice(tmp_path: Path, suffix: str) -> None:
    film = write_film(tmp_path / "film.ts", range(20), sound="aac")
    (joined := tmp_path / "joined.ts").write_bytes(2 * film.read_bytes())
    done = paint_film(ENGINE, joined, tmp_path / f"out{suffix}", FilmSettings(strength=0, calm=0))
    assert (done.frames, done.notices) == (20, ("20 frames whose times run backwards were left out",))
    assert len(sound_packets(tmp_path / f"out{suffix}")) == pytest.approx(len(sound_packets(film)), abs=2)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_damaged_sound_that_is_copied_is_left_out(tmp_path: Path, suffix: str) -> None:
    film = write_film(tmp_path / "film.ts", range(20), sound="aac")
    content = bytearray(film.read_bytes())
    with av.open(str(film)) as container:
        damaged = [bytes(packet) for packet in container.demux(audio=0) if packet.size][10]
    at = content.index(damaged[:20])
    content[at + 2] |= 0x3C  # a rate that AAC does not have
    film.write_bytes(content)
    done = paint_film(ENGINE, film, tmp_path / f"out{suffix}", FilmSettings(strength=0, calm=0))
    assert done.frames == 20
    assert len(sound_packets(tmp_path / f"out{suffix}")) > 50


@pytest.mark.parametrize("last", [False, True])
def test_damaged_sound_that_the_new_file_finds_late_is_left_out(tmp_path: Path, last: bool) -> None:
    film = write_film(tmp_path / "film.mkv", range(20), sound="ac3")
    content = bytearray(film.read_bytes())
    with av.open(str(film)) as container:
        packets = [(packet.pos, bytes(packet)) for packet in container.demux(audio=0) if packet.size]
    for position, packet in packets[-1:] if last else packets[10:20]:
        begin = content.index(packet, position)
        content[begin : begin + 8] = bytes(8)
    film.write_bytes(content)
    done = paint_film(ENGINE, film, out := tmp_path / "out.mp4", FilmSettings(strength=0, calm=0))
    assert len(read_film(out)[0]) == done.frames == 20
    assert len(sound_packets(out)) == len(packets) - (1 if last else 10)
    assert done.notices == (("its end may be missing, since the sound there is damaged",) if last else ())


@pytest.fixture(scope="module")
def long_silence(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A film without sound of more than the 5 MB in which FFmpeg looks for streams."""
    film = tmp_path_factory.mktemp("silence") / "film.ts"
    with av.open(str(film), "w") as container:
        stream = container.add_stream("libx264", rate=10, options={"preset": "ultrafast", "qp": "0"})
        stream.width, stream.height, stream.pix_fmt = 640, 480, "yuv420p"
        noise = np.random.default_rng(0).integers(0, 256, (10, 480, 640, 3), np.uint8)
        for pixels in noise:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, "rgb24")))
        container.mux(stream.encode(None))
    return film.read_bytes()


@pytest.mark.parametrize("ends_with_sound", [True, False])  # FFmpeg looks at the end, too
def test_sound_that_begins_in_the_middle_is_left_out(
    tmp_path: Path, long_silence: bytes, ends_with_sound: bool
) -> None:
    other = write_film(tmp_path / "other.ts", range(40, 44), sound="aac").read_bytes()
    film = tmp_path / "film.ts"
    film.write_bytes(long_silence + other + (b"" if ends_with_sound else long_silence))
    done = paint_film(ENGINE, film, tmp_path / "out.mp4", FilmSettings(strength=0, calm=0, max_side=32))
    assert done.frames >= 10
    assert ("a sound track of a kind that is not known here was left out" in done.notices) == ends_with_sound


def test_outputs_that_cannot_be(tmp_path: Path) -> None:
    film = write_film(tmp_path / "film.mp4")
    assert "is read and never replaced" in refused(film, film)
    assert "must end in .mp4, .m4v, .mov, .mkv, .webm, .gif" in refused(film, tmp_path / "out.avi")
    assert "does not exist" in refused(film, tmp_path / "nowhere" / "out.mp4")
    (file := tmp_path / "file").touch()
    assert "is a file" in refused(film, file)


def test_what_is_no_frame_in_a_folder(tmp_path: Path) -> None:
    (folder := tmp_path / "frames").mkdir()
    Image.fromarray(picture(0)).save(folder / "1.png")
    (folder / "._1.png").write_bytes(b"from macOS")
    (folder / "2.png").mkdir()
    assert paint_film(ENGINE, folder, tmp_path / "out.mp4", FilmSettings()).frames == 1


def test_folders_that_are_no_film(tmp_path: Path) -> None:
    (folder := tmp_path / "frames").mkdir()
    assert "has no frames" in refused(folder, tmp_path / "out.mp4")
    Image.fromarray(picture(0)).save(folder / "1.png")
    assert "none of them in this part" in refused(folder, tmp_path / "out.mp4", FilmSettings(begin=9))
    Image.fromarray(picture(0, 32, 32)).save(folder / "2.png")
    assert "all must have the same size" in refused(folder, tmp_path / "out.mp4")


def test_a_disk_that_fails_while_a_film_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class FailingDisk:
        def __init__(self, container: Any) -> None:
            self.container = container

        def __getattr__(self, name: str) -> Any:
            return getattr(self.container, name)

        def demux(self, *streams: Any) -> Iterator[Any]:
            yield from itertools.islice(self.container.demux(*streams), 3)
            raise av.error.OSError(errno.EIO, "Input/output error")

    film, items = write_film(tmp_path / "film.mkv"), FilmReader.items
    monkeypatch.setattr(FilmReader, "items", lambda reader, small: items(failing(reader), small))

    def failing(reader: Any) -> Any:
        reader._container = FailingDisk(reader._container)
        return reader

    assert refused(film, tmp_path / "out.mp4").startswith(f"{film} cannot be painted: it cannot be read to its end")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"calm": 1.1}, "--calm is 1.1"),
        ({"strength": float("nan")}, "--strength is nan"),
        ({"detail": 2.0}, "--detail is 2"),
        ({"every": 0}, "--every is 0"),
        ({"max_side": 0}, "--max-side is 0"),
        ({"rate": 0.0}, "--rate is 0"),
        ({"rate": 0.0001}, "--rate is 0.0001"),
        ({"end": float("inf")}, "--to is inf"),
        ({"begin": 2.0, "end": 1.0}, "--from must be before --to"),
    ],
)
def test_settings_out_of_their_range(values: dict[str, float], words: str) -> None:
    with pytest.raises(StylecoreError, match=words):
        FilmSettings(**values)  # type: ignore[arg-type]
