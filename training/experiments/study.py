"""The study of a search: its settings, and the database that the workers of several machines share."""

import dataclasses
import json
import os
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import optuna
from optuna.storages import RDBStorage, RetryHeartbeatStaleTrialCallback
from sqlalchemy import create_engine, text
from sqlalchemy.exc import SQLAlchemyError

from stylecore.errors import StylecoreError
from stylecore.flags import check_limits, flag_of, setting
from training.config import TrainConfig
from training.tracking import database_address
from training.tracking.environment import LOCAL_STORE, tracking_uri_of, without_password
from training.tracking.store import one_at_a_time

SCHEMA = "sweeps"
"""PostgreSQL schema of the study's tables: some have the same names as MLflow's."""
MAKER_SECONDS = 60
"""Longest time to wait for the worker that makes a study to make its MLflow run, too."""
HEARTBEAT_SECONDS = 60
MISSED_HEARTBEATS = 3
"""After this many missed heartbeats a worker counts as dead."""
RETRIES = 2
"""Times that the trial of a dead worker is repeated."""

_ELSEWHERE = {"photos", "output_dir", "workers", "cpu", "save_minutes", "vgg_weights", "end_seconds"}
"""Settings that may differ between the machines of one study."""


@dataclass(frozen=True)
class SweepConfig:
    """Every setting of a search; each field is a flag. All other settings are those of the recipe."""

    trials: int = setting(20, "trials of the whole study, by all workers", least=1)
    study: str = setting("", "the study's name; the style's name when left out")
    storage: str = setting("", "database of the study; $OPTUNA_STORAGE, else mlruns/sweeps.db, when left out")
    style_weights: tuple[float, ...] = setting(
        (0.1, 10.0), "lowest and highest style weight, as multiples of the recipe's"
    )
    style_layers: tuple[str, ...] = setting(
        (
            "relu1_2,relu2_2,relu3_3,relu4_3",
            "relu2_2,relu3_3,relu4_3",
            "relu1_2,relu2_2,relu3_3",
            "relu3_3,relu4_3",
        ),
        "sets of style layers, commas between the layers of a set",
    )
    residual_blocks: tuple[int, ...] = setting((3, 5, 7), "numbers of residual blocks")
    style_sizes: tuple[int, ...] = setting((256, 384, 512), "short sides of the style picture in pixels")
    rungs: int = setting(5, "evaluations of a trial, at equal distances along its training", least=1)
    size: int = setting(256, "side in pixels of the squares for the evaluations", least=32)
    startup_trials: int = setting(5, "first trials, which are random and not ended early", least=1)

    def check(self) -> None:
        """Raise StylecoreError for the first setting that is not valid."""
        check_limits(self)
        if len(self.style_weights) != 2 or not 0 < self.style_weights[0] <= self.style_weights[1] < float("inf"):
            raise StylecoreError("--style-weights needs two multiples above 0, the lowest and the highest.")
        for name in ("style_layers", "residual_blocks", "style_sizes"):
            if not getattr(self, name):
                raise StylecoreError(f"{flag_of(name)} is empty; give one value to keep it fixed.")


def open_study(config: SweepConfig, recipe: TrainConfig) -> tuple[optuna.Study, bool]:
    """The study, and whether this worker made it: of several workers that begin together, one makes it.

    Raises:
        StylecoreError: when its database does not answer, or the study has other settings.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # heartbeats are still experimental
    storage = open_storage(config)
    name, settings = config.study or recipe.name, _settings(config, recipe)
    pruner = optuna.pruners.MedianPruner(n_startup_trials=config.startup_trials)
    sampler = optuna.samplers.TPESampler(n_startup_trials=config.startup_trials)
    try:
        study = optuna.create_study(storage=storage, study_name=name, sampler=sampler, pruner=pruner)
        study.set_user_attr("settings", settings)
        return study, True
    except optuna.exceptions.DuplicatedStudyError:
        study = optuna.load_study(storage=storage, study_name=name, sampler=sampler, pruner=pruner)
    begun_with = wait_for(study, "settings") or {}
    different = sorted(key for key, value in settings.items() if begun_with.get(key) != value)
    if different:
        raise StylecoreError(
            f"the study {name} was begun with other settings ({', '.join(different)}); give it the same ones, or "
            "begin another by --study."
        )
    return study, False


def storage_address(config: SweepConfig) -> str:
    """Address of the database of studies, with the installed driver."""
    given = database_address(config.storage or os.environ.get("OPTUNA_STORAGE", ""))
    return given or f"sqlite:///{LOCAL_STORE / 'sweeps.db'}"


def open_storage(config: SweepConfig) -> RDBStorage:
    """Open the database of studies, and make its tables if it is new; StylecoreError when it cannot be used."""
    address = storage_address(config)
    kind = urlsplit(address).scheme.partition("+")[0]
    if kind not in ("postgresql", "sqlite"):
        raise StylecoreError(
            f"--storage is {without_password(address)!r}, and must be postgresql://USER:PASSWORD@HOST/DATABASE or, "
            "for one machine, sqlite:///FILE."
        )
    with plain_study_errors(address):
        if kind == "sqlite":
            address = tracking_uri_of(address)
            with one_at_a_time(address, "opening-sweeps"):
                return _rdb_storage(address, {"timeout": 60})
        engine = create_engine(address)
        with engine.connect() as connection:
            # The first worker makes the tables; the lock ends with the connection.
            connection.execute(text("SELECT pg_advisory_lock(hashtext('stylecore.sweep'))"))
            connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}"))
            connection.commit()
            storage = _rdb_storage(address, {"options": f"-csearch_path={SCHEMA}"})
        engine.dispose()
        return storage


@contextmanager
def plain_study_errors(address: str) -> Iterator[None]:
    """Turn the errors of the study's database into a StylecoreError."""
    try:
        yield
    except (SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
        reason = str(getattr(error, "orig", None) or error).strip().partition("\n")[0].rstrip(".")
        raise StylecoreError(f"the study's database {without_password(address)} cannot be used: {reason}.") from error


def _rdb_storage(address: str, connect_args: dict[str, Any]) -> RDBStorage:
    return RDBStorage(
        address,
        engine_kwargs={"connect_args": connect_args, "pool_pre_ping": True},
        heartbeat_interval=HEARTBEAT_SECONDS,
        grace_period=MISSED_HEARTBEATS * HEARTBEAT_SECONDS,
        heartbeat_stale_trial_callback=RetryHeartbeatStaleTrialCallback(RETRIES),
    )


def _settings(config: SweepConfig, recipe: TrainConfig) -> dict[str, Any]:
    """The settings that all workers of a study must share, in the form in which the database returns them."""
    searched = dataclasses.asdict(config)
    for name in ("trials", "study", "storage"):
        del searched[name]
    fixed = {name: value for name, value in dataclasses.asdict(recipe).items() if name not in _ELSEWHERE}
    return json.loads(json.dumps({**{f"recipe.{name}": value for name, value in fixed.items()}, **searched}))


def wait_for(study: optuna.Study, attribute: str) -> Any:
    """An attribute that the worker that made the study sets; None when it does not within a minute."""
    deadline = time.monotonic() + MAKER_SECONDS
    while attribute not in study.user_attrs and time.monotonic() < deadline:
        time.sleep(0.5)
    return study.user_attrs.get(attribute)
