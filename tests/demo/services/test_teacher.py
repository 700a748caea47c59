"""Lessons of several visitors with a quick stand-in for the training, which obeys in the same way."""

import json
import re
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from demo.services.catalogue import BundleCatalogue
from demo.services.limits import Limits
from demo.services.link import settings_of_link
from demo.services.teach import course
from demo.services.teach import teacher as teacher_module
from demo.services.teach.catalogue import TaughtCatalogue
from demo.services.teach.lessons import owner_of
from demo.services.teach.teacher import Teacher
from stylecore.errors import StylecoreError
from stylecore.pictures.write import save_picture
from tests.demo.conftest import make_style
from training.teach.__main__ import _parser

STAND_IN = """
import json, pathlib, select, shutil, sys, threading
name = sys.argv[sys.argv.index("--name") + 1]
here, runs = pathlib.Path("progress"), pathlib.Path("runs", name)
pathlib.Path("words.json").write_text(json.dumps(sys.argv[1:]))
here.mkdir(exist_ok=True); runs.mkdir(parents=True, exist_ok=True)
def tell(phase, **more):
    (here / "progress.json").write_text(json.dumps({"phase": phase, "curve": [], **more}))
if "--fail" in sys.argv:
    tell("failed", reason="painting.png is nearly blank, so there is nothing to learn; take a painting.")
    sys.exit(2)
tell("learning", iteration=7, loss=1.0, content=0.5, style=0.5, seconds=1.0, seconds_left=9.0)
shutil.copy(sys.argv[sys.argv.index("--network") + 1], here / "now.style")
while not (runs / "enough").exists() or (runs / "hold").exists():
    if select.select([sys.stdin], [], [], 0.05)[0] and not sys.stdin.readline():
        sys.exit(143)
shutil.copy(here / "now.style", runs / "iterations-7.safetensors")
tell("done", file=str((runs / "iterations-7.safetensors").resolve()), version="1", run_page="#/experiments/1/runs/ab")
"""
ANNA, BORIS = owner_of("anna"), owner_of("boris")


@pytest.fixture
def teach(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Teacher]]:
    """Starts teachers over one folder; at the end all are closed."""
    (tmp_path / "stand_in.py").write_text(STAND_IN)
    monkeypatch.setattr(course, "COMMAND", (sys.executable, str(tmp_path / "stand_in.py")))
    monkeypatch.setattr(teacher_module, "LOOK_SECONDS", 0.02)
    make_style(0, name="x").save(tmp_path / "network.safetensors")
    started: list[Teacher] = []

    def start(*flags: str, limits: Limits | None = None, **options: object) -> Teacher:
        flags = ("--network", str(tmp_path / "network.safetensors"), *flags)
        started.append(Teacher(tmp_path / "lessons", limits, flags=flags, **options))  # type: ignore[arg-type]
        return started[-1].start()

    yield start
    for teacher in started:
        teacher.close()


@pytest.fixture
def picture(tmp_path: Path) -> str:
    save_picture(torch.rand(3, 70, 90), tmp_path / "picture.png")
    return str(tmp_path / "picture.png")


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 2000
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def wait_for(teacher: Teacher, owner: str, phase: str) -> None:
    until(lambda: (view := teacher.view(owner)) and view.phase == phase)


def learn(teacher: Teacher, owner: str) -> None:
    """Let the visitor's lesson begin, end it, and wait for its style."""
    wait_for(teacher, owner, "learning")
    teacher.enough(owner)
    wait_for(teacher, owner, "done")


def test_one_learns_the_next_waits_and_each_sees_their_own(
    teach: Callable[..., Teacher], picture: str, catalogue: BundleCatalogue
) -> None:
    teacher = teach(mlflow_page="http://mlflow.example/")
    first = teacher.enqueue(ANNA, picture, picture, "../../night <b>", 10)
    teacher.enqueue(BORIS, picture, picture, "", 2)
    wait_for(teacher, ANNA, "learning")
    assert teacher.view(BORIS).place == 1  # type: ignore[union-attr]
    with pytest.raises(StylecoreError, match="teaching a painting already"):
        teacher.enqueue(ANNA, picture, picture, "Again", 10)
    until(lambda: teacher.picture(first))
    hold = teacher.files.of(first) / "runs" / first.style / "hold"
    hold.touch()
    teacher.enough(ANNA)
    assert teacher.view(ANNA).phase == "stopping"  # type: ignore[union-attr]
    hold.unlink()
    wait_for(teacher, ANNA, "done")
    wait_for(teacher, BORIS, "learning")

    styles = TaughtCatalogue(catalogue, teacher)
    assert first.style.startswith("taught_night_b_")
    assert "/" not in first.style
    published = {entry.name for entry in catalogue.styles()}
    assert {entry.name for entry in styles.styles()} == published
    assert {entry.name for entry in styles.styles(BORIS)} == published
    assert {entry.name for entry in styles.styles(ANNA)} == {*published, first.style}
    assert styles.open(first.style).card.name == "x"  # whoever has the link
    assert styles.painting(first.style) is not None
    assert styles.record(first.style, "1").page == "http://mlflow.example/#/experiments/1/runs/ab"
    with pytest.raises(StylecoreError) as error:
        styles.find("moon")
    assert "taught_" not in str(error.value)
    assert not (teacher.files.of(first) / "runs").exists()


def test_styles_for_all_are_listed_for_all(
    teach: Callable[..., Teacher], picture: str, catalogue: BundleCatalogue
) -> None:
    teacher = teach(for_all=True)
    lesson = teacher.enqueue(ANNA, picture, picture, "Waves", 2)
    learn(teacher, ANNA)
    assert lesson.style in {entry.name for entry in TaughtCatalogue(catalogue, teacher).styles()}


def test_the_next_server_goes_on(teach: Callable[..., Teacher], picture: str) -> None:
    earlier = teach()
    earlier.enqueue(ANNA, picture, picture, "Waves", 2)
    wait_for(earlier, ANNA, "learning")
    earlier.close()
    assert earlier.view(ANNA).lesson.state == "learning"  # type: ignore[union-attr]
    later = teach()
    until(lambda: later.view(ANNA).lesson.starts == 2)  # type: ignore[union-attr]
    later.enough(ANNA)
    wait_for(later, ANNA, "done")


def test_of_two_servers_one_teaches_and_either_can_end_the_lesson(teach: Callable[..., Teacher], picture: str) -> None:
    first = teach()
    first.enqueue(ANNA, picture, picture, "Waves", 2)
    wait_for(first, ANNA, "learning")
    second = teach()
    second.enqueue(BORIS, picture, picture, "Stars", 2)
    time.sleep(1)
    view = second.view(BORIS)
    assert view is not None
    assert (view.place, view.lesson.starts) == (1, 0)
    second.enough(ANNA)
    wait_for(second, ANNA, "done")
    wait_for(first, BORIS, "learning")
    first.close()
    wait_for(second, BORIS, "learning")
    second.enough(BORIS)
    wait_for(second, BORIS, "done")


def test_a_failure_says_why_and_lets_the_visitor_try_again(teach: Callable[..., Teacher], picture: str) -> None:
    teacher = teach("--fail")
    teacher.enqueue(ANNA, picture, picture, "Blank", 2)
    wait_for(teacher, ANNA, "failed")
    assert "this picture is nearly blank" in teacher.view(ANNA).lesson.reason  # type: ignore[union-attr]
    teacher.enqueue(ANNA, picture, picture, "Another", 2)


def test_what_a_visitor_may_ask_for_is_limited(teach: Callable[..., Teacher], picture: str, tmp_path: Path) -> None:
    teacher = teach(limits=Limits(lessons_waiting=1))
    (tmp_path / "text.png").write_text("I am text")
    for owner, painting, photo, minutes, sentence in (
        ("", picture, picture, 2, "allow storage"),
        (ANNA, None, picture, 2, "no painting yet"),
        (ANNA, picture, None, 2, "no photo"),
        (ANNA, picture, picture, 600, "takes 2, 5, 10, 30 minutes"),
        (ANNA, picture, picture, float("nan"), "takes 2, 5, 10, 30 minutes"),
        (ANNA, str(tmp_path / "text.png"), picture, 2, "not a picture"),
    ):
        with pytest.raises(StylecoreError, match=sentence):
            teacher.enqueue(owner, painting, photo, "Waves", minutes)
    teacher.enqueue(ANNA, picture, picture, "Waves", 2)
    with pytest.raises(StylecoreError, match="waiting to be learned already"):
        teacher.enqueue(BORIS, picture, picture, "Waves", 2)
    full = teach(limits=Limits(lesson_megabytes=10**12))
    with pytest.raises(StylecoreError, match="disk"):
        full.enqueue(BORIS, picture, picture, "Waves", 2)
    busy = teach(limits=Limits(lesson_memory_megabytes=10**9))
    with pytest.raises(StylecoreError, match="too little memory"):
        busy.enqueue(BORIS, picture, picture, "Waves", 2)


@pytest.mark.parametrize("title", ["--photos=/etc", "-", "--stdin", "../../waves", "starry_night", "<b>", "a\x00b\nc"])
def test_a_title_is_neither_a_flag_nor_a_path_nor_the_name_of_another_style(
    teach: Callable[..., Teacher], picture: str, tmp_path: Path, title: str
) -> None:
    teacher = teach()
    lesson = teacher.enqueue(ANNA, picture, picture, title, 2)
    wait_for(teacher, ANNA, "learning")
    given = _parser().parse_args(json.loads((teacher.files.of(lesson) / "words.json").read_text())[:-2])
    assert given.title == lesson.title
    assert (given.output_dir, given.photos) == ("runs", "samples")
    assert re.fullmatch(r"taught_([a-z0-9_]+_)?[0-9a-f]{16}", given.name)
    assert [path.name for path in (tmp_path / "lessons").iterdir() if path.is_dir()] == [lesson.id]
    assert (teacher.files.of(lesson).stat().st_mode & 0o777) == 0o700


def test_nobody_ends_or_sees_or_uses_the_lesson_of_another(
    teach: Callable[..., Teacher], picture: str, catalogue: BundleCatalogue
) -> None:
    teacher = teach()
    lesson = teacher.enqueue(ANNA, picture, picture, "Waves", 2)
    wait_for(teacher, ANNA, "learning")
    for stranger in ("", BORIS, lesson.id, lesson.style, owner_of(ANNA)):
        teacher.enough(stranger)
        assert teacher.view(stranger) is None
    assert teacher.view(ANNA).phase == "learning"  # type: ignore[union-attr]
    teacher.enough(ANNA)
    wait_for(teacher, ANNA, "done")
    shared = TaughtCatalogue(catalogue, teacher)
    assert lesson.style in [entry.name for entry in shared.styles(ANNA)]
    for stranger in ("", BORIS, lesson.style):
        assert lesson.style not in [entry.name for entry in shared.styles(stranger)]
    with pytest.raises(StylecoreError) as refusal:
        shared.find("waves")
    assert "taught_" not in str(refusal.value)


def test_a_link_shows_the_style_of_another(
    teach: Callable[..., Teacher], picture: str, catalogue: BundleCatalogue
) -> None:
    teacher = teach()
    lesson = teacher.enqueue(ANNA, picture, picture, "Waves", 2)
    learn(teacher, ANNA)
    shared = TaughtCatalogue(catalogue, teacher)
    for query in ({"style": lesson.style, "version": "9"}, {"style": "night", "mix": lesson.style}):
        linked = settings_of_link(query, shared, teacher.limits)
        assert lesson.style in (linked.style, linked.mix)
        names = [entry.name for entry in shared.styles(BORIS, linked.style, linked.mix)]
        assert lesson.style in names


def test_styles_are_forgotten_when_there_are_more_or_after_their_hours(
    teach: Callable[..., Teacher], picture: str
) -> None:
    teacher = teach(limits=Limits(lessons_kept=1))
    for owner in (ANNA, BORIS):
        teacher.enqueue(owner, picture, picture, "Waves", 2)
        learn(teacher, owner)
    until(lambda: teacher.view(ANNA) is None)
    teacher.close()
    teach(limits=Limits(lesson_hours=0))
    until(lambda: teacher.view(BORIS) is None)


def test_a_lesson_that_fails_takes_nobodys_style_away(teach: Callable[..., Teacher], picture: str) -> None:
    teacher = teach(limits=Limits(lessons_kept=1))
    teacher.enqueue(ANNA, picture, picture, "Waves", 2)
    learn(teacher, ANNA)
    teacher.close()
    failing = teach("--fail", limits=Limits(lessons_kept=1))
    for title in ("Blank", "Again"):
        failing.enqueue(BORIS, picture, picture, title, 2)
        wait_for(failing, BORIS, "failed")
    until(lambda: sum(lesson.owner == BORIS for lesson in failing.files.all()) == 1)
    assert failing.view(ANNA).phase == "done"  # type: ignore[union-attr]
