"""Training on two nodes: two network namespaces of this machine, joined by a virtual cable."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from forked import VGG_CACHE
from mlflow import MlflowClient

from training.config import REPOSITORY

ADDRESSES = ("10.213.7.1", "10.213.7.2")


@pytest.fixture
def nodes() -> Iterator[list[list[str]]]:
    """For each node what to put in front of a command to run it there."""
    if not shutil.which("ip") or not shutil.which("unshare"):
        pytest.skip("there is no ip (iproute2) or unshare (util-linux) to make namespaces with")
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
            made = subprocess.run(step.split(), capture_output=True, text=True)
            if made.returncode:
                pytest.skip(f"network namespaces cannot be made here: {made.stderr.strip()}")
        # A node is found by its host name; here that is its address, so that no name needs to be looked up.
        named = 'echo "$0" > /proc/sys/kernel/hostname && exec "$@"'
        yield [
            ["ip", "netns", "exec", name, "unshare", "--uts", "sh", "-c", named, address]
            for name, address in zip(names, ADDRESSES, strict=True)
        ]
    finally:
        for name in names:  # their cards go with them
            subprocess.run(["ip", "netns", "del", name], capture_output=True)


def test_two_nodes_train_one_network_and_leave_one_run(
    nodes: list[list[str]], photos: Path, new_store: Callable[[Path], str], tmp_path: Path
) -> None:
    flags = ["--name", "stripes", "--style-image", photos / "0.png", "--photos", photos]
    flags += ["--preview-photos", photos / "1.png", "--style-size", 48, "--crop", 32, "--width", 0.25]
    flags += ["--residual-blocks", 1, "--batch-size", 1, "--workers", 0, "--iterations", 3, "--log-every", 1, "--cpu"]
    flags += ["--evaluate-sizes"]  # none
    running = []
    store = new_store(tmp_path)
    for rank, inside in enumerate(nodes):
        launch = [sys.executable, "-m", "accelerate.commands.accelerate_cli", "launch", "--multi_gpu"]
        launch += ["--num_machines", 2, "--num_processes", 2, "--machine_rank", rank, "--main_process_port", 29500]
        launch += ["--main_process_ip", ADDRESSES[0], "--rdzv_backend", "c10d", "--mixed_precision", "no"]
        launch += ["--dynamo_backend", "no", "--num_cpu_threads_per_process", 1]
        launch += [REPOSITORY / "training" / "train.py", *flags]
        # A folder of its own: only the first process writes, so the nodes need share none.
        command = [*inside, *launch, "--output-dir", tmp_path / str(rank)]
        environment = {**os.environ, "STYLECORE_CACHE": str(VGG_CACHE), "MLFLOW_TRACKING_URI": store}
        running.append(
            subprocess.Popen(
                [str(part) for part in command],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                env=environment,
                start_new_session=True,
            )
        )
    try:
        outputs = [process.communicate(timeout=300)[0] for process in running]
    finally:
        for process in running:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    assert [process.returncode for process in running] == [0, 0], "\n".join(outputs)
    assert "".join(outputs).count("workflowType=machine_learning") == 1
    client = MlflowClient(store)
    (run,) = client.search_runs([client.get_experiment_by_name("johnson").experiment_id])
    assert run.info.status == "FINISHED"
    assert (run.data.tags["world_size"], run.data.params["global_batch_size"]) == ("2", "2")
    assert "--num_processes 2 --num_machines 2" in run.data.tags["mlflow.note.content"]
    assert len(client.get_metric_history(run.info.run_id, "loss/total")) == 3
    assert run.data.metrics["data/images_seen"] == 6
    kept = [path.parent.parent.name for path in tmp_path.glob("*/stripes/iterations-3.safetensors")]
    assert len(kept) == 1
