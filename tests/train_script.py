"""Small trainings for tests: six photos, a thin network, VGG-16 or a smaller VGG, in this process or in others."""

import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import forked
import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState
from forked import VGG_CACHE, Running
from mlflow import MlflowClient
from mlflow.entities import Run
from PIL import Image
from safetensors.torch import load_file

from stylecore.errors import StylecoreError
from stylecore.vgg.weights import find_weights
from tests.small_vgg import small_vgg
from training import train as train_module
from training.checkpoints import Caller
from training.config import parse_config

PHOTOS = 6
RELATIVE = [
    *("--style-normalization", "relative", "--content-normalization", "relative", "--loss-scales", "1", "2"),
    *("--style-weight", "1", "--content-weight", "1", "--input-noise", "0.05", "--steadiness-weight", "10"),
    *("--steadiness-every", "3", "--bias-rate", "2"),
]
"""All that the objective can have beside what the paper has."""


@pytest.fixture(scope="module", autouse=True)
def vgg16() -> None:
    try:
        find_weights("vgg16")
    except StylecoreError as error:
        pytest.skip(f"VGG-16's weights are not here: {error}")


@pytest.fixture
def small_vgg16(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trainings in this process have the layers of VGG-16 with fewer channels, and need no weights."""
    monkeypatch.setattr(train_module, "find_weights", lambda *_, **__: SimpleNamespace(source="small"))
    monkeypatch.setattr(train_module, "load_vgg", lambda *_, **__: small_vgg("D"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_folder(tmp_path)


def make_folder(folder: Path) -> Path:
    """Put the photos and a painting into a folder."""
    photos = folder / "photos"
    photos.mkdir()
    for index in range(PHOTOS):
        photo(index).save(photos / f"{index}.png")
    photo(0).save(folder / "style.png")
    return folder


def photo(index: int) -> Image.Image:
    coarse = np.random.default_rng(index).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((80, 60), Image.Resampling.BICUBIC)


def arguments(folder: Path, *more: object) -> list[str]:
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
    # The evaluation has tests of its own.
    return [str(part) for pair in flags.items() for part in pair] + [
        "--cpu",
        "--evaluate-sizes",
        *map(str, more),
    ]


@pytest.fixture
def start(folder: Path) -> Iterator[Callable[..., Running]]:
    """Starts train.py with the arguments above and these; what a failed test leaves running is killed."""
    started: list[Running] = []

    def start(*more: object, processes: int = 1) -> Running:
        output = folder / f"output-{len(started)}.txt"
        started.append(forked.start(arguments(folder, *more), output, processes=processes))
        return started[-1]

    yield start
    for running in started:
        running.kill()


@pytest.fixture
def train_here(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Calls `train` in this process, for tests that look into it or break something in it."""
    monkeypatch.setenv("STYLECORE_CACHE", str(VGG_CACHE))

    find = functools.cache(train_module.find_weights)  # it takes as long as two iterations
    monkeypatch.setattr(train_module, "find_weights", find)

    def call(*more: object, caller: Caller | None = None) -> None:
        AcceleratorState._reset_state(reset_partial_state=True)
        config, resume = parse_config(arguments(folder, *more))
        train_module.train(config, resume=resume == "auto", caller=caller)

    yield call
    AcceleratorState._reset_state(reset_partial_state=True)


def runs_of(store: str) -> tuple[MlflowClient, dict[str, Run]]:
    client = MlflowClient(store)
    found = client.search_runs([client.get_experiment_by_name("johnson").experiment_id])
    assert len({run.info.run_name for run in found}) == len(found)
    return client, {run.info.run_name: run for run in found}


def only_run(store: str) -> tuple[MlflowClient, Run]:
    client, runs = runs_of(store)
    (run,) = runs.values()
    return client, run


def curve(client: MlflowClient, run: Run, metric: str) -> list[float]:
    history = client.get_metric_history(run.info.run_id, metric)
    return [point.value for point in sorted(history, key=lambda point: point.step)]


def weights(folder: Path, run: str, iterations: int) -> dict[str, torch.Tensor]:
    return load_file(folder / "runs" / run / f"iterations-{iterations}.safetensors")


def check_it_ended_as_the_straight_run(folder: Path, store: str, name: str) -> None:
    """A run that was interrupted has, bit for bit, the network of the one that was not, in its own run of MLflow."""
    straight, resumed = weights(folder, "straight", 6), weights(folder, name, 6)
    assert straight.keys() == resumed.keys()
    assert all(torch.equal(straight[key], resumed[key]) for key in straight)
    first = weights(folder, "straight", 1)
    assert not all(torch.equal(straight[key], first[key]) for key in straight)
    client, runs = runs_of(store)
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
    assert curve(client, runs["straight"], "loss/total")[-1] == curve(client, runs[name], "loss/total")[-1]
    assert len(client.search_model_versions("name='stripes'")) == 4
