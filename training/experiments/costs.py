"""Measure the time of both methods on this machine: seconds of Gatys et al., milliseconds of a trained network.

    python -m training.experiments.costs --style starry_night

Every figure is measured several times. Each measurement is a point of a metric of the run `costs`, in the MLflow
experiment `benchmarks`; the report gives median and range. Training runs log their own time
(`perf/images_per_second`).
"""

import argparse
import dataclasses
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence

import torch

from stylecore.errors import StylecoreError
from stylecore.gatys.config import DEFAULTS
from stylecore.gatys.paint import GatysConfig, paint
from stylecore.inference.engine import Engine, choose_device
from stylecore.pictures.read import load_picture
from stylecore.vgg.weights import load_vgg
from training.command import run_command
from training.config import find_file
from training.evaluate import find_candidate, photo_files
from training.evaluation import middle_square
from training.tracking import JournaledTracker
from training.tracking.environment import default_tracking_uri, environment_tags

EXPERIMENT = "benchmarks"
RUN_NAME = "costs"
GATYS = "gatys/seconds_"
STYLIZE = "stylize/milliseconds_"
"""The metrics; the side of the square in pixels follows."""

GATYS_SIZES = (256, 512)
GATYS_STEPS = 20
SIZES = (256, 512, 1024)
REPEATS = 5
STYLE_PICTURE = "demo/assets/starry_night.jpg"
"""The style picture for Gatys et al.; the time does not depend on it."""


def measured(work: Callable[[int], object], repeats: int) -> Iterator[float]:
    """The seconds of each repetition. The first one, number 0, also allocates, and is not measured."""
    work(0)
    for number in range(1, repeats + 1):
        began = time.perf_counter()
        work(number)
        yield time.perf_counter() - began


def spread(values: Sequence[float], digits: int = 1) -> str:
    """The median with the range: "12.1 (11.8 to 13.0)"."""
    low, high = min(values), max(values)
    return f"{statistics.median(values):.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status: 2 for a mistake of the user, after one sentence on stderr."""
    return run_command(run, _parser().parse_args(arguments))


def run(options: argparse.Namespace) -> None:
    """Run the command; StylecoreError when it cannot be done."""
    for flag, least in (("gatys_sizes", 32), ("sizes", 1), ("gatys_steps", 1), ("repeats", 1)):
        value = getattr(options, flag)
        smallest = min(value, default=least) if isinstance(value, Sequence) else value
        if smallest < least:
            raise StylecoreError(f"--{flag.replace('_', '-')} is {smallest}, and must be at least {least}.")
    model = find_candidate(options.style).model
    photo_name, photo_file = next(iter(photo_files([options.photo] if options.photo else []).items()))
    photo = load_picture(photo_file).pixels
    device = choose_device(options.device)
    config = dataclasses.replace(DEFAULTS, steps=options.gatys_steps)
    tracker = JournaledTracker.silent()
    if options.log:
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
            "repeats": options.repeats,
        }
        tracker.store_init_configuration(about)
        tracker.describe(tags=environment_tags(1, str(device)), note="Each point of a curve is one measurement.")

    def report(metric: str, seconds: Iterator[float], factor: float = 1) -> list[float]:
        values = []
        for number, each in enumerate(seconds, 1):
            values.append(each * factor)
            tracker.log({metric: values[-1]}, number)
        return values

    with tracker.finishing():
        engine = Engine(model, options.device)
        for size in dict.fromkeys(options.sizes):
            square = middle_square(photo, size)
            seconds = measured(lambda _, square=square: engine.paint(square), options.repeats)  # type: ignore[misc]
            print(f"stylizing {size} x {size}: {spread(report(f'{STYLIZE}{size}', seconds, 1000), 0)} ms", flush=True)
        if not options.gatys_sizes:
            return
        vgg = load_vgg("vgg19").to(device)
        style = load_picture(find_file(STYLE_PICTURE)).pixels
        for size in dict.fromkeys(options.gatys_sizes):
            square = middle_square(photo, size)

            def painting(number: int, square: torch.Tensor = square) -> None:
                steps: GatysConfig = config if number else dataclasses.replace(config, steps=1)
                *_, last = paint(square, style, vgg, steps)
                last.picture()

            values = report(f"{GATYS}{size}", measured(painting, options.repeats))
            print(f"Gatys et al. {size} x {size}, {config.steps} steps: {spread(values)} s", flush=True)


def _processor() -> str:
    """The processor's name, as far as the system knows it."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            names = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training.experiments.costs",
        description="Measure the seconds of Gatys et al. and the milliseconds of a trained network on this machine.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--style", default="starry_night", help=".safetensors file, or NAME, NAME@ALIAS, NAME/VERSION")
    parser.add_argument("--photo", default=None, help="cut to a square; a sample photo when left out")
    parser.add_argument("--sizes", nargs="*", type=int, default=SIZES, metavar="PIXELS", help="squares to stylize")
    parser.add_argument(
        "--gatys-sizes", nargs="*", type=int, default=GATYS_SIZES, metavar="PIXELS", help="squares to paint"
    )
    parser.add_argument("--gatys-steps", type=int, default=GATYS_STEPS, help="steps of each painting")
    parser.add_argument("--repeats", type=int, default=REPEATS, help="measurements of each figure")
    parser.add_argument("--device", default=None, help="cpu, cuda, mps; the fastest there is when left out")
    parser.add_argument("--no-log", dest="log", action="store_false", help="log nothing to the MLflow store")
    return parser


if __name__ == "__main__":
    sys.exit(main())
