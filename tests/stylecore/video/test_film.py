"""Films from file to file, by the library."""

import threading
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from films import HEIGHT, RATE, WIDTH, picture, read_film, sound_packets, tiny_engine, write_film
from PIL import Image

from stylecore.errors import StylecoreError
from stylecore.video.config import FilmSettings, seconds
from stylecore.video.paint import Progress, paint_film
from stylecore.video.read import open_file

ENGINE = tiny_engine()
AS_IT_IS = FilmSettings(strength=0, calm=0)
"""The film itself comes out, so that what is around the painting can be compared."""


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def difference(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one.astype(float) - other).mean())


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".webm"])
def test_a_film_keeps_frames_and_times_that_vary_and_its_colors(tmp_path: Path, suffix: str) -> None:
    times = [0, 1, 2, 5, 6, 9]
    film = write_film(tmp_path / "in.mp4", times)
    done = paint_film(ENGINE, film, out := tmp_path / f"out{suffix}", AS_IT_IS)
    frames, shown = read_film(out)
    assert (done.frames, done.width, done.height) == (6, WIDTH, HEIGHT)
    assert shown == pytest.approx([time / RATE for time in times], abs=0.002)
    for number, frame in enumerate(frames):
        assert difference(frame, picture(number)) < 4
    with av.open(str(out)) as container:
        assert container.streams.video[0].pix_fmt == "yuv420p"
        assert container.streams.video[0].codec_context.name == ("vp9" if suffix == ".webm" else "h264")
    assert names(tmp_path) == {"in.mp4", out.name}


def test_a_painted_film_is_not_the_film(tmp_path: Path) -> None:
    film = write_film(tmp_path / "in.mp4")
    paint_film(ENGINE, film, tmp_path / "out.mp4", FilmSettings())
    frames, _ = read_film(tmp_path / "out.mp4")
    assert len(frames) == 6
    assert difference(frames[0], picture(0)) > 20


def test_sound_is_copied_untouched(tmp_path: Path) -> None:
    film = write_film(tmp_path / "in.mp4", sound="aac")
    paint_film(ENGINE, film, tmp_path / "out.mp4", AS_IT_IS)
    assert len(sound_packets(film)) > 10
    assert sound_packets(tmp_path / "out.mp4") == sound_packets(film)


def test_sound_that_a_file_cannot_hold_is_converted_with_a_notice(tmp_path: Path) -> None:
    film = write_film(tmp_path / "in.mp4", range(10), sound="aac")
    done = paint_film(ENGINE, film, tmp_path / "out.webm", AS_IT_IS)
    assert done.notices == ("its sound (aac) became opus, as this file needs",)
    with av.open(str(tmp_path / "out.webm")) as container:
        heard = np.concatenate([frame.to_ndarray() for frame in container.decode(audio=0)], axis=1)
    assert heard.shape[1] / 48000 == pytest.approx(1, abs=0.1)
    assert heard.std() == pytest.approx(0.5 / 2**0.5, rel=0.1)


@pytest.mark.parametrize("sound", ["opus", "flac"])
def test_sound_of_a_kind_that_mov_cannot_hold_is_converted(tmp_path: Path, sound: str) -> None:
    film = write_film(tmp_path / "in.mkv", range(10), sound=sound)
    done = paint_film(ENGINE, film, tmp_path / "out.mov", AS_IT_IS)
    assert done.notices == (f"its sound ({sound}) became aac, as this file needs",)
    assert sound_packets(tmp_path / "out.mov")


def test_sound_of_an_unknown_kind_is_left_out_with_a_notice(tmp_path: Path) -> None:
    film = write_film(tmp_path / "in.mov", sound="aac")
    film.write_bytes(film.read_bytes().replace(b"mp4a", b"apac").replace(b"esds", b"free"))  # as newer iPhones record
    done = paint_film(ENGINE, film, tmp_path / "out.mp4", AS_IT_IS)
    assert done.notices == ("a sound track of a kind that is not known here was left out",)
    assert done.frames == 6


def test_a_gif_in_and_out(tmp_path: Path) -> None:
    film = write_film(tmp_path / "in.mp4", [0, 2, 4], sound="aac")
    done = paint_film(ENGINE, film, tmp_path / "out.gif", AS_IT_IS)
    assert done.notices == ("a GIF has no sound",)
    with Image.open(tmp_path / "out.gif") as image:
        assert (image.size, image.n_frames, image.info["duration"]) == ((WIDTH, HEIGHT), 3, 200)
        assert difference(np.asarray(image.convert("RGB")), picture(0)) < 6
    paint_film(ENGINE, tmp_path / "out.gif", tmp_path / "again.mp4", AS_IT_IS)
    frames, times = read_film(tmp_path / "again.mp4")
    assert times == pytest.approx([0, 0.2, 0.4])
    assert difference(frames[2], picture(2)) < 8


@pytest.mark.parametrize("suffix", [".gif", ".mp4", ".mov", ".mkv", ".webm"])
def test_the_last_frame_stays_as_long_as_before(tmp_path: Path, suffix: str) -> None:
    first, *others = [Image.fromarray(picture(number)) for number in range(5)]
    first.save(tmp_path / "in.gif", save_all=True, append_images=others, duration=[100, 100, 100, 100, 2000])
    paint_film(ENGINE, tmp_path / "in.gif", tmp_path / f"out{suffix}", AS_IT_IS)
    frames, times = read_film(tmp_path / f"out{suffix}")
    assert times[:5] == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])
    assert all(difference(frame, picture(4)) < 8 for frame in frames[4:])
    with av.open(str(tmp_path / f"out{suffix}")) as container:
        assert container.duration / 1e6 == pytest.approx(2.4, abs=0.05)


def test_a_transparent_gif_is_over_white(tmp_path: Path) -> None:
    pixels = np.zeros((HEIGHT, WIDTH, 4), np.uint8)
    pixels[:, : WIDTH // 2, 3] = 255  # black beside nothing
    Image.fromarray(pixels).save(tmp_path / "in.gif")
    paint_film(ENGINE, tmp_path / "in.gif", tmp_path / "out", AS_IT_IS)
    painted = np.asarray(Image.open(tmp_path / "out" / "frame_000001.png"))
    assert painted[:, : WIDTH // 2].max() == 0
    assert painted[:, WIDTH // 2 :].min() == 255


def test_a_folder_of_frames_in_and_out(tmp_path: Path) -> None:
    (folder := tmp_path / "in").mkdir()
    for number in range(11):  # 10²1.png comes after 2²1.png
        Image.fromarray(picture(number)).save(folder / f"{number}²1.png")
    paint_film(ENGINE, folder, tmp_path / "film.mp4", FilmSettings(strength=0, rate=5))
    frames, times = read_film(tmp_path / "film.mp4")
    assert times == pytest.approx([number / 5 for number in range(11)])
    assert difference(frames[10], picture(10)) < 4
    paint_film(ENGINE, folder, tmp_path / "out", FilmSettings(strength=0, rate=5, begin=0.4, end=0.8))
    assert names(tmp_path / "out") == {"frame_000001.png", "frame_000002.png"}
    assert np.array_equal(np.asarray(Image.open(tmp_path / "out" / "frame_000001.png")), picture(2))
    with pytest.raises(StylecoreError, match="not empty"):
        paint_film(ENGINE, folder, tmp_path / "out", AS_IT_IS)


def test_frames_go_behind_a_link_and_into_the_present_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    film = write_film(tmp_path / "in.mp4", [0])
    (empty := tmp_path / "empty").mkdir()
    (link := tmp_path / "link").symlink_to(empty)
    paint_film(ENGINE, film, link, AS_IT_IS)
    assert names(empty) == names(link) == {"frame_000001.png"}
    (here := tmp_path / "here").mkdir()
    monkeypatch.chdir(here)
    paint_film(ENGINE, film, ".", AS_IT_IS)
    assert names(here) == names(Path()) == {"frame_000001.png"}  # the same folder, in which a shell may be


def test_a_part_begins_at_zero_with_its_sound(tmp_path: Path) -> None:
    film = write_film(tmp_path / "in.mp4", range(20), sound="aac")
    paint_film(ENGINE, film, out := tmp_path / "out.mp4", FilmSettings(strength=0, calm=0, begin=0.5, end=1.5))
    frames, times = read_film(out)
    assert times == pytest.approx([number / RATE for number in range(10)])
    assert difference(frames[0], picture(5)) < 4
    of_film, of_part = sound_packets(film), sound_packets(out)
    assert len(of_part) == pytest.approx(48000 / 1024, abs=2)
    first = of_film.index(of_part[3]) - 3
    assert of_part[3:] == of_film[first + 3 : first + len(of_part)]
    assert first == pytest.approx(0.5 * 48000 / 1024, abs=2)


@pytest.mark.parametrize(("suffix", "codec"), [(".ts", "libx264"), (".mpg", "mpeg2video"), (".avi", "libx264")])
def test_a_film_that_is_only_read_loses_no_frames(tmp_path: Path, suffix: str, codec: str) -> None:
    film = write_film(tmp_path / f"in{suffix}", range(16), codec=codec)
    assert paint_film(ENGINE, film, tmp_path / "whole.mp4", AS_IT_IS).frames == 16
    paint_film(ENGINE, film, out := tmp_path / "part.mp4", FilmSettings(strength=0, calm=0, begin=0.5, end=1))
    frames, times = read_film(out)
    assert times == pytest.approx([number / RATE for number in range(5)])
    assert difference(frames[0], picture(5)) < 4


def test_every_third_frame_is_shown_three_times_as_long(tmp_path: Path) -> None:
    film = write_film(tmp_path / "in.mp4", range(9))
    paint_film(ENGINE, film, tmp_path / "out.mp4", FilmSettings(strength=0, every=3))
    frames, times = read_film(tmp_path / "out.mp4")
    assert times == pytest.approx([0, 0.3, 0.6])
    assert difference(frames[1], picture(3)) < 4


def test_a_turned_film_is_painted_upright(tmp_path: Path) -> None:
    film = write_film(tmp_path / "in.mp4", rotation=90)
    done = paint_film(ENGINE, film, tmp_path / "out.mp4", AS_IT_IS)
    frames, _ = read_film(tmp_path / "out.mp4")
    assert (done.width, done.height) == (HEIGHT, WIDTH)
    with av.open(str(film)) as container:
        degrees = next(container.decode(video=0)).rotation
    assert difference(frames[0], np.rot90(picture(0), degrees // 90)) < 4


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_a_mirrored_film_is_painted_as_players_show_it(tmp_path: Path, rotation: int) -> None:
    film = write_film(tmp_path / "in.mp4", [0], rotation=rotation, mirrored=True)
    paint_film(ENGINE, film, tmp_path / "out.mp4", AS_IT_IS)
    (frame,), _ = read_film(tmp_path / "out.mp4")
    assert difference(frame, np.rot90(picture(0), rotation // 90)[:, ::-1]) < 4


def test_pixels_become_square_sides_even_and_a_limit_is_kept(tmp_path: Path) -> None:
    wide = write_film(tmp_path / "wide.mp4", [0], aspect=Fraction(2))
    assert paint_film(ENGINE, wide, tmp_path / "a.mp4", AS_IT_IS).width == 2 * WIDTH
    odd = write_film(tmp_path / "odd.mkv", [0], size=(33, 21), codec="ffv1", pix_fmt="yuv444p")
    paint_film(ENGINE, odd, tmp_path / "b.mp4", AS_IT_IS)
    (frame,), _ = read_film(tmp_path / "b.mp4")
    assert frame.shape == (22, 34, 3)
    assert difference(frame[:21, :33], picture(0, 33, 21)) < 4
    film = write_film(tmp_path / "film.mp4", [0])
    done = paint_film(ENGINE, film, tmp_path / "c.mp4", FilmSettings(max_side=32))
    assert (done.width, done.height) == (32, 24)


@pytest.mark.parametrize("pix_fmt", ["yuv420p10le", "yuv422p", "gray", "bgra", "yuva444p"])
def test_other_pixel_formats_keep_their_colors(tmp_path: Path, pix_fmt: str) -> None:
    film = write_film(tmp_path / "in.mkv", [0], codec="ffv1", pix_fmt=pix_fmt)
    paint_film(ENGINE, film, tmp_path / "out", AS_IT_IS)
    painted = np.asarray(Image.open(tmp_path / "out" / "frame_000001.png"))
    expected = picture(0).astype(float)
    if pix_fmt == "gray":
        expected = np.repeat(expected @ [[0.299], [0.587], [0.114]], 3, axis=2)
    assert difference(painted, expected) < 3


def test_what_is_painted_when_it_is_stopped_is_a_film(tmp_path: Path) -> None:
    film = write_film(tmp_path / "in.mp4", range(20), sound="aac")
    stop = threading.Event()

    def after_three(progress: Progress) -> None:
        assert progress.total == 20
        if progress.frames == 3:
            stop.set()

    done = paint_film(ENGINE, film, tmp_path / "out.mp4", AS_IT_IS, progress=after_three, stop=stop)
    assert done.stopped
    frames, _ = read_film(tmp_path / "out.mp4")
    assert len(frames) == done.frames == 3
    with pytest.raises(KeyboardInterrupt):
        paint_film(ENGINE, film, tmp_path / "none.mp4", AS_IT_IS, stop=stop)
    assert names(tmp_path) == {"in.mp4", "out.mp4"}


def test_a_failure_leaves_the_older_file(tmp_path: Path) -> None:
    film = write_film(tmp_path / "in.mp4", range(20))
    (out := tmp_path / "out.mp4").write_bytes(b"older")

    def fails(progress: Progress) -> None:
        raise RuntimeError("as if the memory were full")

    with pytest.raises(RuntimeError):
        paint_film(ENGINE, film, out, AS_IT_IS, progress=fails)
    assert out.read_bytes() == b"older"
    assert names(tmp_path) == {"in.mp4", "out.mp4"}


@pytest.mark.parametrize(("text", "expected"), [("2", 2), ("1:02.5", 62.5), ("1:00:01", 3601)])
def test_times(text: str, expected: float) -> None:
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["", "a", "-1", "1:2:3:4", "nan", "inf"])
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(StylecoreError, match="is no time"):
        seconds(text)


@pytest.mark.parametrize("begin", [0.0, 1.5, 3.5])
def test_a_recording_without_a_length_is_measured_from_its_beginning(tmp_path: Path, begin: float) -> None:
    with av.open(str(tmp_path / "live.webm"), "w", options={"live": "1"}) as container:  # as a browser records
        stream = container.add_stream("libvpx-vp9", rate=10, options={"g": "10", "deadline": "realtime"})
        stream.width = stream.height = 32
        for shade in range(40):
            picture = av.VideoFrame.from_ndarray(np.full((32, 32, 3), 6 * shade, np.uint8), format="rgb24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    with open_file(tmp_path / "live.webm", FilmSettings(begin=begin)) as film:
        assert film.facts.seconds == pytest.approx(4 - begin, abs=0.01)
        assert film.facts.frames == pytest.approx(10 * (4 - begin), abs=1)
