"""The published runs: training runs in the repository as plain files, which can be restored into an MLflow store.

An MLflow store cannot be committed: its database has absolute paths. So a run for others is written to
`mlruns/published/<run name>/`:

    run.json                                 format, experiment, run_name, status, start_time, end_time (ms),
                                             note, params, tags, datasets, checkpoints, previews
    metrics.csv                              key,step,timestamp,value: the full history without the samples of the
                                             machine's load (system/...), the last value of each step, times in ms
    checkpoints/iterations-<step>.safetensors    StyleModel files, weights as float16
    checkpoints/iterations-<step>.int8.json      sidecars of the quantized networks, if any
    previews/<photo>/<step>.jpg              the sample pictures

Beside the runs are the photos themselves (the previews of step 0), which most runs share, and the aliases, which
`stylecore` reads (library.py):

    mlruns/published/photos/<photo>-<first 8 digits of its SHA-256>.jpg
    mlruns/published/aliases.json

In run.json a checkpoint is {step, sha256, aliases, description, metrics: [{key, value, step, timestamp}]}; a preview
is {photo, step, timestamp}, with {sha256} where its file is among the photos. Their files follow from these names.

A run that `restore_published` (restoring.py) made of them has the tags `published_as` (the folder) and `restored`, and
at the end gets `published_digest` (of the folder's contents). Without the last tag it is the rest of an interrupted
restore, and is restored again.
"""

import csv
import glob
import hashlib
import io
import json
import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Run
from PIL import Image

from stylecore.errors import StylecoreError
from stylecore.files import file_sha256, replaced_folder, write_whole
from stylecore.johnson.style_model import StyleModel, read_card
from stylecore.library import ALIASES_FILE, write_alias
from training.registry import as_stylecore_errors
from training.registry.registry import Registry
from training.tracking.delivery import JOURNAL_TAG, log_params_and_tags, newest
from training.tracking.environment import LOCAL_STORE, environment_tags
from training.tracking.store import connect, fetch, fetch_picture, plain_errors
from training.tracking.values import NOTE_IMAGE

PUBLISHED = LOCAL_STORE / "published"
FORMAT = "stylecore.published-run/1"
JPEG_QUALITY = 92
PHOTOS = "photos"
"""The folder of the photos that runs share."""
SYSTEM_METRICS = "system/"
"""MLflow's samples of processor and memory use, every 10 s: most of the lines, and nothing about the network."""
_KEPT_MLFLOW_TAGS = {"mlflow.source.name", "mlflow.source.type", "mlflow.source.git.commit"}
RUN_ID = "{run_id}"
_OUR_TAGS = {"published_as", "published_digest", "restored", JOURNAL_TAG}


@dataclass(frozen=True)
class Preview:
    """One sample picture of a run: its photo, its step, the time when it was logged (ms), its address in the store."""

    photo: str
    step: int
    timestamp: int
    path: str


@as_stylecore_errors()
def publish_run(run_id: str, out_dir: Path = PUBLISHED, *, half: bool = True, tracking_uri: str | None = None) -> Path:
    """Write a finished run to `out_dir/<run name>/`, in the place of an older one; returns the folder.

    With `half` the weights are stored as float16: the files have half the size, and the pictures look the same. The
    run gets a tag, so that a restore into the same store does not double it.

    Raises:
        StylecoreError: when the run does not exist or has not ended, or the store does not answer.
    """
    client = connect(tracking_uri)
    with plain_errors(client.tracking_uri, f"reading the run {run_id}"):
        run = client.get_run(run_id)
        experiment = client.get_experiment(run.info.experiment_id).name
    if run.info.status not in {"FINISHED", "FAILED", "KILLED"}:
        raise StylecoreError(f"The run {run_id} is {run.info.status.lower()}; publish it when it has ended.")
    name = folder_name(run.info.run_name)
    target = Path(out_dir) / (name if name not in ("", PHOTOS, "report") else run_id)
    with replaced_folder(target) as folder:
        record = {
            "format": FORMAT,
            "experiment": experiment,
            "run_name": run.info.run_name,
            "status": run.info.status,
            "start_time": run.info.start_time,
            "end_time": run.info.end_time,
            # The note shows the style picture by the run's id, and a restored run has another id.
            "note": run.data.tags.get("mlflow.note.content", "").replace(run_id, RUN_ID),
            "params": dict(sorted(run.data.params.items())),
            "tags": {k: v for k, v in sorted(run.data.tags.items()) if _is_kept_tag(k)},
            "datasets": _datasets(run),
            "checkpoints": _write_checkpoints(Registry(tracking_uri), run_id, folder, half),
            "previews": _write_previews(client, run, folder, target.parent / PHOTOS),
        }
        _write_metrics(client, run, folder / "metrics.csv")
        _write_style_picture(client, run, folder)
        text = json.dumps(record, indent=2, ensure_ascii=False) + "\n"
        (folder / "run.json").write_text(text, encoding="utf-8")
    for checkpoint in record["checkpoints"]:
        name = read_card(target / "checkpoints" / f"iterations-{checkpoint['step']}.safetensors").name
        for alias in checkpoint["aliases"]:
            write_alias(target.parent / ALIASES_FILE, name, alias, f"{target.name}/{checkpoint['step']}")
    tags = {"published_as": target.name, "published_digest": folder_digest(target)}
    log_params_and_tags(client, run_id, {}, tags)
    return target


def folder_name(run_name: str) -> str:
    """The name of a run's folder."""
    return re.sub(r"[^A-Za-z0-9_.-]", "_", run_name).lstrip(".")


def folder_digest(folder: Path) -> str:
    """SHA-256 over the names and contents of a published run's files."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and not path.name.startswith("."):
            digest.update(f"{name} {file_sha256(path)}\n".encode())
    return digest.hexdigest()


# Writing


def _is_kept_tag(key: str) -> bool:
    return (not key.startswith("mlflow.") and key not in _OUR_TAGS) or key in _KEPT_MLFLOW_TAGS


def _datasets(run: Run) -> list[dict[str, str]]:
    fields = ("name", "digest", "source_type", "source", "profile")
    inputs = run.inputs.dataset_inputs if run.inputs else []
    found = [{field: getattr(entry.dataset, field) or "" for field in fields} for entry in inputs]
    return [entry | {"source": _without_folders(entry["source"])} for entry in found]


def _without_folders(source: str) -> str:
    """A dataset's source in MLflow's form, {"uri": "/home/me/photos"}, with the folder's name instead of its path."""
    try:
        uri = json.loads(source)["uri"]
    except (ValueError, KeyError, TypeError):
        return source
    return json.dumps({"uri": Path(uri).name}) if Path(uri).is_absolute() else source


def _write_metrics(client: MlflowClient, run: Run, path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["key", "step", "timestamp", "value"])
        for key in sorted(key for key in run.data.metrics if not key.startswith(SYSTEM_METRICS)):
            with plain_errors(client.tracking_uri, f"reading the metric {key!r}"):
                history = client.get_metric_history(run.info.run_id, key)
            for metric in newest(history):
                # Losses are float32, and nine digits hold a float32 exactly.
                table.writerow([key, metric.step, metric.timestamp, f"{metric.value:.9g}"])


def _write_checkpoints(registry: Registry, run_id: str, folder: Path, half: bool) -> list[dict[str, Any]]:
    records = []
    versions = [version for version in registry.versions() if version.run_id == run_id]
    for version in sorted(versions, key=lambda version: version.iterations):
        path = folder / "checkpoints" / f"iterations-{version.iterations}.safetensors"
        StyleModel.load(registry.weights(version)).save(path, half=half)  # with its quantized network, if any
        records.append(
            {
                "step": version.iterations,
                "sha256": file_sha256(path),
                "aliases": list(version.aliases),
                "description": version.words,
                "metrics": [
                    {"key": m.key, "value": float(f"{m.value:.9g}"), "step": m.step, "timestamp": m.timestamp}
                    for m in registry.metrics(version)
                ],
            }
        )
    return records


def previews_of(client: MlflowClient, run: Run) -> list[Preview]:
    """The sample pictures of the run, sorted by photo and step; of several of one step the last one."""
    name = re.compile(r"images/preview~(.+)\+step\+(\d+)\+timestamp\+(\d+)\+[0-9a-f-]+\.png")
    with plain_errors(client.tracking_uri, "listing the sample pictures"):
        paths = [file.path for file in client.list_artifacts(run.info.run_id, "images")]
    found = (name.fullmatch(path) for path in paths)
    previews = [Preview(m[1], int(m[2]), int(m[3]), f"{run.info.artifact_uri}/{m[0]}") for m in found if m]
    previews.sort(key=lambda preview: preview.timestamp)
    last = {(preview.photo, preview.step): preview for preview in previews}
    return [last[key] for key in sorted(last)]


def _write_previews(client: MlflowClient, run: Run, folder: Path, photos: Path) -> list[dict[str, Any]]:
    records = []
    for preview in previews_of(client, run):
        record: dict[str, Any] = {"photo": preview.photo, "step": preview.step, "timestamp": preview.timestamp}
        pixels = fetch_picture(client, preview.path)
        if preview.step == 0:
            record["sha256"] = _share(pixels, preview.photo, photos)
        else:
            path = preview_file(folder, record)
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels.save(path, quality=JPEG_QUALITY)
        records.append(record)
    return records


def _share(photo: Image.Image, name: str, photos: Path) -> str:
    """Add a photo to those that runs share; returns its file's SHA-256.

    A file with the same pixels is used as it is: the photo of a restored run would lose quality if compressed again.
    """
    for path in photos.glob(f"{glob.escape(name)}-*.jpg"):
        with Image.open(path) as image:
            if image.size == photo.size and image.convert("RGB").tobytes() == photo.tobytes():
                return file_sha256(path)
    stream = io.BytesIO()
    photo.save(stream, "JPEG", quality=JPEG_QUALITY)
    sha256 = hashlib.sha256(stream.getvalue()).hexdigest()
    photos.mkdir(parents=True, exist_ok=True)
    write_whole(photo_file(photos, name, sha256), stream.getvalue())
    return sha256


def style_picture_of(client: MlflowClient, run: Run) -> str:
    """The address of the run's style picture; "" if it has none."""
    with plain_errors(client.tracking_uri, "looking for the style picture"):
        kept = {file.path for file in client.list_artifacts(run.info.run_id, str(Path(NOTE_IMAGE).parent))}
    return f"{run.info.artifact_uri}/{NOTE_IMAGE}" if NOTE_IMAGE in kept else ""


def _write_style_picture(client: MlflowClient, run: Run, folder: Path) -> None:
    if address := style_picture_of(client, run):
        target = folder / NOTE_IMAGE
        target.parent.mkdir()
        with tempfile.TemporaryDirectory() as temporary:
            shutil.copyfile(fetch(client, address, Path(temporary)), target)


def preview_file(folder: Path, preview: Mapping[str, Any]) -> Path:
    """The file of a sample picture: in the run's folder, or among the photos that runs share."""
    if "sha256" in preview:
        return photo_file(folder.parent / PHOTOS, preview["photo"], preview["sha256"])
    return folder / "previews" / preview["photo"] / f"{int(preview['step'])}.jpg"


def photo_file(photos: Path, name: str, sha256: str) -> Path:
    return photos / f"{name}-{sha256[:8]}.jpg"


def commit_of_the_code() -> str:
    """The checkout's commit, shortened; "unknown" outside of a checkout."""
    tags = environment_tags(1, "")
    return tags["git_commit"][:10] + (" with changes" if tags["git_dirty"] == "true" else "")
