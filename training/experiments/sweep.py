"""Search for the settings of a recipe, by any number of workers on any number of machines.

    python -m training.experiments.sweep training/recipes/experiment.yaml --photos FOLDER --trials 40 \
        --storage postgresql://mlflow:PASSWORD@tracker.example.com/mlflow

The same command on another machine, or beside it on another GPU, is another worker: all take trials from one study.
Its storage is a PostgreSQL database, which may be that of MLflow (its tables are kept in a schema of their own), or,
on one machine alone, a sqlite file. Repeated, the command goes on where the study stands.

A trial is a training with other weights, layers, residual blocks or sizes, so its own losses compare with
nobody else's. What is compared is the loss of the recipe's own objective (its weights, layers and style size, as they
stand in the file) on photos that are not trained on, measured at several looks along the training and kept as the
metrics `reference/...`. At each look but the last, a trial that is worse than the median of the others is ended.

In MLflow the trials are child runs of one run that bears the study's name, its table and a contact sheet. Their
networks are not registered: train the best settings with train.py.
"""

import argparse
import csv
import dataclasses
import io
import json
import os
import platform
import shlex
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import optuna
from mlflow import MlflowClient
from mlflow.entities import Run
from optuna.storages import RDBStorage, RetryHeartbeatStaleTrialCallback
from optuna.trial import FrozenTrial, TrialState
from PIL import Image
from sqlalchemy import create_engine, text
from sqlalchemy.exc import SQLAlchemyError
from torch import Tensor

from stylecore.cli.sheet import compose
from stylecore.errors import StylecoreError
from stylecore.inference.engine import Engine
from stylecore.johnson.style_model import StyleCard, StyleModel
from stylecore.johnson.transform_net import TransformNet
from stylecore.pictures.read import fit, load_picture, to_image
from stylecore.vgg.weights import load_vgg
from training.checkpoints import copy_on_cpu, preview_files
from training.command import run_command
from training.config import TrainConfig, find_file, parse_config, setting
from training.evaluate import evaluate
from training.registry.published import previews_of
from training.tracking.database import database_address
from training.tracking.delivery import log_params_and_tags, open_experiment
from training.tracking.store import (
    LOCAL_STORE,
    connect,
    fetch,
    one_at_a_time,
    plain_errors,
    tracking_uri_of,
    without_password,
)
from training.tracking.tracker import Tracker
from training.train import EXPERIMENT, DivergedError, Stopped, Trial, train

SCHEMA = "sweeps"
"""Of the study's tables in PostgreSQL: MLflow's own have some of the same names."""
MAKER_SECONDS = 60
"""How long to wait for the worker that makes a study to make its run in MLflow too."""
MISSED_HEARTBEATS = 3
"""After so many a worker is taken for dead."""
SHEET_TRIALS = 24
TABLE_TRIALS = 20
_TAKEN = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING)
_ELSEWHERE = {"photos", "output_dir", "workers", "cpu", "save_minutes", "vgg_weights", "end_seconds"}
"""Settings in which the machines of one study may differ."""


@dataclass(frozen=True)
class SweepConfig:
    """Every setting of a search: its flags are these fields. What is not searched is the recipe's."""

    trials: int = setting(20, "trials of the whole study, whoever makes them")
    study: str = setting("", "the study's name; that of the style when left out")
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
    looks: int = setting(5, "times that a trial is measured, evenly along its training")
    size: int = setting(256, "side in pixels of the squares that are measured on")
    startup_trials: int = setting(5, "trials that are neither ended early nor chosen by what others showed")
    heartbeat_seconds: int = setting(60, "between two signs of life of a worker; after three missed it is dead")
    retries: int = setting(2, "times that the trial of a dead worker is made again")

    def check(self) -> None:
        """Raise StylecoreError for the first setting that cannot work."""
        for name in ("trials", "looks", "startup_trials", "heartbeat_seconds"):
            if getattr(self, name) < 1:
                raise StylecoreError(f"--{name.replace('_', '-')} is {getattr(self, name)}, and must be at least 1.")
        if len(self.style_weights) != 2 or not 0 < self.style_weights[0] <= self.style_weights[1] < float("inf"):
            raise StylecoreError("--style-weights takes two multiples above 0, the lowest and the highest.")
        for name in ("style_layers", "residual_blocks", "style_sizes"):
            if not getattr(self, name):
                raise StylecoreError(f"--{name.replace('_', '-')} is empty; give one value to leave it as it is.")
        if self.size < 32:
            raise StylecoreError(f"--size is {self.size}, and must be at least 32.")


def sweep(config: SweepConfig, recipe: TrainConfig, told: Callable[[str], None] = lambda line: None) -> str:
    """Make trials until the study has as many as it shall have, here or elsewhere; returns the id of its MLflow run.

    `told` is given a line at the end of every trial.

    Raises:
        StylecoreError: when the study's database or MLflow does not answer, the study was begun with other
            settings, or what a trial needs is missing.
        Stopped: after SIGTERM or Ctrl-C; the trial that was under way is put back.
    """
    config.check()
    with plain_study_errors(storage_address(config)):
        return _sweep(config, recipe, told)


def _sweep(config: SweepConfig, recipe: TrainConfig, told: Callable[[str], None]) -> str:
    client = connect()
    study, is_new = open_study(config, recipe)
    parent = _parent_run(study, is_new, client, recipe, config)
    worker = _Worker(config, recipe, study, client, parent)
    while worker.make_trial():
        told(_line(study.trials[worker.number]))
        try:
            publish(study, client, parent)
        except StylecoreError as error:  # the next trial's results bring these along
            told(f"the table waits: {error}")
    publish(study, client, parent)
    if all(trial.state.is_finished() for trial in study.get_trials(deepcopy=False)):
        with plain_errors(client.tracking_uri, "ending the sweep"):
            client.set_terminated(parent)
    return parent


# The study


def open_study(config: SweepConfig, recipe: TrainConfig) -> tuple[optuna.Study, bool]:
    """The study, and whether it was made just now: of workers that begin together one makes it.

    Raises:
        StylecoreError: when its database does not answer, or it was begun with other settings.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
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
    begun_with = _wait_for(study, "settings") or {}
    different = sorted(key for key, value in settings.items() if begun_with.get(key) != value)
    if different:
        raise StylecoreError(
            f"the study {name} was begun with other settings ({', '.join(different)}); give it the same ones, "
            "or begin another by --study."
        )
    return study, False


def storage_address(config: SweepConfig) -> str:
    """Of the database of studies, by the driver that is installed."""
    given = database_address(config.storage or os.environ.get("OPTUNA_STORAGE", ""))
    return given or f"sqlite:///{LOCAL_STORE / 'sweeps.db'}"


def open_storage(config: SweepConfig) -> RDBStorage:
    """The database of studies, its tables made if it is new; StylecoreError when it cannot be used."""
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
                return _rdb_storage(address, {"timeout": 60}, config)
        engine = create_engine(address)
        with engine.connect() as connection:
            # Whoever comes first makes the tables; the lock ends with the connection.
            connection.execute(text("SELECT pg_advisory_lock(hashtext('stylecore.sweep'))"))
            connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}"))
            connection.commit()
            storage = _rdb_storage(address, {"options": f"-csearch_path={SCHEMA}"}, config)
        engine.dispose()
        return storage


@contextmanager
def plain_study_errors(address: str) -> Iterator[None]:
    """Turn what the study's database raises, at its opening or while trials are made, into one StylecoreError."""
    try:
        yield
    except (SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
        reason = str(getattr(error, "orig", None) or error).strip().partition("\n")[0].rstrip(".")
        raise StylecoreError(f"the study's database {without_password(address)} cannot be used: {reason}.") from error


def _rdb_storage(address: str, connect_args: dict[str, Any], config: SweepConfig) -> RDBStorage:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return RDBStorage(
            address,
            engine_kwargs={"connect_args": connect_args, "pool_pre_ping": True},
            heartbeat_interval=config.heartbeat_seconds,
            grace_period=MISSED_HEARTBEATS * config.heartbeat_seconds,
            heartbeat_stale_trial_callback=_retry(config),
        )


def _retry(config: SweepConfig) -> RetryHeartbeatStaleTrialCallback:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return RetryHeartbeatStaleTrialCallback(max_retry=config.retries)


def _settings(config: SweepConfig, recipe: TrainConfig) -> dict[str, Any]:
    """What all workers of a study must agree on, as it comes back from the database."""
    searched = dataclasses.asdict(config)
    for name in ("trials", "study", "storage", "heartbeat_seconds", "retries"):
        del searched[name]
    fixed = {name: value for name, value in dataclasses.asdict(recipe).items() if name not in _ELSEWHERE}
    return json.loads(json.dumps({**{f"recipe.{name}": value for name, value in fixed.items()}, **searched}))


def _wait_for(study: optuna.Study, attribute: str) -> Any:
    """What the worker that made the study says of it; None when it does not within a minute."""
    deadline = time.monotonic() + MAKER_SECONDS
    while attribute not in study.user_attrs and time.monotonic() < deadline:
        time.sleep(0.5)
    return study.user_attrs.get(attribute)


# Trials


class _Worker:
    """Makes trials, one after the other. `number`: of the last one; -1 before the study has given it a trial."""

    def __init__(
        self, config: SweepConfig, recipe: TrainConfig, study: optuna.Study, client: MlflowClient, parent: str
    ) -> None:
        self.number = -1
        self._config = config
        self._recipe = recipe
        self._study = study
        self._client = client
        self._parent = parent
        self._vgg = load_vgg("vgg16", weights=recipe.vgg_weights or None)
        self._style = load_picture(find_file(recipe.style_image)).pixels
        self._photos = {name: load_picture(file).pixels for name, file in preview_files(recipe).items()}
        if not self._photos:
            raise StylecoreError("there are no photos to measure on; give some by --preview-photos.")

    def make_trial(self) -> bool:
        """Make the next trial of the study; False when all are made or being made."""
        self._bury_the_dead()
        trials = self._study.get_trials(deepcopy=False)
        if sum(trial.state in _TAKEN for trial in trials) >= self._config.trials:
            return False
        self.number = -1
        try:
            self._study.optimize(self._train, n_trials=1)
        except _Enough:
            return False
        except optuna.exceptions.UpdateFinishedTrialError:
            print(
                f"trial {self.number} was given to another worker: this one was silent for too long.", file=sys.stderr
            )
        except (Stopped, KeyboardInterrupt) as stopped:
            put_back = f"trial {self.number} is put back, and " if self._put_back() else ""
            raise Stopped(f"stopped; {put_back}the same command goes on.") from stopped
        return True

    def _put_back(self) -> bool:
        """Have the trial that was under way made again, if there was one and it had not ended well before."""
        # One that is still taken for running is put back when its signs of life are missed.
        if self.number < 0 or self._study.trials[self.number].state != TrialState.FAIL:
            return False
        _retry(self._config)(self._study, self._study.trials[self.number])
        return True

    def _train(self, trial: optuna.Trial) -> float:
        self.number = trial.number
        before = self._study.get_trials(deepcopy=False)[: trial.number]
        if sum(each.state in _TAKEN for each in before) >= self._config.trials:
            raise _Enough  # another worker was quicker
        settings = suggest(trial, self._config, self._recipe)
        trial.set_user_attr("worker", f"{platform.node()}:{os.getpid()}")
        looks = sorted(
            {max(1, settings.iterations * look // self._config.looks) for look in range(1, self._config.looks + 1)}
        )
        settings = dataclasses.replace(
            settings,
            checkpoints=tuple(looks),
            run_name=f"{self._study.study_name}-{trial.number}",
            output_dir=str(Path(settings.output_dir) / f"sweep-{self._parent[:12]}"),
        )
        tags = {"mlflow.parentRunId": self._parent, "sweep": self._study.study_name, "trial": str(trial.number)}
        part = Trial(tags, _command(settings, self._recipe), lambda *seen: self._look(trial, *seen))
        try:
            with _own_signals():
                train(settings, trial=part)
        except Pruned as pruned:
            raise optuna.TrialPruned(str(pruned)) from pruned
        except DivergedError as diverged:
            trial.set_user_attr("reason", str(diverged))
            raise optuna.TrialPruned(str(diverged)) from diverged
        return trial.user_attrs["loss"]

    def _look(self, trial: optuna.Trial, tracker: Tracker, network: TransformNet, iteration: int) -> None:
        """Measure the network of one look by the recipe's objective."""
        recipe = self._recipe
        card = StyleCard(recipe.name, network=network.config, iterations=iteration, training=recipe.for_card())
        model = StyleModel(copy_on_cpu(network), card)
        device = "cpu" if recipe.cpu else None
        sizes = [self._config.size]
        evaluation = evaluate(
            model, self._photos.items(), self._style, sizes, gatys_iterations=0, vgg=self._vgg, device=device
        )
        losses = evaluation.sizes()[0].losses
        tracker.log_metrics({f"reference/{name}": value for name, value in losses.items()}, iteration)
        name, photo = next(iter(self._photos.items()))
        tracker.log_preview(name, Engine(model, device).stylize(fit(photo, recipe.preview_size)), iteration)
        trial.report(losses["total"], iteration)
        trial.set_user_attr("loss", losses["total"])
        if iteration < recipe.iterations and trial.should_prune():
            raise Pruned(f"ended at iteration {iteration}: its loss is above the median of the others.")

    def _bury_the_dead(self) -> None:
        """Put back the trials of workers that give no sign of life, and end their runs."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            optuna.storages.fail_stale_trials(self._study)
        with suppress(StylecoreError), plain_errors(self._client.tracking_uri, "ending the runs of dead workers"):
            for number, run in child_runs(self._client, self._parent).items():
                trials = self._study.get_trials(deepcopy=False)
                if run.info.status == "RUNNING" and trials[number].state == TrialState.FAIL:
                    self._client.set_tag(run.info.run_id, "stop_reason", "its worker gave no sign of life")
                    self._client.set_terminated(run.info.run_id, "KILLED")


class Pruned(Stopped):
    """A trial was ended because it is poor."""


class _Enough(Exception):  # noqa: N818
    """The study has all its trials."""


def suggest(trial: optuna.Trial, config: SweepConfig, recipe: TrainConfig) -> TrainConfig:
    """The recipe with the settings that the study proposes for this trial."""
    low, high = config.style_weights
    settings = dataclasses.replace(
        recipe,
        style_weight=trial.suggest_float(
            "style_weight", low * recipe.style_weight, high * recipe.style_weight, log=True
        ),
        style_layers=tuple(trial.suggest_categorical("style_layers", config.style_layers).split(",")),
        residual_blocks=trial.suggest_categorical("residual_blocks", config.residual_blocks),
        style_size=trial.suggest_categorical("style_size", config.style_sizes),
    )
    settings.check()
    return settings


def _command(settings: TrainConfig, recipe: TrainConfig) -> str:
    """What trains these settings as a style of its own, with the recipe's checkpoints."""
    whole = dataclasses.replace(
        settings, run_name=recipe.run_name, checkpoints=recipe.checkpoints, output_dir=recipe.output_dir
    )
    parts = ["accelerate", "launch", "training/train.py"]
    for each in dataclasses.fields(whole):
        value, flag = getattr(whole, each.name), each.name.replace("_", "-")
        if value == each.default:
            continue
        if isinstance(value, bool):
            parts.append(f"--{flag}" if value else f"--no-{flag}")
        else:
            parts += [f"--{flag}", *(map(str, value) if isinstance(value, tuple) else [str(value)])]
    return shlex.join(parts)


@contextmanager
def _own_signals() -> Iterator[None]:
    """`train` listens for signals; when it is done the worker does again."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


# What MLflow shows


def _parent_run(
    study: optuna.Study, is_new: bool, client: MlflowClient, recipe: TrainConfig, config: SweepConfig
) -> str:
    """The run of the whole study, made by the worker that made the study."""
    run_id = None if is_new else _wait_for(study, "run_id")
    with plain_errors(client.tracking_uri, "opening the sweep's run"):
        if run_id is None:  # also when the maker of the study died before it came here
            experiment = open_experiment(client, EXPERIMENT)
            run_id = client.create_run(experiment, run_name=study.study_name).info.run_id
            params = {name: value for name, value in dataclasses.asdict(config).items() if name != "storage"}
            log_params_and_tags(client, run_id, {"name": recipe.name, **params}, {"sweep": study.study_name})
            study.set_user_attr("run_id", run_id)
        else:
            client.update_run(run_id, status="RUNNING")
    return str(run_id)


def publish(study: optuna.Study, client: MlflowClient, parent: str) -> None:
    """Write the table and the contact sheet of the trials that have ended to the study's run."""
    trials = ranking(study)
    if not trials:
        return
    with plain_errors(client.tracking_uri, "keeping the results of the sweep"):
        runs = child_runs(client, parent)
        client.log_text(parent, _csv(trials, runs), "trials.csv")
        client.set_tag(parent, "mlflow.note.content", _note(study.study_name, trials, runs))
        best = trials[0]
        if best.state == TrialState.COMPLETE and best.value is not None:
            client.log_metric(parent, "reference/best_total", best.value, step=len(trials))
            client.set_tag(parent, "best_trial", str(best.number))
        sheet = _sheet(trials[:SHEET_TRIALS], runs, client)
        if sheet is not None:
            client.log_image(parent, to_image(sheet), artifact_file="sheet.png")


def ranking(study: optuna.Study) -> list[FrozenTrial]:
    """The trials that have ended, best first: the complete ones by their loss, then those ended early by theirs."""
    trials = [t for t in study.get_trials(deepcopy=False) if t.state in (TrialState.COMPLETE, TrialState.PRUNED)]
    return sorted(trials, key=lambda t: (t.state != TrialState.COMPLETE, t.user_attrs.get("loss", float("inf"))))


def child_runs(client: MlflowClient, parent: str) -> dict[int, Run]:
    """Number of the trial to its run."""
    experiment = client.get_run(parent).info.experiment_id
    found: dict[int, Run] = {}
    token = None
    while True:
        page = client.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{parent}'", page_token=token)
        found |= {int(run.data.tags["trial"]): run for run in page if "trial" in run.data.tags}
        token = page.token
        if not token:
            return found


def _rows(trials: Sequence[FrozenTrial]) -> list[dict[str, str]]:
    return [
        {
            "trial": str(trial.number),
            "loss": f"{trial.user_attrs['loss']:.5g}" if "loss" in trial.user_attrs else "",
            "state": trial.user_attrs.get("reason", trial.state.name.lower()),
            "iterations": str(trial.last_step or ""),
            **{
                name: f"{value:.4g}" if isinstance(value, float) else str(value)
                for name, value in trial.params.items()
            },
            "minutes": f"{trial.duration.total_seconds() / 60:.1f}" if trial.duration else "",
            "worker": trial.user_attrs.get("worker", ""),
        }
        for trial in trials
    ]


def _csv(trials: Sequence[FrozenTrial], runs: dict[int, Run]) -> str:
    rows = _rows(trials)
    table = io.StringIO()
    writer = csv.DictWriter(table, [*rows[0], "run_id"], restval="", lineterminator="\n")
    writer.writeheader()
    for trial, row in zip(trials, rows, strict=True):
        writer.writerow({**row, "run_id": runs[trial.number].info.run_id if trial.number in runs else ""})
    return table.getvalue()


def _note(name: str, trials: Sequence[FrozenTrial], runs: dict[int, Run]) -> str:
    """The head of the table as Markdown, for the top of the run's page."""
    rows = _rows(trials[:TABLE_TRIALS])
    lines = [
        f"**{name}**: {len(trials)} trials, best first; all of them in `trials.csv`, pictures in `sheet.png`.",
        "",
    ]
    lines += ["| " + " | ".join(rows[0]) + " |", "|" + " --- |" * len(rows[0])]
    for trial, row in zip(trials, rows, strict=False):
        if trial.number in runs:
            info = runs[trial.number].info
            row = {**row, "trial": f"[{trial.number}](#/experiments/{info.experiment_id}/runs/{info.run_id})"}
        lines.append("| " + " | ".join(row.values()) + " |")
    return "\n".join(lines)


def _sheet(trials: Sequence[FrozenTrial], runs: dict[int, Run], client: MlflowClient) -> Tensor | None:
    """The last picture of every trial, with what made it."""
    cells = []
    for trial in trials:
        previews = previews_of(client, runs[trial.number]) if trial.number in runs else []
        measured = [preview for preview in previews if preview.step > 0]
        if not measured:
            continue
        last = max(measured, key=lambda preview: preview.step)
        with tempfile.TemporaryDirectory() as folder, Image.open(fetch(client, last.path, Path(folder))) as image:
            values = " ".join(_short(value) for value in trial.params.values())
            cells.append((f"{trial.number}: {trial.user_attrs['loss']:.3g} ({values})", image.convert("RGB")))
    return compose(cells) if cells else None


def _short(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.1e}"
    return str(value).replace("relu", "").replace(",", "+")


def _line(trial: FrozenTrial) -> str:
    (row,) = _rows([trial])
    return ", ".join(f"{name} {value}" for name, value in row.items() if value)


# The command line


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status (2 for what the user can mend, after one sentence on stderr)."""
    options, more = _parser().parse_known_args(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return run_command(lambda given: _run(given, more), options)
    except Stopped as stopped:
        print(f"sweep: {stopped}", file=sys.stderr)
        return 143


def _run(options: argparse.Namespace, more: Sequence[str]) -> None:
    recipe, _ = parse_config(["--recipe", str(options.recipe), "--photos", options.photos, *more])
    given: dict[str, Any] = {each.name: getattr(options, each.name) for each in dataclasses.fields(SweepConfig)}
    given = {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}
    config = SweepConfig(**given)
    parent = sweep(config, recipe, told=lambda line: print(line, flush=True))
    print(f"the table and the contact sheet are with the run {config.study or recipe.name} ({parent}) in MLflow.")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training.experiments.sweep",
        description="Search over a recipe's settings. Other flags are those of train.py, for all trials.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("recipe", type=Path, metavar="RECIPE", help="the YAML file to start from")
    parser.add_argument("--photos", required=True, help="content photos: a folder, or a dataset on the hub")
    for each in dataclasses.fields(SweepConfig):
        flag, default = f"--{each.name.replace('_', '-')}", each.default
        many = isinstance(default, tuple)
        kind = type(default[0]) if isinstance(default, tuple) else type(default)
        parser.add_argument(flag, type=kind, nargs="+" if many else None, default=default, help=each.metadata["help"])
    return parser


if __name__ == "__main__":
    sys.exit(main())
