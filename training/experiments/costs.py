"""Measure the time of both methods on this machine: seconds of Gatys et al., milliseconds of a trained network.

    python -m training.experiments.costs --style starry_night

Every figure is measured several times. Each measurement is a point of a metric of the run `costs`, in the MLflow
experiment `benchmarks`; the report gives median and range. Training runs log their own time
(`perf/images_per_second`).
"""

import argparse
import contextlib
import dataclasses
import os
import platform
import re
import statistics
import sys
import timeit
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from stylecore.flags import DEVICE_HELP, add_flags, check_limits, read_flags, setting
from stylecore.gatys.config import DEFAULTS
from stylecore.gatys.paint import GatysConfig, paint
from stylecore.inference.engine import Engine, choose_device
from stylecore.pictures.read import load_picture
from stylecore.vgg.network import VGG
from stylecore.vgg.weights import load_vgg
from training.command import run_command
from training.config import find_file
from training.evaluate import photo_files
from training.evaluation import find_candidate, middle_square
from training.tracking import JournaledTracker
from training.tracking.environment import default_tracking_uri, environment_tags

EXPERIMENT = "benchmarks"
RUN_NAME = "costs"
GATYS = "gatys/seconds_"
STYLIZE = "stylize/milliseconds_"
"""The metrics; the side of the square in pixels follows."""

STYLE_PICTURE = "demo/assets/starry_night.jpg"
"""The style picture for Gatys et al.; the time does not depend on it."""


@dataclass(frozen=True)
class CostSettings:
    """What is measured; each field is a flag."""

    style: str = setting("starry_night", ".safetensors file, or NAME, NAME@ALIAS, NAME/VERSION")
    sizes: tuple[int, ...] = setting((256, 512, 1024), "sides of the squares to stylize, in pixels", least=1)
    gatys_sizes: tuple[int, ...] = setting((256, 512), "sides of the squares to paint, in pixels", least=32)
    gatys_steps: int = setting(20, "steps of each painting", least=1)
    repeats: int = setting(5, "measurements of each figure", least=1)
    device: str | None = setting(None, DEVICE_HELP)


def measured(work: Callable[[], object], repeats: int) -> list[float]:
    """The seconds of each repetition. One before them also allocates, and is not measured."""
    work()
    return timeit.repeat(work, number=1, repeat=repeats)


def spread(values: Sequence[float], digits: int = 1) -> str:
    """The median with the range: "12.1 (11.8 to 13.0)"."""
    low, high = min(values), max(values)
    return f"{statistics.median(values):.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status: 2 for a mistake of the user, after one sentence on stderr."""
    parser = argparse.ArgumentParser(
        prog="python -m training.experiments.costs",
        description="Measure the seconds of Gatys et al. and the milliseconds of a trained network on this machine.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add_flags(parser, CostSettings())
    return run_command(run, parser.parse_args(arguments))


def run(options: argparse.Namespace) -> None:
    """Run the command; StylecoreError when it cannot be done."""
    settings = CostSettings(**read_flags(options, CostSettings))
    check_limits(settings)
    model = find_candidate(settings.style).model
    photo_name, photo_file = next(iter(photo_files([]).items()))
    photo = load_picture(photo_file).pixels
    device = choose_device(settings.device)
    config = dataclasses.replace(DEFAULTS, steps=settings.gatys_steps)
    # Sampling the system takes time too.
    tracker = JournaledTracker(
        experiment=EXPERIMENT, run_name=RUN_NAME, tracking_uri=default_tracking_uri(), system_metrics=False
    )
    tracker.start()
    about = {
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": torch.get_num_threads(),
        "processor": _processor(),
        "style": model.card.name,
        "iterations": model.card.iterations,
        "residual_blocks": model.network.config.residual_blocks,
        "width": model.network.config.width,
        "gatys_steps": config.steps,
        "gatys_optimizer": config.optimizer,
        "photo": photo_name,
        "repeats": settings.repeats,
    }
    tracker.store_init_configuration(about)
    tracker.describe(tags=environment_tags(1, str(device)), note="Each point of a curve is one measurement.")

    def measure(metric: str, work: Callable[[], object], factor: float = 1) -> list[float]:
        values = [factor * seconds for seconds in measured(work, settings.repeats)]
        for number, value in enumerate(values, 1):
            tracker.log({metric: value}, number)
        return values

    with tracker.finishing():
        engine = Engine(model, settings.device)
        for size in dict.fromkeys(settings.sizes):
            values = measure(f"{STYLIZE}{size}", partial(engine.paint, middle_square(photo, size)), 1000)
            print(f"stylizing {size} x {size}: {spread(values, 0)} ms", flush=True)
        vgg = load_vgg("vgg19").to(device)
        style = load_picture(find_file(STYLE_PICTURE)).pixels
        for size in dict.fromkeys(settings.gatys_sizes):
            values = measure(f"{GATYS}{size}", partial(_paint, middle_square(photo, size), style, vgg, config))
            print(f"Gatys et al. {size} x {size}, {config.steps} steps: {spread(values)} s", flush=True)


def _paint(content: Tensor, style: Tensor, vgg: VGG, config: GatysConfig) -> None:
    *_, last = paint(content, style, vgg, config)
    last.picture()


def _processor() -> str:
    """The processor's name, as far as the system knows it."""
    with contextlib.suppress(OSError):
        if name := re.search(r"^model name\s*: (.+)", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE):
            return name[1]
    return platform.processor() or platform.machine()


if __name__ == "__main__":
    sys.exit(main())
