"""Copy everything from one MLflow store to another: from the store of one machine to a server.

    python -m training.registry migrate --from sqlite:///mlruns/mlflow.db --to https://tracker.example.com

It copies the active experiments with their runs, their LoggedModels, the registered models with their versions in
order, and the aliases. The versions of a run that has not ended follow when it has, with higher numbers. Runs and
LoggedModels get new ids at the target; their tag `migrated_from` holds the old id, and ids in other tags are
translated. The source is only read.

Both sides are read into the same records. What a record lacks at the target is added; then the record is read again
(files by their SHA-256) and must be equal. So an interrupted migration continues when it is repeated, and later
additions to the source are added at the target. Nothing is removed at the target, and no alias is taken from a version
that has it. The creation time of models and versions is that of the migration: MLflow does not allow another one.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from mlflow import MlflowClient
from mlflow.entities import Experiment, LoggedModel, LoggedModelOutput, Metric, Run
from mlflow.entities.model_registry import ModelVersion, RegisteredModel

from stylecore.errors import StylecoreError
from training.registry import as_stylecore_errors
from training.registry.records import (
    Curves,
    ModelRecord,
    RunRecord,
    Summary,
    by_time,
    dataset_input,
    dataset_record,
    inverted,
    metric_points,
    stored_files,
    translated,
)
from training.tracking import TrackingError
from training.tracking.delivery import log_metrics, log_params_and_tags, models_of, output_steps
from training.tracking.environment import is_server, sqlite_file, without_password
from training.tracking.experiments import open_experiment
from training.tracking.store import all_pages, connect, folder_of_store, one_at_a_time, plain_errors

MIGRATED = "migrated_from"
_ENDED = {"FINISHED", "FAILED", "KILLED"}
_NOT_COPIED = {MIGRATED, "mlflow.modelVersions"}  # the second is set by a server


@as_stylecore_errors()
def migrate(source: str, target: str, *, unfinished: bool) -> Summary:
    """Copy everything from one store to the other, and print a line for every run and version.

    Runs with the status RUNNING are left for a later migration. With `unfinished` they are copied too: a run keeps
    that status when its machine was switched off.

    Raises:
        StylecoreError: when a store does not answer, or the two stores differ in the end.
    """
    if folder_of_store(source) and not sqlite_file(source).is_file():  # opening it would make it
        raise StylecoreError(
            f"There is no MLflow store {source}; a path after sqlite:/// is relative to the current folder."
        )
    old, new = connect(source), connect(target)
    if old.tracking_uri == new.tracking_uri:
        raise StylecoreError(f"{without_password(source)} cannot be migrated to itself; give another --to.")
    with one_at_a_time(old.tracking_uri, "migrating"):
        return _Migration(old, new, unfinished).all()


class _Migration:
    """The two stores. `_runs` and `_models` map ids of the target to ids of the source."""

    def __init__(self, source: MlflowClient, target: MlflowClient, unfinished: bool) -> None:
        self._source, self._target, self._unfinished = source, target, unfinished
        self._runs: dict[str, str] = {}
        self._models: dict[str, str] = {}
        self._addresses: dict[str, str] = {}  # at the source: address of a model's files, or models:/..., to its id
        self._summary = Summary()

    def all(self) -> Summary:
        with plain_errors(self._source.tracking_uri, "listing the experiments"):
            experiments = all_pages(self._source.search_experiments)
        for experiment in sorted(experiments, key=lambda each: int(each.experiment_id)):
            self._move_experiment(experiment)
        with plain_errors(self._source.tracking_uri, "listing the registered models"):
            registered = all_pages(self._source.search_registered_models)
            versions = all_pages(self._source.search_model_versions)
        for model in registered:
            mine = [version for version in versions if version.name == model.name]
            self._move_registered_model(model, sorted(mine, key=lambda version: int(version.version)))
        return self._summary

    # Runs

    def _move_experiment(self, experiment: Experiment) -> None:
        with plain_errors(self._source.tracking_uri, f"listing the runs of {experiment.name}"):
            runs = all_pages(self._source.search_runs, [experiment.experiment_id])
        if not runs and not experiment.tags:
            return
        try:
            there = open_experiment(self._target, experiment.name)
        except TrackingError as error:
            self._summary.skipped.append(f"The {len(runs)} runs of {experiment.name!r} were not migrated: {error}")
            return
        with plain_errors(self._target.tracking_uri, f"reading the experiment {experiment.name}"):
            known = self._target.get_experiment(there).tags
            for key, value in experiment.tags.items():
                if key not in known:
                    self._target.set_experiment_tag(there, key, value)
            moved = {
                run.data.tags[MIGRATED]: run
                for run in all_pages(self._target.search_runs, [there])
                if MIGRATED in run.data.tags
            }
        for run in by_time(runs):
            if run.info.status in _ENDED or self._unfinished:
                self._move_run(run, there, moved.get(run.info.run_id))
            else:
                self._summary.skipped.append(
                    f"The run {run.info.run_name} ({run.info.run_id}) is still being written; migrate again when it "
                    "has ended, or now with --unfinished."
                )

    def _move_run(self, run: Run, experiment_id: str, moved: Run | None) -> None:
        name = run.info.run_name
        with (
            plain_errors(self._target.tracking_uri, f"moving the run {name}"),
            tempfile.TemporaryDirectory(prefix="stylecore-migrate-") as temporary,
        ):
            folder = Path(temporary)
            if moved is None:
                moved = self._target.create_run(
                    experiment_id, start_time=run.info.start_time, tags={MIGRATED: run.info.run_id}, run_name=name
                )
            self._runs[moved.info.run_id] = run.info.run_id
            wanted = self._read_run(self._source, run, folder / "source")
            found = self._read_run(self._target, moved, folder / "before")
            if found != wanted:
                self._complete_run(moved, wanted, found, folder)
                moved = self._target.get_run(moved.info.run_id)
                found = self._read_run(self._target, moved, folder / "after")
                if found != wanted:
                    different = [field for field in vars(wanted) if getattr(wanted, field) != getattr(found, field)]
                    raise StylecoreError(
                        f"The run {name} ({run.info.run_id}) and its copy differ in {', '.join(different)}; another "
                        "program may write to it. Migrate again."
                    )
                self._summary.changed += 1
        self._summary.runs += 1
        self._summary.metric_values += sum(map(len, wanted.metrics.values()))
        self._summary.files += len(wanted.files) + sum(len(model.files) for model in wanted.models.values())
        self._summary.models += len(wanted.models)
        print(f"{name}: {len(wanted.metrics)} curves, {len(wanted.files)} files, {len(wanted.models)} models")

    def _complete_run(self, moved: Run, wanted: RunRecord, found: RunRecord, folder: Path) -> None:
        run_id = moved.info.run_id
        there = inverted(self._runs)
        tags = {key: value for key, value in wanted.tags.items() if found.tags.get(key) != value}
        tags = {key: translated(value, there) for key, value in tags.items()}
        params = {key: value for key, value in wanted.params.items() if key not in found.params}
        log_params_and_tags(self._target, run_id, params, tags)
        self._add_metrics(run_id, wanted.metrics, found.metrics)
        datasets = [dataset_input(entry) for entry in sorted(wanted.datasets - found.datasets)]
        if datasets:
            self._target.log_inputs(run_id, datasets=datasets)
        for path, digest in wanted.files.items():
            if found.files.get(path) != digest:
                parent = str(PurePosixPath(path).parent)
                self._target.log_artifact(run_id, str(folder / "source" / path), None if parent == "." else parent)
        for model_id, model in wanted.models.items():
            self._complete_model(moved, model_id, model, found.models.get(model_id), folder)
        if (found.status, found.end_time) != (wanted.status, wanted.end_time):
            if wanted.status in _ENDED:
                self._target.set_terminated(run_id, wanted.status, wanted.end_time)
            else:
                self._target.update_run(run_id, status=wanted.status)

    def _complete_model(
        self, moved: Run, old: str, wanted: ModelRecord, found: ModelRecord | None, folder: Path
    ) -> None:
        run_id = moved.info.run_id
        if found is None:
            made = self._target.create_logged_model(
                moved.info.experiment_id,
                name=wanted.name,
                source_run_id=run_id,
                tags={MIGRATED: old, **wanted.tags},
                params=wanted.params,
                model_type=wanted.model_type or None,
            )
            self._models[made.model_id] = old
        new = inverted(self._models)[old]
        if found is not None and found.tags != wanted.tags:
            self._target.set_logged_model_tags(new, wanted.tags)
        if wanted.files != (found.files if found else {}):
            self._target.log_model_artifacts(new, str(folder / "source" / old))
        if wanted.status in ("READY", "FAILED") and (found is None or found.status != wanted.status):
            self._target.finalize_logged_model(new, wanted.status)
        if wanted.step is not None and (found is None or found.step is None):
            self._target.log_outputs(run_id, [LoggedModelOutput(new, wanted.step)])
        self._add_metrics(run_id, wanted.metrics, found.metrics if found else {}, new)

    def _add_metrics(self, run_id: str, wanted: Curves, found: Curves, model_id: str | None = None) -> None:
        missing = [
            Metric(key, float(value), timestamp, step, model_id=model_id, run_id=run_id)
            for key, points in wanted.items()
            for step, timestamp, value in sorted(points - found.get(key, frozenset()), key=lambda point: point[:2])
        ]
        log_metrics(self._target, run_id, missing)

    def _read_run(self, client: MlflowClient, run: Run, folder: Path) -> RunRecord:
        """The record of a run of either store. The folder gets copies of its files, or links to them."""
        ids = {} if client is self._source else self._runs
        run_id = run.info.run_id
        models = {}
        steps = output_steps(run)
        for model in models_of(client, run.info.experiment_id, run_id):
            old = model.model_id
            if client is self._target:
                if MIGRATED not in model.tags:
                    continue
                old = self._models[model.model_id] = model.tags[MIGRATED]
            models[old] = self._read_model(client, model, steps.get(model.model_id), folder / old)
        inputs = run.inputs.dataset_inputs if run.inputs else []
        tags = {key: translated(value, ids) for key, value in run.data.tags.items() if key != MIGRATED}
        return RunRecord(
            name=run.info.run_name,
            status=run.info.status,
            start_time=run.info.start_time,
            end_time=run.info.end_time,
            params=dict(run.data.params),
            tags=tags,
            metrics={key: metric_points(client.get_metric_history(run_id, key)) for key in run.data.metrics},
            datasets=frozenset(dataset_record(entry) for entry in inputs),
            files=stored_files(
                client, run.info.artifact_uri, lambda path: client.list_artifacts(run_id, path or None), folder
            ),
            models=models,
        )

    def _read_model(self, client: MlflowClient, model: LoggedModel, step: int | None, folder: Path) -> ModelRecord:
        whole = client.get_logged_model(model.model_id)
        if client is self._source:
            self._addresses |= {whole.artifact_location: whole.model_id, f"models:/{whole.model_id}": whole.model_id}
        metrics: dict[str, list[Metric]] = {}
        for metric in whole.metrics or []:
            metrics.setdefault(metric.key, []).append(metric)
        return ModelRecord(
            name=whole.name,
            status=str(whole.status),
            model_type=whole.model_type or "",
            step=step,
            params=dict(whole.params),
            tags={key: value for key, value in whole.tags.items() if key not in _NOT_COPIED},
            metrics={key: metric_points(points) for key, points in metrics.items()},
            files=stored_files(
                client,
                whole.artifact_location,
                lambda path: client.list_logged_model_artifacts(whole.model_id, path or None),
                folder,
            ),
        )

    # The registry

    def _move_registered_model(self, model: RegisteredModel, versions: Sequence[ModelVersion]) -> None:
        name = model.name
        with plain_errors(self._target.tracking_uri, f"moving the registered model {name}"):
            there = all_pages(self._target.search_registered_models, f"name='{name}'")
            if not there:
                self._target.create_registered_model(name, tags=model.tags, description=model.description)
            present = all_pages(self._target.search_model_versions, f"name='{name}'")
            # Another store has versions of the same numbers, which may have been migrated, too.
            ours = ("", None, *self._runs)
            known = {each.tags[MIGRATED]: each for each in present if MIGRATED in each.tags and each.run_id in ours}
            alone = len(known) == len(present)  # no other program made versions of it there
            numbers: dict[str, str] = {}
            for version in versions:
                source = self._new_source(version)
                if source is None:
                    self._summary.skipped.append(
                        f"The version {name}/{version.version} comes from {version.source}, which was not migrated."
                    )
                    continue
                made = known.get(str(version.version))
                if made is None:
                    made = self._make_version(version, source, alone)
                    self._summary.changed += 1
                    print(f"{name}/{version.version}: version {made.version} there")
                number = numbers[str(version.version)] = str(made.version)
                for key, value in _tags_there(version).items():
                    if made.tags.get(key) != value:
                        self._target.set_model_version_tag(name, number, key, value)
                made = self._target.get_model_version(name, number)
                has_run = self._runs.get(made.run_id, "") == (version.run_id or "")
                if not has_run or made.tags != _tags_there(version):
                    raise StylecoreError(
                        f"{name}/{version.version} differs from its copy {name}/{number}; migrate again."
                    )
            taken = there[0].aliases if there else {}
            for alias, number in model.aliases.items():
                if str(number) not in numbers:
                    continue
                if alias not in taken:
                    self._target.set_registered_model_alias(name, alias, numbers[str(number)])
                elif str(taken[alias]) != numbers[str(number)]:
                    self._summary.skipped.append(
                        f"The alias {alias} of {name} belongs to version {taken[alias]} at the target and stays."
                    )
                    continue
                self._summary.aliases += 1
        self._summary.versions += len(numbers)

    def _make_version(self, version: ModelVersion, source: tuple[str, str | None], alone: bool) -> ModelVersion:
        """Make the version, with the same number if possible: gaps in the numbers are filled with deleted versions."""
        there = inverted(self._runs)
        address, model_id = source
        while True:
            made = self._target.create_model_version(
                version.name,
                address,
                run_id=there.get(version.run_id),
                tags=_tags_there(version),
                description=version.description,
                await_creation_for=0,
                model_id=model_id,
            )
            if alone and int(made.version) < int(version.version):
                self._target.delete_model_version(version.name, str(made.version))
                continue
            return made

    def _new_source(self, version: ModelVersion) -> tuple[str, str | None] | None:
        """The address of the version's files and its LoggedModel at the target; None when they were not copied."""
        new = inverted(self._models).get(self._addresses.get(version.source, ""))
        if new:
            if is_server(self._target.tracking_uri):
                return f"models:/{new}", new
            return self._target.get_logged_model(new).artifact_location, new
        run_id = inverted(self._runs).get(version.run_id)
        location = f"{self._source.get_run(version.run_id).info.artifact_uri}/" if run_id else ""
        if run_id and version.source.startswith(location):
            artifact_uri = self._target.get_run(run_id).info.artifact_uri
            return f"{artifact_uri}/{version.source.removeprefix(location)}", None
        return None


def _tags_there(version: ModelVersion) -> dict[str, str]:
    """The tags of the copy of a version."""
    return {**version.tags, MIGRATED: str(version.version)}
