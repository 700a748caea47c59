"""Restore the published runs into an MLflow store."""

import csv
import json
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Metric, Run, ViewType
from PIL import Image

from stylecore.errors import StylecoreError
from stylecore.files import file_sha256
from stylecore.johnson.quantization import sidecar_of
from stylecore.johnson.style_model import read_card
from stylecore.library import ALIASES_FILE, CHAMPION, read_aliases
from training.registry import as_stylecore_errors
from training.registry.published import FORMAT, PUBLISHED, RUN_ID, folder_digest, folder_name, preview_file
from training.registry.versions import description_of, int8_tag, preview_key
from training.tracking.delivery import (
    automatic_aliases,
    give_alias,
    log_datasets,
    log_metrics,
    log_params_and_tags,
    models_of,
    register_checkpoint,
)
from training.tracking.experiments import open_experiment
from training.tracking.store import all_pages, connect, one_at_a_time, plain_errors
from training.tracking.values import NOTE_IMAGE

FIRST_STYLE = "starry_night"
"""The style that the page shows first."""

Aliases = Mapping[str, Mapping[str, str]]
"""The content of an `ALIASES_FILE`: style, alias, and the folder and iterations of the network that has it."""

_log = logging.getLogger(__name__)


@as_stylecore_errors()
def restore_published(
    published_dir: Path = PUBLISHED,
    tracking_uri: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[str]:
    """Restore every published run that the store lacks; returns their names.

    The runs of the champions come first, so that a page can show them while the others follow. `progress` is told
    after each run how many are there, and of how many.

    It can be interrupted and repeated. A run whose folder has changed since its restore is replaced. Its versions with
    an alias that was given by hand stay, and a warning names them. No alias is taken from a version that a person gave
    it: a `champion` promoted by hand stays. A training that was there first is no longer the champion.

    Raises:
        StylecoreError: when a published run is damaged, or the store does not answer.
    """
    aliases = read_aliases(Path(published_dir) / ALIASES_FILE)
    champions = {table[CHAMPION].partition("/")[0] for table in aliases.values() if CHAMPION in table}
    folders = sorted(
        (path.parent for path in Path(published_dir).glob("*/run.json")),
        key=lambda folder: (folder.name not in champions, not folder.name.startswith(FIRST_STYLE), folder.name),
    )
    if not folders:
        return []
    client = connect(tracking_uri)
    restored = []
    with one_at_a_time(client.tracking_uri, "restoring"):
        for done, folder in enumerate(folders, start=1):
            if _restore_run(client, folder):
                restored.append(folder.name)
                with plain_errors(client.tracking_uri, "giving aliases"):
                    _give_aliases(client, aliases)
            if progress is not None:
                progress(done, len(folders))
        with plain_errors(client.tracking_uri, "giving aliases"):
            _give_aliases(client, aliases)  # the file may have changed alone
    return restored


def _restore_run(client: MlflowClient, folder: Path) -> bool:
    """Restore one run; False when the store has it already."""
    record, metrics = _read_record(folder)
    digest = folder_digest(folder)
    experiment_id = open_experiment(client, record["experiment"])
    with plain_errors(client.tracking_uri, f"restoring {folder.name}"):
        known = client.search_runs([experiment_id], f"tags.published_as = '{folder.name}'", run_view_type=ViewType.ALL)
        if any(run.data.tags.get("published_digest") == digest for run in known):
            return False  # it is there, or a person has deleted it
        for older in known:
            if older.data.tags.get("restored") == "true" and older.info.lifecycle_stage == "active":
                _remove_run(client, older, folder.name)
        run = client.create_run(
            experiment_id,
            start_time=record["start_time"],
            tags={"published_as": folder.name, "restored": "true"},
            run_name=record["run_name"],
        )
        run_id = run.info.run_id
        note = {"mlflow.note.content": record["note"].replace(RUN_ID, run_id)} if record["note"] else {}
        log_params_and_tags(client, run_id, record["params"], {**record["tags"], **note})
        log_datasets(client, run_id, record["datasets"])
        if (folder / NOTE_IMAGE).is_file():
            client.log_artifact(run_id, str(folder / NOTE_IMAGE), str(Path(NOTE_IMAGE).parent))
        log_metrics(client, run_id, metrics)
        for preview in record["previews"]:
            with Image.open(preview_file(folder, preview)) as image:
                client.log_image(
                    run_id,
                    image,
                    key=preview_key(preview["photo"]),
                    step=preview["step"],
                    timestamp=preview["timestamp"],
                    synchronous=True,
                )
        for checkpoint in record["checkpoints"]:
            _restore_checkpoint(client, folder, run, checkpoint)
        client.set_terminated(run_id, record["status"], record["end_time"])
        client.set_tag(run_id, "published_digest", digest)
    return True


def _restore_checkpoint(client: MlflowClient, folder: Path, run: Run, checkpoint: Mapping[str, Any]) -> None:
    weights = _checkpoint_file(folder, checkpoint)
    card = read_card(weights)
    register_checkpoint(
        client,
        run_id=run.info.run_id,
        run_name=run.info.run_name,
        experiment_id=run.info.experiment_id,
        weights=weights,
        model=description_of(card, checkpoint.get("description", "")),
        step=checkpoint["step"],
        metrics=[Metric(m["key"], m["value"], m["timestamp"], m["step"]) for m in checkpoint["metrics"]],
        tags=int8_tag(weights),
        sidecars={sidecar_of(f"{card.name}.safetensors").name: sidecar_of(weights)} if int8_tag(weights) else {},
    )


def _give_aliases(client: MlflowClient, published: Aliases) -> None:
    """Give each alias to the version that has it by the file of aliases, unless a person gave it to another."""
    taken = {model.name: model.aliases for model in all_pages(client.search_registered_models)}
    versions: dict[tuple[str, str], str] = {}
    for version in sorted(all_pages(client.search_model_versions), key=lambda version: int(version.version)):
        which = f"{folder_name(version.tags.get('run_name', ''))}/{version.tags.get('iterations')}"
        versions[version.name, which] = str(version.version)
    for name, table in published.items():
        for alias, which in table.items():
            number = versions.get((name, which))
            if number is not None and str(taken[name].get(alias)) != number:
                give_alias(client, name, alias, number)


def _read_record(folder: Path) -> tuple[dict[str, Any], list[Metric]]:
    """Read and check run.json and metrics.csv, before anything is written to the store."""
    path = folder / "run.json"
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        if record["format"] != FORMAT:
            raise StylecoreError(f"{path} has the format {record['format']!r}, this version reads {FORMAT!r}; update.")
        needed = [(_checkpoint_file(folder, checkpoint), checkpoint["sha256"]) for checkpoint in record["checkpoints"]]
        needed += [(preview_file(folder, preview), preview.get("sha256")) for preview in record["previews"]]
        for path, digest in needed:
            if not path.is_file() or (digest and file_sha256(path) != digest):
                raise StylecoreError(f"{path} is missing or damaged, and {folder.name} needs it; check it out again.")
        path = folder / "metrics.csv"
        with path.open(newline="", encoding="utf-8") as file:
            metrics = [
                Metric(row["key"], float(row["value"]), int(row["timestamp"]), int(row["step"]))
                for row in csv.DictReader(file)
            ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StylecoreError(f"The published run {path} cannot be read ({error}); check it out again.") from error
    return record, metrics


def _checkpoint_file(folder: Path, checkpoint: Mapping[str, Any]) -> Path:
    return folder / "checkpoints" / f"iterations-{int(checkpoint['step'])}.safetensors"


def _remove_run(client: MlflowClient, run: Run, folder: str) -> None:
    """Remove what a restore made: its versions with their aliases, its LoggedModels, the run.

    A version with an alias that a person gave it is kept, and the run with it.
    """
    run_id, keeps = run.info.run_id, False
    for version in client.search_model_versions(f"run_id='{run_id}'"):
        number = str(version.version)
        table = client.get_registered_model(version.name).aliases
        aliases = {alias for alias, bearer in table.items() if str(bearer) == number}
        if by_hand := aliases - automatic_aliases(version):
            keeps = True
            stays = f"its old version {version.name}/{number} stays: it has the alias {', '.join(sorted(by_hand))}"
            _log.warning("%s has changed; %s, given by hand.", folder, stays)
        else:
            client.delete_model_version(version.name, number)
    if "published_digest" in run.data.tags:
        client.delete_tag(run_id, "published_digest")  # the run is no longer complete
    if not keeps:
        for model in models_of(client, run.info.experiment_id, run_id):
            client.delete_logged_model(model.model_id)
        client.delete_run(run_id)
