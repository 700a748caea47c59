"""The report's plots, in one style: Okabe and Ito's colors, which the color-blind tell apart, and markers beside them.

No `pyplot`, so nothing is kept between two plots and no window system is asked for.
"""

import io
from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter
from PIL import Image

from training.report.data import Curve, Twins, smoothed

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
GRAY = "#8a8a8a"
DOTS = 150
"""An inch: 8 inches give 1200 pixels, which GitHub shows at three quarters."""
PAPER_EQUIVALENT = (50, 100)
"""Iterations of Gatys et al. whose loss the networks of Johnson et al. (2016), figure 5, have."""

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
    """Three panels, logarithmic: the total loss; the content and the style loss by the unit of their weights.

    Args:
        runs: label to curves "total", "content" and "style". Those without any keep their place in the colors.
    """
    with rc_context(_STYLE):
        figure = Figure(figsize=(8, 6.4), layout="constrained")
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
                if not curves:
                    continue
                if name == "total":
                    axes[name].plot(*_xy(curves[name]), color=color, alpha=0.22, linewidth=0.7)
                axes[name].plot(*_xy(smoothed(curves[name])), color=color, label=label)
            _logarithmic(axes[name])
            axes[name].set_xlim(left=0)
            axes[name].set(title=title, xlabel="training iterations", ylabel=unit)
        _legend(figure, axes["total"])
        _save(figure, path)


def checkpoint_curves(
    runs: Mapping[str, Curve], gallery: Mapping[str, Curve], path: Path, *, unit: str, paper: bool = False
) -> None:
    """One figure of every checkpoint against its iterations; the gallery's in gray.

    Args:
        runs: label to curve; one without any point keeps its place in the colors.
        paper: mark the range of the networks of Johnson et al.
    """
    with rc_context(_STYLE):
        figure = Figure(figsize=(8, 4.6), layout="constrained")
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
        for number, curve in enumerate(gallery.values()):
            label = "the gallery's styles" if number == 0 else None
            axes.plot(*_xy(curve), color=GRAY, marker=".", markersize=8, linewidth=0.9, label=label)
        _marked(axes, runs)
        axes.set(xlabel="training iterations", ylabel=unit)
        axes.set_xlim(left=0)
        axes.set_ylim(bottom=0)
        _legend(figure, axes)
        _save(figure, path)


def spot_curves(spots: Mapping[str, Curve], burnt: Mapping[str, Curve], path: Path) -> None:
    """Two panels: the spots of the checkpoints, and the values burnt in while training, in percent."""
    with rc_context(_STYLE):
        figure = Figure(figsize=(8, 4.4), layout="constrained")
        left, right = figure.subplots(1, 2)
        labels = list(dict.fromkeys([*spots, *burnt]))
        styles = {label: (COLORS[i % len(COLORS)], MARKERS[i % len(MARKERS)]) for i, label in enumerate(labels)}
        for label, curve in spots.items():
            color, marker = styles[label]
            if curve:
                left.plot(*_percent(curve), color=color, marker=marker, label=label)
        for label, curve in burnt.items():
            right.plot(*_percent(smoothed(curve)), color=styles[label][0], label=label)
        left.set(title="sample photos", xlabel="training iterations", ylabel="covered by burnt-in spots (%)")
        right.set(title="training photos", xlabel="training iterations", ylabel="values at black or white (%)")
        for axes, curves in ((left, spots), (right, burnt)):
            axes.set_xlim(left=0)
            flat = all(value == 0 for curve in curves.values() for _, value in curve)
            axes.set_ylim(bottom=0, top=1 if flat else None)
        _legend(figure, right if burnt else left)
        _save(figure, path)


def twin_curves(twins: Sequence[Twins], path: Path) -> None:
    """A panel for every style trained both ways, logarithmic."""
    with rc_context(_STYLE):
        columns = min(2, len(twins))
        rows = -(-len(twins) // columns)
        figure = Figure(figsize=(8, 0.7 + 3.4 * rows), layout="constrained")
        panels = figure.subplots(rows, columns, squeeze=False).flatten()
        for panel, pair in zip(panels, twins, strict=False):
            for run, color, label in (
                (pair.scratch, COLORS[1], "from scratch"),
                (pair.tuned, COLORS[0], "from a trained network"),
            ):
                curve = run.curves["loss/total"]
                panel.plot(*_xy(curve), color=color, alpha=0.22, linewidth=0.7)
                panel.plot(*_xy(smoothed(curve)), color=color, label=label)
            _logarithmic(panel)
            panel.set_xlim(left=0)
            panel.set(title=pair.tuned.name, xlabel="training iterations", ylabel="total loss")
        for panel in panels[len(twins) :]:
            panel.remove()
        _legend(figure, panels[0])
        _save(figure, path)


def grid_curves(ratios: Sequence[float], content: Sequence[float], style: Sequence[float], path: Path) -> None:
    """Two panels, logarithmic: content and style loss against alpha / beta, each by the unit of its weight."""
    with rc_context(_STYLE):
        figure = Figure(figsize=(8, 3.4), layout="constrained")
        for axes, values, title, number in zip(
            figure.subplots(1, 2), (content, style), ("content", "style"), (0, 1), strict=True
        ):
            axes.plot(ratios, values, color=COLORS[number], marker=MARKERS[number])
            axes.set_xscale("log")
            axes.set_xticks(ratios, [f"{ratio:g}" for ratio in ratios])
            axes.xaxis.set_minor_formatter(NullFormatter())
            axes.invert_xaxis()
            _logarithmic(axes)
            axes.set(title=title, xlabel="alpha / beta", ylabel=f"{title} loss / its weight")
        _save(figure, path)


def _marked(axes: Any, runs: Mapping[str, Curve]) -> None:
    for color, marker, (label, curve) in zip(cycle(COLORS), cycle(MARKERS), runs.items(), strict=False):
        if curve:
            axes.plot(*_xy(curve), color=color, marker=marker, label=label)


def _xy(curve: Curve) -> tuple[list[int], list[float]]:
    return [step for step, _ in curve], [value for _, value in curve]


def _percent(curve: Curve) -> tuple[list[int], list[float]]:
    return [step for step, _ in curve], [100 * value for _, value in curve]


def _logarithmic(axes: Any) -> None:
    """Numbers at the decades, and between them the more, the less the axis spans."""
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


def _save(figure: Figure, path: Path) -> None:
    """As a PNG of 256 colors, a third of the bytes; those that cover most, lest a thin line take its neighbor's."""
    FigureCanvasAgg(figure)
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=DOTS)
    with Image.open(drawn) as image:
        colors = image.convert("RGB").quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    colors.save(path, optimize=True)
