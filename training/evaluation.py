"""Networks measured on photos that they were not trained on: losses, equivalent iterations of Gatys et al., time."""

import statistics
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from stylecore.errors import StylecoreError
from stylecore.files import file_sha256
from stylecore.gatys.objective import Objective
from stylecore.inference.engine import Engine, choose_device
from stylecore.johnson.style_model import EARLIER_DEFAULTS, StyleCard, StyleModel
from stylecore.library import open_style
from stylecore.pictures.read import load_picture, resize
from stylecore.vgg.network import VGG
from stylecore.vgg.weights import load_vgg
from training.command import text_table
from training.config import TrainConfig, find_file
from training.judge import Judge, Judgment, together
from training.judge import metrics as judge_metrics
from training.measures import equivalent_iterations, loss_curve, spot_share
from training.objective import pixel_objective, style_targets

if TYPE_CHECKING:  # it imports MLflow
    from training.registry.registry import RegisteredVersion

SIZES = (256, 512, 1024)
"""Sides of the squares in pixels."""
GATYS_ITERATIONS = TrainConfig.gatys_iterations
"""L-BFGS is stopped after this many."""
LEAST_SIZE = 32


@dataclass(frozen=True)
class PhotoEvaluation:
    """One photo at one size.

    Attributes:
        size: side of the square in pixels.
        figures: the losses "total", "content", "style" and "tv", weighted as in training; "spot_share", see
            `measures.spot_share`; "milliseconds" of stylizing; and "equivalent_gatys_iterations", see
            `measures.equivalent_iterations`, where they were computed.
        reached: False when the optimization was stopped before it reached the network's loss. Then the equivalent is
            its last iteration, a lower bound.
    """

    photo: str
    size: int
    figures: dict[str, float]
    reached: bool


@dataclass(frozen=True)
class Evaluation:
    """One network on all photos at all sizes. `judged`: by the judge, one for each of its sizes."""

    name: str
    iterations: int
    photos: tuple[PhotoEvaluation, ...]
    judged: tuple[Judgment, ...] = ()

    def means(self) -> dict[int, dict[str, float]]:
        """Size to the means of the figures over the photos; of the milliseconds it is the median."""
        means = {}
        for size in dict.fromkeys(photo.size for photo in self.photos):
            found = [photo.figures for photo in self.photos if photo.size == size]
            means[size] = {name: statistics.mean(each[name] for each in found) for name in found[0]}
            means[size]["milliseconds"] = statistics.median(each["milliseconds"] for each in found)
        return means

    def metrics(self) -> dict[str, float]:
        """The metrics for MLflow: "eval/total_256", "eval/spot_share_256" and so on for every size, and the judge's.

        "eval/equivalent_gatys_iterations" and "eval/spot_share" are means over the sizes. If the optimization was
        stopped early, the equivalent is a lower bound.
        """
        means = self.means()
        metrics = judge_metrics(self.judged)
        metrics |= {f"eval/{name}_{size}": value for size, found in means.items() for name, value in found.items()}
        for name in ("spot_share", "equivalent_gatys_iterations"):
            if values := [found[name] for found in means.values() if name in found]:
                metrics[f"eval/{name}"] = statistics.mean(values)
        return metrics

    def table(self) -> str:
        """The text of a table with a line for every size."""
        losses = ("total", "content", "style", "tv")
        rows: list[tuple[str, ...]] = [("size", *losses, "Gatys iterations", "spots", "ms")]
        for size, found in self.means().items():
            equivalent = found.get("equivalent_gatys_iterations")
            bound = "" if all(photo.reached for photo in self.photos if photo.size == size) else "over "
            rows.append(
                (
                    str(size),
                    *(f"{found[name]:.4g}" for name in losses),
                    "" if equivalent is None else f"{bound}{equivalent:.1f}",
                    f"{found['spot_share']:.2%}",
                    f"{found['milliseconds']:.0f}",
                )
            )
        count = len({photo.photo for photo in self.photos})
        return f"{self.name}, {self.iterations} iterations, mean of {count} photos\n{text_table(rows)}"


@dataclass(frozen=True)
class Candidate:
    """A network to evaluate, and its registered version, if any."""

    model: StyleModel
    version: "RegisteredVersion | None"

    def __str__(self) -> str:
        return str(self.version or self.model.card.name)


def find_candidate(reference: str) -> Candidate:
    """A style by its file, or by its name ("starry_night", "models:/starry_night@iterations-1000"): that of the
    registry, or else that of the published files.

    A file counts as the registered version that was made from it, if there is one.
    """
    from training.registry.registry import Registry

    if reference.endswith(".safetensors") or Path(reference).is_file():
        model, digest = StyleModel.load(reference), file_sha256(Path(reference))
        return Candidate(model, next((v for v in Registry().versions(model.card.name) if v.sha256 == digest), None))
    try:
        registry = Registry()
        version = registry.find(reference)
        return Candidate(StyleModel.load(registry.weights(version)), version)
    except StylecoreError:
        with suppress(StylecoreError):  # a published one that was not restored, or whose store does not answer
            return Candidate(open_style(reference), None)
        raise


def evaluate(
    models: Sequence[StyleModel],
    photos: Iterable[tuple[str, Tensor]],
    style: Tensor | None = None,
    sizes: Sequence[int] = SIZES,
    *,
    gatys_iterations: int = GATYS_ITERATIONS,
    judge_sizes: Sequence[int] = (),
    whole: bool = False,
    vgg: VGG | None = None,
    device: str | None = None,
) -> list[Evaluation]:
    """Evaluate networks of one objective, such as the checkpoints of a run, with one optimization for all of them.

    Args:
        photos: name and pixels (3, H, W) in [0, 1]; read one at a time.
        style: the style picture (3, H, W) in [0, 1]; by default the card's.
        sizes: sides of the squares in pixels, at least `LEAST_SIZE`.
        gatys_iterations: L-BFGS stops when it has reached the loss of every network, and at the latest after this
            many iterations; 0 leaves it out.
        judge_sizes: longest sides in pixels at which the pictures are judged, painted as `Engine.stylize` does.
        whole: the judge's pictures are painted at the photo's own size, not at the card's `painted_side`.
        vgg: the loss network VGG-16; by default that of training.
        device: "cpu", "cuda", ...; by default the fastest one.

    Raises:
        StylecoreError: when a network has no training settings, or the objectives differ.
    """
    configs = [training_settings(model.card) for model in models]
    config = configs[0]
    if any(model.card.objective != models[0].card.objective for model in models):
        raise StylecoreError("these networks were trained with different losses; evaluate them one by one.")
    where = choose_device(device)
    if style is None:
        style = load_picture(find_file(config.style_image)).pixels
    if sizes:
        loss_network = (vgg or load_vgg("vgg16", weights=config.vgg_weights or None)).to(where)
        loss_network.to(memory_format=torch.channels_last)
        targets = style_targets(loss_network, style.to(where), config)
    judge = open_judge(style, device) if judge_sizes else None
    engines = [Engine(model, device, "torch") for model in models]
    painters = [Engine(model, device) for model in models] if judge else []
    results: list[list[PhotoEvaluation]] = [[] for _ in models]
    judged: list[list[Judgment]] = [[] for _ in models]
    for name, photo in photos:
        if judge:
            for found, painter in zip(judged, painters, strict=True):
                found += judge.judge_sizes(painter.paint if whole else painter.stylize, photo, judge_sizes)
        for size in dict.fromkeys(sizes):
            content = middle_square(photo, size)
            if size not in {done.size for done in results[0]}:
                for engine in engines:  # the first picture of a size also allocates
                    engine.paint(content)
            objective = pixel_objective(loss_network, content[None].to(where), targets, config)
            measured = [_measure(engine, content, objective) for engine in engines]
            curve: list[float] = []
            if gatys_iterations:
                curve = loss_curve(objective, size, min(each["total"] for each in measured), gatys_iterations)
            for result, figures in zip(results, measured, strict=True):
                equivalent = equivalent_iterations(figures["total"], curve)
                if curve:
                    figures["equivalent_gatys_iterations"] = len(curve) - 1 if equivalent is None else equivalent
                result.append(PhotoEvaluation(name, size, figures, equivalent is not None or not curve))
    return [
        Evaluation(model.card.name, model.card.iterations, tuple(result), tuple(together(found)))
        for model, result, found in zip(models, results, judged, strict=True)
    ]


def open_judge(style: Tensor, device: str | None) -> Judge:
    """A judge of pictures in the style of a picture (3, H, W) in [0, 1]."""
    return Judge(style, load_vgg("vgg19").to(choose_device(device)).to(memory_format=torch.channels_last))


def middle_square(pixels: Tensor, side: int) -> Tensor:
    """The largest square in the middle of (3, H, W), resized to (3, side, side)."""
    height, width = pixels.shape[-2:]
    least = min(height, width)
    top, left = (height - least) // 2, (width - least) // 2
    return resize(pixels[..., top : top + least, left : left + least], (side, side))


def training_settings(card: StyleCard) -> TrainConfig:
    """The settings that a network was trained with.

    Raises:
        StylecoreError: when its card does not have them, as for imported networks.
    """
    if not card.training.get("style_image"):
        raise StylecoreError(
            f"the card of {card.name} does not say which losses it was trained with, as for imported networks; "
            "only networks trained by training/train.py can be evaluated."
        )
    return TrainConfig.of_card({**EARLIER_DEFAULTS, **card.training})


def _measure(engine: Engine, content: Tensor, objective: Objective) -> dict[str, float]:
    """The figures of a `PhotoEvaluation` but for the equivalent iterations; losses without those of single layers."""
    began = time.perf_counter()
    stylized = engine.paint(content)
    milliseconds = (time.perf_counter() - began) * 1000
    device = next(objective.vgg.parameters()).device
    losses, _ = objective.evaluate(stylized[None].to(device))
    return {
        **{name: value for name, value in losses.items() if "/" not in name},
        "spot_share": spot_share(stylized, content),
        "milliseconds": milliseconds,
    }
