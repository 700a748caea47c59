"""The report's section on time: painting, training, stylizing, beside what the original experiment took."""

import statistics
from collections.abc import Sequence

from stylecore.gatys.config import DEFAULTS
from training.experiments.costs import GATYS, STYLIZE, spread
from training.report.data import Evidence, ReportRun, measured_sizes, seconds_per_500
from training.report.markdown import NONE, Album, table

_MEASURE = "To measure it here: `python -m training.experiments.costs`."


def costs(evidence: Evidence, album: Album) -> list[str]:
    """Three tables; medians with the range of the measurements."""
    run = evidence.costs
    text = ["Medians; in brackets the least and the largest of the measurements."]
    if run is not None:
        text.append(
            f"Painting and stylizing were measured on {run.params.get('processor', '?')}, {_device(run)}; "
            f"cores: {run.params.get('cores', '?')}, threads: {run.params.get('threads', '?')}."
        )
    text += ["**A picture by the method of Gatys et al.**", _painting(evidence)]
    if run is None:
        text.append(f"This tracker has no measurements of it by size. {_MEASURE}")
    text += ["**500 iterations of training**", _training(evidence)]
    text.append(
        "Median and middle half of the points of each run's curve; the fastest tenth is nearest to a machine that "
        "does nothing else. Trainings on one machine at the same time slow each other down: the last column says how "
        "many others of this tracker there were, on average."
    )
    text += ["**A photo by a trained network**"]
    text.append(_stylizing(run) if run is not None else f"This tracker has no measurements of it. {_MEASURE}")
    return text


def _painting(evidence: Evidence) -> str:
    rows = []
    run = evidence.costs
    if run is not None:
        steps = int(run.number("gatys_steps"))
        for size in measured_sizes(run, GATYS):
            seconds = [value for _, value in run.curves[f"{GATYS}{size}"]]
            whole = statistics.median(seconds) / steps * DEFAULTS.steps
            rows.append((f"{size} x {size}", str(steps), spread(seconds), f"{whole:.0f}"))
    for grid, runs in evidence.grids.items():
        for steps, seconds in _by_steps(runs).items():
            label = f"{runs[0].params.get('max_side', '?')}, longest side ({grid})"
            rows.append(
                (label, str(steps), spread(seconds), f"{statistics.median(seconds) / steps * DEFAULTS.steps:.0f}")
            )
    rows += [
        ("original: an average picture, g2.2xlarge", NONE, f"{13 * 60} (13 minutes)", NONE),
        ("original: a large picture, a PC", NONE, f"{6 * 3600} (6 hours)", NONE),
    ]
    return table(("picture, pixels", "steps", "seconds", f"seconds for {DEFAULTS.steps} steps"), rows)


def _by_steps(runs: Sequence[ReportRun]) -> dict[int, list[float]]:
    """Seconds of every run, by its number of steps."""
    found: dict[int, list[float]] = {}
    for run in runs:
        if "perf/seconds" in run.curves:
            steps, seconds = run.curves["perf/seconds"][-1]
            found.setdefault(steps, []).append(seconds)
    return found


def _training(evidence: Evidence) -> str:
    runs = {run.run_id: run for run in evidence.runs.values()}
    runs |= {style.run.run_id: style.run for style in evidence.gallery}
    runs |= {run.run_id: run for pair in evidence.twins for run in (pair.tuned, pair.scratch)}
    rows = []
    for run in runs.values():
        seconds = seconds_per_500(run)
        if len(seconds) > 1:
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
                    NONE if run.ended is None else f"{run.beside:.1f}",
                )
            )
    rows += [
        ("original", NONE, NONE, NONE, "g2.2xlarge, g2.8xlarge", f"{15 * 60} (15 minutes)", NONE, NONE),
        ("original", NONE, NONE, NONE, "p2.xlarge", f"{9 * 60} (9 minutes)", NONE, NONE),
    ]
    heading = (
        "run", "blocks", "photos an iteration", "autocast", "device", "seconds per 500 iterations", "fastest tenth",
        "beside",
    )  # fmt: skip
    return table(heading, rows)


def _stylizing(run: ReportRun) -> str:
    rows = [
        (f"{size} x {size}", spread([value for _, value in run.curves[f"{STYLIZE}{size}"]], 0))
        for size in measured_sizes(run, STYLIZE)
    ]
    network = f"`{run.params.get('style', '?')}`, {run.params.get('residual_blocks', '?')} residual blocks"
    return f"Network: {network}.\n\n" + table(("photo, pixels", "milliseconds"), rows)


def _device(run: ReportRun) -> str:
    return run.tags.get("device", NONE)
