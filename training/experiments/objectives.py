"""Compare training losses: from one start, for the same number of iterations, with the same photos.

    python -m training.experiments.objectives training/recipes/starry_night.yaml --photos FOLDER --iterations 200

Every combination of a normalization of the style loss, a set of scales and a content layer is trained and judged. The
content loss is always relative, with weight 1. The style weight gives the unchanged photos the style loss
`PHOTO_LOSS`, so that no combination is stronger only because its numbers are larger. The report shows the runs.
"""

import argparse
import dataclasses
import itertools
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor

from stylecore.inference.engine import Engine
from stylecore.johnson.transform_net import TransformNet
from stylecore.losses import StyleNormalization
from stylecore.pictures.read import fit, load_picture
from stylecore.vgg.network import VGG
from stylecore.vgg.weights import load_vgg
from training.checkpoints import Caller, preview_photos, style_of
from training.command import Stopped, run_command
from training.config import TrainConfig, find_file, parse_config
from training.judge import SIZES, Judge, judge_style, metrics
from training.objective import pixel_objective, style_targets
from training.registry.versions import log_preview
from training.state import newest_state
from training.tracking import JournaledTracker
from training.train import train

COMPARISON = "objectives"
"""Value of the tag `comparison`."""
NORMALIZATIONS: tuple[StyleNormalization, ...] = ("mean", "sum", "relative")
SCALES = ((1,), (1, 2), (1, 2, 4))
CONTENT_LAYERS = ("relu2_2", "relu3_3")
PHOTO_LOSS = 30.0
"""Weighted style loss of the photos themselves, for a content loss of weight 1."""


def variants(recipe: TrainConfig) -> list[TrainConfig]:
    """The recipe with each objective of the comparison; `balanced` sets the style weights."""
    return [
        dataclasses.replace(
            recipe,
            run_name="-".join(map(str, (COMPARISON, recipe.name, normalization, *scales, layer, recipe.iterations))),
            checkpoints=(recipe.iterations,),
            style_normalization=normalization,
            loss_scales=scales,
            content_layer=layer,
            content_normalization="relative",
            content_weight=1.0,
            style_weight=1.0,
            style_layer_weights=(),
            total_variation_weight=0.0,
            steadiness_weight=0.0,
            grid_weight=0.0,
            input_noise=0.0,
        )
        for normalization, scales, layer in itertools.product(NORMALIZATIONS, SCALES, CONTENT_LAYERS)
    ]


def balanced(config: TrainConfig, vgg: VGG, painting: Tensor, photos: Mapping[str, Tensor]) -> TrainConfig:
    """The configuration with the style weight that gives the photos themselves the style loss `PHOTO_LOSS`."""
    targets = style_targets(vgg, painting, config)
    losses = [
        pixel_objective(vgg, photo, targets, config).evaluate(photo)[0]["style"]
        for photo in (fit(pixels, config.crop).unsqueeze(0) for pixels in photos.values())
    ]
    weight = config.style_weight * PHOTO_LOSS * len(losses) / sum(losses)
    return dataclasses.replace(config, style_weight=float(f"{weight:.5g}"))  # the same with other threads


def compare(recipe: TrainConfig) -> None:
    """Train and judge every variant of a recipe, one after the other, except those that are done already.

    Raises:
        StylecoreError: when a training cannot begin, or diverges.
        Stopped: after SIGTERM or Ctrl-C.
    """
    painting = load_picture(find_file(recipe.style_image)).pixels
    photos = dict(preview_photos(recipe))
    vgg16 = load_vgg("vgg16", weights=recipe.vgg_weights or None)
    judge = Judge(painting, load_vgg("vgg19"))
    for number, variant in enumerate(variants(recipe), 1):
        config = balanced(variant, vgg16, painting, photos)
        print(f"{number} of {len(variants(recipe))}: style weight {config.style_weight:.3g}")
        train_and_judge(config, judge, photos)


def train_and_judge(config: TrainConfig, judge: Judge, photos: Mapping[str, Tensor]) -> None:
    """Train one network and judge its pictures of the photos, unless that is done already; it is not registered.

    Raises:
        StylecoreError: when a training cannot begin, or diverges.
        Stopped: after SIGTERM or Ctrl-C.
    """
    state = newest_state(config.folder)
    if state and state.progress.iteration >= config.iterations:
        return

    def evaluate(tracker: JournaledTracker, network: TransformNet, iteration: int) -> None:
        engine = Engine(style_of(config, network, iteration), "cpu" if config.cpu else None)
        tracker.log(metrics(judge_style(engine.stylize, photos.items(), judge, SIZES[:1])), iteration)
        for name, photo in photos.items():
            log_preview(tracker, name, engine.stylize(fit(photo, config.preview_size)), iteration)

    caller = Caller(f"python -m training.experiments.{COMPARISON}", {"comparison": COMPARISON}, evaluate)
    if train(config, resume=True, caller=caller):
        raise Stopped("stopped; the same command continues with the next one.")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status: 2 for a mistake of the user, after one sentence on stderr."""
    parser = argparse.ArgumentParser(
        prog="python -m training.experiments.objectives",
        description="Train one network with each training loss and judge its pictures. "
        "Other flags are those of train.py, for all of them.",
        allow_abbrev=False,
    )
    parser.add_argument("recipe", type=Path, metavar="RECIPE", help="the YAML file to start from")
    options, more = parser.parse_known_args(arguments)
    return run_command(lambda given: compare(parse_config(["--recipe", str(given.recipe), *more])[0]), options)


if __name__ == "__main__":
    sys.exit(main())
