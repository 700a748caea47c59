"""Films for visitors: limits, progress, the first second, stopping; and one sentence for what cannot be painted."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from demo.services import film as films
from demo.services.catalogue import BundleCatalogue
from demo.services.film import FilmPainter, FilmProgress
from demo.services.limits import Limits
from demo.services.stylize import Stylizer
from demo.tabs.film import facts_of, limits_text, painting_film, status_of
from demo.tabs.painting import Stop
from stylecore.errors import StylecoreError
from tests.demo.conftest import LIMITS, write_film


@pytest.fixture(scope="module")
def painter(catalogue: BundleCatalogue) -> FilmPainter:
    return painter_of(catalogue, LIMITS)


def painter_of(catalogue: BundleCatalogue, limits: Limits) -> FilmPainter:
    return FilmPainter(Stylizer(catalogue, limits))


def frames_of(path: Path) -> tuple[int, list[str]]:
    """How many frames a film has, and the codecs of its tracks."""
    with av.open(str(path)) as container:
        codecs = [stream.codec_context.name for stream in container.streams]
        return sum(1 for _ in container.decode(video=0)), codecs


def test_a_film_comes_back_with_its_sound_and_at_first_its_first_second(painter: FilmPainter, tmp_path: Path) -> None:
    film = write_film(tmp_path / "my film.mp4", 35)
    updates = list(painter.paint(painter.job(film, "night", calm=0.5), tmp_path, "out"))
    preview, whole = [progress for progress in updates if progress.file]
    assert preview.preview
    assert not whole.preview
    assert preview.file is not None
    assert whole.file is not None
    assert frames_of(preview.file) == (10, ["h264", "aac"])
    assert frames_of(whole.file) == (35, ["h264", "aac"])
    assert updates[-1] is whole
    assert whole.painted is not None
    assert (whole.frames, whole.total, whole.painted.width, whole.painted.height) == (35, 35, 64, 48)


def test_a_shorter_film_has_no_preview_and_is_reduced_to_the_size_that_is_wanted(
    painter: FilmPainter, tmp_path: Path
) -> None:
    job = painter.job(write_film(tmp_path / "film.mp4", 5), "night", longest_side=32, version="iterations-1000")
    assert job.version == "1"
    files = [progress for progress in painter.paint(job, tmp_path, "out") if progress.file]
    assert len(files) == 1
    assert files[0].painted is not None
    assert (files[0].painted.width, files[0].painted.height) == (32, 24)


def test_how_far_it_is_in_numbers_and_words(painter: FilmPainter, tmp_path: Path) -> None:
    progress = FilmProgress(30, 90, 2.0, False, "the CPU")
    assert (progress.rate, progress.seconds_left) == (15, 4)
    assert FilmProgress(0, 90, 0.0, True, "the CPU").seconds_left is None
    *others, last = painting_film(painter, painter.job(write_film(tmp_path / "a b.mp4", 30), "wave"))
    assert 'aria-live="off"' in status_of(others[0], "")
    assert [each.is_last for each in others] == [False] * len(others)
    assert last.is_last
    said = status_of(last, "<b>Wave</b>")
    assert 'aria-live="polite"' in said
    assert "&lt;b&gt;Wave&lt;/b&gt;" in said
    assert "30 frames" in said
    assert facts_of(last)["width"] == 64
    assert last.file is not None
    assert Path(last.file).name == "a-b-wave.mp4"


def test_stop_keeps_what_is_painted(painter: FilmPainter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(films, "SECONDS_BETWEEN_LOOKS", 0.01)
    monkeypatch.setattr(films, "SHORTEST_WITH_PREVIEW", 1e9)
    stop = Stop()
    shown = []
    for each in painting_film(painter, painter.job(write_film(tmp_path / "film.mp4", 200), "night"), stop):
        shown.append(each)
        stop.wanted = stop.wanted or each.frames > 0
    last = shown[-1]
    assert last.is_last
    assert last.file is not None
    assert 0 < frames_of(last.file)[0] < 200
    assert "then stopped" in status_of(last, "The Night")


def test_a_film_that_nobody_waits_for_ends(
    painter: FilmPainter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(films, "PATIENCE", -1.0)
    job = painter.job(write_film(tmp_path / "film.mp4", 20), "night")
    *_, last = painter.paint(job, tmp_path, "out")
    assert last.painted is not None
    assert last.painted.stopped


def test_a_film_takes_no_longer_than_allowed(catalogue: BundleCatalogue, tmp_path: Path) -> None:
    painter = painter_of(catalogue, replace(LIMITS, film_work_seconds=0.0))
    *_, last = painter.paint(painter.job(write_film(tmp_path / "film.mp4", 20), "night"), tmp_path, "out")
    assert last.painted is not None
    assert last.painted.stopped
    assert last.frames < 20


def refused(painter: FilmPainter, film: Path | None, **wanted: float) -> str:
    with pytest.raises(StylecoreError) as caught:
        painter.job(film, "night", **wanted)  # type: ignore[arg-type]
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert str(film) not in sentence
    assert "--" not in sentence
    return sentence


def test_files_that_are_no_film_are_one_sentence(painter: FilmPainter, tmp_path: Path) -> None:
    assert "no film yet" in refused(painter, None)
    (empty := tmp_path / "empty.mp4").touch()
    assert refused(painter, empty) == "this film is empty, so there is no film to paint."
    (broken := tmp_path / "broken.mp4").write_bytes(write_film(tmp_path / "film.mp4", 5).read_bytes()[:800])
    assert "broken, cut short, or no film" in refused(painter, broken)
    with av.open(str(sound := tmp_path / "sound.m4a"), "w", format="mp4") as container:
        track = container.add_stream("aac", rate=48000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        frame.sample_rate = 48000
        container.mux([*track.encode(frame), *track.encode(None)])
    assert "holds only sound" in refused(painter, sound)
    assert "does not exist" in refused(painter, tmp_path / "gone.mp4")


def test_films_beyond_the_limits_are_one_sentence(catalogue: BundleCatalogue, tmp_path: Path) -> None:
    painter = painter_of(catalogue, replace(LIMITS, film_seconds=2.0, film_pixels=5000))
    assert "lasts 3 seconds, and may last 2 here" in refused(painter, write_film(tmp_path / "long.mp4", 30))
    assert painter.job(write_film(tmp_path / "just.mp4", 20), "night").facts.frames == 20
    large = write_film(tmp_path / "large.mp4", 2, (96, 64))
    assert refused(painter, large).endswith(
        "of 96 x 64 pixels, more than the limit of 5,000; reduce it with a video editor"
    )
    small = painter_of(catalogue, replace(LIMITS, file_size="0mb"))
    assert "more than 0 MB" in refused(small, large)
    assert "up to 2 seconds and 80 MB" in limits_text(painter.limits)


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        ({"calm": 2.0}, "the calm may be 0 to 1"),
        ({"strength": float("nan")}, "the strength may be 0 to 1"),
        ({"longest_side": 9999.0}, "the longest side may be"),
        ({"brush": 9.0}, "the brush may be"),
    ],
)
def test_numbers_beyond_the_limits(painter: FilmPainter, tmp_path: Path, wanted: dict[str, float], says: str) -> None:
    assert says in refused(painter, write_film(tmp_path / "film.mp4", 2), **wanted)


def test_a_film_without_length_in_its_header_is_measured(catalogue: BundleCatalogue, tmp_path: Path) -> None:
    """As browsers record them."""
    film = write_film(tmp_path / "film.mp4", 30)
    recorded = tmp_path / "recorded.mkv"
    with av.open(str(film)) as source, av.open(str(recorded), "w", options={"live": "1"}) as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    with av.open(str(recorded)) as container:
        assert container.duration is None
    facts = painter_of(catalogue, LIMITS).job(recorded, "night").facts
    assert (facts.frames, facts.rate) == (30, Fraction(10))
    assert facts.seconds == pytest.approx(3)
    short = painter_of(catalogue, replace(LIMITS, film_seconds=1.0))
    assert "lasts 3 seconds" in refused(short, recorded)
