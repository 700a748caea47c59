"""The report's sections on the other styles: the gallery, and those trained both ways."""

import statistics
from collections.abc import Sequence

from stylecore.sheet import Row, contact_sheet
from training.judge import SIZES as JUDGED_SIZES
from training.report.data import EARLIER, SMOOTHING, Evidence, GalleryStyle, Twins, reached_at, smoothed, value_at
from training.report.markdown import NONE, Album, loss_text, named, percent, size_of, table
from training.report.plots import twin_curves

HEIGHT = 150
PHOTOS = 2
LEVELS = (250, 500, 1000)
"""Iterations from scratch whose loss the other run is asked for, beside the last."""

_BOTH_WAYS = """\
    make train RECIPE=my_style.yaml PHOTOS=path/to/photos ARGS="--run-name my_style_from_scratch"
    make train RECIPE=my_style.yaml PHOTOS=path/to/photos ARGS="--init-from models:/starry_night@champion"
"""


def gallery(evidence: Evidence, album: Album) -> list[str]:
    """One row a style: sample pictures and figures of its champion."""
    if not evidence.gallery:
        return [
            "No other style is registered in this tracker. To train one by its recipe:",
            "    make train RECIPE=my_style.yaml PHOTOS=path/to/photos",
        ]
    size = size_of([style.run for style in evidence.gallery])
    heading = (
        "style", "the style picture, then sample photos", "iterations",
        f"equals iterations of Gatys et al., {size} px", "burnt-in spots",
    )  # fmt: skip
    rows = []
    for style in evidence.gallery:
        found = style.run.evaluation(style.iterations, size)
        equivalent, spots = found.get("equivalent_gatys_iterations"), found.get("spot_share")
        rows.append(
            (
                _caption(style),
                _strip(style, album),
                str(style.iterations),
                NONE if equivalent is None else f"{equivalent:.1f}",
                NONE if spots is None else percent(spots, 2),
            )
        )
    return [
        "Equivalent iterations of different styles are comparable, though their losses are not: each is measured by "
        "its own style's losses. A style picture with black or white areas of its own gives spots by right.",
        table(heading, rows),
    ]


def strokes(evidence: Evidence, album: Album) -> list[str]:
    """The champions beside those of before they were trained for losses relative to the painting, by the judge."""
    text = [
        "The judge (`training/judge.py`) looks at pictures as no training did: by Oxford's VGG-19, from three "
        "distances. The style error is 0 for the painting itself, the content change 0 for the photo itself. The grid "
        "is how far the spectrum stands out at periods of 2, 4 and 8 pixels, in decibels, on the worst photo. Of each "
        "style the first row is the network that was its champion before, trained for means of squares at one size, "
        "with photos painted at their own size; the second is the champion now, with photos painted at the size at "
        "which its strokes are as large as the painting's."
    ]
    pairs = [(evidence.earlier[name], style) for name, style in evidence.champions.items() if name in evidence.earlier]
    if not pairs:
        return [*text, f"No style has a version with the alias `{EARLIER}` in this tracker."]
    heading = ["style", *(f"{what}, {size} px" for what in _JUDGED for size in JUDGED_SIZES), "photos"]
    rows, sheet = [], []
    for pair in pairs:
        title = pair[1].run.params.get("title") or pair[1].name
        for label, style in zip(("before", "now"), pair, strict=True):
            rows.append((f"{title}, {label}", *_judged(style)))
        shown = [album.open(pair[1].run.style_picture)] if pair[1].run.style_picture else []
        for photo in album.photos([(style.run, style.iterations) for style in pair])[:PHOTOS]:
            shown += [album.open(style.run.previews[photo][style.iterations]) for style in pair]
        sheet.append(Row(title, [*shown, *[None] * (1 + 2 * PHOTOS - len(shown))]))
    without = [style for name, style in evidence.champions.items() if name not in evidence.earlier]
    rows += [(f"{style.run.params.get('title') or style.name}, new", *_judged(style)) for style in without]
    image = contact_sheet(["painting", *["before", "now"] * PHOTOS], sheet, HEIGHT)
    ratios = [sentence for size in JUDGED_SIZES if (sentence := _mean_ratio(pairs, size))]
    return [*text, table(heading, rows), *ratios, album.sheet("strokes", image, "Sample photos before and now")]


_JUDGED = {"style error": ("style_error", 3), "content change": ("content_change", 2), "grid": ("grid", 0)}
"""Heading to metric and digits."""


def _judged(style: GalleryStyle) -> list[str]:
    found = {size: style.run.evaluation(style.iterations, size) for size in JUDGED_SIZES}
    values = [(found[size].get(name), digits) for name, digits in _JUDGED.values() for size in JUDGED_SIZES]
    photos = " / ".join(f"{found[size].get('judged_photos', 0):.0f}" for size in JUDGED_SIZES)
    return [*(NONE if value is None else f"{value:.{digits}f}" for value, digits in values), photos]


def _mean_ratio(pairs: Sequence[tuple[GalleryStyle, GalleryStyle]], size: int) -> str:
    """How the style error and the content change have altered, over the styles that were judged before and now."""
    said = []
    for label, name in (("style error", "style_error"), ("content change", "content_change")):
        found = [[style.run.evaluation(style.iterations, size).get(name) for style in pair] for pair in pairs]
        ratios = [now / before for before, now in found if before and now]
        if ratios:
            span = f"{min(ratios):.2f} to {max(ratios):.2f}"
            said.append(f"the {label} is {statistics.mean(ratios):.2f} times that of before ({span})")
    return f"At {size} pixels, on average over {len(pairs)} styles, {' and '.join(said)}." if said else ""


def from_scratch_or_not(evidence: Evidence, album: Album) -> list[str]:
    """Loss curves of the styles trained both ways, and the iterations to the same loss."""
    text = [
        "A network that was trained for one style can be the start for another. Both runs of a style have the same "
        f"losses and photos. Compared are their losses in training, smoothed: the mean over {SMOOTHING} iterations."
    ]
    fair = [pair for pair in evidence.twins if not pair.differing()]
    for pair in evidence.twins:
        if pair.differing():
            settings = ", ".join(named(key) for key in pair.differing())
            text.append(
                f"`{pair.tuned.name}` and `{pair.scratch.name}` cannot be compared: they differ in {settings}."
            )
    if not fair:
        return [
            *text,
            "No style in this tracker was trained both ways. To train one so:",
            _BOTH_WAYS,
        ]
    path = album.path("from_scratch.png")
    twin_curves(fair, path)
    heading = ("style", "smoothed loss", "from scratch", "from a trained network", "times as fast")
    rows = [row for pair in fair for row in _levels(pair)]
    text += [album.shown(path, "Loss curves, from scratch and from a trained network"), table(heading, rows)]
    return text + [_told(pair) for pair in fair]


def _levels(pair: Twins) -> list[tuple[str, ...]]:
    """The iterations that both runs need for the losses that either reaches."""
    scratch, tuned = (smoothed(run.curves["loss/total"]) for run in (pair.scratch, pair.tuned))
    last = scratch[-1][0]
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
                f"not in {tuned[-1][0]}" if fast is None else _at(fast, tuned[0][0]),
                _speed(slow, fast, last, tuned[0][0]),
            )
        )
    return rows


def _told(pair: Twins) -> str:
    scratch, tuned = (smoothed(run.curves["loss/total"]) for run in (pair.scratch, pair.tuned))
    last, fast = scratch[-1][0], reached_at(tuned, scratch[-1][1])
    reached = f"not within {tuned[-1][0]}" if fast is None else f"after {_at(fast, tuned[0][0])}"
    text = (
        f"`{pair.tuned.name}` began with `{pair.tuned.params['init_from'].removeprefix('models:/')}`. The loss that "
        f"training from scratch has after {last} iterations it reaches {reached}."
    )
    if last != tuned[-1][0]:
        text += f" It was trained for {tuned[-1][0]} iterations, and the learning rate follows each run's own length."
    return text


def _at(step: int, first: int) -> str:
    """A smoothed loss is not known before the first whole mean."""
    return f"{step} or before" if step == first else str(step)


def _speed(slow: int | None, fast: int | None, last: int, first: int) -> str:
    if fast is None:
        return NONE
    if slow == fast == first:
        return NONE
    times = (slow or last) / fast
    return f"over {times:.1f}" if slow is None or (fast == first and slow > fast) else f"{times:.1f}"


def _caption(style: GalleryStyle) -> str:
    params = style.run.params
    about = ", ".join(part for part in (params.get("artist"), params.get("year")) if part)
    begun = params.get("init_from", "").removeprefix("models:/")
    lines = [f"**{params.get('title') or style.name}**", about, f"begun with `{begun}`" if begun else "from scratch"]
    return "<br>".join(line for line in lines if line)


def _strip(style: GalleryStyle, album: Album) -> str:
    pictures = [album.open(style.run.style_picture)] if style.run.style_picture else []
    for photo in album.photos([(style.run, style.iterations)])[:PHOTOS]:
        pictures.append(album.open(style.run.previews[photo][style.iterations]))
    if not pictures:
        return NONE
    sheet = contact_sheet([""] * len(pictures), [Row("", pictures)], HEIGHT)
    return album.sheet(f"gallery_{album.file_name(style.name)}", sheet, style.name)
