"""The report's plots, in one style: Okabe and Ito's colors, which color-blind people can distinguish, and markers.

`pyplot` is not used: it keeps figures between two plots and may look for a window system.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
DOTS = 150
"""Pixels an inch: 8 inches give 1200 pixels, which GitHub shows at three quarters of their size."""

_STYLE = Path(__file__).with_suffix(".mplstyle")
_PALE = {"alpha": 0.22, "linewidth": 0.7}


@dataclass(frozen=True)
class Panel:
    """One pair of axes.

    Attributes:
        unit: the vertical axis.
        lines: label to points. A label has the same color in all panels of a figure, also where it has no points.
        pale: label to points, drawn behind the lines: single losses behind their mean.
        across: the horizontal axis.
        logarithmic: "x", "y", "xy" or neither.
        markers: whether every point has one.
        band: a label, and the range of values that it marks.
    """

    title: str
    unit: str
    lines: Mapping[str, Sequence[tuple[float, float]]]
    pale: Mapping[str, Sequence[tuple[float, float]]] = field(default_factory=dict)
    across: str = "training iterations"
    logarithmic: str = ""
    markers: bool = False
    band: tuple[str, tuple[float, float]] | None = None


def plot(panels: Sequence[Panel], path: Path, columns: int = 1, height: float = 3.4) -> None:
    """Draw panels in rows, 8 inches wide and each row `height` inches high, with one legend, to a PNG file.

    The file has 256 colors, which is a third of the bytes. The colors are those that cover most: otherwise a thin line
    takes its neighbor's color.
    """
    labels = list(dict.fromkeys(label for panel in panels for label in panel.lines))
    with rc_context(fname=_STYLE):
        rows = -(-len(panels) // columns)
        figure = Figure(figsize=(8, 0.7 + height * rows), dpi=DOTS, layout="constrained")
        legend: dict[str, Any] = {}
        for number, panel in enumerate(panels, 1):
            axes = figure.add_subplot(rows, columns, number)
            axes.set(title=panel.title, xlabel=panel.across, ylabel=panel.unit)
            if panel.band:
                label, span = panel.band
                legend[label] = axes.axhspan(*span, color=COLORS[5], alpha=0.2, linewidth=0)
            looks: list[tuple[Any, dict[str, Any]]] = [(panel.pale, _PALE), (panel.lines, {})]
            for points, look in looks:
                for label, values in points.items():
                    number_of_label = labels.index(label)
                    color = COLORS[number_of_label % len(COLORS)]
                    marker = MARKERS[number_of_label % len(MARKERS)] if panel.markers else ""
                    across, up = [x for x, _ in values], [y for _, y in values]
                    (line,) = axes.plot(across, up, marker=marker, color=color, **look)
                    if values and not look:
                        legend.setdefault(label, line)
            if "x" in panel.logarithmic:
                axes.set_xscale("log")
            if "y" in panel.logarithmic:
                axes.set_yscale("log")
            else:
                axes.set_ylim(bottom=0)
        figure.legend(legend.values(), legend.keys(), loc="outside lower center", ncols=min(3, len(legend)))
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
    drawn = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    colors = drawn.quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    colors.save(path, optimize=True)
