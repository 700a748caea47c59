"""The report's sections on what training.experiments measured: ratios of content and style, training losses, time."""

import statistics
from collections.abc import Sequence

from PIL import Image

from stylecore.gatys.config import DEFAULTS
from stylecore.sheet import Row, contact_sheet, height_for
from training.experiments.costs import GATYS, STYLIZE, spread
from training.experiments.objectives import PHOTO_LOSS
from training.judge import SIZES
from training.report.data import ReportData, ReportRun
from training.report.pictures import ReportPictures, file_name
from training.report.plots import Panel
from training.report.text import NONE, loss_text, number, percent, table

GRID_WIDTH = 1300
"""Pixels of a row of ratios."""
HEIGHT = 256
"""Pixels of a picture on the sheet of training losses."""
_ORIGINAL_PAINTING = (
    ("original: an average picture, g2.2xlarge", NONE, f"{13 * 60} (13 minutes)", NONE),
    ("original: a large picture, a PC", NONE, f"{6 * 3600} (6 hours)", NONE),
)
_ORIGINAL_TRAINING = (
    ("original", NONE, NONE, "g2.2xlarge, g2.8xlarge", f"{15 * 60} (15 minutes)"),
    ("original", NONE, NONE, "p2.xlarge", f"{9 * 60} (9 minutes)"),
)


def ratios(data: ReportData, pictures: ReportPictures) -> list[str]:
    """The grids of the method of Gatys et al., from most content to most style."""
    text = [
        "One photo, painted from noise at several ratios of alpha, the weight of the content, to beta, the weight of "
        "the style: figure 4 of Gatys et al. (2016). Losses are divided by their weights, so that rows compare."
    ]
    if not data.grids:
        return [
            *text,
            "There are no such runs in this store. To paint them:",
            "    python -m training.experiments.gatys_grid photo.jpg --style demo/assets/starry_night.jpg -o grid.png",
        ]
    for grid, runs in data.grids.items():
        text += _grid(grid, runs, pictures)
    return text


def _grid(grid: str, runs: Sequence[ReportRun], pictures: ReportPictures) -> list[str]:
    name = f"ratios_{file_name(grid)}"
    text = [f"**{runs[0].params.get('photo', grid)}** in the style of **{runs[0].params.get('style', '?')}**"]
    if cells := _cells(runs, pictures):
        images = [image for _, image in cells]
        sheet = contact_sheet([label for label, _ in cells], [Row("", images)], height_for(images, GRID_WIDTH))
        text.append(pictures.sheet(name, sheet, f"{grid}, from the photo to the style"))
    losses = {
        run.number("ratio"): [run.by_weight(f"loss/{kind}")[-1][1] for kind in ("content", "style")] for run in runs
    }
    rows = [
        (
            f"{ratio:g}",
            percent(ratio / (1 + ratio)),
            str(run.curves["loss/total"][-1][0]),
            *map(loss_text, losses[ratio]),
            f"{run.last('perf/seconds'):.0f}",
        )
        for ratio, run in zip(losses, runs, strict=True)
    ]
    heading = ("alpha / beta", "alpha of both", "steps", "content / alpha", "style / beta", "seconds")
    panels = [
        Panel(
            kind,
            f"{kind} loss / its weight",
            {kind: [(ratio, each[index]) for ratio, each in losses.items()]},
            across="alpha / beta",
            logarithmic="xy",
            markers=True,
        )
        for index, kind in enumerate(("content", "style"))
    ]
    return [*text, table(heading, rows), pictures.plot(f"{name}_losses", "Losses against alpha / beta", panels, 2)]


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


def objectives(data: ReportData, pictures: ReportPictures) -> list[str]:
    """A table of every combination by the judge, and a sheet of the same photo painted by each."""
    runs = sorted(data.objectives, key=_combination)
    if not runs:
        return [
            "This store has no comparison of training losses. To make one: "
            "`python -m training.experiments.objectives training/recipes/starry_night.yaml --photos FOLDER`."
        ]
    one = runs[0].params
    text = (
        f"{len(runs)} networks, each begun with `{one['init_from'].removeprefix('models:/')}` and trained for "
        f"{one['iterations']} iterations of {one['global_batch_size']} photos of {one['crop']} pixels. The content "
        f"loss is relative, with weight 1. The style weight gives the photos themselves a style loss of "
        f"{PHOTO_LOSS:g}. The judge (`training/judge.py`) sees the painting from three distances; the pictures have "
        f"{SIZES[0]} pixels on their longest side. Style error and content change belong together: a network can "
        "lower one by raising the other."
    )
    rows = []
    for run in runs:
        found = run.evaluation(run.checkpoints[-1], SIZES[0])
        digits = {"style_error": 3, "content_change": 2, "grid": 1}
        rows.append((*reversed(_combination(run)), *(number(found.get(name), each) for name, each in digits.items())))
    heading = ("style loss", "scales", "content layer", "style error", "content change", "grid, dB")
    return [text, table(heading, rows), _sheet(runs, pictures)]


def _combination(run: ReportRun) -> tuple[str, str, str]:
    """Content layer, scales and normalization of the style loss."""
    scales = " ".join(character for character in run.params["loss_scales"] if character.isdigit())
    return run.params["content_layer"], scales, run.params["style_normalization"]


def _sheet(runs: Sequence[ReportRun], pictures: ReportPictures) -> str:
    """A column for each normalization, a row for each content layer and set of scales."""
    found = {_combination(run): run.previews for run in runs}
    columns = sorted({normalization for _, _, normalization in found})
    photo = min(name for previews in found.values() for name in previews)
    rows = []
    for layer, scales in sorted({key[:2] for key in found}):
        previews = [found.get((layer, scales, column), {}).get(photo, {}) for column in columns]
        images = [pictures.open(steps[max(steps)]) if steps else None for steps in previews]
        rows.append(Row(f"{layer}, scales {scales}", images))
    return pictures.sheet("objectives", contact_sheet(columns, rows, HEIGHT), "The same photo by every training loss")


def costs(data: ReportData, pictures: ReportPictures) -> list[str]:
    """Three tables: medians with the range of the measurements."""
    text = ["Medians, with the range of the measurements in brackets."]
    painting, stylizing = [], []
    if run := data.costs:
        about = ", ".join(f"{name} {run.params.get(name, '?')}" for name in ("processor", "cores", "threads", "style"))
        text.append(f"Painting and stylizing were measured with: {about}.")
        steps = int(run.number("gatys_steps"))
        for size, seconds in _measured(run, GATYS):
            of_a_painting = f"{statistics.median(seconds) / steps * DEFAULTS.steps:.0f}"
            painting.append((f"{size} x {size}", str(steps), spread(seconds), of_a_painting))
        stylizing = [(f"{size} x {size}", spread(values, 0)) for size, values in _measured(run, STYLIZE)]
    else:
        text.append("This store has no measurements. To measure here: `python -m training.experiments.costs`.")
    seconds_of_all = f"seconds for {DEFAULTS.steps} steps"
    return [
        *text,
        "**A picture by the method of Gatys et al.**",
        table(("picture, pixels", "steps", "seconds", seconds_of_all), [*painting, *_ORIGINAL_PAINTING]),
        "**500 iterations of training** (median and middle half of the points of each run's curve)",
        table(
            ("run", "blocks", "photos an iteration", "device", "seconds per 500 iterations"),
            [*_training(data), *_ORIGINAL_TRAINING],
        ),
        "**A photo by a trained network**",
        table(("photo, pixels", "milliseconds"), stylizing),
    ]


def _measured(run: ReportRun, prefix: str) -> list[tuple[int, list[float]]]:
    """The sizes at which `training.experiments.costs` measured something, such as "stylize/milliseconds_"."""
    return sorted(
        (int(key.removeprefix(prefix)), [value for _, value in curve])
        for key, curve in run.curves.items()
        if key.startswith(prefix)
    )


def _training(data: ReportData) -> list[Sequence[str]]:
    runs = [*data.runs.values(), *(network.run for network in data.gallery)]
    runs += [run for pair in data.transfer_pairs for run in pair]
    rows: list[Sequence[str]] = []
    for run in {run.run_id: run for run in runs}.values():
        photos = run.number("global_batch_size")
        # The first point includes the start.
        seconds = [500 * photos / rate for _, rate in run.curves.get("perf/images_per_second", ())[1:] if rate > 0]
        if len(seconds) < 2:
            continue
        low, middle, high = statistics.quantiles(seconds, n=4, method="inclusive")
        rows.append(
            (
                f"`{run.name}`",
                run.params.get("residual_blocks", NONE),
                f"{photos:.0f} x {run.params.get('crop', '?')} px",
                run.tags.get("device", NONE),
                f"{middle:.0f} ({low:.0f} to {high:.0f})",
            )
        )
    return rows
