"""The registered styles: which there are, where their files are, which one is the champion. All reading is here.

A style is a registered model; each of its versions is one checkpoint of one run. References are written as MLflow
writes them, with or without `models:/`:

    starry_night                    its champion
    starry_night@iterations-1000    the version with this alias
    starry_night/3                  version 3

As a command, `python -m training.registry` (__main__.py).
"""

import json
import logging
import os
import re
import shutil
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

from stylecore.errors import StylecoreError
from stylecore.johnson.quantization import Quantization, companion_of, write_quantization
from stylecore.johnson.style_model import StyleCard
from stylecore.library import CHAMPION
from training.registry.published import publish_run, swap_folder
from training.registry.restoring import restore_published
from training.tracking.delivery import INT8_TAG, file_sha256
from training.tracking.store import connect, fetch, is_server, plain_errors, without_password

__all__ = ["BUNDLE_FORMAT", "RegisteredVersion", "Registry", "publish_run", "restore_published"]

BUNDLE_FORMAT = "stylecore.bundle/1"
MANIFEST = "manifest.json"

_log = logging.getLogger(__name__)
GATYS_METRIC = "eval/equivalent_gatys_iterations"
"""As many iterations of Gatys et al. reach the same loss (`training.evaluate`)."""
LOSSES = ("total", "content", "style")
"""Of what `training.evaluate` measures: the metrics `eval/total_256` and so on, weighted as in training."""


@dataclass(frozen=True)
class RegisteredVersion:
    """One version of one style. `iterations`, `run_id` and `run_name` are empty when nobody recorded them; `int8` is
    the SHA-256 of the file of its 8-bit form, empty when it has none."""

    name: str
    version: str
    aliases: tuple[str, ...]
    iterations: int | None
    run_id: str
    run_name: str
    created: datetime
    int8: str
    registry: "Registry" = field(repr=False, compare=False)

    @cached_property
    def card(self) -> StyleCard:
        """Read at first use, without the weights."""
        return self.registry.card(self)


class Registry:
    """The styles of one MLflow store. Safe to share between threads.

    Files of a server are kept in `cache_dir` (by default in the user's cache folder); those of a store on this
    machine are used where they lie.
    """

    def __init__(self, tracking_uri: str | None = None, cache_dir: Path | None = None) -> None:
        self._client = connect(tracking_uri)
        self._cache_dir = cache_dir or _user_cache()
        self._fetching = threading.Lock()
        self._artifact_uris: dict[tuple[str, str], str] = {}

    @property
    def tracking_uri(self) -> str:
        """The store's address, fit to be shown."""
        return without_password(self._client.tracking_uri)

    def versions(self, name: str | None = None) -> list[RegisteredVersion]:
        """Every version of the style, or of all styles, by name and number; models that are no styles are left out."""
        with plain_errors(self._client.tracking_uri, "listing the styles"):
            condition = None if name is None else f"name='{_checked_name(name)}'"
            models = _all_pages(self._client.search_registered_models, condition)
            found = _all_pages(self._client.search_model_versions, condition)
        aliases: dict[tuple[str, str], list[str]] = {}
        for model in models:
            for alias, number in model.aliases.items():
                aliases.setdefault((model.name, str(number)), []).append(alias)
        versions = [
            RegisteredVersion(
                name=entry.name,
                version=str(entry.version),
                aliases=tuple(sorted(aliases.get((entry.name, str(entry.version)), ()))),
                iterations=_whole_number(entry.tags.get("iterations")),
                run_id=entry.run_id or "",
                run_name=entry.tags.get("run_name", ""),
                created=datetime.fromtimestamp(entry.creation_timestamp / 1000, UTC),
                int8=entry.tags.get(INT8_TAG, ""),
                registry=self,
            )
            for entry in found
            if "iterations" in entry.tags or self._is_style(entry.name, str(entry.version))
        ]
        return sorted(versions, key=lambda v: (v.name, int(v.version)))

    def find(self, reference: str) -> RegisteredVersion:
        """The version that a reference means; StylecoreError, saying what there is, when there is none."""
        parsed = re.fullmatch(r"(?:models:/)?([A-Za-z0-9_-]+)(?:@([A-Za-z0-9_-]+)|/(\d+))?", reference.strip())
        if parsed is None:
            raise StylecoreError(
                f"{reference!r} does not name a style; write NAME, NAME@ALIAS or NAME/VERSION, "
                "for example starry_night@champion."
            )
        name, alias, number = parsed[1], parsed[2], parsed[3]
        versions = self.versions(name)
        if not versions:
            raise self.unknown_style(name)
        if number is not None:
            chosen = [v for v in versions if v.version == str(int(number))]
        else:
            chosen = [v for v in versions if (alias or CHAMPION) in v.aliases]
        if not chosen:
            asked = f"version {number}" if number else f"alias {alias or CHAMPION!r}"
            there = "; ".join(f"version {v.version} ({', '.join(v.aliases) or 'no alias'})" for v in versions)
            raise StylecoreError(f"The style {name!r} has no {asked}; it has {there}.")
        return chosen[-1]

    def resolve(self, reference: str) -> Path:
        """The local `.safetensors` of a reference such as `models:/starry_night@champion`, fetched at most once."""
        return self.weights(self.find(reference))

    def weights(self, version: RegisteredVersion) -> Path:
        """The local `.safetensors` of a version, with its 8-bit form beside it, if it has one."""
        path = self._artifact(version.name, version.version, f"{self.card(version).name}.safetensors")
        if version.int8:
            try:
                self._artifact(version.name, version.version, companion_of(path).name, version.int8)
            except StylecoreError as error:
                _log.warning("%s/%s is used without its 8-bit form: %s", version.name, version.version, error)
        return path

    def add_quantization(self, version: RegisteredVersion, quantization: Quantization) -> RegisteredVersion:
        """Keep the 8-bit form of a version with its weights, in the place of an older one."""
        with plain_errors(self._client.tracking_uri, f"keeping the 8-bit form of {version.name}/{version.version}"):
            outputs = self._client.get_run(version.run_id).outputs if version.run_id else None
            models = {output.step: output.model_id for output in (outputs.model_outputs if outputs else [])}
            if version.iterations not in models:
                raise StylecoreError(
                    f"{version.name}/{version.version} was not registered by this project; quantize its file instead."
                )
            with tempfile.TemporaryDirectory() as folder:
                companion = companion_of(Path(folder) / f"{self.card(version).name}.safetensors")
                write_quantization(quantization, companion)
                self._client.log_model_artifacts(models[version.iterations], folder)
                self._client.set_model_version_tag(
                    version.name, version.version, key=INT8_TAG, value=file_sha256(companion)
                )
        return self.find(f"{version.name}/{version.version}")

    def card(self, version: RegisteredVersion) -> StyleCard:
        """The card of a version, without fetching its weights."""
        path = self._artifact(version.name, version.version, "card.json")
        try:
            return StyleCard.from_json(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise StylecoreError(f"The card of {version.name}/{version.version} cannot be read: {error}.") from error

    def metric(self, version: RegisteredVersion, key: str) -> float | None:
        """The newest value of a metric that its run has at the version's iteration; None where there is none."""
        if not version.run_id:
            return None
        with plain_errors(self._client.tracking_uri, f"reading the metric {key!r}"):
            history = self._client.get_metric_history(version.run_id, key)
        values = [metric for metric in history if metric.step == version.iterations]
        return max(values, key=lambda metric: metric.timestamp).value if values else None

    def evaluated_losses(self, version: RegisteredVersion) -> tuple[int, dict[str, float]]:
        """The smallest size in pixels that `training.evaluate` measured the version at, and its `LOSSES`; 0 and none
        where it did not."""
        if not version.run_id:
            return 0, {}
        with plain_errors(self._client.tracking_uri, f"reading the run {version.run_id}"):
            measured = self._client.get_run(version.run_id).data.metrics
        sizes = (key.removeprefix("eval/total_") for key in measured if key.startswith("eval/total_"))
        for size in sorted(int(size) for size in sizes if size.isdigit()):
            found = {name: self.metric(version, f"eval/{name}_{size}") for name in LOSSES}
            losses = {name: value for name, value in found.items() if value is not None}
            if len(losses) == len(LOSSES):
                return size, losses
        return 0, {}

    def run_page(self, version: RegisteredVersion, page: str = "") -> str:
        """Address of the version's run at MLflow's page: at `page`, or at the store when that is a server; else ""."""
        if not page and is_server(self._client.tracking_uri):
            page = self.tracking_uri
        if not page or not version.run_id:
            return ""
        with plain_errors(self._client.tracking_uri, f"reading the run {version.run_id}"):
            experiment = self._client.get_run(version.run_id).info.experiment_id
        return f"{page.rstrip('/')}/#/experiments/{experiment}/runs/{version.run_id}"

    def promote(self, name: str, version_or_alias: str, alias: str = CHAMPION) -> RegisteredVersion:
        """Give the alias to a version, taking it from the one that has it."""
        separator = "/" if version_or_alias.isdigit() else "@"
        version = self.find(f"{name}{separator}{version_or_alias}")
        with plain_errors(self._client.tracking_uri, f"naming {name}/{version.version} {alias!r}"):
            self._client.set_registered_model_alias(name, alias, version.version)
        return self.find(f"{name}/{version.version}")

    def export(
        self,
        out_dir: Path,
        names: Sequence[str] | None = None,
        alias: str = CHAMPION,
        *,
        all_versions: bool = False,
    ) -> Path:
        """Write a bundle: the styles' files and a manifest, to be served without MLflow. Returns the manifest.

        Of each style the version with the alias is written; with `all_versions` every version of the named styles,
        or of all styles that have any alias.

        The manifest is {format, exported, styles: [{name, title, version, aliases, iterations, run_id, run_name,
        gatys_iterations, evaluated_size, evaluated_losses, file, sha256, bytes, card}]}, `file` being a name in the
        folder, and `gatys_iterations` null and `evaluated_size` 0 where they were not evaluated. The folder appears
        whole or not at all; one that holds another bundle is replaced, any other is refused.
        """
        out_dir = Path(out_dir).absolute()
        if out_dir.exists() and not (out_dir / MANIFEST).is_file() and (out_dir.is_file() or any(out_dir.iterdir())):
            raise StylecoreError(f"{out_dir} exists and is no bundle; give an empty folder, or remove it yourself.")
        chosen = self._every_version(names) if all_versions else self._with_alias(names, alias)
        out_dir.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out_dir.parent, prefix=f".{out_dir.name}.") as temporary:
            new = Path(temporary) / "new"
            new.mkdir()
            manifest = {
                "format": BUNDLE_FORMAT,
                "exported": datetime.now(UTC).isoformat(timespec="seconds"),
                "styles": [
                    # A dot is in no style's name, so no two versions meet in one file.
                    self._export_style(v, new, f"{v.name}.{v.version}" if all_versions else v.name)
                    for v in chosen
                ],
            }
            text = json.dumps(manifest, indent=2, ensure_ascii=False) + "\n"
            (new / MANIFEST).write_text(text, encoding="utf-8")
            swap_folder(new, out_dir)
        return out_dir / MANIFEST

    def unknown_style(self, name: str | None, which: str = "") -> StylecoreError:
        """The error that says which styles there are, for a name that none has, or for `which` none is."""
        names = sorted({version.name for version in self.versions()})
        asked = f"style {name!r}" if name else f"style {which}"
        if not names:
            return StylecoreError(
                f"The registry at {self.tracking_uri} is empty; `python -m training.registry restore` fills it with "
                "the published runs, and training adds to it."
            )
        return StylecoreError(f"The registry at {self.tracking_uri} has no {asked}; it has {', '.join(names)}.")

    def _with_alias(self, names: Sequence[str] | None, alias: str) -> list[RegisteredVersion]:
        if names is None:
            chosen = [v for v in self.versions() if alias in v.aliases]
        else:
            chosen = [self.find(f"{name}@{alias}") for name in dict.fromkeys(names)]
        if not chosen:
            raise self.unknown_style(None, f"with the alias {alias!r}")
        return chosen

    def _every_version(self, names: Sequence[str] | None) -> list[RegisteredVersion]:
        versions = self.versions()
        there = {v.name for v in versions}
        for name in names or ():
            if name not in there:
                raise self.unknown_style(name)
        wanted = {v.name for v in versions if v.aliases} if names is None else set(names)
        if not wanted:
            raise self.unknown_style(None, "with an alias")
        return [v for v in versions if v.name in wanted]

    def _export_style(self, version: RegisteredVersion, folder: Path, stem: str) -> dict[str, Any]:
        file = folder / f"{stem}.safetensors"
        weights = self.weights(version)
        evaluated_size, evaluated_losses = self.evaluated_losses(version)
        shutil.copyfile(weights, file)
        if companion_of(weights).is_file():
            shutil.copyfile(companion_of(weights), companion_of(file))
        return {
            "name": version.name,
            "title": version.card.title,
            "version": version.version,
            "aliases": list(version.aliases),
            "iterations": version.iterations,
            "run_id": version.run_id,
            "run_name": version.run_name,
            "gatys_iterations": self.metric(version, GATYS_METRIC),
            "evaluated_size": evaluated_size,
            "evaluated_losses": evaluated_losses,
            "file": file.name,
            "sha256": file_sha256(file),
            "bytes": file.stat().st_size,
            "card": json.loads(version.card.to_json()),
        }

    def _is_style(self, name: str, version: str) -> bool:
        try:
            return self._artifact(name, version, "card.json").is_file()
        except StylecoreError:
            return False

    def _artifact(self, name: str, version: str, file: str, digest: str = "") -> Path:
        with self._fetching:
            folder = self._artifact_uris.get((name, version))
            if folder is None:
                with plain_errors(self._client.tracking_uri, f"locating {name}/{version}"):
                    folder = self._client.get_model_version_download_uri(name, version)
                self._artifact_uris[name, version] = folder
        return self._cached(f"{folder.rstrip('/')}/{file}", digest)

    def _cached(self, uri: str, digest: str) -> Path:
        """The local file for an artifact address.

        The address holds a random id, so its content never changes, unless its SHA-256 says so.
        """
        with self._fetching:
            kept = self._cache_dir / sha256(uri.rpartition("/")[0].encode()).hexdigest()[:16] / uri.rpartition("/")[2]
            if kept.is_file() and digest in ("", file_sha256(kept)):
                return kept
            with tempfile.TemporaryDirectory() as temporary:
                fetched = fetch(self._client, uri, Path(temporary))
                if Path(temporary) not in fetched.parents:
                    return fetched
                kept.parent.mkdir(parents=True, exist_ok=True)
                arriving = kept.with_name(f".{kept.name}.{os.getpid()}")
                shutil.move(fetched, arriving)
                os.replace(arriving, kept)
            return kept


def _all_pages(search: Any, condition: str | None) -> list[Any]:
    page = search(condition)
    found = list(page)
    while page.token:
        page = search(condition, page_token=page.token)
        found.extend(page)
    return found


def _checked_name(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
        raise StylecoreError(f"{name!r} is not a style's name, which is made of letters, digits, '_' and '-'.")
    return name


def _whole_number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdigit() else None


def _user_cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "stylecore" / "registry"
