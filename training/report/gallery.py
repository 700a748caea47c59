"""The report's sections on the other styles: the gallery, earlier networks, and styles trained both ways."""

import statistics
from collections.abc import Sequence

from stylecore.library import CHAMPION
from stylecore.sheet import Row, contact_sheet
from training.judge import SIZES as JUDGED_SIZES
from training.report.data import EARLIER, SMOOTHING, Network, ReportData, TransferPair, reached_at, smoothed, value_at
from training.report.markdown import FIGURES, NONE, figures, in_words, loss_text, number, size_of, table
from training.report.pictures import ReportPictures, file_name
from training.report.plots import transfer_curves

HEIGHT = 150
"""Pixels of a picture on a sheet."""
PHOTOS = 2
LEVELS = (250, 500, 1000)
"""The losses after these iterations from scratch, and after the last, are compared."""

_BOTH_WAYS = """\
    make train RECIPE=my_style.yaml PHOTOS=path/to/photos ARGS="--run-name my_style_from_scratch"
    make train RECIPE=my_style.yaml PHOTOS=path/to/photos ARGS="--init-from models:/starry_night@champion"
"""


def gallery(data: ReportData, pictures: ReportPictures) -> list[str]:
    """One row for each style: sample pictures and evaluation of its champion."""
    if not data.gallery:
        return [
            "No other style is registered in this tracker. To train one by its recipe:",
            "    make train RECIPE=my_style.yaml PHOTOS=path/to/photos",
        ]
    size = size_of([style.run for style in data.gallery])
    equals, spots = FIGURES
    heading = ("style", "the style picture, then sample photos", "iterations", f"{equals}, {size} px", spots)
    rows = [
        (_caption(style), _strip(style, pictures), str(style.iterations), *figures(style, size))
        for style in data.gallery
    ]
    return [
        "Equivalent iterations of different styles are comparable, though their losses are not: each network is "
        "measured by the losses of its own style. A style picture with black or white areas gives spots rightly.",
        table(heading, rows),
    ]


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
    earlier, champions = data.by_alias[EARLIER], data.by_alias[CHAMPION]
    pairs = [(earlier[name], network) for name, network in champions.items() if name in earlier]
    if not pairs:
        return [text, f"No style has a version with the alias `{EARLIER}` in this tracker."]
    rows, sheet = [], []
    for pair in pairs:
        for label, network in zip(("before", "now"), pair, strict=True):
            rows.append((f"{network.title}, {label}", *_judged(network)))
        images = pictures.style_picture(pair[1].run)
        for photo in pictures.photos(pair)[:PHOTOS]:
            images += [pictures.stylized(network, photo) for network in pair]
        sheet.append(Row(pair[1].title, [*images, *[None] * (1 + 2 * PHOTOS - len(images))]))
    rows += [
        (f"{network.title}, new", *_judged(network)) for name, network in champions.items() if name not in earlier
    ]
    heading = ["style", *(f"{figure}, {size} px" for figure in _JUDGED for size in JUDGED_SIZES), "photos"]
    ratios = [sentence for size in JUDGED_SIZES if (sentence := _mean_ratios(pairs, size))]
    image = contact_sheet(["painting", *["before", "now"] * PHOTOS], sheet, HEIGHT)
    return [text, table(heading, rows), *ratios, pictures.sheet("strokes", image, "Sample photos before and now")]


_JUDGED = {"style error": ("style_error", 3), "content change": ("content_change", 2), "grid": ("grid", 0)}
"""Heading to metric and digits."""


def _judged(network: Network) -> list[str]:
    found = {size: network.evaluation(size) for size in JUDGED_SIZES}
    values = [number(found[size].get(name), digits) for name, digits in _JUDGED.values() for size in JUDGED_SIZES]
    return [*values, " / ".join(f"{found[size].get('judged_photos', 0):.0f}" for size in JUDGED_SIZES)]


def _mean_ratios(pairs: Sequence[tuple[Network, Network]], size: int) -> str:
    """The ratios of the style error and the content change, now to before, over the styles that have both."""
    clauses = []
    for label, name in (("style error", "style_error"), ("content change", "content_change")):
        found = [[network.evaluation(size).get(name) for network in pair] for pair in pairs]
        ratios = [now / before for before, now in found if before and now]
        if ratios:
            span = f"{min(ratios):.2f} to {max(ratios):.2f}"
            clauses.append(f"the {label} is {statistics.mean(ratios):.2f} times the earlier one ({span})")
    return f"At {size} pixels, on average over the styles, {' and '.join(clauses)}." if clauses else ""


def from_scratch_or_not(data: ReportData, pictures: ReportPictures) -> list[str]:
    """Loss curves of the styles trained both ways, and the iterations to the same loss."""
    text = [
        "A network that was trained for one style can be the start for another. Both runs of a style have the same "
        "losses and photos. The table compares their smoothed losses during training, the mean over "
        f"{SMOOTHING} iterations."
    ]
    comparable = []
    for pair in data.transfer_pairs:
        if settings := pair.differing():
            names = f"`{pair.tuned.name}` and `{pair.scratch.name}`"
            text.append(f"{names} cannot be compared: they differ in {in_words(settings)}.")
        else:
            comparable.append(pair)
    if not comparable:
        return [*text, "No style in this tracker was trained both ways. To train one so:", _BOTH_WAYS]
    path = pictures.path("from_scratch.png")
    transfer_curves(comparable, path)
    heading = ("style", "smoothed loss", "from scratch", "from a trained network", "times as fast")
    return [
        *text,
        pictures.markdown(path, "Loss curves, from scratch and from a trained network"),
        table(heading, [row for pair in comparable for row in _levels(pair)]),
        *map(_summary, comparable),
    ]


def _levels(pair: TransferPair) -> list[tuple[str, ...]]:
    """The iterations that both runs need for the losses that either reaches."""
    scratch, tuned = smoothed(pair.scratch.total_loss), smoothed(pair.tuned.total_loss)
    last, first = scratch[-1][0], tuned[0][0]
    losses = [value_at(scratch, step) for step in (*(level for level in LEVELS if level < last), last)]
    losses.append(tuned[-1][1])
    rows: list[tuple[str, ...]] = []
    for loss in sorted({loss for loss in losses if loss is not None}, reverse=True):
        slow, fast = reached_at(scratch, loss), reached_at(tuned, loss)
        rows.append(
            (
                f"`{pair.tuned.name}`",
                loss_text(loss),
                f"not in {last}" if slow is None else str(slow),
                f"not in {tuned[-1][0]}" if fast is None else _at(fast, first),
                _speed(slow, fast, last, first),
            )
        )
    return rows


def _summary(pair: TransferPair) -> str:
    scratch, tuned = smoothed(pair.scratch.total_loss), smoothed(pair.tuned.total_loss)
    last, fast = scratch[-1], reached_at(tuned, scratch[-1][1])
    start = pair.tuned.params["init_from"].removeprefix("models:/")
    reached = f"does not reach within {tuned[-1][0]}" if fast is None else f"reaches after {_at(fast, tuned[0][0])}"
    text = (
        f"`{pair.tuned.name}` began with `{start}`. It {reached} iterations the loss that training from scratch has "
        f"after {last[0]}."
    )
    if last[0] != tuned[-1][0]:
        text += f" It was trained for {tuned[-1][0]} iterations, and each run's learning rate follows its own length."
    return text


def _at(step: int, first: int) -> str:
    """A step; a smoothed loss is not known before the first whole mean."""
    return f"{step} or before" if step == first else str(step)


def _speed(slow: int | None, fast: int | None, last: int, first: int) -> str:
    """How many times as fast: "1.7", or "over 1.7" when that is only known to be a lower bound."""
    if fast is None or slow == fast == first:
        return NONE
    times = (slow or last) / fast
    return f"over {times:.1f}" if slow is None or (fast == first and slow > fast) else f"{times:.1f}"


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
