"""Search for the settings of a recipe, by any number of workers on any number of machines.

    python -m training.experiments.sweep training/recipes/experiment.yaml --photos FOLDER --trials 40 \
        --storage postgresql://mlflow:PASSWORD@tracker.example.com/mlflow

The same command elsewhere is another worker of the same study; repeated, it continues the study.

A trial has other weights, layers, residual blocks or sizes, so its own losses are not comparable. Trials are compared
by the recipe's own objective on photos that are not trained on, logged as `reference/...` at several rungs along the
training. At each rung but the last, a trial that is worse than the median of the others is ended (Optuna's median
pruner). In MLflow the trials are child runs of one run, with a table and a contact sheet; no network is registered.
"""

import argparse
import dataclasses
import os
import platform
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import optuna
import yaml
from optuna.storages import RetryHeartbeatStaleTrialCallback
from optuna.trial import TrialState

from stylecore.errors import StylecoreError
from stylecore.flags import add_flags, read_flags
from stylecore.inference.engine import Engine
from stylecore.johnson.transform_net import TransformNet
from stylecore.pictures.read import fit, load_picture
from stylecore.vgg.weights import load_vgg
from training.checkpoints import EXPERIMENT, Caller, preview_photos, style_of
from training.command import Stopped, run_command
from training.config import TrainConfig, find_file, parse_config
from training.evaluation import evaluate
from training.experiments.study import RETRIES, SweepConfig, open_study, plain_study_errors, storage_address, wait_for
from training.experiments.sweep_results import child_runs, publish, trial_line
from training.registry.versions import log_preview
from training.tracking import JournaledTracker, TrackingError
from training.tracking.delivery import log_params_and_tags
from training.tracking.experiments import open_experiment
from training.tracking.store import MlflowClient, connect, plain_errors
from training.train import DivergedError, train

_TAKEN = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING)


def sweep(config: SweepConfig, recipe: TrainConfig) -> str:
    """Make trials until the study is complete, by all its workers; returns the id of its MLflow run.

    Raises:
        StylecoreError: when the study's database or MLflow does not answer, the study has other settings, or
            a file of the recipe is missing.
        Stopped: after SIGTERM or Ctrl-C; the running trial is put back.
    """
    config.check()
    if recipe.init_from and set(config.residual_blocks) != {recipe.residual_blocks}:
        raise StylecoreError(
            f"the recipe begins with {recipe.init_from}, of {recipe.residual_blocks} residual blocks; give "
            f"--residual-blocks {recipe.residual_blocks}, or --init-from '' to begin with random weights."
        )
    with plain_study_errors(storage_address(config)):
        client = connect()
        study, is_new = open_study(config, recipe)
        parent = _parent_run(study, is_new, client, recipe, config)
        worker = _Worker(config, recipe, study, client, parent)
        while worker.make_trial():
            print(trial_line(study.trials[worker.number]), flush=True)
            try:
                publish(study, client, parent)
            except (StylecoreError, TrackingError) as error:  # the next trial updates the table
                print(f"the table is not updated: {error}", flush=True)
        publish(study, client, parent)
        if all(trial.state.is_finished() for trial in study.get_trials(deepcopy=False)):
            with plain_errors(client.tracking_uri, "ending the sweep"):
                client.set_terminated(parent)
        return parent


@dataclass
class _Worker:
    """Makes trials, one after the other.

    Attributes:
        number: of the last trial; -1 before the first one.
        stop: a termination signal came when the last trial was evaluated.
    """

    config: SweepConfig
    recipe: TrainConfig
    study: optuna.Study
    client: MlflowClient
    parent: str
    number: int = -1
    stop: bool = False

    def __post_init__(self) -> None:
        self.vgg = load_vgg("vgg16", weights=self.recipe.vgg_weights or None)
        self.style = load_picture(find_file(self.recipe.style_image)).pixels
        self.photos = dict(preview_photos(self.recipe))
        if not self.photos:
            raise StylecoreError("there are no photos for the evaluations; give some by --preview-photos.")

    def make_trial(self) -> bool:
        """Make the next trial of the study; False when all are made or running."""
        self._put_back_stale_trials()
        if len(self.study.get_trials(deepcopy=False, states=_TAKEN)) >= self.config.trials:
            return False
        self.number = -1
        try:
            self.study.optimize(self._train, n_trials=1)
        except _Enough:
            return False
        except optuna.exceptions.UpdateFinishedTrialError:
            print(f"trial {self.number} was given to another worker: this one missed its heartbeats.", file=sys.stderr)
        except (Stopped, KeyboardInterrupt) as stopped:
            put_back = f"trial {self.number} is put back, and " if self._put_back() else ""
            raise Stopped(f"stopped; {put_back}the same command continues.") from stopped
        if self.stop:
            raise Stopped("stopped; the same command continues.")
        return True

    def _put_back(self) -> bool:
        """Put the interrupted trial back into the study; False if there was none, or it had ended before."""
        # A trial with the state RUNNING is put back later, when its heartbeats are missed.
        if self.number < 0 or self.study.trials[self.number].state != TrialState.FAIL:
            return False
        RetryHeartbeatStaleTrialCallback(RETRIES)(self.study, self.study.trials[self.number])
        return True

    def _train(self, trial: optuna.Trial) -> float:
        self.number = trial.number
        before = self.study.get_trials(deepcopy=False)[: trial.number]
        if sum(each.state in _TAKEN for each in before) >= self.config.trials:
            raise _Enough  # another worker took the last trial
        settings = suggest(trial, self.config, self.recipe)
        trial.set_user_attr("worker", f"{platform.node()}:{os.getpid()}")
        count = self.config.rungs
        rungs = sorted({max(1, settings.iterations * rung // count) for rung in range(1, count + 1)})
        settings = dataclasses.replace(
            settings,
            checkpoints=tuple(rungs),
            run_name=f"{self.study.study_name}-{trial.number}",
            output_dir=str(Path(settings.output_dir) / f"sweep-{self.parent[:12]}"),
        )
        tags = {"mlflow.parentRunId": self.parent, "sweep": self.study.study_name, "trial": str(trial.number)}
        caller = Caller(_recipe(settings, self.recipe), tags, lambda *rung: self._evaluate(trial, *rung))
        try:
            self.stop = train(settings, caller=caller)
        except Pruned as pruned:
            raise optuna.TrialPruned(str(pruned)) from pruned
        except DivergedError as diverged:
            trial.set_user_attr("reason", str(diverged))
            raise optuna.TrialPruned(str(diverged)) from diverged
        return trial.user_attrs["loss"]

    def _evaluate(self, trial: optuna.Trial, tracker: JournaledTracker, network: TransformNet, iteration: int) -> None:
        """Evaluate the network of one rung by the recipe's objective."""
        recipe = self.recipe
        model = style_of(recipe, network, iteration)
        device = "cpu" if recipe.cpu else None
        sizes = [self.config.size]
        (evaluation,) = evaluate(
            [model], self.photos.items(), self.style, sizes, gatys_iterations=0, vgg=self.vgg, device=device
        )
        losses = evaluation.means()[self.config.size]
        reference = {f"reference/{name}": losses[name] for name in ("total", "content", "style", "tv")}
        tracker.log(reference, iteration)
        name, photo = next(iter(self.photos.items()))
        log_preview(tracker, name, Engine(model, device, "torch").stylize(fit(photo, recipe.preview_size)), iteration)
        trial.report(losses["total"], iteration)
        trial.set_user_attr("loss", losses["total"])
        if iteration < recipe.iterations and trial.should_prune():
            raise Pruned(f"ended at iteration {iteration}: the loss is above the median of the other trials.")

    def _put_back_stale_trials(self) -> None:
        """Put back the trials of workers without a heartbeat, and end their runs."""
        optuna.storages.fail_stale_trials(self.study)
        with suppress(TrackingError), plain_errors(self.client.tracking_uri, "ending the runs of dead workers"):
            for number, run in child_runs(self.client, self.parent).items():
                trials = self.study.get_trials(deepcopy=False)
                if run.info.status == "RUNNING" and trials[number].state == TrialState.FAIL:
                    self.client.set_tag(run.info.run_id, "stop_reason", "its worker had no heartbeat")
                    self.client.set_terminated(run.info.run_id, "KILLED")


class Pruned(Stopped):
    """A trial was ended early because its loss is high."""


class _Enough(Exception):  # noqa: N818
    """The study has all its trials."""


def suggest(trial: optuna.Trial, config: SweepConfig, recipe: TrainConfig) -> TrainConfig:
    """The recipe with the settings that the study proposes for this trial."""
    low, high = config.style_weights
    layers = trial.suggest_categorical("style_layers", config.style_layers).split(",")
    shares = recipe.style_layer_shares
    settings = dataclasses.replace(
        recipe,
        style_weight=trial.suggest_float(
            "style_weight", low * recipe.style_weight, high * recipe.style_weight, log=True
        ),
        style_layers=tuple(layers),
        style_layer_weights=tuple(shares[each] for each in layers) if shares.keys() >= set(layers) else (),
        residual_blocks=trial.suggest_categorical("residual_blocks", config.residual_blocks),
        style_size=trial.suggest_categorical("style_size", config.style_sizes),
    )
    settings.check()
    return settings


def _recipe(settings: TrainConfig, recipe: TrainConfig) -> str:
    """A recipe that trains these settings as a separate style, with the first recipe's checkpoints."""
    whole = dataclasses.replace(
        settings, run_name=recipe.run_name, checkpoints=recipe.checkpoints, output_dir=recipe.output_dir
    )
    defaults = TrainConfig().for_card()
    return yaml.safe_dump({name: value for name, value in whole.for_card().items() if value != defaults[name]})


def _parent_run(
    study: optuna.Study, is_new: bool, client: MlflowClient, recipe: TrainConfig, config: SweepConfig
) -> str:
    """The MLflow run of the study, made by the worker that made the study."""
    run_id = None if is_new else wait_for(study, "run_id")
    with plain_errors(client.tracking_uri, "opening the sweep's run"):
        if run_id is None:  # also when the worker that made the study has died before this
            experiment = open_experiment(client, EXPERIMENT)
            run_id = client.create_run(experiment, run_name=study.study_name).info.run_id
            params = {name: value for name, value in dataclasses.asdict(config).items() if name != "storage"}
            log_params_and_tags(client, run_id, {"name": recipe.name, **params}, {"sweep": study.study_name})
            study.set_user_attr("run_id", run_id)
        else:
            client.update_run(run_id, status="RUNNING")
    return str(run_id)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status: 2 for a mistake of the user, after one sentence on stderr."""
    options, more = _parser().parse_known_args(arguments)
    return run_command(lambda given: _run(given, more), options)


def _run(options: argparse.Namespace, more: Sequence[str]) -> None:
    recipe, _ = parse_config(["--recipe", str(options.recipe), "--photos", options.photos, *more])
    config = SweepConfig(**read_flags(options, SweepConfig))
    parent = sweep(config, recipe)
    print(f"the table and the contact sheet are in the run {config.study or recipe.name} ({parent}) of MLflow.")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training.experiments.sweep",
        description="Search over a recipe's settings. Other flags are those of train.py, for all trials.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("recipe", type=Path, metavar="RECIPE", help="the YAML file to start from")
    parser.add_argument("--photos", required=True, help="content photos: a folder, or a dataset on the hub")
    add_flags(parser, SweepConfig())
    return parser


if __name__ == "__main__":
    sys.exit(main())
