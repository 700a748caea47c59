"""Training in other precisions and forms, on full disks, and with mistakes."""

import math
import os
import re
import shutil
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from train_script import arguments, curve, folder, only_run, runs_of, small_vgg16, train_here  # noqa: F401 - fixtures

from stylecore.errors import StylecoreError
from stylecore.inference.engine import Engine
from stylecore.johnson.style_model import StyleModel
from stylecore.johnson.transform_net import TransformNet
from training import objective, train
from training.checkpoints import Caller
from training.tracking import JournaledTracker
from training.tracking.folders import sync
from training.train import DivergedError, _refuse_divergence

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("small_vgg16")]


@pytest.fixture
def command_here(
    folder: Path,
    train_here: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Callable[..., tuple[int, str]]:
    """Runs `train.py` with the flags of `train_here`: its exit status, and the standard error after its start."""

    def call(*more: object, without: str = "") -> tuple[int, str]:
        AcceleratorState._reset_state(reset_partial_state=True)
        flags = [flag for flag in arguments(folder, *more) if flag != without]
        monkeypatch.setattr("sys.argv", ["train.py", *flags])
        capsys.readouterr()
        status = train.main()
        return status, capsys.readouterr().err

    return call


def test_bfloat16_trains_with_gram_matrices_in_float32(
    store: str, train_here: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = set()

    def spied(activation: torch.Tensor) -> torch.Tensor:
        gram = original(activation)
        if activation.requires_grad:
            seen.add((activation.dtype, gram.dtype))
        return gram

    original = objective.gram_matrix
    monkeypatch.setattr(objective, "gram_matrix", spied)
    monkeypatch.setattr(train, "computed_precision", lambda wanted, cpu: wanted)  # emulated where it must be
    train_here("--mixed-precision", "bf16", "--iterations", 1)
    assert seen == {(torch.bfloat16, torch.float32)}
    client, run = only_run(store)
    (loss,) = curve(client, run, "loss/total")
    assert math.isfinite(loss)


def test_where_bfloat16_is_emulated_a_recipe_with_it_trains_in_float32(
    store: str,
    train_here: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: False)
    train_here("--mixed-precision", "bf16", "--iterations", 1)
    assert "no bfloat16: training in float32" in capsys.readouterr().out
    _, run = only_run(store)
    assert run.data.params["mixed_precision"] == "no"


def test_the_form_of_the_paper_trains(folder: Path, store: str, train_here: Callable[..., None]) -> None:
    paper = "--padding reflect-start --upsampling transposed --output tanh --normalization batch"
    train_here(*paper.split(), "--total-variation-weight", 10, "--iterations", 2)
    client, run = only_run(store)
    assert np.isfinite(curve(client, run, "loss/total")).all()
    assert run.data.metrics["loss/tv"] > 0
    model = StyleModel.load(folder / "runs" / "stripes" / "iterations-2.safetensors")
    assert (model.card.network.normalization, model.card.network.output) == ("batch", "tanh")
    assert Engine(model).stylize(torch.rand(3, 33, 47)).shape == (3, 33, 47)


def test_compiled_training_has_the_same_losses(store: str, train_here: Callable[..., None]) -> None:
    if not os.environ.get("STYLECORE_TEST_COMPILE"):
        pytest.skip("compiling takes a minute; STYLECORE_TEST_COMPILE=1 tests it")
    if not shutil.which(os.environ.get("CXX", "g++")):
        pytest.skip("there is no C++ compiler for torch.compile")
    train_here("--iterations", 2, "--run-name", "plain")
    train_here("--iterations", 2, "--run-name", "compiled", "--compile")
    client, runs = runs_of(store)
    plain, compiled = (curve(client, runs[name], "loss/total") for name in ("plain", "compiled"))
    assert compiled == pytest.approx(plain, rel=1e-3)


def test_a_trial_whose_evaluation_failed_repeats_it(store: str, train_here: Callable[..., None]) -> None:
    evaluated: list[int] = []

    def evaluate(tracker: JournaledTracker, network: TransformNet, iteration: int) -> None:
        evaluated.append(iteration)
        if evaluated == [1, 2]:
            raise StylecoreError("the disk is full.")

    flags = ("--iterations", 2, "--checkpoints", 1, "--resume", "auto")
    with pytest.raises(StylecoreError, match="full"):
        train_here(*flags, caller=Caller("", evaluate=evaluate))
    train_here(*flags, caller=Caller("", evaluate=evaluate))
    assert evaluated == [1, 2, 2]


def test_what_a_failing_store_missed_is_sent_later(
    folder: Path, store: str, train_here: Callable[..., None], capsys, caplog
) -> None:
    def failing(self: MlflowClient, *arguments: object, **named: object) -> object:
        raise MlflowException("Max retries exceeded with url")

    flags = ("--iterations", 3, "--checkpoints", 1, 2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MlflowClient, "create_logged_model", failing)
        train_here(*flags, "--end-seconds", 0.1)
    assert f"done; the checkpoints are in {folder}/runs/stripes.\n" in capsys.readouterr().out
    assert f"`python -m training.tracking sync {folder}/runs/stripes` sends them." in caplog.text
    assert not MlflowClient(store).search_registered_models()
    assert only_run(store)[1].info.status == "RUNNING"
    assert sync(folder / "runs" / "stripes") > 0
    client, run = only_run(store)
    assert run.info.status == "FINISHED"
    versions = {"iterations-1": 1, "iterations-2": 2, "iterations-3": 3, "champion": 3}
    assert client.get_registered_model("stripes").aliases == versions
    assert len(client.search_model_versions("name='stripes'")) == 3
    assert len(curve(client, run, "loss/total")) == 3


def test_a_diverged_run_stops_in_one_sentence_and_is_marked_failed(
    store: str, command_here: Callable[..., tuple[int, str]]
) -> None:
    status, error = command_here("--iterations", 50, "--learning-rate", 1e30)
    assert status == 2
    assert re.fullmatch(r"error: .*diverged.*\n", error)
    training = only_run(store)[1]
    assert training.info.status == "FAILED"
    assert "diverged" in training.data.tags["stop_reason"]
    assert not MlflowClient(store).search_registered_models()


def test_an_infinite_gradient_with_a_finite_loss_ends_the_run_before_the_step(
    folder: Path, store: str, train_here: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    norms = iter((1.0, 1.0, math.inf))
    monkeypatch.setattr(Accelerator, "clip_grad_norm_", lambda *_: torch.tensor(next(norms)))
    with pytest.raises(DivergedError, match="the gradient is no longer a number at iteration 3"):
        train_here("--iterations", 9, "--save-minutes", 0)
    states = sorted(path.name for path in (folder / "runs" / "stripes").glob("state-*"))
    assert states[-1] == "state-0000002.safetensors"
    assert only_run(store)[1].info.status == "FAILED"


def test_with_float16_all_processes_end_when_one_has_lost_its_loss() -> None:
    losses, infinite = {"loss/total": torch.tensor(1.0)}, torch.tensor(math.inf)
    for others in (0, 1):
        two = SimpleNamespace(
            num_processes=2,
            scaler=object(),
            device="cpu",
            reduce=lambda votes, _, others=others: votes + others,  # as if the other process had voted so
        )
        with pytest.raises(DivergedError) if others else nullcontext():
            _refuse_divergence(two, losses, infinite, 3)  # type: ignore[arg-type]


def test_a_full_disk_is_one_sentence_and_fails_the_run(
    store: str, command_here: Callable[..., tuple[int, str]], mount_disk: Callable[[str], Path]
) -> None:
    disk = mount_disk("size=600k")
    status, error = command_here("--output-dir", disk, "--iterations", 50, "--save-minutes", 0)
    assert status == 2
    assert re.fullmatch(f"error: cannot save the state of the run to {disk}/stripes/state-.*\n", error)
    kept = sorted(path.name[:7] for path in (disk / "stripes").iterdir())
    assert kept == ["journal", "state-0"]  # the last good one, nothing half
    training = only_run(store)[1]
    assert training.info.status == "FAILED"
    assert "No space left" in training.data.tags["stop_reason"]


def test_a_read_only_disk_is_one_sentence_before_the_run_begins(
    store: str, command_here: Callable[..., tuple[int, str]], mount_disk: Callable[[str], Path]
) -> None:
    status, error = command_here("--output-dir", mount_disk("ro"))
    assert status == 2
    assert "cannot be written (Read-only file system); choose another folder." in error
    assert MlflowClient(store).get_experiment_by_name("johnson") is None


def test_mistakes_are_one_sentence(
    folder: Path, store: str, command_here: Callable[..., tuple[int, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "empty").mkdir()
    for photos, sentence in (("nowhere", "there is no photo folder"), ("empty", "the photo folder")):
        status, error = command_here("--photos", folder / photos)
        assert status == 2
        assert re.fullmatch(f"error: {sentence}.*\n", error)
    monkeypatch.setenv("WORLD_SIZE", "2")  # launched by two, where neither looks for the other
    monkeypatch.setenv("ACCELERATE_USE_CPU", "false")
    status, error = command_here(without="--cpu")
    assert status == 2
    assert re.fullmatch("error: 2 processes.*\n", error)
