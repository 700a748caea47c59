"""`python -m stylecore sheet`: one photo in every style, labelled, on one picture."""

import argparse
import sys
from dataclasses import asdict

from stylecore.cli.stylize import MAX_PIXELS_HELP, add_painting_arguments, load_options, print_notices
from stylecore.errors import StylecoreError
from stylecore.files import refuse_replacing
from stylecore.flags import read_flags
from stylecore.inference.painting import Painting
from stylecore.sheet import compose, label_of


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("photo", metavar="PHOTO")
    parser.add_argument("-o", "--output", required=True, metavar="OUT", help="picture to write")
    parser.add_argument("--styles", nargs="+", metavar="NAME_OR_FILE", help="these styles; all by default")
    parser.add_argument("--columns", type=int, default=None, help="pictures in a row; a balanced sheet by default")
    parser.add_argument("--max-side", type=int, default=512, help="longest side of each picture in pixels")
    parser.add_argument("--max-pixels", type=int, default=None, help=MAX_PIXELS_HELP)
    add_painting_arguments(parser, Painting())


def run(options: argparse.Namespace) -> int:
    from tqdm import tqdm

    from stylecore.color import blend
    from stylecore.inference.engine import Engine
    from stylecore.library import find_styles, open_style
    from stylecore.pictures.read import load_picture
    from stylecore.pictures.write import output_format, save_picture, to_image

    if options.columns is not None and options.columns < 1:
        raise StylecoreError(f"--columns is {options.columns}, and must be at least 1.")
    painting = Painting(**read_flags(options, Painting))
    output_format(options.output)
    refuse_replacing(options.output, options.photo)
    picture = load_picture(options.photo, **load_options(options))
    print_notices(options.photo, picture)
    # One network for each name: the champion comes last.
    available = {style.card.name: str(style.path) for style in find_styles()}
    references = options.styles or list(available.values())
    if not references:
        raise StylecoreError("there are no styles yet: train one with `make train`, or import one.")
    cells, used = [("Photo", to_image(picture.pixels))], []
    for reference in tqdm(references, unit="style", disable=not sys.stderr.isatty()):
        model = open_style(reference)
        engine = Engine(model, options.device, options.runtime)
        stylized = engine.stylize(picture.pixels, brush=painting.brush, detail=painting.detail)
        stylized = blend(picture.pixels, stylized, painting.strength, keep_colors=painting.keep_colors)
        used.append(reference if options.styles else model.card.name)
        cells.append((label_of(model.card.title, model.card.name), to_image(stylized)))
    settings = {"command": "sheet", "styles": used, **asdict(painting)}
    save_picture(compose(cells, options.columns), options.output, settings=settings)
    return 0
