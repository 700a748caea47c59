"""The report's sections on ratios of content and style: by the method of Gatys et al., and by blending."""

from stylecore.sheet import Row, contact_sheet, height_for
from training.report.data import STYLE, Evidence
from training.report.experiment import SEEDS, count_of, last_losses, reference_run, steps_of
from training.report.markdown import (
    Album,
    loss_text,
    missing_run,
    percent,
    table,
)
from training.report.pictures import blended
from training.report.plots import grid_curves

GRID_WIDTH = 1300
"""Pixels of a row of ratios."""


def half_painted(evidence: Evidence, album: Album) -> list[str]:
    """The photo, the mean of both, the stylized picture."""
    run = reference_run(evidence)
    if run is None:
        return [missing_run(SEEDS[0])]
    text = [
        "A blend needs no training: each pixel is the mean of the photo's and of the stylized picture's. On the "
        f"command line it is `python -m stylecore stylize photo.jpg --style {STYLE} --strength 0.5 -o out.jpg`."
    ]
    step, rows = max(run.checkpoints, default=0), []
    for photo in album.photos([(run, step)])[:3] if step else []:
        content, stylized = album.open(run.previews[photo][0]), album.open(run.previews[photo][step])
        rows.append(Row("", [content, blended(content, stylized, 0.5), stylized]))
    if not rows:
        return [*text, f"`{run.name}` has no sample pictures in this tracker."]
    sheet = contact_sheet(["photo", "50 %", f"stylized, {count_of(step)}"], rows)
    return [*text, album.sheet("half_painted", sheet, "Photo, half painted, stylized")]


def ratios(evidence: Evidence, album: Album) -> list[str]:
    """The grids of the method of Gatys et al., from most content to most style."""
    text = [
        "One photo, painted from noise at a row of ratios of alpha, the weight of the content, to beta, that of the "
        "style: figure 4 of Gatys et al. (2016). Losses are divided by their weights, so that rows compare."
    ]
    if not evidence.grids:
        return [
            *text,
            "There are no such runs in this tracker. To paint them:",
            "    python -m training.experiments.gatys_grid photo.jpg --style demo/assets/starry_night.jpg -o grid.png",
        ]
    for grid, runs in evidence.grids.items():
        name = f"ratios_{album.file_name(grid)}"
        text += [f"**{runs[0].params.get('photo', grid)}** in the style of **{runs[0].params.get('style', '?')}**"]
        rows, points = [], []
        for run in runs:
            ratio, last = run.number("ratio"), last_losses(run)
            content = last.get("content", float("nan")) / run.number("content_weight")
            style = last.get("style", float("nan")) / run.number("style_weight")
            points.append((ratio, content, style))
            seconds = run.curves.get("perf/seconds", ((0, float("nan")),))[-1][1]
            share = percent(ratio / (1 + ratio))
            rows.append((f"{ratio:g}", share, steps_of(run), loss_text(content), loss_text(style), f"{seconds:.0f}"))
        heading = ("alpha / beta", "alpha of both", "steps", "content / alpha", "style / beta", "seconds")
        cells, labels = album.grid(runs)
        if cells:
            sheet = contact_sheet(labels, [Row("", cells)], height_for(cells, GRID_WIDTH))
            text.append(album.sheet(name, sheet, f"{grid}, from the photo to the style"))
        text.append(table(heading, rows))
        if len(points) > 1:
            (first, content, style), (last_ratio, content_last, style_last) = points[0], points[-1]
            path = album.path(f"{name}_losses.png")
            grid_curves([p[0] for p in points], [p[1] for p in points], [p[2] for p in points], path)
            text += [
                album.shown(path, "Content and style loss against alpha / beta"),
                f"From alpha / beta = {first:g} to {last_ratio:g} the content loss changes by a factor of "
                f"{content_last / content:.3g}, the style loss by one of {style_last / style:.3g}.",
            ]
    return text
