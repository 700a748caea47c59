"""The report's tables and pictures of the other styles: the gallery, earlier networks, styles trained both ways."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from stylecore.sheet import Row, contact_sheet
from training.judge import SIZES as JUDGED_SIZES
from training.report.data import EARLIER, Curve, Network, NotInStoreError, ReportData, ReportRun, reached_at, smoothed
from training.report.experiment import SIZE, figures
from training.report.pictures import ReportPictures, file_name
from training.report.plots import Panel
from training.report.text import NONE, loss_text, number, table

HEIGHT = 150
"""Pixels of a picture on a sheet."""
PHOTOS = 2
_JUDGED = {"style error": ("style_error", 3), "content change": ("content_change", 2), "grid": ("grid", 0)}
"""Heading to metric and digits."""


@dataclass(frozen=True)
class Styles:
    """Each method makes the Markdown of one place in the report's template."""

    data: ReportData
    pictures: ReportPictures

    def gallery(self) -> str:
        """One row for each style: sample pictures and evaluation of its champion."""
        if not self.data.gallery:
            raise NotInStoreError("a style beside the experiment")
        equals = f"equals iterations of Gatys et al., {SIZE} px"
        heading = ("style", "the style picture, then sample photos", "iterations", equals, "burnt-in spots")
        rows = [
            (_caption(style), self._strip(style), str(style.iterations), *figures(style))
            for style in self.data.gallery
        ]
        return table(heading, rows)

    def _strip(self, style: Network) -> str:
        """The style picture and the stylized sample photos side by side."""
        images = self.pictures.style_picture(style.run)
        images += [self.pictures.stylized(style, photo) for photo in self.pictures.photos([style])[:PHOTOS]]
        if not images:
            return NONE
        sheet = contact_sheet([""] * len(images), [Row("", images)], HEIGHT)
        return self.pictures.sheet(f"gallery_{file_name(style.name)}", sheet, style.name)

    def strokes(self) -> str:
        """The judge's figures of the champions beside those of the earlier champions."""
        earlier, champions = self.data.earlier, self.data.champions
        pairs = [(earlier[name], network) for name, network in champions.items() if name in earlier]
        if not pairs:
            raise NotInStoreError(f"a version with the alias `{EARLIER}`")
        rows, sheet = [], []
        for pair in pairs:
            rows += [
                (f"{each.title}, {when}", *_judged(each)) for when, each in zip(("before", "now"), pair, strict=True)
            ]
            images = self.pictures.style_picture(pair[1].run)
            for photo in self.pictures.photos(pair)[:PHOTOS]:
                images += [self.pictures.stylized(network, photo) for network in pair]
            sheet.append(Row(pair[1].title, [*images, *[None] * (1 + 2 * PHOTOS - len(images))]))
        new = [network for name, network in champions.items() if name not in earlier]
        rows += [(f"{network.title}, new", *_judged(network)) for network in new]
        heading = ["style", *(f"{figure}, {size} px" for figure in _JUDGED for size in JUDGED_SIZES), "photos"]
        image = contact_sheet(["painting", *["before", "now"] * PHOTOS], sheet, HEIGHT)
        ratios = [
            _mean_ratio(pairs, label, size) for size in JUDGED_SIZES for label in ("style error", "content change")
        ]
        shown = self.pictures.sheet("strokes", image, "Before, now")
        return f"{table(heading, rows)}\n\n{' '.join(filter(None, ratios))}\n\n{shown}"

    def from_scratch(self) -> str:
        """Loss curves of the styles trained both ways, and the iterations to the same loss."""
        if not self.data.transfer_pairs:
            raise NotInStoreError("a style that was trained both ways")
        panels, rows = [], []
        for tuned, scratch in self.data.transfer_pairs:
            runs = {"from scratch": scratch, "from a trained network": tuned}
            single = {label: run.curves["loss/total"] for label, run in runs.items()}
            curves = {label: smoothed(curve) for label, curve in single.items()}
            panels.append(Panel(tuned.name, "total loss", curves, pale=single, logarithmic="y"))
            rows += _reached(tuned, list(curves.values()))
        heading = ("style", "begun with", "smoothed loss", *panels[0].lines)
        title = "From scratch and from a trained network"
        plot = self.pictures.plot("from_scratch", title, panels, min(2, len(panels)))
        return f"{plot}\n\n{table(heading, rows)}"


def _caption(style: Network) -> str:
    params = style.run.params
    about = ", ".join(part for part in (params.get("artist"), params.get("year")) if part)
    start = params.get("init_from", "").removeprefix("models:/")
    lines = [f"**{style.title}**", about, f"begun with `{start}`" if start else "from scratch"]
    return "<br>".join(line for line in lines if line)


def _judged(network: Network) -> list[str]:
    found = {size: network.evaluation(size) for size in JUDGED_SIZES}
    values = [number(found[size].get(name), digits) for name, digits in _JUDGED.values() for size in JUDGED_SIZES]
    return [*values, " / ".join(f"{found[size].get('judged_photos', 0):.0f}" for size in JUDGED_SIZES)]


def _mean_ratio(pairs: Sequence[tuple[Network, Network]], label: str, size: int) -> str:
    """A sentence on one of the judge's figures, now to before, over the styles that have both."""
    found = [[network.evaluation(size).get(_JUDGED[label][0]) for network in pair] for pair in pairs]
    ratios = [now / before for before, now in found if before and now]
    if not ratios:
        return ""
    span = f"{min(ratios):.2f} to {max(ratios):.2f}"
    return f"At {size} pixels the {label} is on average {statistics.mean(ratios):.2f} times the earlier one ({span})."


def _reached(tuned: ReportRun, curves: Sequence[Curve]) -> list[tuple[str, ...]]:
    """A row for the last loss of each run: when both runs reach it."""
    start = tuned.params["init_from"].removeprefix("models:/")
    rows = []
    for _, loss in (curve[-1] for curve in curves):
        steps = [(reached_at(curve, loss), curve[-1][0]) for curve in curves]
        reached = [str(step) if step else f"not in {last}" for step, last in steps]
        rows.append((f"`{tuned.name}`", f"`{start}`", loss_text(loss), *reached))
    return rows
