"""A bundle: styles as plain files with a manifest, which can be served without MLflow."""

import json
import shutil
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from stylecore.errors import StylecoreError
from stylecore.files import file_sha256, replaced_folder
from stylecore.johnson.quantization import sidecar_of
from stylecore.library import CHAMPION, VISITORS
from training.registry.registry import RegisteredVersion, Registry

BUNDLE_FORMAT = "stylecore.bundle/1"
MANIFEST = "manifest.json"


def write_bundle(
    registry: Registry, out_dir: Path, names: Sequence[str] | None = None, *, all_versions: bool = False
) -> Path:
    """Write the styles' files and a manifest to a folder; returns the manifest.

    The bundle has the champion of each style. With `all_versions` it has every version of the named
    styles, or of all styles that have an alias. Visitors' styles are left out if they are not named.

    The manifest is {format, exported, styles: [{name, title, version, aliases, iterations, run_id, run_name,
    gatys_iterations, evaluated_size, evaluated_losses, judged_size, judged, file, sha256, bytes, picture, card}]}.
    `file` and `picture`, the style picture, are names in the folder; `picture` is empty if the run has none.
    Without an evaluation `gatys_iterations` is null, and the sizes are 0. The folder is complete or absent. An
    older bundle in its place is replaced.

    Raises:
        StylecoreError: when the folder holds something else than a bundle, or a named style does not exist or has no
            champion.
    """
    out_dir = Path(out_dir).absolute()
    if out_dir.exists() and not (out_dir / MANIFEST).is_file() and (out_dir.is_file() or any(out_dir.iterdir())):
        raise StylecoreError(f"{out_dir} exists and is not a bundle; give an empty folder, or remove this one.")
    versions = registry.versions()
    known = {version.name for version in versions}
    for name in names or ():
        if name not in known:
            raise registry.unknown_style(name)
        if not all_versions:
            registry.find(name)  # or an error that says which aliases it has
    shown = {v.name for v in versions if v.aliases and not v.name.startswith(VISITORS)} if names is None else {*names}
    chosen = [v for v in versions if v.name in shown and (all_versions or CHAMPION in v.aliases)]
    if not chosen:
        raise registry.unknown_style(None, "with a champion")
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


def _export_version(registry: Registry, version: RegisteredVersion, folder: Path, stem: str) -> dict[str, Any]:
    file = folder / f"{stem}.safetensors"
    weights = registry.weights(version)
    card, measures = registry.card(version), registry.measures(version)
    shutil.copyfile(weights, file)
    if sidecar_of(weights).is_file():
        shutil.copyfile(sidecar_of(weights), sidecar_of(file))
    return {
        "name": version.name,
        "title": card.title,
        "version": version.version,
        "aliases": list(version.aliases),
        "iterations": version.iterations,
        "run_id": version.run_id,
        "run_name": version.run_name,
        "gatys_iterations": measures.gatys_iterations,
        "evaluated_size": measures.losses_size,
        "evaluated_losses": measures.losses,
        "judged_size": measures.judged_size,
        "judged": measures.judged,
        "file": file.name,
        "sha256": file_sha256(file),
        "bytes": file.stat().st_size,
        "picture": _export_picture(registry, version, folder),
        "card": json.loads(card.to_json()),
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
