"""Registered styles for tests, without training."""

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
import torch
from tracked_runs import log_style, start_run

from stylecore.pictures.write import to_image
from training.registry.registry import Registry
from training.registry.versions import log_preview
from training.tracking import JournaledTracker


def train(
    tiny_style, run_name: str = "waves-a", style: str = "tiny_waves", steps=(10, 20), uri: str | None = None
) -> JournaledTracker:
    """What a training run leaves behind, without training."""
    run = start_run(
        run_name=run_name,
        params={"style_weight": 1e10, "seed": 7},
        tags={"git_commit": "abc"},
        note="a *note*",
        note_image=to_image(torch.rand(3, 8, 12)),
        dataset={"name": "photos", "source": "/data/photos"},
        tracking_uri=uri,
    )
    for step in range(max(steps) + 1):
        run.log({"loss/total": 1 / (step + 3), "opt/lr": 1e-3}, step)
    for step in (0, *steps):
        log_preview(run, "amber", torch.full((3, 8, 12), step / 40), step)
    for step in steps:
        log_style(run, tiny_style(style, step), step, {"eval/total": 1 / step})
    run.finish()
    return run


def train_two_styles(uri: str, tiny_style) -> Registry:
    """tiny_waves with two versions, the first of them promoted, and tiny_stars with one."""
    train(tiny_style, uri=uri)
    Registry(uri).promote("tiny_waves", "1")
    train(tiny_style, uri=uri, run_name="stars-a", style="tiny_stars", steps=(10,))
    return Registry(uri)


def copy_store(store: str, copy: str) -> None:
    """Replace a store by a copy of another one, whose files are copies, too: training again takes longer."""
    source, target = (Path(uri.removeprefix("sqlite:///")).parent for uri in (store, copy))
    shutil.copytree(source, target, dirs_exist_ok=True)
    with closing(sqlite3.connect(target / "mlflow.db")) as database, database:
        for (table,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            for _, column, kind, *_ in database.execute(f"PRAGMA table_info({table})").fetchall():
                if kind.startswith(("VARCHAR", "TEXT")):
                    database.execute(
                        f"UPDATE {table} SET {column} = replace({column}, ?, ?) WHERE instr({column}, ?)",
                        (str(source), str(target), str(source)),
                    )


@pytest.fixture(scope="module")
def registry(new_store: Callable[[Path], str], tmp_path_factory: pytest.TempPathFactory, tiny_style) -> Registry:
    """Two styles, for tests that only read."""
    return train_two_styles(new_store(tmp_path_factory.mktemp("registry")), tiny_style)


@pytest.fixture
def own_registry(registry: Registry, store: str) -> Registry:
    """Two styles, for tests that change something."""
    copy_store(registry.tracking_uri, store)
    return Registry(store)
