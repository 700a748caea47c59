"""What the report is told from, read from the tracker: runs with their curves, evaluations and sample pictures.

Nothing here draws or writes; nothing but the MLflow store is read.
"""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from stylecore.johnson.style_model import EARLIER_DEFAULTS, OBJECTIVE
from stylecore.library import CHAMPION, FAST
from training.checkpoints import EXPERIMENT
from training.experiments import gatys_grid
from training.experiments.costs import EXPERIMENT as BENCHMARKS
from training.experiments.costs import RUN_NAME as COSTS
from training.experiments.objectives import COMPARISON
from training.registry import RegisteredVersion, Registry
from training.registry.published import SYSTEM_METRICS, previews_of
from training.tracking.delivery import NOTE_IMAGE
from training.tracking.store import (
    MlflowClient,
    Run,
    all_pages,
    plain_errors,
)

STYLE = "starry_night"
"""The registered model that the experiment is about; champions of other runs are the gallery."""
FULL_WIDTH = "full-width"
"""Alias of the network of a style that a narrower one learned from."""
EARLIER = "fine-strokes"
"""Alias of the network that was a style's champion before it was trained for losses relative to the painting."""
FROM_SCRATCH = "_from_scratch"
"""A run of this ending is the twin of the run without it, which began with a trained network."""
SMOOTHING = 100
"""Iterations that a smoothed loss is the mean of: single batches differ by half and more."""

Curve = Sequence[tuple[int, float]]
"""Steps, rising, each with its value."""

BEFORE_THE_SETTING = {
    name: " ".join(map(str, value)) if isinstance(value, list) else str(value)
    for name, value in EARLIER_DEFAULTS.items()
}
"""`EARLIER_DEFAULTS` as MLflow has parameters."""
TRAINING_PICTURES = (
    "photos",
    "crop",
    "smallest_crop",
    "batch_size",
)
"""Those that beside it decide the losses in training."""


@dataclass(frozen=True)
class ReportRun:
    """One run of the tracker.

    Attributes:
        started, ended: milliseconds since 1970; `ended` is None for a run that has not.
        beside: how many other runs of its experiment the tracker shows at the same time, the mean over its time.
        curves: metric to curve; of several values at a step, the last one.
        previews: photo to step to the sample picture's address in the store; step 0 is the photo itself.
        style_picture: address of the style picture, "" when the run has none.
    """

    name: str
    run_id: str
    status: str
    started: int
    ended: int | None
    beside: float
    params: Mapping[str, str]
    tags: Mapping[str, str]
    curves: Mapping[str, Curve] = field(repr=False)
    previews: Mapping[str, Mapping[int, str]] = field(repr=False)
    style_picture: str = ""

    @property
    def checkpoints(self) -> list[int]:
        """The steps that have been evaluated or have sample pictures, but for the photos themselves."""
        evaluated = {step for key, curve in self.curves.items() if key.startswith("eval/") for step, _ in curve}
        shown = {step for steps in self.previews.values() for step in steps}
        return sorted((evaluated | shown) - {0})

    def number(self, param: str) -> float:
        """A parameter that is a number; NaN when it was not recorded."""
        try:
            return float(self.params[param])
        except (KeyError, ValueError):
            return float("nan")

    def evaluation(self, step: int, size: int) -> dict[str, float]:
        """What evaluating the network of this step at this size gave: "total", "content", "style", "spot_share",
        "equivalent_gatys_iterations", ...; empty when it was not done."""
        ending = f"_{size}"
        found: dict[str, float] = {}
        for key, curve in self.curves.items():
            if key.startswith("eval/") and key.endswith(ending):
                value = dict(curve).get(step)
                if value is not None:
                    found[key.removeprefix("eval/").removesuffix(ending)] = value
        return found

    @property
    def sizes(self) -> list[int]:
        """The sizes in pixels that its networks were evaluated at."""
        return sorted(int(key.rpartition("_")[2]) for key in self.curves if key.startswith("eval/total_"))


@dataclass(frozen=True)
class GalleryStyle:
    """The champion of a registered style, or its most trained version, and the run that it comes from."""

    name: str
    iterations: int
    run: ReportRun


@dataclass(frozen=True)
class Twins:
    """One style trained both ways: begun with a trained network, and from scratch."""

    tuned: ReportRun
    scratch: ReportRun

    def differing(self) -> list[str]:
        """The settings that keep their losses from being compared."""
        return differing(self.tuned, self.scratch, (*OBJECTIVE, *TRAINING_PICTURES))


@dataclass(frozen=True)
class Evidence:
    """All that the report is told from."""

    runs: Mapping[str, ReportRun]
    """The runs that were asked for and are there, by name."""
    gallery: Sequence[GalleryStyle]
    fast: Mapping[str, GalleryStyle]
    """The version with the alias `fast` of every style that has one, by the style's name."""
    full_width: Mapping[str, GalleryStyle]
    """That with the alias `full-width`."""
    earlier: Mapping[str, GalleryStyle]
    """That with the alias `fine-strokes`."""
    champions: Mapping[str, GalleryStyle]
    """The champion of every style, those of the experiment too."""
    twins: Sequence[Twins]
    grids: Mapping[str, Sequence[ReportRun]]
    """Runs of `training.experiments.gatys_grid`, by grid, from most content to most style."""
    costs: ReportRun | None
    objectives: Sequence[ReportRun] = ()
    """Runs of `training.experiments.objectives`, the newest of each name."""


def read_evidence(client: MlflowClient, experiment: Iterable[str], others: Iterable[str] = ()) -> Evidence:
    """Read the runs of the experiment, other runs that are asked for, and everything else that the report is about.

    A champion that comes from a run of the experiment is not of the gallery.

    Raises:
        StylecoreError: when the store cannot be read.
    """
    own = list(experiment)
    names = [*own, *others]
    trainings = _search(client, EXPERIMENT)
    by_name = {name: _newest([run for run in trainings if run.info.run_name == name]) for name in _names(trainings)}
    read: dict[str, ReportRun] = {}

    def details(run: Run) -> ReportRun:
        if run.info.run_id not in read:
            read[run.info.run_id] = _read_run(client, run, trainings)
        return read[run.info.run_id]

    by_id = {run.info.run_id: run for run in trainings}
    registered = Registry(client.tracking_uri).versions()

    def bearing(alias: str) -> dict[str, GalleryStyle]:
        return {
            version.name: GalleryStyle(version.name, version.iterations, details(by_id[version.run_id]))
            for version in registered
            if alias in version.aliases and version.iterations is not None and version.run_id in by_id
        }

    twins = [
        Twins(details(tuned), details(by_name[name + FROM_SCRATCH]))
        for name, tuned in by_name.items()
        if tuned.data.params.get("init_from") and name + FROM_SCRATCH in by_name
    ]
    return Evidence(
        runs={name: details(by_name[name]) for name in names if name in by_name},
        gallery=[
            GalleryStyle(name, iterations, details(by_id[run_id]))
            for name, iterations, run_id in _champions(registered)
            if run_id in by_id and by_id[run_id].info.run_name not in own
        ],
        fast=bearing(FAST),
        full_width=bearing(FULL_WIDTH),
        earlier=bearing(EARLIER),
        champions=bearing(CHAMPION),
        twins=[pair for pair in twins if _losses(pair.tuned) and _losses(pair.scratch)],
        grids=_read_grids(client),
        costs=_read_costs(client),
        objectives=[details(by_name[name]) for name in by_name if _compares(by_name[name])],
    )


def _compares(run: Run) -> bool:
    return run.data.tags.get("comparison") == COMPARISON and run.info.status == "FINISHED"


def differing(one: ReportRun, other: ReportRun, settings: Iterable[str]) -> list[str]:
    """The settings that differ."""
    return [key for key in settings if _setting(one, key) != _setting(other, key)]


def _setting(run: ReportRun, key: str) -> str | None:
    """A parameter; of a run that is older than the setting, what the code did then."""
    return run.params.get(key, BEFORE_THE_SETTING.get(key))


def smoothed(curve: Curve) -> list[tuple[int, float]]:
    """The mean of the last `SMOOTHING` iterations, from the first step on that has so many (or the last step)."""
    if not curve:
        return []
    whole = min(SMOOTHING, curve[-1][0])
    return [
        (step, statistics.fmean(value for other, value in curve if step - SMOOTHING < other <= step))
        for step, _ in curve
        if step >= whole
    ]


def reached_at(curve: Curve, loss: float) -> int | None:
    """The first step at which a curve is not above a loss."""
    return next((step for step, value in curve if value <= loss), None)


def value_at(curve: Curve, step: int) -> float | None:
    """The last value that is not after a step."""
    return next((value for other, value in reversed(curve) if other <= step), None)


def seconds_per_500(run: ReportRun) -> list[float]:
    """Seconds that 500 iterations of training take, by every point of the curve `perf/images_per_second`.

    The first point is left out: it counts the start.
    """
    photos = run.number("global_batch_size")
    return [500 * photos / rate for _, rate in run.curves.get("perf/images_per_second", [])[1:] if rate > 0]


def measured_sizes(run: ReportRun, prefix: str) -> list[int]:
    """The sizes that `training.experiments.costs` measured something at, such as "stylize/milliseconds_"."""
    return sorted(int(key.removeprefix(prefix)) for key in run.curves if key.startswith(prefix))


def _search(client: MlflowClient, experiment: str) -> list[Run]:
    with plain_errors(client.tracking_uri, f"reading the experiment {experiment!r}"):
        found = client.get_experiment_by_name(experiment)
        if found is None or found.lifecycle_stage != "active":
            return []
        runs = all_pages(client.search_runs, [found.experiment_id])
    return sorted(runs, key=lambda run: run.info.start_time)


def _names(runs: Iterable[Run]) -> list[str]:
    return sorted({run.info.run_name for run in runs})


def _newest(runs: Sequence[Run]) -> Run:
    """The newest finished run; without one, the newest."""
    finished = [run for run in runs if run.info.status == "FINISHED"]
    return (finished or list(runs))[-1]


def _read_run(client: MlflowClient, run: Run, others: Iterable[Run] = ()) -> ReportRun:
    run_id = run.info.run_id
    previews: dict[str, dict[int, str]] = {}
    for preview in previews_of(client, run):
        previews.setdefault(preview.photo, {})[preview.step] = preview.path
    with plain_errors(client.tracking_uri, f"reading the run {run.info.run_name}"):
        keys = [key for key in run.data.metrics if not key.startswith(SYSTEM_METRICS)]
        curves = {key: _curve(client.get_metric_history(run_id, key)) for key in keys}
        folder, _, _ = NOTE_IMAGE.partition("/")
        has_style = any(file.path == NOTE_IMAGE for file in client.list_artifacts(run_id, folder))
    return ReportRun(
        name=run.info.run_name,
        run_id=run_id,
        status=run.info.status,
        started=run.info.start_time,
        ended=run.info.end_time,
        beside=_beside(run, others),
        params=dict(run.data.params),
        tags=dict(run.data.tags),
        curves=curves,
        previews=previews,
        style_picture=f"{run.info.artifact_uri}/{NOTE_IMAGE}" if has_style else "",
    )


def _curve(history: Iterable[object]) -> Curve:
    values: dict[int, tuple[int, float]] = {}
    for metric in history:
        step, logged, value = metric.step, metric.timestamp, metric.value  # type: ignore[attr-defined]
        if step not in values or values[step][0] <= logged:
            values[step] = (logged, value)
    return tuple((step, values[step][1]) for step in sorted(values))


def _beside(run: Run, others: Iterable[Run]) -> float:
    started, ended = run.info.start_time, run.info.end_time
    if not ended or ended <= started:
        return 0.0
    shared = 0
    for other in others:
        if other.info.run_id != run.info.run_id and other.info.end_time:
            shared += max(0, min(ended, other.info.end_time) - max(started, other.info.start_time))
    return shared / (ended - started)


def _losses(run: ReportRun) -> Curve:
    return run.curves.get("loss/total", ())


def _champions(registered: Iterable[RegisteredVersion]) -> list[tuple[str, int, str]]:
    """Name, iterations and run of the version of every style that stands for it."""
    chosen: dict[str, tuple[bool, int, str]] = {}
    for version in registered:
        if version.iterations is not None and version.run_id:
            entry = (CHAMPION in version.aliases, version.iterations, version.run_id)
            chosen[version.name] = max(chosen.get(version.name, entry), entry)
    return [(name, iterations, run_id) for name, (_, iterations, run_id) in sorted(chosen.items())]


def _read_grids(client: MlflowClient) -> dict[str, list[ReportRun]]:
    newest: dict[tuple[str, float], Run] = {}
    for run in _search(client, gatys_grid.EXPERIMENT):
        if run.info.status == "FINISHED" and "grid" in run.data.tags and "ratio" in run.data.params:
            newest[run.data.tags["grid"], float(run.data.params["ratio"])] = run
    grids: dict[str, list[ReportRun]] = {}
    for grid, ratio in sorted(newest, key=lambda key: (key[0], -key[1])):
        grids.setdefault(grid, []).append(_read_run(client, newest[grid, ratio]))
    return grids


def _read_costs(client: MlflowClient) -> ReportRun | None:
    runs = [run for run in _search(client, BENCHMARKS) if run.info.run_name == COSTS and run.info.status == "FINISHED"]
    return _read_run(client, runs[-1]) if runs else None
