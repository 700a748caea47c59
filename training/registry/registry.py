"""The registered styles: their versions, their files, their champions.

A style is a registered model, and each of its versions is one checkpoint of one run. References have the form of
MLflow's, with or without `models:/`:

    starry_night                    its champion
    starry_night@iterations-1000    the version with this alias
    starry_night/3                  version 3
"""

import logging
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from pathlib import Path

from mlflow.entities import LoggedModel, Metric

from stylecore.errors import StylecoreError
from stylecore.files import default_cache, file_sha256, replaced_whole
from stylecore.johnson.quantization import Quantization, sidecar_of, write_quantization
from stylecore.johnson.style_model import StyleCard
from stylecore.library import ALIASES_FILE, CHAMPION, parse_reference, write_alias
from training.registry import as_stylecore_errors
from training.registry.versions import INT8_TAG, STYLE
from training.tracking.delivery import (
    KIND_TAG,
    describe_version,
    find_logged_model,
    give_alias,
    log_evaluation,
    newest,
    words_of,
)
from training.tracking.environment import is_server, without_password
from training.tracking.journal_files import milliseconds
from training.tracking.store import all_pages, connect, fetch, folder_of_store, plain_errors
from training.tracking.values import NOTE_IMAGE

_log = logging.getLogger(__name__)
JUDGED = ("style_error", "content_change", "judged_photos")
"""The judge's measures of a version: the metrics `eval/style_error_640` and so on."""
GATYS_METRIC = "eval/equivalent_gatys_iterations"
"""Iterations of Gatys et al. that reach the same loss (`training.evaluate`)."""
LOSSES = ("total", "content", "style")
"""Losses that `training.evaluate` measures, weighted as in training: the metrics `eval/total_256` and so on."""


@dataclass(frozen=True)
class RegisteredVersion:
    """One version of one style.

    Attributes:
        sha256: of its weights' file.
        int8: SHA-256 of the sidecar of its quantized network; empty when it has none.
        words: its description in Markdown, without the picture below.
    """

    name: str
    version: str
    aliases: tuple[str, ...]
    iterations: int
    run_id: str
    run_name: str
    sha256: str
    int8: str
    words: str
    registry: "Registry" = field(repr=False, compare=False)

    def __str__(self) -> str:
        return f"{self.name}/{self.version}"


@dataclass(frozen=True)
class Measures:
    """What `training.evaluate` and the judge (training/judge.py) measured of a version.

    Attributes:
        gatys_iterations: of Gatys et al. that reach the same loss, or None.
        losses: the `LOSSES` at `losses_size`, the smallest size in pixels that has them; empty and 0 without any.
        judged: the same for `JUDGED`.
    """

    gatys_iterations: float | None
    losses_size: int
    losses: dict[str, float]
    judged_size: int
    judged: dict[str, float]


class Registry:
    """The styles of one MLflow store. Safe to share between threads.

    Files of a server are kept in the user's cache folder; files of a store on this machine are used in place.
    """

    @as_stylecore_errors()
    def __init__(self, tracking_uri: str | None = None) -> None:
        self._client = connect(tracking_uri)
        self._addresses: dict[str, str] = {}

    @property
    def tracking_uri(self) -> str:
        """The store's address, without its password."""
        return without_password(self._client.tracking_uri)

    @contextmanager
    def _errors(self, doing: str) -> Iterator[None]:
        """Turn errors of the store into a StylecoreError."""
        with as_stylecore_errors(), plain_errors(self._client.tracking_uri, doing):
            yield

    def versions(self, name: str | None = None) -> list[RegisteredVersion]:
        """Every version of a style, or of all styles, sorted by name and number, without models that are no styles."""
        with self._errors("listing the styles"):
            condition = None if name is None else f"name='{_checked_name(name)}'"
            models = all_pages(self._client.search_registered_models, condition)
            found = all_pages(self._client.search_model_versions, condition)
        aliases: dict[tuple[str, str], list[str]] = {}
        for model in models:
            for alias, number in model.aliases.items():
                aliases.setdefault((model.name, str(number)), []).append(alias)
        versions = [
            RegisteredVersion(
                name=entry.name,
                version=str(entry.version),
                aliases=tuple(sorted(aliases.get((entry.name, str(entry.version)), ()))),
                iterations=int(entry.tags["iterations"]),
                run_id=entry.run_id,
                run_name=entry.tags["run_name"],
                sha256=entry.tags["sha256"],
                int8=entry.tags.get(INT8_TAG, ""),
                words=words_of(entry.description),
                registry=self,
            )
            for entry in found
            if entry.run_id and _is_style(entry.tags)
        ]
        return sorted(versions, key=lambda v: (v.name, int(v.version)))

    def find(self, reference: str) -> RegisteredVersion:
        """The version that a reference names.

        Raises:
            StylecoreError: when there is none; it lists those that exist.
        """
        parsed = parse_reference(reference)
        name, alias, number = parsed.name, parsed.alias or CHAMPION, parsed.version
        versions = self.versions(name)
        if not versions:
            raise self.unknown_style(name)
        for version in versions:
            if version.version == number or (not number and alias in version.aliases):
                return version
        asked = f"version {number}" if number else f"alias {alias!r}"
        there = "; ".join(f"version {v.version} ({', '.join(v.aliases) or 'no alias'})" for v in versions)
        raise StylecoreError(f"The style {name!r} has no {asked}; it has {there}.")

    def resolve(self, reference: str) -> Path:
        """The local `.safetensors` of a reference such as `models:/starry_night@champion`, fetched at most once."""
        return self.weights(self.find(reference))

    def weights(self, version: RegisteredVersion) -> Path:
        """The local `.safetensors` file of a version, with the sidecar of its quantized network beside it, if any."""
        path = self._file_of(version, f"{version.name}.safetensors")
        if version.int8:
            try:
                self._file_of(version, sidecar_of(path).name, version.int8)
            except StylecoreError as error:
                _log.warning("%s is used without its quantized network: %s", version, error)
        return path

    def add_quantization(self, version: RegisteredVersion, quantization: Quantization) -> RegisteredVersion:
        """Store the sidecar of a version's quantized network beside its weights, in the place of an older one."""
        with self._errors(f"storing the quantized network of {version}"):
            model = self._model_of(version)
            if model is None:
                raise StylecoreError(f"{version} was not registered by this project; quantize its file instead.")
            with tempfile.TemporaryDirectory() as folder:
                sidecar = sidecar_of(Path(folder) / f"{version.name}.safetensors")
                write_quantization(quantization, sidecar)
                self._client.log_model_artifacts(model.model_id, folder)
                self._client.set_model_version_tag(
                    version.name, version.version, key=INT8_TAG, value=file_sha256(sidecar)
                )
        return self.find(str(version))

    def remove_quantization(self, version: RegisteredVersion) -> None:
        """Remove the quantized network of a version, if it has one: from now on it stays in float32."""
        if not version.int8:
            return
        with self._errors(f"removing the quantized network of {version}"):
            self._client.delete_model_version_tag(version.name, version.version, key=INT8_TAG)
        sidecar_of(self.weights(self.find(str(version)))).unlink(missing_ok=True)

    def card(self, version: RegisteredVersion) -> StyleCard:
        """The card of a version, without fetching its weights."""
        path = self._file_of(version, "card.json")
        try:
            return StyleCard.from_json(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise StylecoreError(f"The card of {version} cannot be read: {error}.") from error

    def style_picture(self, version: RegisteredVersion) -> Path:
        """The local file of the picture that the version was trained on; StylecoreError where its run has none."""
        return self._fetch(
            f"the run {version.run_id}", lambda: self._client.get_run(version.run_id).info.artifact_uri, NOTE_IMAGE
        )

    def _file_of(self, version: RegisteredVersion, file: str, digest: str = "") -> Path:
        locate = partial(self._client.get_model_version_download_uri, version.name, version.version)
        return self._fetch(str(version), locate, file, digest)

    @as_stylecore_errors()
    def _fetch(self, what: str, locate: Callable[[], str], file: str, digest: str = "") -> Path:
        """The local path of a file: of a server's, a copy in the user's cache folder.

        Args:
            what: the version or the run that has the file; `locate` asks the store for the address of its files.
            digest: SHA-256 of a file that may change; one of other content is fetched again.

        Raises:
            StylecoreError: when there is no such file, or the store does not answer.
        """
        if what not in self._addresses:
            with plain_errors(self._client.tracking_uri, f"locating {what}"):
                self._addresses[what] = locate().rstrip("/")
        folder = self._addresses[what]
        # The address has a random id, so its content does not change, except for files that have a digest.
        kept = default_cache() / "registry" / sha256(folder.encode()).hexdigest()[:16] / file
        if kept.is_file() and digest in ("", file_sha256(kept)):
            return kept
        with tempfile.TemporaryDirectory() as temporary:
            fetched = fetch(self._client, f"{folder}/{file}", Path(temporary))
            if Path(temporary) not in fetched.parents:
                return fetched
            kept.parent.mkdir(parents=True, exist_ok=True)
            with replaced_whole(kept) as temporary_file:
                shutil.move(fetched, temporary_file)
        return kept

    def _model_of(self, version: RegisteredVersion) -> LoggedModel | None:
        """The version's LoggedModel; None when it was deleted, or not made by this project."""
        experiment = self._client.get_run(version.run_id).info.experiment_id
        return find_logged_model(self._client, experiment, version.run_id, version.iterations)

    def metrics(self, version: RegisteredVersion) -> list[Metric]:
        """The newest metrics of a version's LoggedModel."""
        with self._errors(f"reading the metrics of {version}"):
            model = self._model_of(version)
            return newest(model.metrics or []) if model else []

    def measures(self, version: RegisteredVersion) -> Measures:
        """What was measured of a version."""
        found = {metric.key: metric.value for metric in self.metrics(version)}
        return Measures(found.get(GATYS_METRIC), *_at_smallest_size(found, LOSSES), *_at_smallest_size(found, JUDGED))

    def log_evaluation(self, version: RegisteredVersion, values: Mapping[str, float]) -> None:
        """Log metrics to the LoggedModel of a version and to its run, at the step of the network."""
        with self._errors(f"logging the evaluation of {version}"):
            if not log_evaluation(self._client, version.run_id, version.iterations, values, milliseconds()):
                raise StylecoreError(f"The checkpoint of {version} was deleted in MLflow; evaluate with --no-log.")

    def run_page(self, version: RegisteredVersion, page: str = "") -> str:
        """Address of the version's run on MLflow's page: below `page`, or below the store if it is a server, or ""."""
        if not page and is_server(self._client.tracking_uri):
            page = self.tracking_uri
        if not page:
            return ""
        with self._errors(f"reading the run {version.run_id}"):
            experiment = self._client.get_run(version.run_id).info.experiment_id
        return f"{page.rstrip('/')}/#/experiments/{experiment}/runs/{version.run_id}"

    def promote(self, name: str, version_or_alias: str, alias: str = CHAMPION, reason: str = "") -> RegisteredVersion:
        """Give the alias to a version, and take it from the version that has it.

        For a store on this machine the alias is also written to a file, which the command line of stylecore reads.
        The reason and the judge's figures, if there are any, become the words of the version's description.
        """
        separator = "/" if version_or_alias.isdigit() else "@"
        version = self.find(f"{name}{separator}{version_or_alias}")
        with self._errors(f"giving {version} the alias {alias!r}"):
            give_alias(self._client, name, alias, version.version, by_hand=True)
            if reason:
                description = " ".join(filter(None, (reason.rstrip(".") + ".", self._judged(version))))
                describe_version(self._client, name, version.version, description)
        if folder := folder_of_store(self._client.tracking_uri):
            write_alias(folder / ALIASES_FILE, name, alias, f"{version.run_name}/{version.iterations}")
        return self.find(str(version))

    def _judged(self, version: RegisteredVersion) -> str:
        """What the judge says of a version, as a sentence; "" where it was not asked."""
        found = self.measures(version)
        if not found.judged:
            return ""
        error, change, photos = (found.judged[name] for name in JUDGED)
        return (
            f"The judge, at {found.judged_size} pixels on {photos:.0f} photos: "
            f"style error {error:.3g}, content change {change:.3g}."
        )

    def unknown_style(self, name: str | None, which: str = "") -> StylecoreError:
        """The error for a name that no style has, or for a description `which` that fits none; it lists the styles."""
        names = sorted({version.name for version in self.versions()})
        asked = f"style {name!r}" if name else f"style {which}"
        if not names:
            return StylecoreError(
                f"The registry at {self.tracking_uri} is empty; `python -m training.registry restore` fills it with "
                "the published runs, and training adds to it."
            )
        return StylecoreError(f"The registry at {self.tracking_uri} has no {asked}; it has {', '.join(names)}.")


def _at_smallest_size(measured: Mapping[str, float], names: Sequence[str]) -> tuple[int, dict[str, float]]:
    """The smallest size with the metrics `eval/NAME_SIZE` of all names, and their values; 0 and {} without any."""
    sizes = {int(key.rpartition("_")[2]) for key in measured if re.fullmatch(rf"eval/{names[0]}_\d+", key)}
    for size in sorted(sizes):
        with suppress(KeyError):  # this size has not all of them
            return size, {name: measured[f"eval/{name}_{size}"] for name in names}
    return 0, {}


def _checked_name(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
        raise StylecoreError(f"{name!r} is not a style's name; use letters, digits, '_' and '-'.")
    return name


def _is_style(tags: Mapping[str, str]) -> bool:
    """Whether a version with these tags is a style: a server may have models of other people, and of other trainings.

    Older versions of a style do not say their kind.
    """
    has_all = tags.keys() >= {"iterations", "run_name", "sha256"}
    return has_all and tags["iterations"].isdecimal() and tags.get(KIND_TAG, STYLE) == STYLE
