"""Write the folder of the page without a server."""

import hashlib
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import gradio as gr

from demo.deploy import REPOSITORY, fill, new_folder
from demo.services.catalogue import BundleCatalogue, Catalogue, StyleEntry
from demo.static.runtime import write_runtime
from stylecore.inference.engine import ALIGNMENT, RECEPTIVE_RADIUS_OF_OTHER_LAYERS, border_of, crop_of
from stylecore.inference.onnx_graph import export_onnx
from stylecore.johnson.instance_norm import InstanceNorm
from stylecore.pictures.read import load_picture
from stylecore.pictures.write import encode_picture
from stylecore.samples import sample_photos
from training.registry.bundle import write_bundle
from training.registry.published import commit_of_the_code
from training.registry.registry import Registry
from training.registry.restoring import restore_published

WEB = Path(__file__).parent / "web"
FOLDER = REPOSITORY / "build" / "static"
FONTS = ("SourceSansPro-Regular.woff2", "SourceSansPro-Bold.woff2")
SAMPLE_SIDE = 1024
"""Longest side of the sample photos, in pixels."""


def write_static(folder: Path = FOLDER, *, tracking_uri: str | None = None, styles: tuple[str, ...] = ()) -> Path:
    """Write the folder with the registry's styles, whole or not at all; returns it.

    Args:
        folder: where to; what an earlier call wrote is replaced.
        tracking_uri: the MLflow store.
        styles: names; all styles if there are none.

    Raises:
        StylecoreError: when there is no such style, onnxruntime-web is not to be had, or `folder` has something else.
    """
    restore_published(tracking_uri=tracking_uri)
    with tempfile.TemporaryDirectory() as temporary:
        bundle = Path(temporary) / "bundle"
        write_bundle(Registry(tracking_uri), bundle)
        return write_page(folder, BundleCatalogue(bundle), styles)


def write_page(folder: Path, catalogue: Catalogue, styles: tuple[str, ...] = ()) -> Path:
    """The same for the styles of a catalogue."""
    folder = folder.absolute()
    for name in styles:
        catalogue.find(name)
    entries = [entry for entry in catalogue.styles() if not styles or entry.name in styles]
    with new_folder(folder, "sw.js", "such page") as new:
        _write_into(new, catalogue, entries)
    return folder


def _write_into(folder: Path, catalogue: Catalogue, entries: list[StyleEntry]) -> None:
    shutil.copytree(WEB, folder, dirs_exist_ok=True)
    write_runtime(folder)
    for name in ("styles", "photos", "fonts"):
        (folder / name).mkdir()
    fonts = Path(gr.__file__).parent / "templates" / "frontend" / "static" / "fonts" / "SourceSansPro"
    for name in FONTS:
        shutil.copyfile(fonts / name, folder / "fonts" / name)
    shutil.copyfile(REPOSITORY / "LICENSE", folder / "LICENSE")
    samples = []
    for name, photo in sample_photos().items():
        file = f"photos/{name}.jpg"
        (folder / file).write_bytes(encode_picture(load_picture(photo, max_side=SAMPLE_SIDE).pixels, "JPEG"))
        samples.append({"name": name, "file": file})
    samples.sort(key=lambda sample: sample["name"] != "china")
    styles = [_write_style(folder, catalogue, entry) for entry in entries]
    (folder / "styles.json").write_text(json.dumps({"styles": styles, "samples": samples}, indent=1), "utf-8")
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(path.read_bytes())
    fill(folder / "sw.js", version=digest.hexdigest()[:12])
    fill(folder / "README.md", commit=f"from commit {commit_of_the_code()}")


def _write_style(folder: Path, catalogue: Catalogue, entry: StyleEntry) -> dict[str, Any]:
    """The network in 8 bits, also for tiles, and its pictures; returns what the page knows of it."""
    model = catalogue.open(entry.name)
    fixed = model.card.network.normalization == "batch"  # its statistics are; one file serves whole pictures and tiles
    crop = 0 if fixed else crop_of(model.card.network)
    about: dict[str, Any] = {
        "name": entry.name,
        "title": entry.title,
        "artist": entry.card.artist,
        "file": f"styles/{entry.name}.onnx",
        "tiles": f"styles/{entry.name}-tiles.onnx",
        "border": border_of(model.card.network),
        "cropped": ALIGNMENT * crop,
        "noise": model.card.network.input_noise,
        "side": model.card.painted_side,
        "radius": model.card.network.border + RECEPTIVE_RADIUS_OF_OTHER_LAYERS,
    }
    (folder / about["file"]).write_bytes(export_onnx(model, "int8", crop=crop))
    if fixed:
        del about["tiles"]
    else:
        (folder / about["tiles"]).write_bytes(export_onnx(model, "int8", tiles=True))
        norms = (module for module in model.network.modules() if isinstance(module, InstanceNorm))
        about["channels"] = sum(norm.num_features for norm in norms)
    for kind, content in (("preview", entry.preview), ("painting", entry.painting)):
        if content:
            about[kind] = f"styles/{entry.name}-{kind}.jpg"
            (folder / about[kind]).write_bytes(content)
    return about
