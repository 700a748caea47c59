"""The report's section on time: painting, training and stylizing, beside the times of the original experiment."""

import statistics

from stylecore.gatys.config import DEFAULTS
from training.experiments.costs import GATYS, STYLIZE, spread
from training.report.data import ReportData, ReportRun, measured_sizes, seconds_per_500
from training.report.markdown import NONE, table
from training.report.pictures import ReportPictures

_MEASURE = "To measure it here: `python -m training.experiments.costs`."


def costs(data: ReportData, pictures: ReportPictures) -> list[str]:
    """Three tables: medians with the range of the measurements."""
    run = data.costs
    text = ["Medians, with the range of the measurements in brackets."]
    if run is not None:
        text.append(
            f"Painting and stylizing were measured on {run.params.get('processor', '?')}, {_device(run)}; "
            f"cores: {run.params.get('cores', '?')}, threads: {run.params.get('threads', '?')}."
        )
    text += ["**A picture by the method of Gatys et al.**", _painting(data)]
    if run is None:
        text.append(f"This tracker has no measurements of it by size. {_MEASURE}")
    return [
        *text,
        "**500 iterations of training**",
        _training(data),
        "Median and middle half of the points of each run's curve. Trainings on one machine at the same time slow "
        "each other down: the last column is the mean number of other runs of this tracker at the same time, and the "
        "fastest tenth is nearest to a machine that does nothing else.",
        "**A photo by a trained network**",
        _stylizing(run) if run is not None else f"This tracker has no measurements of it. {_MEASURE}",
    ]


def _painting(data: ReportData) -> str:
    measured: list[tuple[str, int, list[float]]] = []
    if run := data.costs:
        steps = int(run.number("gatys_steps"))
        for size in measured_sizes(run, GATYS):
            measured.append((f"{size} x {size}", steps, [value for _, value in run.curves[f"{GATYS}{size}"]]))
    for grid, runs in data.grids.items():
        by_steps: dict[int, list[float]] = {}
        for run in runs:
            for steps, seconds in run.curves.get("perf/seconds", ())[-1:]:
                by_steps.setdefault(steps, []).append(seconds)
        label = f"{runs[0].params.get('max_side', '?')}, longest side ({grid})"
        measured += [(label, steps, seconds) for steps, seconds in by_steps.items()]
    rows = [
        (label, str(steps), spread(seconds), f"{statistics.median(seconds) / steps * DEFAULTS.steps:.0f}")
        for label, steps, seconds in measured
    ]
    rows += [
        ("original: an average picture, g2.2xlarge", NONE, f"{13 * 60} (13 minutes)", NONE),
        ("original: a large picture, a PC", NONE, f"{6 * 3600} (6 hours)", NONE),
    ]
    return table(("picture, pixels", "steps", "seconds", f"seconds for {DEFAULTS.steps} steps"), rows)


def _training(data: ReportData) -> str:
    runs = [*data.runs.values(), *(network.run for network in data.gallery)]
    runs += [run for pair in data.transfer_pairs for run in (pair.tuned, pair.scratch)]
    rows = []
    for run in {run.run_id: run for run in runs}.values():
        seconds = seconds_per_500(run)
        if len(seconds) < 2:
            continue
        low, middle, high = statistics.quantiles(seconds, n=4, method="inclusive")
        rows.append(
            (
                f"`{run.name}`",
                run.params.get("residual_blocks", NONE),
                f"{run.params.get('global_batch_size', '?')} x {run.params.get('crop', '?')} px",
                run.params.get("mixed_precision", NONE),
                _device(run),
                f"{middle:.0f} ({low:.0f} to {high:.0f})",
                f"{statistics.quantiles(seconds, n=10, method='inclusive')[0]:.0f}",
                NONE if run.ended is None else f"{run.concurrent:.1f}",
            )
        )
    rows += [
        ("original", NONE, NONE, NONE, "g2.2xlarge, g2.8xlarge", f"{15 * 60} (15 minutes)", NONE, NONE),
        ("original", NONE, NONE, NONE, "p2.xlarge", f"{9 * 60} (9 minutes)", NONE, NONE),
    ]
    heading = ("run", "blocks", "photos an iteration", "autocast", "device", "seconds per 500 iterations")
    return table((*heading, "fastest tenth", "other runs"), rows)


def _stylizing(run: ReportRun) -> str:
    rows = [
        (f"{size} x {size}", spread([value for _, value in run.curves[f"{STYLIZE}{size}"]], 0))
        for size in measured_sizes(run, STYLIZE)
    ]
    network = f"`{run.params.get('style', '?')}`, {run.params.get('residual_blocks', '?')} residual blocks"
    return f"Network: {network}.\n\n" + table(("photo, pixels", "milliseconds"), rows)


def _device(run: ReportRun) -> str:
    return run.tags.get("device", NONE)
