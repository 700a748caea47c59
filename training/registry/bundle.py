"""A bundle: styles as plain files with a manifest, which can be served without MLflow."""

import json
import shutil
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from stylecore.errors import StylecoreError
from stylecore.files import file_sha256
from stylecore.johnson.quantization import sidecar_of
from stylecore.library import CHAMPION, VISITORS
from training.registry.published import replaced_folder
from training.registry.registry import RegisteredVersion, Registry

BUNDLE_FORMAT = "stylecore.bundle/1"
MANIFEST = "manifest.json"
GATYS_METRIC = "eval/equivalent_gatys_iterations"
"""Iterations of Gatys et al. that reach the same loss (`training.evaluate`)."""


def write_bundle(
    registry: Registry,
    out_dir: Path,
    names: Sequence[str] | None = None,
    alias: str = CHAMPION,
    *,
    all_versions: bool = False,
) -> Path:
    """Write the styles' files and a manifest to a folder; returns the manifest.

    The bundle has the version with the alias of each style. With `all_versions` it has every version of the named
    styles, or of all styles that have an alias. Visitors' styles are left out if they are not named.

    The manifest is {format, exported, styles: [{name, title, version, aliases, iterations, run_id, run_name,
    gatys_iterations, evaluated_size, evaluated_losses, judged_size, judged, file, sha256, bytes, picture, card}]}.
    `file` and `picture`, the style picture, are names in the folder; `picture` is empty if the run has none.
    Without an evaluation `gatys_iterations` is null, and the sizes are 0. The folder is complete or absent. An
    older bundle in its place is replaced.

    Raises:
        StylecoreError: when the folder holds something else than a bundle, or a named style or alias does not exist.
    """
    out_dir = Path(out_dir).absolute()
    if out_dir.exists() and not (out_dir / MANIFEST).is_file() and (out_dir.is_file() or any(out_dir.iterdir())):
        raise StylecoreError(f"{out_dir} exists and is not a bundle; give an empty folder, or remove this one.")
    chosen = _every_version(registry, names) if all_versions else _with_alias(registry, names, alias)
    with replaced_folder(out_dir) as new:
        manifest = {
            "format": BUNDLE_FORMAT,
            "exported": datetime.now(UTC).isoformat(timespec="seconds"),
            "styles": [
                # No style's name has a dot, so two versions never have the same file.
                _export_version(registry, v, new, f"{v.name}.{v.version}" if all_versions else v.name)
                for v in chosen
            ],
        }
        text = json.dumps(manifest, indent=2, ensure_ascii=False) + "\n"
        (new / MANIFEST).write_text(text, encoding="utf-8")
    return out_dir / MANIFEST


def _with_alias(registry: Registry, names: Sequence[str] | None, alias: str) -> list[RegisteredVersion]:
    if names is None:
        chosen = [v for v in registry.versions() if alias in v.aliases and not v.name.startswith(VISITORS)]
    else:
        chosen = [registry.find(f"{name}@{alias}") for name in dict.fromkeys(names)]
    if not chosen:
        raise registry.unknown_style(None, f"with the alias {alias!r}")
    return chosen


def _every_version(registry: Registry, names: Sequence[str] | None) -> list[RegisteredVersion]:
    versions = registry.versions()
    there = {v.name for v in versions}
    for name in names or ():
        if name not in there:
            raise registry.unknown_style(name)
    public = {v.name for v in versions if v.aliases and not v.name.startswith(VISITORS)}
    wanted = public if names is None else set(names)
    if not wanted:
        raise registry.unknown_style(None, "with an alias")
    return [v for v in versions if v.name in wanted]


def _export_version(registry: Registry, version: RegisteredVersion, folder: Path, stem: str) -> dict[str, Any]:
    file = folder / f"{stem}.safetensors"
    weights = registry.weights(version)
    evaluated_size, evaluated_losses = registry.evaluated_losses(version)
    judged_size, judged = registry.judged(version)
    shutil.copyfile(weights, file)
    if sidecar_of(weights).is_file():
        shutil.copyfile(sidecar_of(weights), sidecar_of(file))
    return {
        "name": version.name,
        "title": version.card.title,
        "version": version.version,
        "aliases": list(version.aliases),
        "iterations": version.iterations,
        "run_id": version.run_id,
        "run_name": version.run_name,
        "gatys_iterations": registry.metric(version, GATYS_METRIC),
        "evaluated_size": evaluated_size,
        "evaluated_losses": evaluated_losses,
        "judged_size": judged_size,
        "judged": judged,
        "file": file.name,
        "sha256": file_sha256(file),
        "bytes": file.stat().st_size,
        "picture": _export_picture(registry, version, folder),
        "card": json.loads(version.card.to_json()),
    }


def _export_picture(registry: Registry, version: RegisteredVersion, folder: Path) -> str:
    """The name of the style picture's file; versions that were trained on the same picture share it."""
    try:
        picture = registry.style_picture(version)
    except StylecoreError:
        return ""
    file = folder / f"{version.name}.{file_sha256(picture)[:8]}.jpg"
    shutil.copyfile(picture, file)
    return file.name
