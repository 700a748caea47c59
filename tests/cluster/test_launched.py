"""`accelerate launch` as its user calls it: one training on two nodes, with everything that it leaves.

The nodes are two network namespaces of this machine, joined by a virtual cable. Where these cannot be made, it is one
node with two processes.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from forked import VGG_CACHE, free_port
from mlflow import MlflowClient
from mlflow.entities import Run
from train_script import PHOTOS, arguments, make_folder, only_run, vgg16  # noqa: F401 - a fixture

from stylecore.inference.engine import Engine
from stylecore.johnson.style_model import StyleModel
from training.config import REPOSITORY

ADDRESSES = ("10.213.7.1", "10.213.7.2")


@pytest.fixture(scope="module")
def nodes() -> Iterator[list[list[str]]]:
    """For each node what to put in front of a command to run it there; one node if there cannot be two."""
    if not shutil.which("ip") or not shutil.which("unshare"):
        yield [[]]
        return
    names = [f"stylecore-{os.getpid()}-{rank}" for rank in range(2)]
    cards = [f"sc{os.getpid()}-{rank}" for rank in range(2)]
    steps = [f"ip netns add {name}" for name in names]
    steps += [f"ip link add {cards[0]} netns {names[0]} type veth peer name {cards[1]} netns {names[1]}"]
    for name, card, address in zip(names, cards, ADDRESSES, strict=True):
        inside = f"ip -netns {name}"
        steps += [f"{inside} addr add {address}/24 dev {card}", f"{inside} link set {card} up"]
        steps += [f"{inside} link set lo up"]
    try:
        for step in steps:
            if subprocess.run(step.split(), capture_output=True).returncode:
                yield [[]]
                return
        # A node is found by its host name; here that is its address, so that no name needs to be looked up.
        named = 'echo "$0" > /proc/sys/kernel/hostname && exec "$@"'
        yield [
            ["ip", "netns", "exec", name, "unshare", "--uts", "sh", "-c", named, address]
            for name, address in zip(names, ADDRESSES, strict=True)
        ]
    finally:
        for name in names:  # their cards go with them
            subprocess.run(["ip", "netns", "del", name], capture_output=True)


@dataclass
class Launched:
    """A training that has ended: its folder, what it printed, and its run."""

    folder: Path
    output: str
    client: MlflowClient
    run: Run
    nodes: int


@pytest.fixture(scope="module")
def launched(
    nodes: list[list[str]], new_store: Callable[[Path], str], tmp_path_factory: pytest.TempPathFactory
) -> Launched:
    """Four iterations of two processes with one photo each; a file among the photos is none."""
    folder = make_folder(tmp_path_factory.mktemp("launched"))
    (folder / "photos" / "broken.jpg").write_bytes(b"no picture")
    flags = arguments(
        folder, "--iterations", 4, "--checkpoints", 2, "--batch-size", 1, "--evaluate-sizes", 32, "--judge-sizes"
    )
    store = new_store(folder)
    more = {"STYLECORE_CACHE": str(VGG_CACHE), "MLFLOW_TRACKING_URI": store, "XDG_STATE_HOME": str(folder / "state")}
    running = []
    for rank, inside in enumerate(nodes):
        launch = [sys.executable, "-m", "accelerate.commands.accelerate_cli", "launch", "--multi_gpu"]
        launch += ["--num_machines", len(nodes), "--num_processes", 2, "--mixed_precision", "no"]
        launch += ["--dynamo_backend", "no", "--num_cpu_threads_per_process", 1]
        if len(nodes) > 1:
            launch += ["--machine_rank", rank, "--main_process_ip", ADDRESSES[0], "--main_process_port", 29500]
            launch += ["--rdzv_backend", "c10d"]
        else:
            launch += ["--main_process_port", free_port()]
        # A folder of its own: only the first process writes, so the nodes need share none.
        command = [*inside, *launch, REPOSITORY / "training" / "train.py", *flags, "--output-dir", folder / str(rank)]
        running.append(
            subprocess.Popen(
                [str(part) for part in command],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                env=os.environ | more,
                start_new_session=True,
            )
        )
    try:
        outputs = [process.communicate(timeout=300)[0] for process in running]
    finally:
        for process in running:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    assert [process.returncode for process in running] == [0] * len(nodes), "\n".join(outputs)
    return Launched(folder, "".join(outputs), *only_run(store), len(nodes))


def test_two_nodes_train_one_network_and_leave_one_run(launched: Launched) -> None:
    run = launched.run
    assert run.info.status == "FINISHED"
    assert launched.output.count("workflowType=machine_learning") == 1
    assert (run.data.tags["world_size"], run.data.params["global_batch_size"]) == ("2", "2")
    assert len(list(launched.folder.glob("*/stripes/iterations-4.safetensors"))) == 1
    note = run.data.tags["mlflow.note.content"]
    assert f"accelerate launch --num_processes 2 --num_machines {launched.nodes} --multi_gpu" in note
    if launched.nodes == 1:
        pytest.skip("network namespaces cannot be made here: it was one node with two processes")


def test_the_run_says_what_it_was_made_of(launched: Launched) -> None:
    folder, run = launched.folder, launched.run
    assert run.data.params["style_weight"] == "1.0"
    assert run.data.tags["device"] == "cpu"
    assert {"git_commit", "git_dirty", "torch", "torchvision", "accelerate", "datasets"} <= run.data.tags.keys()
    (dataset,) = (entry.dataset for entry in run.inputs.dataset_inputs)
    assert json.loads(dataset.source) == {"uri": str(folder / "photos")}
    assert json.loads(dataset.profile) == {"photos": str(PHOTOS + 1)}
    note = run.data.tags["mlflow.note.content"]
    assert f"training/train.py --name stripes --style-image {folder}/style.png" in note
    assert f"](get-artifact?path=style%2Fpicture.jpg&run_uuid={run.info.run_id})" in note
    style = launched.client.list_artifacts(run.info.run_id, "style")
    assert [file.path for file in style] == ["style/picture.jpg"]


def test_its_curves_add_up_and_its_pictures_are_there(launched: Launched) -> None:
    client, run = launched.client, launched.run
    totals = client.get_metric_history(run.info.run_id, "loss/total")
    assert [point.step for point in totals] == [1, 2, 3, 4]
    last = run.data.metrics
    assert last["loss/total"] == pytest.approx(last["loss/content"] + last["loss/style"] + last["loss/tv"])
    layers = sum(value for name, value in last.items() if name.startswith("loss/style/"))
    assert last["loss/style"] == pytest.approx(layers)
    images = [file.path for file in client.list_artifacts(run.info.run_id, "images")]
    assert {step for step in range(5) if any(f"+step+{step}+" in image for image in images)} == {0, 2, 4}


def test_a_photo_that_cannot_be_read_is_named_and_counted(launched: Launched) -> None:
    assert launched.run.data.metrics["data/images_seen"] == 8  # more than an epoch: one of the two has met the file
    assert launched.run.data.metrics["data/unreadable_files"] == 1
    sentence = f"another photo replaces one that cannot be read: {launched.folder}/photos/broken.jpg\n"
    assert sentence in launched.output


def test_its_checkpoints_are_evaluated_and_registered(launched: Launched) -> None:
    assert "registered as stripes: version 1 (2 iterations), version 2 (4 iterations)" in launched.output
    assert "stripes, 2 iterations, mean of 1 photos" in launched.output
    client, last = launched.client, launched.run.data.metrics
    evaluated = client.get_metric_history(launched.run.info.run_id, "eval/equivalent_gatys_iterations_32")
    assert sorted(point.step for point in evaluated) == [2, 4]
    assert last["eval/total_32"] == pytest.approx(
        last["eval/content_32"] + last["eval/style_32"] + last["eval/tv_32"], rel=1e-5
    )
    assert client.get_registered_model("stripes").aliases == {"iterations-2": 1, "iterations-4": 2, "champion": 2}
    (file,) = launched.folder.glob("*/stripes/iterations-4.safetensors")
    model = StyleModel.load(file)
    assert model.card.training["crop"] == 32
    assert model.card.losses["loss/total"] == pytest.approx(last["loss/total"])
    assert Engine(model).stylize(torch.rand(3, 33, 47)).shape == (3, 33, 47)
