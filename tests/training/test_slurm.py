"""The Slurm batch file, with stand-ins for what Slurm and accelerate would do."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from training.config import REPOSITORY

BATCH_FILE = REPOSITORY / "training" / "slurm.sh"
PROGRAMS = {
    "scontrol": 'printf "node-a\\nnode-b\\n"',
    "srun": 'while [[ $1 == --* ]]; do shift; done; for SLURM_NODEID in 0 1; do export SLURM_NODEID; "$@"; done',
    "accelerate": 'printf "<%s> " "$@"; echo',
}


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    if not shutil.which("bash"):
        pytest.skip("there is no bash")
    for name, script in PROGRAMS.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{script}\n")
        (tmp_path / name).chmod(0o755)
    slurm = {"SLURM_SUBMIT_DIR": str(tmp_path), "SLURM_JOB_NODELIST": "node-[a-b]", "SLURM_JOB_NUM_NODES": "2"}
    slurm |= {"SLURM_GPUS_ON_NODE": "4", "SLURM_JOB_ID": "1234567"}
    return {**os.environ, **slurm, "PATH": f"{tmp_path}:{os.environ['PATH']}"}


def test_every_node_launches_its_part_of_one_resumable_run(environment: dict[str, str]) -> None:
    command = ["bash", str(BATCH_FILE), "--photos", "/data/two words"]
    nodes = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.splitlines()
    assert len(nodes) == 2
    for rank, line in enumerate(nodes):
        assert line.startswith("<launch> <--multi_gpu> <--num_machines> <2> <--num_processes> <8> ")
        assert "<--main_process_ip> <node-a> <--main_process_port> <34567> " in line
        assert "<--max_restarts> <3> " in line
        end = f"<--machine_rank> <{rank}> <training/train.py> <--resume> <auto> <--photos> </data/two words> "
        assert line.endswith(end)


def test_a_job_without_gpus_is_one_sentence(environment: dict[str, str]) -> None:
    del environment["SLURM_GPUS_ON_NODE"]
    ended = subprocess.run(["bash", str(BATCH_FILE)], env=environment, capture_output=True, text=True)
    assert ended.returncode != 0
    assert "ask for them with --gpus-per-node" in ended.stderr
    assert ended.stdout == ""


def test_shellcheck_has_nothing_to_say() -> None:
    if not shutil.which("shellcheck"):
        pytest.skip("there is no shellcheck")
    subprocess.run(["shellcheck", str(BATCH_FILE)], check=True)
