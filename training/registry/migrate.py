"""Copy everything from one MLflow store to another: from the store of one machine to a server.

    python -m training.registry migrate --from sqlite:///mlruns/mlflow.db --to https://tracker.example.com

It copies the active experiments with their runs, their LoggedModels, the registered models with their versions in
order, and the aliases. Runs, LoggedModels and versions get new ids and numbers at the target, where their tag
`migrated_from` holds the old ones, and ids of runs in other tags are translated. The source is only read.

Only what the target lacks is copied; then the target is read again and must have it, files by their SHA-256. So an
interrupted migration continues when it is repeated, and later additions to the source are added at the target. Nothing
is removed at the target, and no alias is taken from a version that has it. The creation time of models and versions is
that of the migration: MLflow does not allow another one.
"""

import tempfile
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Experiment, LoggedModel, LoggedModelOutput, Metric, Run
from mlflow.entities.model_registry import ModelVersion, RegisteredModel

from stylecore.errors import StylecoreError
from training.registry import as_stylecore_errors
from training.registry.contents import Contents, difference, model_contents, run_contents
from training.tracking import TrackingError
from training.tracking.delivery import log_metrics, log_params_and_tags, models_of, output_steps
from training.tracking.environment import is_server, sqlite_file, without_password
from training.tracking.experiments import open_experiment
from training.tracking.store import all_pages, connect, fetch, folder_of_store, one_at_a_time, plain_errors

MIGRATED = "migrated_from"
_NOT_COPIED = {MIGRATED, "mlflow.modelVersions"}  # the second is set by a server


@as_stylecore_errors()
def migrate(source: str, target: str) -> list[str]:
    """Copy everything from one store to the other, and print a line for every run and version, and what is the same.

    What a running training logs later follows with the next migration.

    Returns:
        A sentence for everything that was left out.

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
    migration = _Migration(old, new)
    with one_at_a_time(old.tracking_uri, "migrating"):
        with plain_errors(old.tracking_uri, "listing the experiments"):
            experiments = all_pages(old.search_experiments)
            registered = all_pages(old.search_registered_models)
        for experiment in sorted(experiments, key=lambda each: int(each.experiment_id)):
            migration.copy_experiment(experiment)
        for model in registered:
            migration.copy_registered_model(model)
    print(
        "{runs} runs with {values} metric values, {files} files, {models} models, {versions} registered versions and "
        "{aliases} aliases are the same in both stores.".format_map(migration.same)
    )
    return migration.skipped


class _Migration:
    """The two stores, and what was copied so far."""

    skipped: list[str]
    same: Counter[str]
    """Numbers of what both stores have."""

    def __init__(self, source: MlflowClient, target: MlflowClient) -> None:
        self._source, self._target = source, target
        self._runs: dict[str, str] = {}  # id at the source to id at the target
        self._models: dict[str, LoggedModel] = {}  # address of a model's files at the source to its copy
        self.skipped, self.same = [], Counter()

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
        target, old, name = self._target, run.info.run_id, run.info.run_name
        with plain_errors(target.tracking_uri, f"copying the run {name}"):
            if copy is None:
                copy = target.create_run(experiment_id, run.info.start_time, {MIGRATED: old}, name)
            new = self._runs[old] = copy.info.run_id
            wanted = run_contents(self._source, run, self._tags_there)
            if lacking := difference(wanted, run_contents(target, copy, self._tags_there)):
                log_params_and_tags(target, new, dict(lacking.get("params", ())), dict(lacking.get("tags", ())))
                self._add_metrics(lacking, new)
                if "datasets" in lacking:
                    target.log_inputs(new, datasets=run.inputs.dataset_inputs)
                if "files" in lacking:
                    self._add_files(run.info.artifact_uri, partial(target.log_artifacts, new))
                if "end" in lacking:
                    target.set_terminated(new, run.info.status, run.info.end_time)
                _check(f"the run {name}", wanted, run_contents(target, target.get_run(new), self._tags_there))
            copies = {model.tags.get(MIGRATED): model.model_id for model in models_of(target, experiment_id, new)}
            models = models_of(self._source, run.info.experiment_id, old)
            for model in models:
                self._copy_model(model.model_id, run, copy, copies.get(model.model_id))
        self.same.update({"runs": 1, "values": len(wanted["metric values"]), "files": len(wanted["files"])})
        print(f"{name}: {len(run.data.metrics)} curves, {len(models)} models")

    def _copy_model(self, old: str, run: Run, copied_run: Run, new: str | None) -> None:
        target, run_id = self._target, copied_run.info.run_id
        wanted = model_contents(self._source, run, old, self._tags_there)
        model = self._source.get_logged_model(old)
        if new is None:
            new = target.create_logged_model(
                copied_run.info.experiment_id,
                name=model.name,
                source_run_id=run_id,
                tags={MIGRATED: old},
                params=model.params,
                model_type=model.model_type or None,
            ).model_id
        if lacking := difference(wanted, model_contents(target, copied_run, new, self._tags_there)):
            target.set_logged_model_tags(new, dict(lacking.get("tags", ())))
            if "files" in lacking:
                self._add_files(model.artifact_location, partial(target.log_model_artifacts, new))
            if model.status in ("READY", "FAILED"):
                target.finalize_logged_model(new, model.status)
            step = output_steps(run).get(old)
            if step is not None and new not in output_steps(copied_run):
                target.log_outputs(run_id, [LoggedModelOutput(new, step)])
            self._add_metrics(lacking, run_id, new)
            there = model_contents(target, target.get_run(run_id), new, self._tags_there)
            _check(f"the model {old} of {run.info.run_name}", wanted, there)
        copy = target.get_logged_model(new)
        self._models |= {model.artifact_location: copy, f"models:/{old}": copy}
        self.same.update({"models": 1, "files": len(wanted["files"])})

    def _add_metrics(self, lacking: Contents, run_id: str, model_id: str | None = None) -> None:
        metrics = [
            Metric(key, float(value), timestamp, step, model_id=model_id, run_id=run_id)
            for key, value, timestamp, step in lacking.get("metric values", ())
        ]
        log_metrics(self._target, run_id, metrics)

    def _add_files(self, address: str, upload: Callable[[str], None]) -> None:
        with tempfile.TemporaryDirectory(prefix="stylecore-migrate-") as folder:
            upload(str(fetch(self._source, address, Path(folder))))

    def _tags_there(self, tags: Mapping[str, str]) -> dict[str, str]:
        return {key: self._text_there(value) for key, value in tags.items() if key not in _NOT_COPIED}

    def _text_there(self, text: str) -> str:
        """The text with the ids of the copied runs: 32 hexadecimal digits, so nothing else is mistaken for one."""
        for old, new in self._runs.items():
            text = text.replace(old, new)
        return text

    def copy_registered_model(self, registered: RegisteredModel) -> None:
        name, target = registered.name, self._target
        condition = f"name='{name}'"
        with plain_errors(target.tracking_uri, f"copying the registered model {name}"):
            there = all_pages(target.search_registered_models, condition)
            if not there:
                target.create_registered_model(name, tags=registered.tags, description=registered.description)
            copies = {each.tags.get(MIGRATED): each for each in all_pages(target.search_model_versions, condition)}
            numbers: dict[str, str] = {}
            wanted: Contents = {"versions": set(), "tags": set(), "aliases": set()}
            versions = all_pages(self._source.search_model_versions, condition)
            for version in sorted(versions, key=lambda version: int(version.version)):
                model = self._models.get(version.source)
                if model is None:
                    self.skipped.append(
                        f"The version {name}/{version.version} comes from {version.source}, which was not migrated."
                    )
                    continue
                # Another store has versions of the same numbers, which may have been migrated, too.
                origin = f"{version.run_id}/{version.version}"
                copy = copies.get(origin) or self._copy_version(version, origin, model)
                number = numbers[str(version.version)] = str(copy.version)
                wanted["versions"].add((number, self._runs.get(version.run_id, ""), self._address(model)))
                wanted["tags"] |= {(number, *tag) for tag in self._tags_there(version.tags).items()}
            for number, key, value in difference(wanted, self._registered_there(name)).get("tags", ()):
                target.set_model_version_tag(name, number, key, value)
            taken = there[0].aliases if there else {}
            for alias, bearer in registered.aliases.items():
                copied = numbers.get(str(bearer))
                if copied and str(taken.get(alias, copied)) == copied:
                    target.set_registered_model_alias(name, alias, copied)
                    wanted["aliases"].add((alias, copied))
                elif copied:
                    self.skipped.append(
                        f"The alias {alias} of {name} belongs to version {taken[alias]} at the target and stays."
                    )
            _check(f"the registered model {name}", wanted, self._registered_there(name))
        self.same.update({"versions": len(wanted["versions"]), "aliases": len(wanted["aliases"])})

    def _registered_there(self, name: str) -> Contents:
        aliases = self._target.get_registered_model(name).aliases
        versions = all_pages(self._target.search_model_versions, f"name='{name}'")
        return {
            "versions": {(str(version.version), version.run_id or "", version.source) for version in versions},
            "tags": {(str(version.version), *tag) for version in versions for tag in version.tags.items()},
            "aliases": {(alias, str(number)) for alias, number in aliases.items()},
        }

    def _copy_version(self, version: ModelVersion, origin: str, model: LoggedModel) -> ModelVersion:
        copy = self._target.create_model_version(
            version.name,
            self._address(model),
            run_id=self._runs.get(version.run_id),
            tags={**self._tags_there(version.tags), MIGRATED: origin},
            description=self._text_there(version.description or ""),
            await_creation_for=0,
            model_id=model.model_id,
        )
        print(f"{version.name}/{version.version}: version {copy.version} there")
        return copy

    def _address(self, model: LoggedModel) -> str:
        """The address of a model's files at the target, as a version has it."""
        return f"models:/{model.model_id}" if is_server(self._target.tracking_uri) else model.artifact_location


def _check(what: str, wanted: Contents, found: Contents) -> None:
    for kind in difference(wanted, found):
        raise StylecoreError(f"{what} and its copy differ in {kind}; migrate again.")
