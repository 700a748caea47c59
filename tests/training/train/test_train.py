"""Training with a small VGG, small photos and a thin network: stopped, resumed, begun with another network.

tests/cluster launches it with VGG-16, kills it, and runs it in several processes.
"""

import argparse
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from train_script import (  # noqa: F401 - fixtures
    RELATIVE,
    check_it_ended_as_the_straight_run,
    curve,
    folder,
    only_run,
    photo,
    runs_of,
    small_vgg16,
    train_here,
    weights,
)

from stylecore.errors import StylecoreError
from stylecore.johnson.style_model import StyleModel
from training import train as train_module
from training.command import STOPPED, run_command
from training.tracking.folders import sync

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("small_vgg16")]


def test_a_stopped_run_resumes_as_if_nothing_had_happened(
    folder: Path, store: str, train_here: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    flags: list[object] = ["--iterations", 6, "--checkpoints", 1, "--batch-size", 1, "--gradient-accumulation", 2]
    flags += RELATIVE
    train_here(*flags, "--run-name", "straight")
    flags += ["--run-name", "stopped", "--save-minutes", 0]
    with pytest.MonkeyPatch.context() as patched:
        save = train_module.save_state

        def save_and_be_stopped(*arguments: Any) -> None:
            save(*arguments)
            if arguments[-1].iteration == 3:
                signal.raise_signal(signal.SIGTERM)

        patched.setattr(train_module, "save_state", save_and_be_stopped)
        stopped = run_command(lambda _: train_here(*flags), argparse.Namespace())
    assert stopped == STOPPED
    assert "stopped at iteration 4; --resume auto continues" in capsys.readouterr().err
    sync(folder / "runs" / "stopped")  # a stopped run does not wait long for its store
    assert runs_of(store)[1]["stopped"].info.status == "KILLED"
    with pytest.raises(StylecoreError, match="already holds a run"):
        train_here(*flags)
    with pytest.raises(StylecoreError, match="2 photos an iteration"):
        train_here(*flags, "--resume", "auto", "--batch-size", 2)
    train_here(*flags, "--resume", "auto")
    check_it_ended_as_the_straight_run(folder, store, "stopped")


@pytest.mark.parametrize(
    ("work", "sentence"),
    [("evaluate_checkpoints", "its evaluation was stopped"), ("JournaledTracker.finish", "has arrived in MLflow")],
)
def test_a_signal_stops_what_comes_after_the_training_too(
    work: str, sentence: str, folder: Path, store: str, train_here: Callable[..., None]
) -> None:
    handler = signal.getsignal(signal.SIGINT)
    with pytest.MonkeyPatch.context() as patched:

        def interrupted(*arguments: object) -> None:
            patched.undo()
            signal.raise_signal(signal.SIGINT)

        patched.setattr(f"training.{'checkpoints' if '.' in work else 'train'}.{work}", interrupted)
        with pytest.raises(train_module.Stopped, match=sentence):
            train_here("--iterations", 1)
    assert signal.getsignal(signal.SIGINT) is handler
    sync(folder / "runs" / "stripes")
    client, run = only_run(store)
    assert run.info.status == "KILLED"
    assert len(client.search_model_versions("name='stripes'")) == 1


def test_training_goes_on_from_a_trained_style(folder: Path, store: str, train_here: Callable[..., None]) -> None:
    for path in sorted((folder / "photos").iterdir())[1:]:
        path.unlink()
    half = photo(3).resize((30, 60))
    whole = Image.new("RGB", (60, 60))
    whole.paste(half, (0, 0))
    whole.paste(half.transpose(Image.Transpose.FLIP_LEFT_RIGHT), (30, 0))
    whole.save(folder / "photos" / "0.png")  # one photo, whole, and its own mirror image: all batches are equal
    same = ("--smallest-crop", 1, "--seed", 5)
    train_here(*same, "--run-name", "first", "--iterations", 3, "--checkpoints", 2)
    file = folder / "runs" / "first" / "iterations-2.safetensors"
    train_here(*same, "--seed", 6, "--run-name", "file", "--iterations", 1, "--init-from", file)
    address = "models:/stripes@iterations-2"
    train_here(*same, "--seed", 7, "--run-name", "address", "--iterations", 1, "--init-from", address)
    client, runs = runs_of(store)
    losses = curve(client, runs["first"], "loss/total")
    assert losses[2] < 0.999 * losses[1]
    for name in ("file", "address"):
        assert curve(client, runs[name], "loss/total") == pytest.approx(losses[2:], rel=1e-5)
    with pytest.raises(StylecoreError, match="network of another form"):
        train_here("--run-name", "other", "--init-from", file, "--residual-blocks", 2)


def test_a_network_of_another_form_learns_from_a_teacher(
    folder: Path, store: str, train_here: Callable[..., None]
) -> None:
    train_here("--run-name", "teacher", "--iterations", 1)
    file = folder / "runs" / "teacher" / "iterations-1.safetensors"
    teacher_alone = ("--content-weight", 0, "--style-weight", 0, "--teacher", file)
    train_here("--run-name", "itself", "--iterations", 1, *teacher_alone, "--init-from", file)
    student = (*teacher_alone, "--residual-blocks", 2, "--learning-rate", 1e-3, "--iterations", 8)
    train_here("--run-name", "student", *student)
    train_here("--run-name", "less", *student, "--teacher-weight", 0.05, "--iterations", 1)
    client, runs = runs_of(store)
    (itself,) = curve(client, runs["itself"], "loss/teacher")
    losses = curve(client, runs["student"], "loss/teacher")
    assert itself < losses[0] / 100  # not 0: the teacher's pixels are clipped
    assert max(losses[-3:]) < 0.6 * losses[0]
    assert curve(client, runs["student"], "loss/total") == pytest.approx(losses)
    assert curve(client, runs["less"], "loss/teacher")[0] == pytest.approx(losses[0] / 1e4)
    assert "loss/teacher" not in runs["teacher"].data.metrics
    assert StyleModel.load(folder / "runs" / "student" / "iterations-8.safetensors").card.training["teacher"]
