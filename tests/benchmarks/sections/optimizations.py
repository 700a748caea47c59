"""Sections on the method of Gatys et al.: what a step takes, and how good a picture is after a minute."""

import argparse
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from comparing import Contender, Figure, Line, Process, ask, compare, say

from stylecore.errors import StylecoreError
from stylecore.gatys.config import GatysConfig, style_size
from stylecore.johnson.style_model import read_card
from stylecore.library import find_style
from stylecore.pictures.read import fit, load_picture, resize
from stylecore.pictures.write import save_picture
from training.config import find_file

PAINTERS = {
    "coarse_to_fine": "ours, coarse to fine",
    "one_scale": "ours, full size only",
    "from_network": "ours, from a network's picture",
    "pastiche": "pastiche",
    "plain_loop": "plain L-BFGS loop",
}
"""Of painters.py, in words."""


def step(options: argparse.Namespace) -> Iterator[Line]:
    """One step: VGG-19, relu4_2 and relu1_1 to relu5_1, L-BFGS of history 100, the same weights."""
    where = {"photo": options.photo, "style": options.painting, "side": options.side, "steps": 3}
    contenders: dict[str, Contender] = {
        name: Process(options.threads, contender=name, **where) for name in ("pastiche", "gatys")
    }
    turns = max(2, options.repetitions // 2)
    yield from compare(f"a step of Gatys, {options.side}", contenders, ("pastiche",), turns)


def budget(options: argparse.Namespace) -> Iterator[Line]:
    """The loss that each has reached when the time is over, all from the photo, one after the other."""
    network = find_style(options.style)
    section = f"Gatys, {options.budget:g} s at {options.side}: total loss"
    folder = options.json.with_name(f"{options.json.stem}_gatys")
    folder.mkdir(parents=True, exist_ok=True)
    try:
        painting = find_file(read_card(network).training["style_image"])
    except (KeyError, StylecoreError):
        yield f"{section} is left out: {network} does not say which picture it was trained on."
        return
    answers: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        task = prepare(options.photo, painting, options.side, Path(temporary))
        task |= {"network": str(network), "seconds": options.budget}
        for painter, name in PAINTERS.items():
            say(f"{section}: {name}")
            picture = str(folder / f"{painter}.png")
            (answers[name],) = ask("painters.py", options.threads, painter=painter, picture=picture, **task)
    say("")
    draw(answers, folder.with_suffix(".png"))
    yield from figures(section, answers)
    yield "ours are painted without the border that they have by default, which would be another objective"
    yield f"curves: {folder.with_suffix('.png')}, pictures: {folder}"


def prepare(photo: str, painting: Path, side: int, folder: Path) -> dict[str, str]:
    """The photo and the painting as files of exactly the size that they are looked at, for all painters the same."""
    content, style = fit(load_picture(photo).pixels, side), load_picture(painting).pixels
    height, width = content.shape[-2:]
    style = resize(style, style_size((style.shape[-2], style.shape[-1]), (height, width), GatysConfig()))
    for name, pixels in (("content", content), ("style", style)):
        save_picture(pixels, folder / f"{name}.png")
    return {"content": str(folder / "content.png"), "style": str(folder / "style.png"), "painting": str(painting)}


def figures(section: str, answers: Mapping[str, Mapping[str, Any]]) -> Iterator[Figure]:
    """The last losses, and how many times as high the peers' are."""
    last = {name: answer["curve"][-1][1] for name, answer in answers.items()}
    peers = [PAINTERS["pastiche"], PAINTERS["plain_loop"]]
    for name, answer in answers.items():
        ratios = {peer: last[peer] / last[name] for peer in peers if peer != name}
        more = {key: float(answer[key]) for key in ("steps", "unclipped") if key in answer}
        reached = [seconds for seconds, loss in answer["curve"] if loss <= last[peers[0]]]
        if reached and name not in peers:
            more["seconds_to_pastiche"] = reached[0]
        yield Figure(section, name, last[name], last[name], last[name], ratios, more, unit="", curve=answer["curve"])


def draw(answers: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    """Loss against seconds, logarithmic."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Plot

    from training.report.plots import COLORS, DOTS, MARKERS

    plot = Plot(figsize=(8, 5), layout="constrained")
    FigureCanvasAgg(plot)
    axes = plot.subplots()
    for (name, answer), color, marker in zip(answers.items(), COLORS, MARKERS, strict=False):
        seconds, losses = zip(*answer["curve"], strict=True)
        axes.plot(seconds, losses, color=color, marker=marker, markersize=4, label=name)
    axes.set_yscale("log")
    axes.set(xlabel="seconds", ylabel="total loss, the same for all", title="Gatys et al. from one photo")
    axes.set_xlim(left=0)
    axes.grid(color="#e4e4e4")
    axes.legend(frameon=False)
    plot.savefig(path, dpi=DOTS)
