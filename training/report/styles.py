"""The report's sections on the other styles: the gallery, earlier networks, and styles trained both ways."""

import statistics
from collections.abc import Sequence

from stylecore.johnson.style_model import OBJECTIVE
from stylecore.sheet import Row, contact_sheet
from training.judge import SIZES as JUDGED_SIZES
from training.report.data import EARLIER, SMOOTHING, Curve, Network, ReportData, ReportRun, reached_at, smoothed
from training.report.experiment import figures, size_of
from training.report.pictures import ReportPictures, file_name
from training.report.plots import Panel
from training.report.text import NONE, in_words, loss_text, number, table

HEIGHT = 150
"""Pixels of a picture on a sheet."""
PHOTOS = 2

TRAINING_PICTURES = ("photos", "crop", "smallest_crop", "batch_size")
"""The settings beside the objective that losses during training depend on."""
_BOTH_WAYS = """\
    make train RECIPE=my_style.yaml PHOTOS=path/to/photos ARGS="--run-name my_style_from_scratch"
    make train RECIPE=my_style.yaml PHOTOS=path/to/photos ARGS="--init-from models:/starry_night@champion"
"""
_JUDGED = {"style error": ("style_error", 3), "content change": ("content_change", 2), "grid": ("grid", 0)}
"""Heading to metric and digits."""


def gallery(data: ReportData, pictures: ReportPictures) -> list[str]:
    """One row for each style: sample pictures and evaluation of its champion."""
    if not data.gallery:
        return [
            "No other style is registered in this store. To train one by its recipe:",
            "    make train RECIPE=my_style.yaml PHOTOS=path/to/photos",
        ]
    size = size_of(style.run for style in data.gallery)
    equals = f"equals iterations of Gatys et al., {size} px"
    heading = ("style", "the style picture, then sample photos", "iterations", equals, "burnt-in spots")
    rows = [
        (_caption(style), _strip(style, pictures), str(style.iterations), *figures(style, size))
        for style in data.gallery
    ]
    return [
        "Equivalent iterations of different styles are comparable, though their losses are not: each network is "
        "measured by the losses of its own style. A style picture with black or white areas gives spots rightly.",
        table(heading, rows),
    ]


def _caption(style: Network) -> str:
    params = style.run.params
    about = ", ".join(part for part in (params.get("artist"), params.get("year")) if part)
    start = params.get("init_from", "").removeprefix("models:/")
    lines = [f"**{style.title}**", about, f"begun with `{start}`" if start else "from scratch"]
    return "<br>".join(line for line in lines if line)


def _strip(style: Network, pictures: ReportPictures) -> str:
    """The style picture and the stylized sample photos side by side."""
    images = pictures.style_picture(style.run)
    images += [pictures.stylized(style, photo) for photo in pictures.photos([style])[:PHOTOS]]
    if not images:
        return NONE
    sheet = contact_sheet([""] * len(images), [Row("", images)], HEIGHT)
    return pictures.sheet(f"gallery_{file_name(style.name)}", sheet, style.name)


def strokes(data: ReportData, pictures: ReportPictures) -> list[str]:
    """The judge's figures of the champions beside those of the earlier champions."""
    text = (
        "The judge (`training/judge.py`) uses measures that no network was trained for, with Oxford's VGG-19 and from "
        "three distances. The style error is 0 for the painting itself, the content change is 0 for the photo itself. "
        "The grid is the height of the spectrum's peaks at periods of 2, 4 and 8 pixels, in decibels, on the worst "
        "photo. "
        "The first row of each style is the earlier champion, which was trained with means of squares at one size; it "
        "paints photos at their own size. The second row is the present champion; it paints photos at the size at "
        "which its strokes are as large as the painting's."
    )
    pairs = [(data.earlier[name], network) for name, network in data.champions.items() if name in data.earlier]
    if not pairs:
        return [text, f"No style has a version with the alias `{EARLIER}` in this store."]
    rows, sheet = [], []
    for pair in pairs:
        rows += [(f"{each.title}, {when}", *_judged(each)) for when, each in zip(("before", "now"), pair, strict=True)]
        images = pictures.style_picture(pair[1].run)
        for photo in pictures.photos(pair)[:PHOTOS]:
            images += [pictures.stylized(network, photo) for network in pair]
        sheet.append(Row(pair[1].title, [*images, *[None] * (1 + 2 * PHOTOS - len(images))]))
    new = [network for name, network in data.champions.items() if name not in data.earlier]
    rows += [(f"{network.title}, new", *_judged(network)) for network in new]
    heading = ["style", *(f"{figure}, {size} px" for figure in _JUDGED for size in JUDGED_SIZES), "photos"]
    image = contact_sheet(["painting", *["before", "now"] * PHOTOS], sheet, HEIGHT)
    ratios = [_mean_ratio(pairs, label, size) for size in JUDGED_SIZES for label in ("style error", "content change")]
    return [
        text,
        table(heading, rows),
        " ".join(filter(None, ratios)),
        pictures.sheet("strokes", image, "Before, now"),
    ]


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


def from_scratch_or_not(data: ReportData, pictures: ReportPictures) -> list[str]:
    """Loss curves of the styles trained both ways, and the iterations to the same loss."""
    text = [
        "A network that was trained for one style can be the start for another. Both runs of a style have the same "
        "losses and photos. The table has the iterations after which their smoothed losses during training, the mean "
        f"over {SMOOTHING} iterations, are as low as that of the other run at its end."
    ]
    panels, rows = [], []
    for tuned, scratch in data.transfer_pairs:
        if settings := tuned.differing(scratch, (*OBJECTIVE, *TRAINING_PICTURES)):
            text.append(
                f"`{tuned.name}` and `{scratch.name}` cannot be compared: they differ in {in_words(settings)}."
            )
        elif "loss/total" in tuned.curves and "loss/total" in scratch.curves:
            runs = {"from scratch": scratch, "from a trained network": tuned}
            single = {label: run.curves["loss/total"] for label, run in runs.items()}
            curves = {label: smoothed(curve) for label, curve in single.items()}
            panels.append(Panel(tuned.name, "total loss", curves, pale=single, logarithmic="y"))
            rows += _reached(tuned, list(curves.values()))
    if not panels:
        return [*text, "No style in this store was trained both ways. To train one so:", _BOTH_WAYS]
    plot = pictures.plot("from_scratch", "From scratch and from a trained network", panels, min(2, len(panels)))
    return [*text, plot, table(("style", "begun with", "smoothed loss", *panels[0].lines), rows)]


def _reached(tuned: ReportRun, curves: Sequence[Curve]) -> list[tuple[str, ...]]:
    """A row for the last loss of each run: when both runs reach it."""
    start = tuned.params["init_from"].removeprefix("models:/")
    rows = []
    for _, loss in (curve[-1] for curve in curves):
        steps = [(reached_at(curve, loss), curve[-1][0]) for curve in curves]
        reached = [str(step) if step else f"not in {last}" for step, last in steps]
        rows.append((f"`{tuned.name}`", f"`{start}`", loss_text(loss), *reached))
    return rows
