"""The report's plots, in one style: Okabe and Ito's colors, which color-blind people can distinguish, and markers.

`pyplot` is not used: it keeps figures between two plots and may look for a window system.
"""

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter
from PIL import Image

from training.report.data import Curve, TransferPair, smoothed

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
GRAY = "#8a8a8a"
DOTS = 150
"""Pixels an inch: 8 inches give 1200 pixels, which GitHub shows at three quarters of their size."""
PAPER_EQUIVALENT = (50, 100)
"""The networks of Johnson et al. (2016), figure 5, have the loss of this many iterations of Gatys et al."""

_STYLE = {
    "font.size": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.8,
    "axes.axisbelow": True,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "legend.frameon": False,
    "lines.linewidth": 1.8,
}


def loss_curves(runs: Mapping[str, Mapping[str, Curve]], path: Path) -> None:
    """Three logarithmic panels: the total loss, and the content and the style loss divided by their weights.

    Args:
        runs: label to curves "total", "content" and "style". A label without curves keeps its color.
    """
    with _figure(path, 6.4) as figure:
        axes: dict[str, Any] = figure.subplot_mosaic(
            [["total", "total"], ["content", "style"]], height_ratios=(1.25, 1)
        )
        titles = {
            "total": ("as trained: weighted content and style", "total loss"),
            "content": ("content", "content loss / its weight"),
            "style": ("style", "style loss / its weight"),
        }
        for name, (title, unit) in titles.items():
            for color, (label, curves) in zip(cycle(COLORS), runs.items(), strict=False):
                if curves:
                    _plot_loss(axes[name], curves[name], color, label, raw=name == "total")
            _logarithmic(axes[name])
            axes[name].set_xlim(left=0)
            axes[name].set(title=title, xlabel="training iterations", ylabel=unit)
        _legend(figure, axes["total"])


def checkpoint_curves(
    runs: Mapping[str, Curve], gallery: Mapping[str, Curve], path: Path, *, unit: str, paper: bool = False
) -> None:
    """One figure of every checkpoint against its iterations; the gallery's in gray.

    Args:
        runs: label to curve; a label without points keeps its color.
        paper: mark the range of the networks of Johnson et al.
    """
    with _figure(path, 4.6) as figure:
        axes = figure.subplots()
        if paper:
            axes.axhspan(*PAPER_EQUIVALENT, color="#56B4E9", alpha=0.15, linewidth=0)
            axes.annotate(
                "Johnson et al. (2016), 40,000 iterations with batches of 4",
                (0.01, PAPER_EQUIVALENT[0]),
                xycoords=("axes fraction", "data"),
                xytext=(0, 4),
                textcoords="offset points",
                color="#3a6f8f",
                fontsize=9.5,
            )
        for index, curve in enumerate(gallery.values()):
            label = None if index else "the gallery's styles"
            axes.plot(*_xy(curve), color=GRAY, marker=".", markersize=8, linewidth=0.9, label=label)
        for color, marker, (label, curve) in zip(cycle(COLORS), cycle(MARKERS), runs.items(), strict=False):
            if curve:
                axes.plot(*_xy(curve), color=color, marker=marker, label=label)
        axes.set(xlabel="training iterations", ylabel=unit)
        axes.set_xlim(left=0)
        axes.set_ylim(bottom=0)
        _legend(figure, axes)


def spot_curves(spots: Mapping[str, Curve], burnt_in: Mapping[str, Curve], path: Path) -> None:
    """Two panels, in percent: the spots at the checkpoints, and the values burnt in during training."""
    with _figure(path, 4.4) as figure:
        left, right = figure.subplots(1, 2)
        labels = list(dict.fromkeys([*spots, *burnt_in]))
        styles = {label: (COLORS[i % len(COLORS)], MARKERS[i % len(MARKERS)]) for i, label in enumerate(labels)}
        for label, curve in spots.items():
            color, marker = styles[label]
            if curve:
                left.plot(*_xy(curve, 100), color=color, marker=marker, label=label)
        for label, curve in burnt_in.items():
            right.plot(*_xy(smoothed(curve), 100), color=styles[label][0], label=label)
        left.set(title="sample photos", xlabel="training iterations", ylabel="covered by burnt-in spots (%)")
        right.set(title="training photos", xlabel="training iterations", ylabel="values at black or white (%)")
        for axes, curves in ((left, spots), (right, burnt_in)):
            axes.set_xlim(left=0)
            flat = all(value == 0 for curve in curves.values() for _, value in curve)
            axes.set_ylim(bottom=0, top=1 if flat else None)
        _legend(figure, right if burnt_in else left)


def transfer_curves(pairs: Sequence[TransferPair], path: Path) -> None:
    """A logarithmic panel for every style trained both ways."""
    columns = min(2, len(pairs))
    rows = -(-len(pairs) // columns)
    with _figure(path, 0.7 + 3.4 * rows) as figure:
        panels = figure.subplots(rows, columns, squeeze=False).flatten()
        for panel, pair in zip(panels, pairs, strict=False):
            _plot_loss(panel, pair.scratch.total_loss, COLORS[1], "from scratch")
            _plot_loss(panel, pair.tuned.total_loss, COLORS[0], "from a trained network")
            _logarithmic(panel)
            panel.set_xlim(left=0)
            panel.set(title=pair.tuned.name, xlabel="training iterations", ylabel="total loss")
        for panel in panels[len(pairs) :]:
            panel.remove()
        _legend(figure, panels[0])


def grid_curves(ratios: Sequence[float], content: Sequence[float], style: Sequence[float], path: Path) -> None:
    """Two logarithmic panels: content and style loss, divided by their weights, against alpha / beta."""
    with _figure(path, 3.4) as figure:
        for index, (axes, values, title) in enumerate(
            zip(figure.subplots(1, 2), (content, style), ("content", "style"), strict=True)
        ):
            axes.plot(ratios, values, color=COLORS[index], marker=MARKERS[index])
            axes.set_xscale("log")
            axes.set_xticks(ratios, [f"{ratio:g}" for ratio in ratios])
            axes.xaxis.set_minor_formatter(NullFormatter())
            axes.invert_xaxis()
            _logarithmic(axes)
            axes.set(title=title, xlabel="alpha / beta", ylabel=f"{title} loss / its weight")


@contextmanager
def _figure(path: Path, height: float) -> Iterator[Figure]:
    """A figure 8 inches wide, saved to a file at the end.

    The file is a PNG of 256 colors, which has a third of the bytes. The colors are those that cover most: otherwise a
    thin line takes its neighbor's color.
    """
    with rc_context(_STYLE):
        figure = Figure(figsize=(8, height), layout="constrained")
        yield figure
        FigureCanvasAgg(figure)
        drawn = io.BytesIO()
        figure.savefig(drawn, dpi=DOTS)
    with Image.open(drawn) as image:
        colors = image.convert("RGB").quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    colors.save(path, optimize=True)


def _plot_loss(axes: Any, curve: Curve, color: str, label: str, *, raw: bool = True) -> None:
    """A smoothed loss, and with `raw` the loss itself, pale."""
    if raw:
        axes.plot(*_xy(curve), color=color, alpha=0.22, linewidth=0.7)
    axes.plot(*_xy(smoothed(curve)), color=color, label=label)


def _xy(curve: Curve, factor: float = 1) -> tuple[list[int], list[float]]:
    return [step for step, _ in curve], [factor * value for _, value in curve]


def _logarithmic(axes: Any) -> None:
    """Numbers at the powers of ten, and between them the more numbers, the shorter the axis."""
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    digits = "123456789" if high / low < 5 else "125" if high / low < 30 else "1"
    axes.yaxis.set_major_formatter(FuncFormatter(_short))
    axes.yaxis.set_minor_formatter(FuncFormatter(lambda value, _: _short(value) if f"{value:e}"[0] in digits else ""))
    axes.yaxis.set_tick_params(which="minor", labelsize=9.5)


def _short(value: float, _: Any = None) -> str:
    mantissa, _, power = f"{value:.0e}".partition("e")
    return f"{value:g}" if 0.01 <= abs(value) < 1e4 else f"{mantissa}e{int(power)}"


def _legend(figure: Figure, axes: Any) -> None:
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, loc="outside lower center", ncols=min(3, len(handles)))
