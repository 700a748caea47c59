"""Training as its user runs it: real processes, real VGG-16 weights, small photos and a thin network."""

import io
import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import datasets
import pytest
import torch
from forked import VGG_CACHE, Running
from PIL import Image
from safetensors.torch import load_file
from train_script import PHOTOS, arguments, curve, folder, only_run, photo, runs_of, start, train_here, vgg16  # noqa: F401 - fixtures

from stylecore.inference.engine import Engine
from stylecore.johnson.style_model import StyleModel
from training import train as train_module
from training.config import REPOSITORY
from training.tracking.folders import sync

pytestmark = pytest.mark.slow

RELATIVE = [
    *("--style-normalization", "relative", "--content-normalization", "relative", "--loss-scales", "1", "2"),
    *("--style-weight", "1", "--content-weight", "1", "--input-noise", "0.05", "--steadiness-weight", "10"),
    *("--steadiness-every", "3", "--bias-rate", "2"),
]
"""All that the objective can have beside what the paper has."""


def weights(folder: Path, run: str, iterations: int) -> dict[str, torch.Tensor]:
    return load_file(folder / "runs" / run / f"iterations-{iterations}.safetensors")


def test_a_launched_run_ends_with_curves_pictures_and_a_registered_style(folder: Path, store: str) -> None:
    (folder / "photos" / "broken.jpg").write_bytes(b"no picture")
    launch = [sys.executable, "-m", "accelerate.commands.accelerate_cli", "launch", "--multi_gpu"]
    launch += ["--num_processes", "2", "--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"]
    launch += ["--main_process_port", "0", "--num_cpu_threads_per_process", "1"]
    flags = arguments(
        folder, "--iterations", 4, "--checkpoints", 2, "--batch-size", 1, "--evaluate-sizes", 32, "--judge-sizes"
    )
    command = [*launch, str(REPOSITORY / "training" / "train.py"), *flags]
    environment = {**os.environ, "STYLECORE_CACHE": str(VGG_CACHE)}
    ended = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stdout.count("workflowType=machine_learning") == 1
    assert "registered as stripes: version 1 (2 iterations), version 2 (4 iterations)" in ended.stdout

    client, run = only_run(store)
    assert run.info.status == "FINISHED"
    assert run.data.params["style_weight"] == "1.0"
    assert (run.data.tags["world_size"], run.data.tags["device"]) == ("2", "cpu")
    assert {"git_commit", "git_dirty", "torch", "torchvision", "accelerate", "datasets"} <= run.data.tags.keys()
    (dataset,) = (entry.dataset for entry in run.inputs.dataset_inputs)
    assert json.loads(dataset.source) == {"uri": str(folder / "photos")}
    assert json.loads(dataset.profile) == {"photos": str(PHOTOS + 1)}

    totals = client.get_metric_history(run.info.run_id, "loss/total")
    assert [point.step for point in totals] == [1, 2, 3, 4]
    last = run.data.metrics
    assert last["loss/total"] == pytest.approx(last["loss/content"] + last["loss/style"] + last["loss/tv"])
    layers = sum(value for name, value in last.items() if name.startswith("loss/style/"))
    assert last["loss/style"] == pytest.approx(layers)
    assert last["data/images_seen"] == 8  # more than an epoch: one of the two has met the broken file
    assert last["data/unreadable_files"] == 1
    assert f"another photo replaces one that cannot be read: {folder}/photos/broken.jpg\n" in ended.stdout

    images = [file.path for file in client.list_artifacts(run.info.run_id, "images")]
    assert {step for step in range(5) if any(f"+step+{step}+" in image for image in images)} == {0, 2, 4}
    assert [file.path for file in client.list_artifacts(run.info.run_id, "style")] == ["style/picture.jpg"]
    note = run.data.tags["mlflow.note.content"]
    assert "accelerate launch --num_processes 2 --num_machines 1 --multi_gpu" in note
    assert f"training/train.py --name stripes --style-image {folder}/style.png" in note
    assert f"](get-artifact?path=style%2Fpicture.jpg&run_uuid={run.info.run_id})" in note

    assert "stripes, 2 iterations, mean of 1 photos" in ended.stdout
    evaluated = client.get_metric_history(run.info.run_id, "eval/equivalent_gatys_iterations_32")
    assert sorted(point.step for point in evaluated) == [2, 4]
    assert last["eval/total_32"] == pytest.approx(
        last["eval/content_32"] + last["eval/style_32"] + last["eval/tv_32"], rel=1e-5
    )
    style = client.get_registered_model("stripes")
    assert style.aliases == {"iterations-2": 1, "iterations-4": 2, "champion": 2}
    model = StyleModel.load(folder / "runs" / "stripes" / "iterations-4.safetensors")
    assert model.card.training["crop"] == 32
    assert model.card.losses["loss/total"] == pytest.approx(last["loss/total"])
    assert Engine(model).stylize(torch.rand(3, 33, 47)).shape == (3, 33, 47)


@pytest.mark.parametrize(("processes", "streamed"), [(1, False), (2, True)])
def test_a_killed_run_resumes_as_if_nothing_had_happened(
    folder: Path, store: str, start: Callable[..., Running], processes: int, streamed: bool
) -> None:
    flags: list[object] = ["--iterations", 8, "--checkpoints", 1, 8, "--batch-size", 1, *RELATIVE]
    if streamed:
        rows = []
        for index in range(20):
            content = io.BytesIO()
            photo(index).save(content, "PNG")
            rows.append({"bytes": content.getvalue(), "path": f"{index}.png"})
        images = datasets.Dataset.from_dict({"image": rows}).cast_column("image", datasets.Image())
        (folder / "dataset").mkdir()
        for part in range(2):
            images.shard(2, part).to_parquet(folder / "dataset" / f"{part}.parquet")
        flags += ["--photos", folder / "dataset", "--streaming"]
    else:
        flags += ["--gradient-accumulation", 2]
    start(*flags, "--run-name", "straight", processes=processes).wait()
    flags += ["--run-name", "killed", "--save-minutes", 0]
    running = start(*flags, processes=processes)
    step = random.Random(processes).randint(2, 5)
    running.wait_for(folder / "runs" / "killed" / f"state-{step:07d}.safetensors")
    running.kill()
    start(*flags, "--resume", "auto", processes=processes).wait()
    straight, killed = weights(folder, "straight", 8), weights(folder, "killed", 8)
    assert straight.keys() == killed.keys()
    assert all(torch.equal(straight[name], killed[name]) for name in straight)
    first = weights(folder, "straight", 1)
    assert not all(torch.equal(straight[name], first[name]) for name in straight)
    client, runs = runs_of(store)  # the resumed one went on in its own run
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
    assert curve(client, runs["straight"], "loss/total")[-1] == curve(client, runs["killed"], "loss/total")[-1]
    assert len(client.search_model_versions("name='stripes'")) == 4
    if processes == 1:
        assert "already holds a run" in start(*flags).wait(2)
        assert "2 photos an iteration" in start(*flags, "--resume", "auto", "--batch-size", 2).wait(2)


@pytest.mark.parametrize(
    ("number", "group", "processes", "workers"),
    [(signal.SIGTERM, False, 1, 0), (signal.SIGINT, True, 1, 2), (signal.SIGTERM, True, 2, 1)],
)
def test_a_signal_saves_the_state_and_marks_the_run_killed(
    folder: Path,
    store: str,
    start: Callable[..., Running],
    number: signal.Signals,
    group: bool,
    processes: int,
    workers: int,
) -> None:
    running = start("--iterations", 100000, "--checkpoints", 1, "--workers", workers, processes=processes)
    running.wait_for(folder / "runs" / "stripes" / "state-0000001.safetensors")
    running.send(number, group=group)
    output = running.wait(143)
    assert "--resume auto" in output
    assert "Traceback" not in output
    assert sorted((folder / "runs" / "stripes").glob("state-*"))[-1].name > "state-0000001.safetensors"
    sync(folder / "runs" / "stripes")  # a stopped run does not wait long for its store
    assert only_run(store)[1].info.status == "KILLED"


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


def test_two_processes_and_accumulation_train_as_one_with_the_double_batch(
    store: str, start: Callable[..., Running]
) -> None:
    start("--iterations", 3, "--run-name", "one").wait()
    start("--iterations", 3, "--run-name", "two", "--batch-size", 1, processes=2).wait()
    start("--iterations", 3, "--run-name", "twice", "--batch-size", 1, "--gradient-accumulation", 2).wait()
    # Not the weights: a bias before a normalization has no gradient but rounding, which Adam magnifies.
    client, runs = runs_of(store)
    assert {run.data.params["global_batch_size"] for run in runs.values()} == {"2"}
    for metric in ("loss/total", "loss/content", "opt/gradient_norm", "data/images_seen"):
        one = curve(client, runs["one"], metric)
        assert len(one) == 3
        assert curve(client, runs["two"], metric) == pytest.approx(one, rel=1e-3)
        assert curve(client, runs["twice"], metric) == pytest.approx(one, rel=1e-3)


def test_training_goes_on_from_a_trained_style(folder: Path, store: str, start: Callable[..., Running]) -> None:
    for path in sorted((folder / "photos").iterdir())[1:]:
        path.unlink()
    half = photo(3).resize((30, 60))
    whole = Image.new("RGB", (60, 60))
    whole.paste(half, (0, 0))
    whole.paste(half.transpose(Image.Transpose.FLIP_LEFT_RIGHT), (30, 0))
    whole.save(folder / "photos" / "0.png")  # one photo, whole, and its own mirror image: all batches are equal
    same = ("--smallest-crop", 1, "--seed", 5)
    start(*same, "--run-name", "first", "--iterations", 3, "--checkpoints", 2).wait()
    file = folder / "runs" / "first" / "iterations-2.safetensors"
    start(*same, "--seed", 6, "--run-name", "file", "--iterations", 1, "--init-from", file).wait()
    address = "models:/stripes@iterations-2"
    start(*same, "--seed", 7, "--run-name", "address", "--iterations", 1, "--init-from", address).wait()
    client, runs = runs_of(store)
    losses = curve(client, runs["first"], "loss/total")
    assert losses[2] < 0.999 * losses[1]
    for name in ("file", "address"):
        assert curve(client, runs[name], "loss/total") == pytest.approx(losses[2:], rel=1e-5)
    refused = start("--run-name", "other", "--init-from", file, "--residual-blocks", 2).wait(2)
    assert "network of another form" in refused


def test_a_network_of_another_form_learns_from_a_teacher(
    folder: Path, store: str, train_here: Callable[..., None]
) -> None:
    train_here("--run-name", "teacher", "--iterations", 1)
    file = folder / "runs" / "teacher" / "iterations-1.safetensors"
    teacher_alone = ("--content-weight", 0, "--style-weight", 0, "--teacher", file)
    train_here("--run-name", "itself", "--iterations", 1, *teacher_alone, "--init-from", file)
    student = (*teacher_alone, "--residual-blocks", 2, "--learning-rate", 1e-3, "--iterations", 15)
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
    assert StyleModel.load(folder / "runs" / "student" / "iterations-15.safetensors").card.training["teacher"]
