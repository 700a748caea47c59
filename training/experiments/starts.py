"""Compare starts of a lesson: how near a network comes to a new painting within minutes.

    python -m training.experiments.starts tahiti.jpg houses.jpg --variants nearest base --budgets 220 550 1100

Every variant learns every painting for so many iterations, with the learning rate falling to zero at their end, with
the settings of `training.teach` and the same photos. The judge measures its pictures of the sample photos. Iterations
stand for minutes, so that the result does not depend on what else a machine does. A variant that takes less time an
iteration gets more of them, by a call of its own.

The table of all that is measured so far, also by earlier calls, is printed at the end.
"""

import argparse
import dataclasses
import json
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from stylecore.errors import StylecoreError
from stylecore.files import write_whole
from stylecore.flags import add_flags
from stylecore.inference.engine import Engine
from stylecore.johnson.style_model import StyleCard, StyleModel
from stylecore.johnson.transform_net import TransformNet, TransformNetConfig
from stylecore.pictures.read import load_picture, picture_from_image, save_picture, to_image
from stylecore.samples import sample_photos
from stylecore.sheet import Row, contact_sheet
from stylecore.vgg.network import VGG
from stylecore.vgg.weights import load_vgg
from training.checkpoints import Trial, copy_on_cpu, preview_files
from training.command import run_command, text_table
from training.config import NotGiven, TrainConfig, given_settings
from training.judge import SIZES, Judge, judge_style, metrics
from training.teach.painting import name_of, read_painting
from training.teach.settings import DEFAULTS, content_weight, precision, style_size
from training.teach.start import candidates, distance, grams, nearest_start, reference_of
from training.tracking import JournaledTracker
from training.train import Stopped, train

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
RESULT, NETWORK = "judged.json", "network.style"


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


def settings_of(painting: Path, variant: str, iterations: int, vgg: VGG, given: dict[str, Any]) -> TrainConfig:
    """The settings of a run. The content weight is that of a lesson from the nearest champion, whatever the start."""
    pixels, name = read_painting(painting), name_of(painting)
    nearest = nearest_start(pixels, DEFAULTS.network, vgg, name)
    if nearest is None:
        raise StylecoreError("there is no champion of this form of network to begin with.")
    start = {"base": lambda: base_start(DEFAULTS.network, vgg), "random": lambda: ""}
    chosen: dict[str, Any] = {
        "name": name,
        "style_image": str(painting),
        "run_name": f"{COMPARISON}-{name}-{variant}-{iterations}",
        "style_size": style_size(pixels, 1.0),
        "content_weight": content_weight(nearest),
        "mixed_precision": precision(DEFAULTS.cpu),
        "init_from": start.get(variant, lambda: nearest.file)(),
        "iterations": iterations,
        "checkpoints": (iterations,),
        "minutes": 0.0,
    }
    config = dataclasses.replace(DEFAULTS, **chosen | VARIANTS[variant] | given)
    config.check()
    return config


def measure(config: TrainConfig, variant: str, vgg: VGG) -> None:
    """Train and judge one network, unless that is done already.

    Raises:
        StylecoreError: when a training cannot begin, or diverges.
        Stopped: after SIGTERM or Ctrl-C.
    """
    result = config.folder / RESULT
    if result.exists():
        return
    began = time.process_time()
    photos = {name: load_picture(file).pixels for name, file in preview_files(config).items()}
    judge = Judge(load_picture(Path(config.style_image)).pixels, vgg)

    def evaluate(tracker: JournaledTracker, network: TransformNet, iteration: int) -> None:
        seconds = round(time.process_time() - began)
        card = StyleCard(config.name, network=network.config, iterations=iteration, training=config.for_card())
        model = StyleModel(copy_on_cpu(network), card)
        model.save(config.folder / NETWORK)
        judged = metrics(judge_style(Engine(model).stylize, photos.items(), judge, SIZES[:1]))
        tracker.log(judged, iteration)
        about = {"painting": config.name, "variant": variant, "iterations": iteration, "seconds": seconds}
        write_whole(result, json.dumps(about | {"start": config.init_from} | judged).encode())

    print(f"{config.run_name}, from {config.init_from or 'random weights'}", flush=True)
    trial = Trial({"comparison": COMPARISON}, f"python -m training.experiments.{COMPARISON}", evaluate)
    train(config, resume=True, trial=trial)


def sheet(painting: Path, photo: Path, networks: Mapping[str, Path]) -> Image.Image:
    """The painting, the photo, and the photo as each network paints it; the headings are those of `networks`.

    Raises:
        StylecoreError: when a file is missing.
    """
    pixels = load_picture(photo).pixels
    painted = [Engine(StyleModel.load(network)).stylize(pixels) for network in networks.values()]
    shown = [to_image(each) for each in (load_picture(painting).pixels, pixels, *painted)]
    return contact_sheet(["The painting", "A photo", *networks], [Row("", shown)])


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
    add_flags(parser, DEFAULTS, without=("style_image", "iterations"), shown=NotGiven)
    return run_command(_run, parser.parse_args(arguments))


def _run(options: argparse.Namespace) -> int:
    given = given_settings(options)
    if options.sheet and not options.paintings:
        raise StylecoreError("--sheet shows what was made of a painting; name that painting.")
    vgg = load_vgg("vgg19")
    try:
        for painting in options.paintings:
            for variant in options.variants:
                for iterations in options.budgets:
                    measure(settings_of(painting, variant, iterations, vgg, given), variant, vgg)
    except Stopped as stopped:
        print(f"{COMPARISON}: {stopped}", file=sys.stderr)
        return 143
    folder = Path(dataclasses.replace(DEFAULTS, **given).output_dir)
    if options.sheet and options.paintings:
        name = f"{COMPARISON}-{name_of(options.paintings[0])}-{options.variants[0]}"
        networks = {f"{each} iterations": folder / f"{name}-{each}" / NETWORK for each in options.budgets}
        shown = sheet(options.paintings[0], options.photo, networks)
        save_picture(picture_from_image(shown).pixels, options.sheet)
    print(table(folder))
    return 0


if __name__ == "__main__":
    sys.exit(main())
