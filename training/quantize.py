"""Quantize networks to 8 bits, which OpenVINO runs several times as fast on CPUs.

    python -m training.quantize starry_night mlruns/published --photos path/to/photos

Weights are rounded directly. For the activations, photos are stylized, and the input of each convolution gets the
mean of its ranges over the photos. (Ranges that include the extremes of every photo waste levels and cost 3 dB.) Only
the inputs of convolutions are rounded. The inputs of normalization decide the colors of the whole picture: in float32
they gain 6 dB and cost no time.

The difference to float32 is measured on other photos. If it is too large, the last convolution stays in float32, then
the first one too, then all outside the residual blocks. If it still is too large, the network is not quantized.
"""

import argparse
import dataclasses
import random
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from stylecore.errors import StylecoreError
from stylecore.inference.engine import Engine, frame
from stylecore.inference.openvino import OpenVinoNetwork, convolution_names
from stylecore.johnson.quantization import Quantization, network_digest, sidecar_of, write_quantization
from stylecore.johnson.style_model import StyleModel
from stylecore.johnson.transform_net import add_noise
from stylecore.library import find_style, find_styles
from stylecore.pictures.read import fit, load_picture
from stylecore.samples import sample_photos
from training.command import run_command
from training.photos import photos_below

CALIBRATION_PHOTOS = 20
HELD_OUT_PHOTOS = 10
SIDE = 512
"""Longest side of the photos in pixels."""

LEAST_PSNR = 32.0
LEAST_MEDIAN_PSNR = 34.0
"""In dB against float32: a difference that is invisible in a stylized picture."""


@dataclass(frozen=True)
class Photos:
    """Pictures (3, H, W) for measuring the ranges, and others for measuring the result."""

    calibration: list[Tensor]
    held_out: list[Tensor]


def quantize(model: StyleModel, photos: Photos) -> Quantization | None:
    """Quantize as many convolutions as the limits on the difference to float32 allow; None when they allow none.

    Raises:
        StylecoreError: when OpenVINO is not installed.
    """
    ranges = measure_ranges(model, photos.calibration)
    exact = Engine(model, "cpu", "openvino")
    wanted = [exact.paint(photo) for photo in photos.held_out]
    for chosen in choices(convolution_names(model.network)):
        candidate = Quantization(
            network=network_digest(model.network),
            ranges={name: ranges[name] for name in chosen},
            psnr_median=0,
            psnr_least=0,
            calibration_photos=len(photos.calibration),
            held_out_photos=len(photos.held_out),
        )
        engine = Engine(StyleModel(model.network, model.card, candidate), "cpu", "openvino-int8")
        near = [psnr(engine.paint(photo), good) for photo, good in zip(photos.held_out, wanted, strict=True)]
        median, least = statistics.median(near), min(near)
        if median >= LEAST_MEDIAN_PSNR and least >= LEAST_PSNR:
            return dataclasses.replace(candidate, psnr_median=round(median, 2), psnr_least=round(least, 2))
    return None


def measure_ranges(model: StyleModel, photos: Sequence[Tensor]) -> dict[str, tuple[float, float]]:
    """The least and largest value of each convolution's input, on average over the photos."""
    network = OpenVinoNetwork(model.network, watch=True)
    noise = model.card.network.input_noise
    given = (frame(add_noise(photo.unsqueeze(0), noise), model.card.network)[0] for photo in photos)
    found = [network.input_ranges(each) for each in given]
    ranges = {name: torch.tensor([each[name] for each in found]).mean(0).tolist() for name in found[0]}
    if model.card.network.padding == "reflect":  # the input of the first one is the picture itself with its noise
        ranges["encoder.0"] = [-3 * noise, 1 + 3 * noise]
    return {name: (low, high) for name, (low, high) in ranges.items()}


def choices(names: Sequence[str]) -> list[list[str]]:
    """Sets of convolutions to compute in 8 bits, the largest first."""
    residual = [name for name in names if name.startswith("residual_blocks")]
    return [list(names), list(names[:-1]), list(names[1:-1]), residual]


def psnr(picture: Tensor, wanted: Tensor) -> float:
    """Peak signal-to-noise ratio in dB of pictures in [0, 1]; at most 100."""
    return float(-10 * torch.log10((picture - wanted).square().mean().clamp(min=1e-10)))


def read_photos(folder: Path | None) -> Photos:
    """Photos of a folder, or of the installed packages.

    If there are only a few, their quarters are the calibration photos, and the photos themselves are held out.

    Raises:
        StylecoreError: when there are none, or one cannot be read.
    """
    files = list(sample_photos().values()) if folder is None else photos_below(folder)
    wanted = CALIBRATION_PHOTOS + HELD_OUT_PHOTOS
    chosen = random.Random(0).sample(files, len(files))[:wanted]
    pictures = [load_picture(file, max_side=2 * SIDE).pixels for file in chosen]
    if not pictures:
        where = folder or "the installed packages"
        raise StylecoreError(f"there are no photos in {where}; give a folder of them by --photos.")
    if len(pictures) == wanted:
        small = [fit(picture, SIDE) for picture in pictures]
        every = wanted // HELD_OUT_PHOTOS
        return Photos([picture for number, picture in enumerate(small) if number % every], small[::every])
    quarters = [fit(quarter, SIDE) for picture in pictures for quarter in _quarters(picture)]
    return Photos(quarters[: 2 * CALIBRATION_PHOTOS], [fit(picture, SIDE) for picture in pictures[:HELD_OUT_PHOTOS]])


def _quarters(picture: Tensor) -> list[Tensor]:
    height, width = (side // 2 for side in picture.shape[-2:])
    parts = [picture[:, y : y + height, x : x + width] for y in (0, height) for x in (0, width)]
    return [part for part in parts if part.numel()] or [picture]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status: 2 for a mistake of the user, after one sentence on stderr."""
    parser = argparse.ArgumentParser(prog="python -m training.quantize", description="Quantize networks to 8 bits.")
    parser.add_argument(
        "styles",
        nargs="+",
        metavar="STYLE",
        help="a style file, a folder of them, a name as in `python -m stylecore styles`, or models:/NAME@ALIAS of "
        "the registry",
    )
    parser.add_argument(
        "--photos", type=Path, metavar="FOLDER", help="of 30 photos or more (default: those of installed packages)"
    )
    return run_command(_quantize_all, parser.parse_args(arguments))


def _quantize_all(options: argparse.Namespace) -> None:
    photos = read_photos(options.photos)
    for reference in options.styles:
        if reference.startswith("models:/"):
            _quantize_registered(reference, photos)
            continue
        in_folder = [style.path for style in find_styles([Path(reference)])]
        for file in in_folder or [find_style(reference)]:
            _quantize_file(file, photos)


def _quantize_file(file: Path, photos: Photos) -> None:
    model = StyleModel.load(file)
    found = quantize(model, photos)
    sidecar = sidecar_of(file)
    if found is None:
        sidecar.unlink(missing_ok=True)
    else:
        write_quantization(found, sidecar)
    print(f"{file}: {_in_words(model, found)}", flush=True)


def _quantize_registered(reference: str, photos: Photos) -> None:
    from training.registry.registry import Registry

    registry = Registry()
    version = registry.find(reference)
    model = StyleModel.load(registry.weights(version))
    found = quantize(model, photos)
    if found is None:
        registry.remove_quantization(version)
    else:
        registry.add_quantization(version, found)
    print(f"{version}: {_in_words(model, found)}", flush=True)


def _in_words(model: StyleModel, found: Quantization | None) -> str:
    if found is None:
        return f"stays in float32: no set of convolutions reached {LEAST_MEDIAN_PSNR:g} dB in 8 bits"
    count = len(convolution_names(model.network))
    return (
        f"{len(found.ranges)} of {count} convolutions in 8 bits, {found.psnr_median:.1f} dB to float32, "
        f"{found.psnr_least:.1f} at least, on {found.held_out_photos} photos"
    )


if __name__ == "__main__":
    sys.exit(main())
