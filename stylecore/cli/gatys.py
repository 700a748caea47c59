"""`python -m stylecore gatys`: paint a photo in the style of any picture, by optimizing the pixels."""

import argparse
import dataclasses
import json
import sys
from pathlib import Path

from stylecore.cli.stylize import MAX_PIXELS_HELP, load_options, print_notices
from stylecore.errors import StylecoreError
from stylecore.files import refuse_replacing
from stylecore.flags import DEVICE_HELP, add_flags, flag_of, read_flags
from stylecore.gatys.config import DEFAULTS, GatysConfig

MAX_SIDE = 512
"""Default longest side: time and memory of a step grow with the pixels."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("photo", metavar="PHOTO", help="the content picture")
    parser.add_argument("--style", nargs="+", required=True, metavar="PICTURE", help="one or several style pictures")
    parser.add_argument(
        "--style-blend", nargs="+", type=float, metavar="WEIGHT", help="a weight for each; equal by default"
    )
    parser.add_argument("-o", "--output", required=True, metavar="OUT", help="picture to write (.png .jpg .webp .tif)")
    for layers in ("content_layers", "style_layers"):
        parser.add_argument(
            flag_of(layers),
            nargs="+",
            metavar="LAYER[=WEIGHT]",
            default=list(getattr(DEFAULTS, layers)),
            help="layers of VGG-19 by name",
        )
    add_flags(parser, DEFAULTS)
    parser.add_argument("--start-picture", metavar="PICTURE", default=None, help="begin with this picture")
    parser.add_argument("--pooling", choices=("max", "average"), default="max", help="of VGG-19")
    parser.add_argument("--vgg-weights", default=None, help="a file with VGG-19's weights; found when left out")
    parser.add_argument("--max-side", type=int, default=MAX_SIDE, help="longest side of the result in pixels")
    parser.add_argument("--max-pixels", type=int, default=None, help=MAX_PIXELS_HELP)
    parser.add_argument("--device", default=None, help=DEVICE_HELP)
    parser.add_argument("--json", action="store_true", help="print one JSON object a step")


def run(options: argparse.Namespace) -> int:
    config = dataclasses.replace(
        DEFAULTS,
        **read_flags(options, GatysConfig),
        content_layers=parse_layers(options.content_layers),
        style_layers=parse_layers(options.style_layers),
        style_blend=tuple(options.style_blend or ()),
    )

    from tqdm import tqdm

    from stylecore.gatys.paint import GatysStep, paint
    from stylecore.inference.engine import choose_device
    from stylecore.pictures.read import load_picture
    from stylecore.pictures.write import output_format, save_picture
    from stylecore.vgg.weights import load_vgg

    output_format(options.output)
    refuse_replacing(options.output, options.photo, options.start_picture, *options.style)
    load = load_options(options)
    photo = load_picture(options.photo, **load)
    print_notices(options.photo, photo)
    only_pixels = {key: value for key, value in load.items() if key == "max_pixels"}
    styles = [load_picture(file, **only_pixels).pixels for file in options.style]
    start = load_picture(options.start_picture, **only_pixels).pixels if options.start_picture else None
    vgg = load_vgg("vgg19", weights=options.vgg_weights, pooling=options.pooling).to(choose_device(options.device))

    settings = {
        "command": "gatys",
        "styles": [Path(file).name for file in options.style],
        "start_picture": Path(options.start_picture).name if options.start_picture else "",
        "pooling": options.pooling,
        **dataclasses.asdict(config),
    }

    last: GatysStep | None = None
    status = 0
    with tqdm(total=config.steps, unit="step", disable=options.json or not sys.stderr.isatty()) as bar:
        try:
            for last in paint(photo.pixels, styles, vgg, config, start=start):
                bar.update()
                bar.set_postfix(loss=f"{last.losses['total']:.4g}")
                if options.json:
                    print(json.dumps({"step": last.step, "elapsed": last.elapsed, "losses": last.losses}), flush=True)
        except KeyboardInterrupt:
            if last is None:
                raise
            status = 130
    assert last is not None  # paint yields at least one step
    settings["steps_made"] = last.step
    save_picture(last.picture(), options.output, alpha=photo.alpha, exif=photo.exif, settings=settings)
    if status:
        print(f"error: interrupted; the picture after {last.step} steps is in {options.output}.", file=sys.stderr)
    return status


def parse_layers(words: list[str]) -> dict[str, float] | tuple[str, ...]:
    """["relu1_1", "relu2_1"] as a tuple, or ["relu1_1=0.5", ...] as layer weights; a layer without a weight gets 1.

    Raises:
        StylecoreError: for a weight that is not a number.
    """
    if not any("=" in word for word in words):
        return tuple(words)
    weights = {}
    for word in words:
        name, _, weight = word.partition("=")
        try:
            weights[name] = float(weight) if weight else 1.0
        except ValueError:
            raise StylecoreError(f"{word} is not a layer with a weight; write for example relu1_1=0.5.") from None
    return weights
