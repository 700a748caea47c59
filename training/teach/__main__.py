"""Teach a network one painting.

    python -m training.teach painting.jpg --minutes 10

It begins with the network whose painting is nearest, trains for so many minutes by train.py's own code, evaluates the
network, quantizes it to 8 bits and promotes it. The same command continues a lesson that was stopped or killed. An
empty file `enough` in its folder ends it soon, and keeps what was learned.
"""

import argparse
import contextlib
import os
import re
import shlex
import signal
import sys
import threading
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from stylecore.errors import StylecoreError
from stylecore.flags import add_flags
from stylecore.johnson.quantization import Quantization, sidecar_of, write_quantization
from stylecore.johnson.style_model import StyleModel
from stylecore.library import CHAMPION, FAST, find_styles
from stylecore.vgg.weights import load_vgg
from training.checkpoints import Caller, style_files
from training.command import STOPPED, Stopped, run_command
from training.config import TrainConfig, parse_given
from training.photos import photos_below
from training.quantize import quantize, read_photos
from training.state import ENOUGH
from training.teach.painting import name_of, read_painting, title_of
from training.teach.progress import LessonProgress
from training.teach.settings import (
    BRUSHES,
    DEFAULTS,
    content_weight,
    far_settings,
    keep_settings,
    kept_settings,
    style_size,
)
from training.teach.start import nearest_start
from training.tracking import TrackingError
from training.tracking.environment import default_tracking_uri
from training.train import train

if TYPE_CHECKING:  # they import MLflow, which need not be installed
    from training.registry.registry import RegisteredVersion, Registry

SMALLEST_CHANNELS = 0.5
"""The alias `fast` is for networks of this width or narrower."""


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status: 2 for a mistake of the user, after one sentence on stderr."""
    options, given = parse_given(_parser(), arguments)
    return run_command(lambda options: _teach(options, given), options)


def _teach(options: argparse.Namespace, given: dict[str, Any]) -> int:
    progress = LessonProgress(options.progress)
    try:
        progress.write("beginning")
        config = _settings(options, given)
        if options.stdin:
            _obey(config.folder)
        command = shlex.join(["python", "-m", "training.teach", *sys.argv[1:]])
        train(config, resume=True, caller=Caller(command, watch=partial(progress.learn, config)))
        progress.write("finishing")
        file, version, run_page = _finish(config)
    except Stopped:
        print(f"stopped; the same command continues from the state in {config.folder}.", file=sys.stderr)
        return STOPPED
    except (StylecoreError, TrackingError, OSError) as error:
        progress.write("failed", reason=str(error))
        raise
    progress.write("done", file=str(file.resolve()), version=version, run_page=run_page)
    print(f"learned: python -m stylecore stylize photo.jpg --style {config.name if version else file} -o out.png")
    return 0


def _settings(options: argparse.Namespace, given: dict[str, Any]) -> TrainConfig:
    """The settings of the lesson: those that it began with, or new ones, chosen from the painting."""
    painting = options.painting
    pixels = read_painting(painting)
    config = replace(DEFAULTS, **given, style_image=str(painting))
    config = replace(config, name=config.name or name_of(painting), title=config.title or title_of(painting))
    for name in filter(None, (config.name, config.run_name)):
        if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
            raise StylecoreError(f"{name!r} is not a name for a style; use letters, digits, '_' and '-'.")
    if not config.minutes > 0:
        raise StylecoreError(f"--minutes is {config.minutes:g}, and must be above 0.")
    brush = {"style_size": style_size(pixels, options.brush)} if "brush" in options else {}
    if kept := kept_settings(config.folder, painting):
        config = replace(kept, **brush | given, style_image=str(painting))
        if config.style_size != kept.style_size:
            raise StylecoreError(
                f"{config.folder} holds a lesson with the style size {kept.style_size}, and not {config.style_size}; "
                "choose another --name for another size."
            )
    else:
        _refuse_taken(config.name)
        config = _chosen(config, pixels, brush | given)
    config.check()
    keep_settings(config, painting)
    return config


def _chosen(config: TrainConfig, pixels: Tensor, given: dict[str, Any]) -> TrainConfig:
    """What the person left open: style size, start, content weight, and what a far start needs."""
    config = replace(config, style_size=given.get("style_size") or style_size(pixels, 1.0))
    start = None
    if not config.init_from:
        start = nearest_start(pixels, config.network, load_vgg("vgg19"), config.name)
        config = replace(config, init_from=start.file if start else "")
        print(
            f"begins with {start.card.title or start.card.name}, whose painting is nearest ({start.distance:.2f})"
            if start
            else "begins with random weights, because there is no champion of this form of network",
            flush=True,
        )
    config = replace(config, content_weight=config.content_weight or content_weight(start))
    layers = {"style_layers", "style_layer_weights"}
    fixed = given.keys() | (layers if layers & given.keys() else set())
    config = replace(config, **{name: value for name, value in far_settings(start).items() if name not in fixed})
    chosen = f"content weight {config.content_weight:g}, style size {config.style_size}"
    print(f"{chosen}, style layers {', '.join(config.style_layers)}", flush=True)
    return config


def _refuse_taken(name: str) -> None:
    """Raise StylecoreError if there is a style of this name."""
    taken = any(style.card.name == name for style in find_styles())
    if not taken and default_tracking_uri():
        from training.registry.registry import Registry

        with contextlib.suppress(StylecoreError, TrackingError):  # a store that does not answer: the tracker says so
            taken = bool(Registry().versions(name))
    if taken:
        raise StylecoreError(f"there is a style {name} already; choose another --name.")


def _obey(folder: Path) -> None:
    """Read standard input in a thread: the line `enough` ends the lesson soon, and the input's end stops it."""

    # Not sys.stdin itself: a process that reads photos is forked, closes that, and would wait for this thread forever.
    lines = os.fdopen(os.dup(sys.stdin.fileno()))

    def read() -> None:
        for line in lines:
            if line.strip() == ENOUGH:
                (folder / ENOUGH).touch()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=read, name="stdin", daemon=True).start()


def _finish(config: TrainConfig) -> tuple[Path, str, str]:
    """Quantize and promote the newest network of the run; what fails is printed, and the file is still there.

    Returns:
        The network's file; the number of its registered version, empty if the store did not answer or there is none;
        and the address of the run below MLflow's page, or of the page itself if the store is a server.

    Raises:
        StylecoreError: when the run has no network.
    """
    files = style_files(config.folder)
    if not files:
        raise StylecoreError(f"{config.folder} has no network yet; give more --minutes.")
    iterations, file = list(files.items())[-1]
    quantization = _quantized(file, config)
    if not default_tracking_uri():
        return file, "", ""
    from training.registry.registry import Registry

    try:
        registry = Registry()
        version = registry.find(f"{config.name}@iterations-{iterations}")
        if quantization is not None:
            version = registry.add_quantization(version, quantization)
        return file, version.version, _promote(registry, version, config)
    except (StylecoreError, TrackingError) as error:
        print(f"the style is in {file}, but not promoted: {error}", file=sys.stderr)
        return file, "", ""


def _promote(registry: "Registry", version: "RegisteredVersion", config: TrainConfig) -> str:
    reason = f"Taught in {config.minutes:g} minutes, from {Path(config.init_from).stem or 'random weights'}"
    number = version.version
    if config.width <= SMALLEST_CHANNELS:
        registry.promote(version.name, number, FAST)
    registry.promote(version.name, number, CHAMPION, reason)
    return registry.run_page(version) or registry.run_page(version, ".").removeprefix("./")


def _quantized(file: Path, config: TrainConfig) -> Quantization | None:
    try:
        folder = Path(config.photos).expanduser()
        found = quantize(StyleModel.load(file), read_photos(folder if photos_below(folder) else None))
        if found is not None:
            write_quantization(found, sidecar_of(file))
    except StylecoreError as error:
        print(f"the style is not quantized to 8 bits: {error}", file=sys.stderr)
        return None
    return found


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training.teach",
        description="Teach a network one painting, within minutes.",
        epilog="The same command continues a lesson that was stopped. Style size, content weight, style layers and "
        "start are chosen from the painting, if they are not given.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("painting", type=Path, help="the picture to learn")
    parser.add_argument(
        "--brush",
        type=float,
        default=argparse.SUPPRESS,
        help=f"size of the strokes, {BRUSHES[0]:g} to {BRUSHES[1]:g} (default: 1)",
    )
    parser.add_argument(
        "--progress", type=Path, metavar="FOLDER", help="write the network to this folder every few seconds, to watch"
    )
    parser.add_argument(
        "--stdin",
        action="store_true",
        help="end soon at the line `enough` on standard input, and stop at its end: for programs that start this one",
    )
    add_flags(parser, DEFAULTS, without=("style_image",))
    return parser


if __name__ == "__main__":
    sys.exit(main())
