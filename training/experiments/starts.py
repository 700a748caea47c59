"""Compare starts of a lesson: how near a network comes to a new painting within minutes.

    python -m training.experiments.starts tahiti.jpg houses.jpg --variants nearest base --budgets 220 550 1100

Every variant learns every painting with the settings of `training.teach`, for so many iterations, with the learning
rate falling to zero at their end. Iterations stand for minutes, so that the load of the machine does not count. The
table of all that is measured so far, also by earlier calls, is printed at the end.
"""

import argparse
import dataclasses
import itertools
import json
import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stylecore.errors import StylecoreError
from stylecore.flags import add_flags
from stylecore.inference.engine import Engine
from stylecore.johnson.style_model import StyleModel
from stylecore.johnson.transform_net import TransformNetConfig
from stylecore.pictures.read import load_picture, picture_from_image
from stylecore.pictures.write import output_format, save_picture, to_image
from stylecore.samples import sample_photos
from stylecore.sheet import Row, contact_sheet
from stylecore.vgg.network import VGG
from stylecore.vgg.weights import load_vgg
from training.command import run_command, text_table
from training.config import NotGiven, TrainConfig, computed_precision, given_settings
from training.experiments.comparison import NETWORK, RESULT, train_and_judge
from training.judge import SIZES, Judge
from training.teach.painting import name_of, read_painting
from training.teach.settings import DEFAULTS, content_weight, far_settings, style_size
from training.teach.start import Start, candidates, distance, grams, nearest_start, reference_of

COMPARISON = "starts"
"""Value of the tag `comparison`."""
VARIANTS: Mapping[str, dict[str, Any]] = {
    "nearest": {},
    "base": {},
    "affine": {"trained_weights": "affine"},
    "affine_fast": {"trained_weights": "affine", "learning_rate": 1e-2},
    "small": {"small_crops": 0.5},
    "random": {},
}
"""Settings beside those of a lesson. All but `base` and `random` begin with the champion whose painting is nearest;
`base` begins with the same champion for every painting, the one nearest to the other champions on average."""


def base_start(form: TransformNetConfig, vgg: VGG) -> str:
    """The champion of this form whose painting has the smallest mean distance to those of the others.

    Raises:
        StylecoreError: when there are no two champions.
    """
    known = {
        reference_of(style.path): grams(load_picture(painting).pixels, vgg) for style, painting in candidates(form, "")
    }
    if len(known) < 2:
        raise StylecoreError("there are no two champions of this form of network to choose a base from.")
    means = {
        file: statistics.mean(distance(mine, theirs) for other, theirs in known.items() if other != file)
        for file, mine in known.items()
    }
    return min(means, key=lambda file: means[file])


def settings_of(
    painting: Path, variant: str, iterations: int, nearest: Start, base: str, given: dict[str, Any]
) -> TrainConfig:
    """The settings of a run. Those that depend on the start are as from the nearest champion, whatever the start.

    Args:
        nearest: by `nearest_start`, of the painting.
        base: by `base_start`, for the variant of that name.
    """
    pixels, name = read_painting(painting), name_of(painting)
    chosen: dict[str, Any] = {
        "name": name,
        "style_image": str(painting),
        "run_name": f"{COMPARISON}-{name}-{variant}-{iterations}",
        "style_size": style_size(pixels, 1.0),
        "content_weight": content_weight(nearest),
        "mixed_precision": computed_precision("bf16", DEFAULTS.cpu),
        "init_from": {"base": base, "random": ""}.get(variant, nearest.file),
        "iterations": iterations,
        "checkpoints": (iterations,),
        "minutes": 0.0,
    }
    config = dataclasses.replace(DEFAULTS, **chosen | dict(far_settings(nearest)) | VARIANTS[variant] | given)
    config.check()
    return config


def table(folder: Path) -> str:
    """Every result below a folder of runs: style error and content change at 640 pixels, means of the photos.

    The seconds are those of the processor, over all its cores, in the call that ended the run.
    """
    found = [json.loads(file.read_text(encoding="utf-8")) for file in folder.glob(f"{COMPARISON}-*/{RESULT}")]
    rows = [("painting", "variant", "iterations", "style error", "content", "CPU seconds")]
    for each in sorted(found, key=lambda each: (each["painting"], each["iterations"], each["variant"])):
        style, content = (each[f"eval/{name}_{SIZES[0]}"] for name in ("style_error", "content_change"))
        count, seconds = str(each["iterations"]), str(each["seconds"])
        rows.append((each["painting"], each["variant"], count, f"{style:.3f}", f"{content:.3f}", seconds))
    return text_table(rows)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status: 2 for a mistake of the user, after one sentence on stderr."""
    parser = argparse.ArgumentParser(
        prog=f"python -m training.experiments.{COMPARISON}",
        description="Compare starts of a lesson. Other flags are those of train.py, for all of them.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("paintings", type=Path, nargs="*", help="none: only the table")
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=["nearest"])
    parser.add_argument("--budgets", nargs="+", type=int, default=[550], metavar="ITERATIONS")
    parser.add_argument("--sheet", metavar="OUT", help="show a photo by the first painting's and variant's networks")
    parser.add_argument("--photo", type=Path, default=next(iter(sample_photos().values()), None), help="that photo")
    add_flags(
        parser, DEFAULTS, without=("style_image", "iterations", "checkpoints", "minutes", "run_name"), shown=NotGiven
    )
    return run_command(_run, parser.parse_args(arguments))


def _run(options: argparse.Namespace) -> None:
    given = given_settings(options)
    if options.sheet:
        if not options.paintings:
            raise StylecoreError("--sheet shows what was made of a painting; name that painting.")
        output_format(options.sheet)
        if options.photo is None:
            raise StylecoreError("--sheet needs a photo to show; give one by --photo.")
        photo = load_picture(options.photo).pixels
    vgg = load_vgg("vgg19")
    base = base_start(DEFAULTS.network, vgg) if options.paintings and "base" in options.variants else ""
    for painting in options.paintings:
        pixels = read_painting(painting)
        nearest = nearest_start(pixels, DEFAULTS.network, vgg, name_of(painting))
        if nearest is None:
            raise StylecoreError("there is no champion of this form of network to begin with.")
        judge = Judge(pixels, vgg)
        for variant, iterations in itertools.product(options.variants, options.budgets):
            config = settings_of(painting, variant, iterations, nearest, base, given)
            about = {"painting": config.name, "variant": variant, "start": config.init_from}
            train_and_judge(config, COMPARISON, judge, about)
    folder = Path(dataclasses.replace(DEFAULTS, **given).output_dir)
    if options.sheet:
        original = load_picture(options.paintings[0]).pixels
        name = f"{COMPARISON}-{name_of(options.paintings[0])}-{options.variants[0]}"
        networks = [StyleModel.load(folder / f"{name}-{each}" / NETWORK) for each in options.budgets]
        pictures = [original, photo, *(Engine(network).stylize(photo) for network in networks)]
        headings = ["The painting", "A photo", *(f"{each} iterations" for each in options.budgets)]
        shown = contact_sheet(headings, [Row("", list(map(to_image, pictures)))])
        save_picture(picture_from_image(shown).pixels, options.sheet)
    print(table(folder))


if __name__ == "__main__":
    sys.exit(main())
