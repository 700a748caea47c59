"""The end of a lesson: the style is quantized to 8 bits, promoted, and its run is named."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from stylecore.errors import StylecoreError
from stylecore.johnson.quantization import Quantization, sidecar_of, write_quantization
from stylecore.johnson.style_model import StyleModel
from stylecore.library import CHAMPION, FAST
from training.checkpoints import style_files
from training.config import TrainConfig
from training.photos import photos_below
from training.quantize import quantize, read_photos
from training.tracking import TrackingError
from training.tracking.environment import default_tracking_uri

if TYPE_CHECKING:  # they import MLflow, which need not be installed
    from training.registry.registry import RegisteredVersion, Registry

SMALLEST_CHANNELS = 0.5
"""The alias `fast` is for networks of this width or narrower."""


def finish(config: TrainConfig) -> tuple[Path, str, str]:
    """Quantize and promote the newest network of the run; what fails is printed, and the file is still there.

    Returns:
        The network's file; the number of its registered version, empty if the store did not answer or there is none;
        and the address of the run below MLflow's page, or of the page itself if the store is a server.

    Raises:
        StylecoreError: when the run has no network.
    """
    files = style_files(config.folder)
    if not files:
        raise StylecoreError(f"{config.folder} has no network; start the same command again.")
    iterations, file = list(files.items())[-1]
    quantization = _quantized(file, config)
    if not default_tracking_uri():
        return file, "", ""
    from training.registry.registry import Registry

    try:
        registry = Registry()
        version = registry.find(f"{config.name}@iterations-{iterations}")
        if quantization is not None:
            version = registry.add_quantization(version, quantization)
        return file, version.version, _promote(registry, version, config)
    except (StylecoreError, TrackingError) as error:
        print(f"the style is in {file}, but not promoted: {error}", file=sys.stderr)
        return file, "", ""


def _promote(registry: "Registry", version: "RegisteredVersion", config: TrainConfig) -> str:
    reason = f"Taught in {config.minutes:g} minutes, from {Path(config.init_from).stem or 'random weights'}"
    number = version.version
    if config.width <= SMALLEST_CHANNELS:
        registry.promote(version.name, number, FAST)
    registry.promote(version.name, number, CHAMPION, reason)
    return registry.run_page(version) or registry.run_page(version, ".").removeprefix("./")


def _quantized(file: Path, config: TrainConfig) -> Quantization | None:
    try:
        folder = Path(config.photos).expanduser()
        found = quantize(StyleModel.load(file), read_photos(folder if photos_below(folder) else None))
        if found is not None:
            write_quantization(found, sidecar_of(file))
    except StylecoreError as error:
        print(f"the style is not quantized to 8 bits: {error}", file=sys.stderr)
        return None
    return found
