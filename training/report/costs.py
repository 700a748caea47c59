"""The report's section on time: painting, training and stylizing, beside the times of the original experiment."""

import statistics
from collections.abc import Sequence

from stylecore.gatys.config import DEFAULTS
from training.experiments.costs import GATYS, STYLIZE, spread
from training.report.data import ReportData, ReportRun
from training.report.pictures import ReportPictures
from training.report.text import NONE, table

_ORIGINAL_PAINTING = (
    ("original: an average picture, g2.2xlarge", NONE, f"{13 * 60} (13 minutes)", NONE),
    ("original: a large picture, a PC", NONE, f"{6 * 3600} (6 hours)", NONE),
)
_ORIGINAL_TRAINING = (
    ("original", NONE, NONE, "g2.2xlarge, g2.8xlarge", f"{15 * 60} (15 minutes)"),
    ("original", NONE, NONE, "p2.xlarge", f"{9 * 60} (9 minutes)"),
)


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
