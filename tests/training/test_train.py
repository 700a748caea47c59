"""The training script as its user runs it: real processes, real VGG-16 weights, small photos and a thin network."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from mlflow import MlflowClient
from mlflow.entities import Run
from PIL import Image
from safetensors.torch import load_file

from stylecore.engine import Engine
from stylecore.errors import StylecoreError
from stylecore.style_model import StyleModel
from stylecore.vgg_weights import default_cache, find_weights
from training.config import REPOSITORY

VGG_CACHE = default_cache()  # the user's own: converting the weights takes seconds


@pytest.fixture(scope="module", autouse=True)
def _vgg16() -> None:
    try:
        find_weights("vgg16", cache_dir=VGG_CACHE)
    except StylecoreError as error:
        pytest.skip(f"VGG-16's weights are not here: {error}")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    photos = tmp_path / "photos"
    photos.mkdir()
    for index in range(6):
        coarse = Image.fromarray(random.integers(0, 255, (6, 8, 3), dtype=np.uint8))
        coarse.resize((80, 60), Image.Resampling.BICUBIC).save(photos / f"{index}.png")
    coarse.resize((64, 48)).save(tmp_path / "style.png")
    return tmp_path


def arguments(folder: Path, *more: str) -> list[str]:
    flags = {
        "--name": "stripes",
        "--style-image": folder / "style.png",
        "--photos": folder / "photos",
        "--output-dir": folder / "runs",
        "--preview-photos": folder / "photos" / "0.png",
        "--width": 0.25,
        "--residual-blocks": 1,
        "--style-size": 48,
        "--crop": 32,
        "--batch-size": 2,
        "--workers": 0,
        "--log-every": 1,
    }
    return [str(part) for pair in flags.items() for part in pair] + ["--cpu", *more]


def launch(flags: list[str], *, accelerate: list[str] | None = None) -> subprocess.Popen[str]:
    script = str(REPOSITORY / "training" / "train.py")
    launcher = ["-m", "accelerate.commands.accelerate_cli", "launch", *accelerate] if accelerate else []
    return subprocess.Popen(
        [sys.executable, *launcher, script, *flags],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "STYLECORE_CACHE": str(VGG_CACHE), "OMP_NUM_THREADS": "1"},
    )


def run(flags: list[str], *, accelerate: list[str] | None = None, status: int = 0) -> str:
    process = launch(flags, accelerate=accelerate)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == status, output
    return output


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while not path.exists():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.02)


def only_run(store: str) -> tuple[MlflowClient, Run]:
    client = MlflowClient(store)
    (run,) = client.search_runs([client.get_experiment_by_name("johnson").experiment_id])
    return client, run


def test_a_launched_run_ends_with_curves_pictures_and_a_registered_style(folder: Path, store: str) -> None:
    one = ["--num_processes", "1", "--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"]
    output = run(arguments(folder, "--iterations", "3", "--checkpoints", "2"), accelerate=one)
    assert "workflowType=machine_learning" in output
    client, training = only_run(store)
    assert training.info.status == "FINISHED"
    assert training.data.params["style_weight"] == "5000000000.0"
    assert training.data.tags["world_size"] == "1"
    totals = client.get_metric_history(training.info.run_id, "loss/total")
    assert [point.step for point in totals] == [1, 2, 3]
    last = training.data.metrics
    assert last["loss/total"] == pytest.approx(last["loss/content"] + last["loss/style"] + last["loss/tv"])
    layers = sum(value for name, value in last.items() if name.startswith("loss/style/"))
    assert last["loss/style"] == pytest.approx(layers)
    assert last["data/images_seen"] == 6
    images = [file.path for file in client.list_artifacts(training.info.run_id, "images")]
    assert {step for step in (0, 2, 3) if any(f"+step+{step}+" in image for image in images)} == {0, 2, 3}

    style = client.get_registered_model("stripes")
    assert style.aliases == {"iterations-2": 1, "iterations-3": 2, "champion": 2}
    model = StyleModel.load(folder / "runs" / "stripes" / "iterations-3.safetensors")
    assert model.card.training["crop"] == 32
    assert model.card.losses["loss/total"] == pytest.approx(last["loss/total"])
    assert Engine(model).stylize(torch.rand(3, 33, 47)).shape == (3, 33, 47)


def test_a_killed_run_resumes_as_if_nothing_had_happened(folder: Path, store: str) -> None:
    run(arguments(folder, "--iterations", "6", "--run-name", "straight"))
    flags = arguments(folder, "--iterations", "6", "--run-name", "killed", "--save-minutes", "0")
    process = launch(flags)
    wait_for(folder / "runs" / "killed" / "state-0000003.safetensors", process)
    process.kill()
    process.wait()
    run([*flags, "--resume", "auto"])
    straight, killed = (
        load_file(folder / "runs" / name / "iterations-6.safetensors") for name in ("straight", "killed")
    )
    assert straight.keys() == killed.keys()
    assert all(torch.equal(straight[name], killed[name]) for name in straight)
    client = MlflowClient(store)
    experiment = client.get_experiment_by_name("johnson").experiment_id
    assert len(client.search_runs([experiment])) == 2  # the resumed one went on in its own run
    assert "already holds a run" in run(flags, status=2)


def test_sigterm_saves_the_state_and_marks_the_run_killed(folder: Path, store: str) -> None:
    process = launch(arguments(folder, "--iterations", "100000"))
    deadline = time.monotonic() + 120
    while not (process.stdout and "iteration" in process.stdout.readline()):
        assert time.monotonic() < deadline
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 143, output
    assert "--resume auto" in output
    assert list((folder / "runs" / "stripes").glob("state-*.safetensors"))
    assert only_run(store)[1].info.status == "KILLED"


def test_two_processes_train_as_one_with_the_double_batch(folder: Path, store: str) -> None:
    two = ["--multi_gpu", "--num_processes", "2", "--num_machines", "1", "--mixed_precision", "no"]
    two += ["--dynamo_backend", "no", "--main_process_port", "0", "--num_cpu_threads_per_process", "1"]
    run(arguments(folder, "--iterations", "2", "--batch-size", "1", "--run-name", "two"), accelerate=two)
    assert only_run(store)[1].data.tags["world_size"] == "2"
    run(arguments(folder, "--iterations", "2", "--run-name", "one"))
    # Not the weights: a bias before a normalization has no gradient but rounding, which Adam magnifies.
    client = MlflowClient(store)
    runs = client.search_runs([client.get_experiment_by_name("johnson").experiment_id])
    for metric in ("loss/total", "opt/gradient_norm"):
        one, both = ([point.value for point in client.get_metric_history(r.info.run_id, metric)] for r in runs)
        assert one == pytest.approx(both, rel=1e-3)

    refused = run([flag for flag in arguments(folder) if flag != "--cpu"], accelerate=two, status=1)
    assert "would train by itself" in refused


def test_a_diverged_run_stops_in_one_sentence_and_is_marked_failed(folder: Path, store: str) -> None:
    output = run(arguments(folder, "--iterations", "50", "--learning-rate", "1e30"), status=2)
    assert "diverged" in output
    assert "Traceback" not in output
    training = only_run(store)[1]
    assert training.info.status == "FAILED"
    assert "diverged" in training.data.tags["stop_reason"]
    assert not MlflowClient(store).search_registered_models()


def test_mistakes_are_one_sentence(folder: Path, store: str) -> None:
    output = run(arguments(folder, "--photos", str(folder / "nowhere")), status=2)
    assert output.strip().splitlines()[-1].startswith("train.py: there is no photo folder")
    assert "Traceback" not in output
