"""Copy everything from one MLflow store to another: from the store of one machine to a server.

    python -m training.registry migrate --from sqlite:///mlruns/mlflow.db --to https://tracker.example.com

It copies the active experiments with their runs, their LoggedModels, the registered models with their versions in
order, and the aliases. Runs, LoggedModels and versions get new ids and numbers at the target, where their tag
`migrated_from` holds the old ones, and ids of runs in other tags are translated. The source is only read.

What the target has already is passed over, files by their names and sizes. So an interrupted migration continues when
it is repeated, and later additions to the source are added at the target. Nothing is removed at the target, and no
alias is taken from a version that has it. The creation time of models and versions is that of the migration: MLflow
does not allow another one.
"""

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Experiment, FileInfo, LoggedModel, LoggedModelOutput, Metric, Run
from mlflow.entities.model_registry import ModelVersion, RegisteredModel

from stylecore.errors import StylecoreError
from training.registry import as_stylecore_errors
from training.tracking import TrackingError
from training.tracking.delivery import log_metrics, log_params_and_tags, models_of, output_steps
from training.tracking.environment import is_server, sqlite_file, without_password
from training.tracking.experiments import open_experiment
from training.tracking.store import all_pages, connect, fetch, folder_of_store, one_at_a_time, plain_errors

MIGRATED = "migrated_from"
_SET_BY_A_SERVER = "mlflow.modelVersions"


@as_stylecore_errors()
def migrate(source: str, target: str) -> list[str]:
    """Copy everything from one store to the other, and print a line for every run and version.

    What a running training logs later follows with the next migration.

    Returns:
        A sentence for everything that was left out.

    Raises:
        StylecoreError: when a store does not answer.
    """
    if folder_of_store(source) and not sqlite_file(source).is_file():  # opening it would make it
        raise StylecoreError(
            f"There is no MLflow store {source}; a path after sqlite:/// is relative to the current folder."
        )
    old, new = connect(source), connect(target)
    if old.tracking_uri == new.tracking_uri:
        raise StylecoreError(f"{without_password(source)} cannot be migrated to itself; give another --to.")
    migration = _Migration(old, new)
    with one_at_a_time(old.tracking_uri, "migrating"):
        with plain_errors(old.tracking_uri, "listing the experiments"):
            experiments = all_pages(old.search_experiments)
            registered = all_pages(old.search_registered_models)
        for experiment in sorted(experiments, key=lambda each: int(each.experiment_id)):
            migration.copy_experiment(experiment)
        for model in registered:
            migration.copy_registered_model(model)
    return migration.skipped


class _Migration:
    """The two stores, and what was copied so far."""

    skipped: list[str]

    def __init__(self, source: MlflowClient, target: MlflowClient) -> None:
        self._source, self._target = source, target
        self._runs: dict[str, str] = {}  # id at the source to id at the target
        self._models: dict[str, LoggedModel] = {}  # address of a model's files at the source to its copy
        self.skipped = []

    def copy_experiment(self, experiment: Experiment) -> None:
        with plain_errors(self._source.tracking_uri, f"listing the runs of {experiment.name}"):
            runs = all_pages(self._source.search_runs, [experiment.experiment_id])
        if not runs and not experiment.tags:
            return
        try:
            there = open_experiment(self._target, experiment.name)
        except TrackingError as error:
            self.skipped.append(f"The {len(runs)} runs of {experiment.name!r} were not migrated: {error}")
            return
        with plain_errors(self._target.tracking_uri, f"reading the experiment {experiment.name}"):
            known = self._target.get_experiment(there).tags
            for key, value in experiment.tags.items():
                if key not in known:
                    self._target.set_experiment_tag(there, key, value)
            copies = {run.data.tags.get(MIGRATED): run for run in all_pages(self._target.search_runs, [there])}
        for run in sorted(runs, key=lambda run: run.info.start_time):  # a parent begins before its children
            self._copy_run(run, there, copies.get(run.info.run_id))

    def _copy_run(self, run: Run, experiment_id: str, copy: Run | None) -> None:
        old, name = run.info.run_id, run.info.run_name
        with plain_errors(self._target.tracking_uri, f"copying the run {name}"):
            if copy is None:
                copy = self._target.create_run(experiment_id, run.info.start_time, {MIGRATED: old}, name)
            new = self._runs[old] = copy.info.run_id
            params = {key: value for key, value in run.data.params.items() if key not in copy.data.params}
            log_params_and_tags(self._target, new, params, self._tags_there(run.data.tags))
            for key in run.data.metrics:
                known = self._target.get_metric_history(new, key)
                self._copy_metrics(self._source.get_metric_history(old, key), known, new)
            if run.inputs and run.inputs.dataset_inputs:
                self._target.log_inputs(new, datasets=run.inputs.dataset_inputs)
            self._copy_files(
                run.info.artifact_uri,
                partial(self._source.list_artifacts, old),
                partial(self._target.list_artifacts, new),
                partial(self._target.log_artifacts, new),
            )
            copies = {model.tags.get(MIGRATED): model for model in models_of(self._target, experiment_id, new)}
            models = models_of(self._source, run.info.experiment_id, old)
            for model in models:
                self._copy_model(model.model_id, run, copy, copies.get(model.model_id))
            if run.info.status != "RUNNING":
                self._target.set_terminated(new, run.info.status, run.info.end_time)
        print(f"{name}: {len(run.data.metrics)} curves, {len(models)} models")

    def _copy_model(self, old: str, run: Run, copied_run: Run, copy: LoggedModel | None) -> None:
        model = self._source.get_logged_model(old)
        run_id = copied_run.info.run_id
        tags = self._tags_there({key: value for key, value in model.tags.items() if key != _SET_BY_A_SERVER})
        if copy is None:
            copy = self._target.create_logged_model(
                copied_run.info.experiment_id,
                name=model.name,
                source_run_id=run_id,
                tags={MIGRATED: old},
                params=model.params,
                model_type=model.model_type or None,
            )
        new = copy.model_id
        self._models |= {model.artifact_location: copy, f"models:/{old}": copy}
        self._target.set_logged_model_tags(new, tags)
        self._copy_files(
            model.artifact_location,
            partial(self._source.list_logged_model_artifacts, old),
            partial(self._target.list_logged_model_artifacts, new),
            partial(self._target.log_model_artifacts, new),
        )
        if model.status in ("READY", "FAILED"):
            self._target.finalize_logged_model(new, model.status)
        step = output_steps(run).get(old)
        if step is not None and new not in output_steps(copied_run):
            self._target.log_outputs(run_id, [LoggedModelOutput(new, step)])
        self._copy_metrics(model.metrics or [], copy.metrics or [], run_id, new)

    def _copy_metrics(
        self, metrics: Sequence[Metric], known: Sequence[Metric], run_id: str, model_id: str | None = None
    ) -> None:
        there = {(metric.key, metric.step, metric.timestamp) for metric in known}
        missing = [
            Metric(metric.key, metric.value, metric.timestamp, metric.step, model_id=model_id, run_id=run_id)
            for metric in metrics
            if (metric.key, metric.step, metric.timestamp) not in there
        ]
        log_metrics(self._target, run_id, missing)

    def _copy_files(
        self,
        address: str,
        list_source: Callable[[str | None], list[FileInfo]],
        list_target: Callable[[str | None], list[FileInfo]],
        upload: Callable[[str], None],
    ) -> None:
        wanted = dict(_names_and_sizes(list_source))
        if wanted.items() - dict(_names_and_sizes(list_target)).items():
            with tempfile.TemporaryDirectory(prefix="stylecore-migrate-") as folder:
                upload(str(fetch(self._source, address, Path(folder))))

    def _tags_there(self, tags: Mapping[str, str]) -> dict[str, str]:
        return {key: self._text_there(value) for key, value in tags.items() if key != MIGRATED}

    def _text_there(self, text: str) -> str:
        """The text with the ids of the copied runs: 32 hexadecimal digits, so nothing else is mistaken for one."""
        for old, new in self._runs.items():
            text = text.replace(old, new)
        return text

    def copy_registered_model(self, model: RegisteredModel) -> None:
        name, target = model.name, self._target
        with plain_errors(target.tracking_uri, f"copying the registered model {name}"):
            there = all_pages(target.search_registered_models, f"name='{name}'")
            if not there:
                target.create_registered_model(name, tags=model.tags, description=model.description)
            copies = {
                version.tags.get(MIGRATED): version
                for version in all_pages(target.search_model_versions, f"name='{name}'")
            }
            numbers: dict[str, str] = {}
            versions = all_pages(self._source.search_model_versions, f"name='{name}'")
            for version in sorted(versions, key=lambda version: int(version.version)):
                # Another store has versions of the same numbers, which may have been migrated, too.
                origin = f"{version.run_id}/{version.version}"
                if copy := copies.get(origin) or self._copy_version(version, origin):
                    numbers[str(version.version)] = str(copy.version)
                    for key, value in self._tags_there(version.tags).items():
                        target.set_model_version_tag(name, str(copy.version), key, value)
            taken = there[0].aliases if there else {}
            for alias, number in model.aliases.items():
                copied = numbers.get(str(number))
                if copied and alias not in taken:
                    target.set_registered_model_alias(name, alias, copied)
                elif copied and str(taken[alias]) != copied:
                    self.skipped.append(
                        f"The alias {alias} of {name} belongs to version {taken[alias]} at the target and stays."
                    )

    def _copy_version(self, version: ModelVersion, origin: str) -> ModelVersion | None:
        model = self._models.get(version.source)
        if model is None:
            self.skipped.append(
                f"The version {version.name}/{version.version} comes from {version.source}, which was not migrated."
            )
            return None
        copy = self._target.create_model_version(
            version.name,
            f"models:/{model.model_id}" if is_server(self._target.tracking_uri) else model.artifact_location,
            run_id=self._runs.get(version.run_id),
            tags={**self._tags_there(version.tags), MIGRATED: origin},
            description=self._text_there(version.description or ""),
            await_creation_for=0,
            model_id=model.model_id,
        )
        print(f"{version.name}/{version.version}: version {copy.version} there")
        return copy


def _names_and_sizes(
    listing: Callable[[str | None], list[FileInfo]], folder: str | None = None
) -> Iterator[tuple[str, int]]:
    for entry in listing(folder):
        if entry.is_dir:
            yield from _names_and_sizes(listing, entry.path)
        else:
            yield entry.path, entry.file_size
