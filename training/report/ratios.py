"""The report's sections on ratios of content and style: by the method of Gatys et al., and by blending."""

from collections.abc import Sequence

from PIL import Image

from stylecore.sheet import Row, contact_sheet, height_for
from training.report.data import STYLE, Network, ReportData, ReportRun
from training.report.experiment import SEEDS, reference_run
from training.report.markdown import NONE, iterations_text, loss_text, missing_run, percent, table
from training.report.pictures import ReportPictures, blended, file_name
from training.report.plots import grid_curves

GRID_WIDTH = 1300
"""Pixels of a row of ratios."""


def half_painted(data: ReportData, pictures: ReportPictures) -> list[str]:
    """The photo, the mean of both, the stylized picture."""
    run = reference_run(data)
    if run is None:
        return [missing_run(SEEDS[0])]
    text = (
        "A blend needs no training: each pixel is the mean of the photo's and the stylized picture's pixel. On the "
        f"command line: `python -m stylecore stylize photo.jpg --style {STYLE} --strength 0.5 -o out.jpg`."
    )
    network, rows = Network(run.name, max(run.checkpoints, default=0), run), []
    for photo in pictures.photos([network])[:3] if network.iterations else []:
        content, stylized = pictures.open(run.previews[photo][0]), pictures.stylized(network, photo)
        rows.append(Row("", [content, blended(content, stylized, 0.5), stylized]))
    if not rows:
        return [text, f"`{run.name}` has no sample pictures in this tracker."]
    sheet = contact_sheet(["photo", "50 %", f"stylized, {iterations_text(network.iterations)}"], rows)
    return [text, pictures.sheet("half_painted", sheet, "Photo, half painted, stylized")]


def ratios(data: ReportData, pictures: ReportPictures) -> list[str]:
    """The grids of the method of Gatys et al., from most content to most style."""
    text = [
        "One photo, painted from noise at several ratios of alpha, the weight of the content, to beta, the weight of "
        "the style: figure 4 of Gatys et al. (2016). Losses are divided by their weights, so that rows compare."
    ]
    if not data.grids:
        return [
            *text,
            "There are no such runs in this tracker. To paint them:",
            "    python -m training.experiments.gatys_grid photo.jpg --style demo/assets/starry_night.jpg -o grid.png",
        ]
    for grid, runs in data.grids.items():
        text += _grid(grid, runs, pictures)
    return text


def _grid(grid: str, runs: Sequence[ReportRun], pictures: ReportPictures) -> list[str]:
    name = f"ratios_{file_name(grid)}"
    text = [f"**{runs[0].params.get('photo', grid)}** in the style of **{runs[0].params.get('style', '?')}**"]
    rows, points = [], []
    for run in runs:
        ratio, content, style = run.number("ratio"), *(_last_loss(run, kind) for kind in ("content", "style"))
        points.append((ratio, content, style))
        steps = str(run.total_loss[-1][0]) if run.total_loss else NONE
        seconds = run.curves.get("perf/seconds", ((0, float("nan")),))[-1][1]
        share = percent(ratio / (1 + ratio))
        rows.append((f"{ratio:g}", share, steps, loss_text(content), loss_text(style), f"{seconds:.0f}"))
    cells = _cells(runs, pictures)
    if cells:
        images = [image for _, image in cells]
        sheet = contact_sheet([label for label, _ in cells], [Row("", images)], height_for(images, GRID_WIDTH))
        text.append(pictures.sheet(name, sheet, f"{grid}, from the photo to the style"))
    text.append(table(("alpha / beta", "alpha of both", "steps", "content / alpha", "style / beta", "seconds"), rows))
    if len(points) > 1:
        (first, content, style), (last, last_content, last_style) = points[0], points[-1]
        path = pictures.path(f"{name}_losses.png")
        grid_curves([p[0] for p in points], [p[1] for p in points], [p[2] for p in points], path)
        text += [
            pictures.markdown(path, "Content and style loss against alpha / beta"),
            f"From alpha / beta = {first:g} to {last:g} the content loss changes by a factor of "
            f"{last_content / content:.3g}, and the style loss by a factor of {last_style / style:.3g}.",
        ]
    return text


def _last_loss(run: ReportRun, kind: str) -> float:
    """The loss of the last step divided by its weight; NaN when it was not logged."""
    return run.curves.get(f"loss/{kind}", ((0, float("nan")),))[-1][1] / run.number(f"{kind}_weight")


def _cells(runs: Sequence[ReportRun], pictures: ReportPictures) -> list[tuple[str, Image.Image]]:
    """The pictures of a grid with their labels, from the photo to the style picture."""
    cells: list[tuple[str, Image.Image]] = []
    for run in runs:
        previews = run.previews.get(run.params.get("photo", ""), {})
        if 0 in previews and not cells:
            cells.append(("photo", pictures.open(previews[0])))
        if previews and max(previews):
            cells.append((f"alpha/beta {run.number('ratio'):g}", pictures.open(previews[max(previews)])))
    return [*cells, *(("style", image) for image in pictures.style_picture(runs[0]))] if cells else []
