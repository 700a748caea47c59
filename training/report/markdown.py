"""How the report writes: tables, numbers, pictures with their places in the text, and what is missing."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from stylecore.sheet import Row, contact_sheet
from training.report.data import Evidence, ReportRun
from training.report.pictures import QUALITY, open_picture
from training.tracking.store import MlflowClient

NONE = "-"
Entry = tuple[str, ReportRun, int]
"""A network: what it is called, its run, its iterations."""

_NARROW = (
    "--width 0.5 --init-from models:/starry_night@half-width --style-weight 5e10 --style-size 512 --iterations 1500 "
    "--checkpoints 1500 --warmup 50 --seed 2"
)
_COMMANDS = {
    "starry_night_seed_0": "--run-name starry_night_seed_0 --seed 0",
    "starry_night_seed_1": "--run-name starry_night_seed_1 --seed 1",
    "starry_night_one_block": "--run-name starry_night_one_block --residual-blocks 1",
    "starry_night_small_style_weight": (
        "--run-name starry_night_small_style_weight --style-weight 1e9 --iterations 1000 --checkpoints 1000"
    ),
    "starry_night_stopped_early": (
        "--run-name starry_night_stopped_early --schedule constant --iterations 300 --checkpoints 300"
    ),
    "starry_night_seed_0_batches_of_4": (
        "--run-name starry_night_seed_0_batches_of_4 --seed 0 --batch-size 4 --checkpoints 3500"
    ),
    "starry_night_seed_1_batches_of_4": (
        "--run-name starry_night_seed_1_batches_of_4 --seed 1 --batch-size 4 --checkpoints 3500"
    ),
    "starry_night_half_width_bold": f"--run-name starry_night_half_width_bold {_NARROW}",
    "starry_night_half_width_taught": (
        f"--run-name starry_night_half_width_taught {_NARROW} --teacher models:/starry_night@bolder"
    ),
    "starry_night_half_width_long": (
        "--run-name starry_night_half_width_long --width 0.5 --init-from models:/starry_night@half-width-taught "
        "--style-weight 5e10 --style-size 512 --batch-size 4 --checkpoints 3500 --warmup 50 --seed 3 "
        "--teacher models:/starry_night@bolder"
    ),
}
"""What is added to `make train` to train the runs of the experiment."""


@dataclass(frozen=True)
class Album:
    """The report's pictures: opened from the store once each, and saved to the report's folder."""

    client: MlflowClient
    folder: Path
    _opened: dict[str, Image.Image] = field(default_factory=dict, repr=False)

    def open(self, address: str) -> Image.Image:
        """A picture of the store."""
        if address not in self._opened:
            self._opened[address] = open_picture(self.client, address)
        return self._opened[address]

    def path(self, file: str) -> Path:
        """Where a picture of the report is to be saved."""
        return self.folder / file

    def shown(self, path: Path, description: str) -> str:
        """The Markdown of a saved picture."""
        return f"![{description}](report/{path.name})"

    def sheet(self, name: str, image: Image.Image, description: str) -> str:
        """Save a contact sheet; returns its Markdown."""
        path = self.path(f"{name}.jpg")
        image.save(path, quality=QUALITY)
        return self.shown(path, description)

    def file_name(self, name: str) -> str:
        """A name that can be part of a file's name and of an address."""
        return re.sub(r"[^A-Za-z0-9_-]", "_", name)

    def photos(self, networks: Sequence[tuple[ReportRun, int]]) -> list[str]:
        """The sample photos that every one of these networks has stylized, and that are there themselves."""
        if not networks:
            return []
        first = networks[0][0].previews
        return [
            photo
            for photo in sorted(first)
            if 0 in first[photo] and all(step in run.previews.get(photo, {}) for run, step in networks)
        ]

    def by_checkpoint(self, name: str, entries: Sequence[Entry], photos: int) -> list[str]:
        """A sheet of a column for every network, beside the photo; nothing when they share no sample pictures."""
        rows = [
            Row("", [self.open(address) for address in _addresses(entries, photo)])
            for photo in self.photos([(run, step) for _, run, step in entries])[:photos]
        ]
        if not rows:
            return []
        labels = [label for label, _, _ in entries]
        return [self.sheet(name, contact_sheet(["photo", *labels], rows), f"The photo; {'; '.join(labels)}")]

    def by_run(self, name: str, runs: Mapping[str, ReportRun], photos: int) -> list[str]:
        """A sheet of a column for every checkpoint and a row for every run; nothing without sample pictures."""
        steps = sorted({step for run in runs.values() for step in run.checkpoints})
        rows: list[Row] = []
        for photo in sorted({photo for run in runs.values() for photo in run.previews if 0 in run.previews[photo]}):
            if len(rows) < photos * len(runs):
                for label, run in runs.items():
                    shown = run.previews.get(photo, {})
                    rows.append(
                        Row(label, [self.open(shown[step]) if step in shown else None for step in (0, *steps)])
                    )
        if not rows:
            return []
        labels = ["photo", *(f"{step} iterations" for step in steps)]
        return [self.sheet(name, contact_sheet(labels, rows), f"{'; '.join(runs)}: {', '.join(labels)}")]

    def grid(self, runs: Sequence[ReportRun]) -> tuple[list[Image.Image | None], list[str]]:
        """The pictures of a grid of ratios, from the photo to the style picture, and their labels."""
        cells: list[Image.Image | None] = []
        labels: list[str] = []
        for run in runs:
            shown = run.previews.get(run.params.get("photo", ""), {})
            if 0 in shown and not cells:
                cells.append(self.open(shown[0]))
                labels.append("photo")
            if shown and max(shown):
                cells.append(self.open(shown[max(shown)]))
                labels.append(f"alpha/beta {run.number('ratio'):g}")
        if cells and runs[0].style_picture:
            cells.append(self.open(runs[0].style_picture))
            labels.append("style")
        return cells, labels


def table(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [heading, ["---"] * len(heading), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def loss_text(value: float | None) -> str:
    """A loss with four digits: 1.351e6."""
    if value is None or value != value:
        return NONE
    if 0.01 <= abs(value) < 1000 or value == 0:
        return f"{value:.4g}"
    mantissa, _, power = f"{value:.3e}".partition("e")
    return f"{mantissa}e{int(power)}"


def plain(value: float) -> str:
    """A setting that is a number: 0.0015, 1e10."""
    return f"{value:g}".replace("e+", "e").replace("e0", "e")


def percent(share: float, digits: int = 1) -> str:
    """A share of 1: "0.14 %"."""
    return f"{share:.{digits}%}".replace("%", " %")


def difference(value: float, other: float) -> str:
    """How a value compares with another: "3.1 % lower", "no different"."""
    change = value / other - 1
    if abs(change) < 0.0005:
        return "no different"
    return f"{percent(abs(change))} {'lower' if change < 0 else 'higher'}"


def named(setting: str) -> str:
    """A setting as words."""
    return setting.replace("_", " ")


def size_of(runs: Sequence[ReportRun]) -> int:
    """The smallest size in pixels at which all these runs were evaluated; without one, the smallest of any."""
    evaluated = [set(run.sizes) for run in runs if run.sizes]
    return min(set.intersection(*evaluated) or set.union(*evaluated)) if evaluated else 256


def results_table(entries: Sequence[Entry], *, by_weight: bool = False) -> str:
    """What evaluating each network gave. With `by_weight`, content and style losses are divided by their weights."""
    size = size_of([run for _, run, _ in entries])
    rows = []
    for label, run, step in entries:
        found = run.evaluation(step, size)
        weights = [run.number(f"{kind}_weight") if by_weight else 1.0 for kind in ("content", "style")]
        parts = [
            found[kind] / weight if kind in found else None
            for kind, weight in zip(("content", "style"), weights, strict=True)
        ]
        equivalent, spots = found.get("equivalent_gatys_iterations"), found.get("spot_share")
        rows.append(
            (
                label,
                str(step),
                *map(loss_text, (found.get("total"), *parts)),
                NONE if equivalent is None else f"{equivalent:.1f}",
                NONE if spots is None else percent(spots, 2),
            )
        )
    kinds = ("content / its weight", "style / its weight") if by_weight else ("content", "style")
    heading = ("network", "iterations", f"total loss, {size} px", *kinds)
    text = table((*heading, "equals iterations of Gatys et al.", "burnt-in spots"), rows)
    if all(row[2] == NONE for row in rows):
        text += "\n\nThese networks have not been evaluated; `python -m training.evaluate NAME@ALIAS` does it."
    return text


def compared(
    evidence: Evidence, album: Album, name: str, runs: Sequence[str], labels: Mapping[str, str], photos: int = 2
) -> list[str]:
    """Figures and sample pictures of all checkpoints of some runs, and which of the runs are missing."""
    there = {labels[each]: evidence.runs[each] for each in runs if each in evidence.runs}
    text = [missing_run(each) for each in runs if each not in evidence.runs]
    text += [no_checkpoints(run) for run in there.values() if not run.checkpoints]
    entries = [(label, run, step) for label, run in there.items() for step in run.checkpoints]
    if entries:
        text.append(results_table(entries))
        text += album.by_run(name, there, photos)
    return text


def missing_run(name: str) -> str:
    """That a run is not there, and how to get it."""
    return (
        f"The run `{name}` is not in this tracker. To train it:\n\n"
        f'    make train PHOTOS=path/to/photos ARGS="{_COMMANDS[name]}"'
    )


def no_checkpoints(run: ReportRun) -> str:
    """That a run is there, but nothing of it that could be shown."""
    return f"The run `{run.name}` has no checkpoint in this tracker yet; it is {run.status.lower()}."


def _addresses(entries: Sequence[Entry], photo: str) -> list[str]:
    """The photo's, then those of what the networks made of it."""
    return [entries[0][1].previews[photo][0]] + [run.previews[photo][step] for _, run, step in entries]
