"""Ratios of content to style: one photo and one style picture at several ratios alpha / beta.

    python -m training.experiments.gatys_grid PHOTO --style PICTURE -o SHEET.png --ratios 1 1e-1 1e-2 1e-3

This is the experiment of Gatys et al. (2016), section 3.1 and figure 4. `stylecore.gatys.paint` paints every ratio,
each as a run of the MLflow experiment `gatys`. The sheet shows the pictures side by side, from the photo to the style.
"""

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

from PIL import ImageOps
from torch import Tensor
from tqdm import tqdm

from stylecore.errors import StylecoreError
from stylecore.files import refuse_replacing
from stylecore.flags import DEVICE_HELP, add_flags, read_flags
from stylecore.gatys.config import DEFAULTS
from stylecore.gatys.paint import GatysConfig, paint
from stylecore.inference.engine import choose_device
from stylecore.pictures.read import fit, load_picture
from stylecore.pictures.write import output_format, save_picture, to_image
from stylecore.sheet import BACKGROUND, compose
from stylecore.vgg.network import VGG
from stylecore.vgg.weights import load_vgg
from training.command import run_command
from training.registry.versions import log_preview
from training.tracking import JournaledTracker
from training.tracking.environment import default_tracking_uri, environment_tags

EXPERIMENT = "gatys"
RATIOS = (1, 1e-1, 3e-2, 1e-2, 1e-3)
"""From almost only content to almost only style, for weights as in `GatysConfig`."""
SETTINGS = dataclasses.replace(DEFAULTS, start="noise")
"""The start is noise, as in the paper: from the photo, hundreds of steps do not paint it over at any ratio."""
WEIGHTS = ("content_weight", "style_weight")
"""Settings that the ratio decides; the others are flags."""
MAX_SIDE = 256
STYLE_SIDE = 384
"""Longest side in pixels of the style picture that is logged with a run."""


def paint_ratios(
    content: Tensor,
    style: Tensor,
    vgg: VGG,
    ratios: Sequence[float],
    config: GatysConfig,
    *,
    about: dict[str, str],
) -> list[Tensor]:
    """Paint one picture for every ratio, each as a separate run.

    The content weight is 1 and the style weight is 1 / ratio, so the content losses of the runs are comparable.

    Args:
        content, style: (3, H, W) in [0, 1], as the pictures that are returned.
        config: everything but the weights of content and style.
        about: more parameters for the runs; "photo" and "style" give the runs their names.
    """
    grid = f"{about['photo']}-{about['style']}"
    pictures = []
    for ratio in ratios:
        name = f"{grid}-{ratio:g}"
        config = dataclasses.replace(config, content_weight=1.0, style_weight=1 / ratio)
        steps = paint(content, style, vgg, config)
        tracker = JournaledTracker(experiment=EXPERIMENT, run_name=name, tracking_uri=default_tracking_uri())
        tracker.start()
        tracker.store_init_configuration({**about, "ratio": ratio, **dataclasses.asdict(config)})
        tracker.describe(
            tags={**environment_tags(1, str(next(vgg.parameters()).device)), "grid": grid},
            note=f"**{about['photo']}** in the style of **{about['style']}**, alpha / beta = {ratio:g}",
            note_image=to_image(fit(style, STYLE_SIDE)),
        )
        with tracker.finishing():
            log_preview(tracker, about["photo"], content, 0)
            for step in tqdm(steps, name, config.steps, unit="step", disable=not sys.stderr.isatty()):
                losses = {f"loss/{term}": value for term, value in step.losses.items()}
                tracker.log({**losses, "perf/seconds": step.elapsed}, step.step)
            pictures.append(step.picture())  # there is at least one step
            log_preview(tracker, about["photo"], pictures[-1], step.step)
    return pictures


def grid_sheet(content: Tensor, style: Tensor, ratios: Sequence[float], pictures: Sequence[Tensor]) -> Tensor:
    """The photo, the pictures with their ratios, and the style picture, in one row."""
    height, width = content.shape[-2:]
    labels = ["Photo", *(f"alpha / beta = {ratio:g}" for ratio in ratios), "Style"]
    images = [to_image(pixels) for pixels in (content, *pictures)]
    images.append(ImageOps.pad(to_image(style), (width, height), color=BACKGROUND))
    return compose(list(zip(labels, images, strict=True)), columns=len(images))


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status: 2 for a mistake of the user, after one sentence on stderr."""
    parser = argparse.ArgumentParser(
        prog="python -m training.experiments.gatys_grid",
        description="Paint one photo at several ratios of content to style, by the method of Gatys et al.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("photo", metavar="PHOTO", help="the content picture")
    parser.add_argument("--style", required=True, metavar="PICTURE", help="the style picture")
    parser.add_argument(
        "-o", "--output", required=True, metavar="SHEET", help="picture to write (.png .jpg .webp .tif)"
    )
    parser.add_argument(
        "--ratios", nargs="+", type=float, default=RATIOS, metavar="RATIO", help="alpha / beta, content to style"
    )
    parser.add_argument("--max-side", type=int, default=MAX_SIDE, help="longest side of each picture in pixels")
    add_flags(parser, SETTINGS, without=WEIGHTS)
    parser.add_argument("--device", default=None, help=DEVICE_HELP)
    return run_command(run, parser.parse_args(arguments))


def run(options: argparse.Namespace) -> None:
    """Run the command; StylecoreError when it cannot be done."""
    config = GatysConfig(**read_flags(options, GatysConfig))
    if options.max_side < 1:
        raise StylecoreError(f"--max-side is {options.max_side}, and must be at least 1.")
    output_format(options.output)
    refuse_replacing(options.output, options.photo, options.style)
    ratios = list(dict.fromkeys(options.ratios))
    if wrong := [ratio for ratio in ratios if not 0 < ratio < float("inf")]:
        raise StylecoreError(f"the ratio is {wrong[0]:g}, and must be a number above 0.")
    content = load_picture(options.photo, max_side=options.max_side).pixels
    style = load_picture(options.style).pixels
    vgg = load_vgg("vgg19").to(choose_device(options.device))
    about = {
        "photo": Path(options.photo).stem,
        "style": Path(options.style).stem,
        "max_side": str(options.max_side),
    }
    pictures = paint_ratios(content, style, vgg, ratios, config, about=about)
    settings = {"command": "gatys_grid", **about, "ratios": ratios, **dataclasses.asdict(config)}
    save_picture(grid_sheet(content, style, ratios, pictures), options.output, settings=settings)
    print(f"{options.output}: {len(ratios)} ratios of content to style")


if __name__ == "__main__":
    sys.exit(main())
