"""Everything that the report shows, read from the tracker: runs with curves, evaluations and sample pictures.

Nothing here draws or writes.
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
from training.tracking.store import MlflowClient, Run, all_pages, plain_errors
from training.tracking.values import NOTE_IMAGE

STYLE = "starry_night"
"""The registered model of the experiment; the gallery shows the champions of other runs."""
FULL_WIDTH = "full-width"
"""Alias of the network from which a style's narrower network is distilled."""
EARLIER = "fine-strokes"
"""Alias of the champion that a style had before its network was trained with losses relative to the painting."""
FROM_SCRATCH = "_from_scratch"
"""A run whose name ends so trains the style of the run without the ending, but from random weights."""
SMOOTHING = 100
"""A smoothed loss is the mean of this many iterations: the losses of single batches differ by half and more."""

Curve = Sequence[tuple[int, float]]
"""Steps in rising order, each with its value."""

TRAINING_PICTURES = ("photos", "crop", "smallest_crop", "batch_size")
"""The other settings that losses during training depend on."""
BEFORE_THE_SETTING = {
    name: " ".join(map(str, value)) if isinstance(value, list) else str(value)
    for name, value in EARLIER_DEFAULTS.items()
}
"""What the code did in runs that are older than these settings, as MLflow has parameters."""


@dataclass(frozen=True)
class ReportRun:
    """One run of the tracker.

    Attributes:
        started, ended: milliseconds since 1970; `ended` is None before the run has ended.
        concurrent: mean number of other runs of its experiment at the same time.
        curves: metric to curve; of several values at a step, the last one.
        previews: photo to step to the sample picture's address in the store; step 0 is the photo itself.
        style_picture: address of the style picture, "" when the run has none.
    """

    name: str
    run_id: str
    status: str
    started: int
    ended: int | None
    concurrent: float
    params: Mapping[str, str]
    tags: Mapping[str, str]
    curves: Mapping[str, Curve] = field(repr=False)
    previews: Mapping[str, Mapping[int, str]] = field(repr=False)
    style_picture: str = ""

    @property
    def total_loss(self) -> Curve:
        """The total loss during training; empty when it was not logged."""
        return self.curves.get("loss/total", ())

    @property
    def checkpoints(self) -> list[int]:
        """The steps after 0 that have an evaluation or sample pictures."""
        evaluated = {step for key, curve in self.curves.items() if key.startswith("eval/") for step, _ in curve}
        pictured = {step for steps in self.previews.values() for step in steps}
        return sorted((evaluated | pictured) - {0})

    def number(self, param: str) -> float:
        """A numeric parameter; NaN when it was not recorded."""
        try:
            return float(self.params[param])
        except (KeyError, ValueError):
            return float("nan")

    def setting(self, key: str) -> str | None:
        """A parameter; for a run that is older than the setting, what the code did then."""
        return self.params.get(key, BEFORE_THE_SETTING.get(key))

    def differing(self, other: "ReportRun", settings: Iterable[str]) -> list[str]:
        """The settings in which two runs differ."""
        return [key for key in settings if self.setting(key) != other.setting(key)]

    def evaluation(self, step: int, size: int) -> dict[str, float]:
        """The evaluation of the network of this step at this size in pixels: "total", "content", "style",
        "spot_share", "equivalent_gatys_iterations", ...; empty when there is none."""
        ending = f"_{size}"
        values = {
            key.removeprefix("eval/").removesuffix(ending): dict(curve).get(step)
            for key, curve in self.curves.items()
            if key.startswith("eval/") and key.endswith(ending)
        }
        return {name: value for name, value in values.items() if value is not None}

    @property
    def sizes(self) -> list[int]:
        """The sizes in pixels of its evaluations."""
        return sorted(int(key.rpartition("_")[2]) for key in self.curves if key.startswith("eval/total_"))


@dataclass(frozen=True)
class Network:
    """One network: its name in the report, its iterations, and the run that trained it."""

    name: str
    iterations: int
    run: ReportRun

    @property
    def title(self) -> str:
        """Title of the style picture, or else the name."""
        return self.run.params.get("title") or self.name

    def evaluation(self, size: int) -> dict[str, float]:
        """As `ReportRun.evaluation`, of this network."""
        return self.run.evaluation(self.iterations, size)


@dataclass(frozen=True)
class TransferPair:
    """Two runs of one style: one begins with a trained network, the other with random weights."""

    tuned: ReportRun
    scratch: ReportRun

    def differing(self) -> list[str]:
        """The settings that make their losses incomparable."""
        return self.tuned.differing(self.scratch, (*OBJECTIVE, *TRAINING_PICTURES))


@dataclass(frozen=True)
class ReportData:
    """Everything that the report shows.

    Attributes:
        runs: name to run, of the requested runs that are there.
        gallery: for each style its champion or most trained version, without the networks of the experiment.
        by_alias: alias to style to network, for champions, fast, full-width and earlier networks.
        grids: name of a grid to its runs of `training.experiments.gatys_grid`, from most content to most style.
        costs: the newest run of `training.experiments.costs`.
        objectives: runs of `training.experiments.objectives`, the newest of each name.
    """

    runs: Mapping[str, ReportRun]
    gallery: Sequence[Network]
    by_alias: Mapping[str, Mapping[str, Network]]
    transfer_pairs: Sequence[TransferPair]
    grids: Mapping[str, Sequence[ReportRun]]
    costs: ReportRun | None
    objectives: Sequence[ReportRun] = ()


def read_report_data(client: MlflowClient, experiment: Iterable[str], others: Iterable[str] = ()) -> ReportData:
    """Read the runs with these names, and everything else that the report shows.

    Args:
        experiment: names of the runs of the experiment; the gallery leaves their networks out.
        others: names of more runs.

    Raises:
        StylecoreError: when the store cannot be read.
    """
    own = list(experiment)
    trainings = _search(client, EXPERIMENT)
    by_id = {run.info.run_id: run for run in trainings}
    names = sorted({run.info.run_name for run in trainings})
    by_name = {name: _newest([run for run in trainings if run.info.run_name == name]) for name in names}
    read: dict[str, ReportRun] = {}

    def details(run: Run) -> ReportRun:
        if run.info.run_id not in read:
            read[run.info.run_id] = _read_run(client, run, trainings)
        return read[run.info.run_id]

    versions = [
        version
        for version in Registry(client.tracking_uri).versions()
        if version.iterations is not None and version.run_id in by_id
    ]

    def network(version: RegisteredVersion) -> Network:
        return Network(version.name, version.iterations or 0, details(by_id[version.run_id]))

    pairs = [
        TransferPair(details(tuned), details(by_name[name + FROM_SCRATCH]))
        for name, tuned in by_name.items()
        if tuned.data.params.get("init_from") and name + FROM_SCRATCH in by_name
    ]
    return ReportData(
        runs={name: details(by_name[name]) for name in (*own, *others) if name in by_name},
        gallery=[
            network(version)
            for version in _representatives(versions)
            if by_id[version.run_id].info.run_name not in own
        ],
        by_alias={
            alias: {version.name: network(version) for version in versions if alias in version.aliases}
            for alias in (CHAMPION, FAST, FULL_WIDTH, EARLIER)
        },
        transfer_pairs=[pair for pair in pairs if pair.tuned.total_loss and pair.scratch.total_loss],
        grids=_read_grids(client),
        costs=_read_costs(client),
        objectives=[
            details(run)
            for run in by_name.values()
            if run.data.tags.get("comparison") == COMPARISON and run.info.status == "FINISHED"
        ],
    )


def smoothed(curve: Curve) -> list[tuple[int, float]]:
    """The mean of the last `SMOOTHING` iterations, from the first step after that many (or from the last step)."""
    if not curve:
        return []
    whole = min(SMOOTHING, curve[-1][0])
    return [
        (step, statistics.fmean(value for other, value in curve if step - SMOOTHING < other <= step))
        for step, _ in curve
        if step >= whole
    ]


def reached_at(curve: Curve, loss: float) -> int | None:
    """The first step at which a curve is at or below a loss."""
    return next((step for step, value in curve if value <= loss), None)


def value_at(curve: Curve, step: int) -> float | None:
    """The last value at or before a step."""
    return next((value for other, value in reversed(curve) if other <= step), None)


def seconds_per_500(run: ReportRun) -> list[float]:
    """Seconds of 500 iterations of training, for each point of the curve `perf/images_per_second`.

    The first point is left out: it includes the start.
    """
    photos = run.number("global_batch_size")
    return [500 * photos / rate for _, rate in run.curves.get("perf/images_per_second", [])[1:] if rate > 0]


def measured_sizes(run: ReportRun, prefix: str) -> list[int]:
    """The sizes at which `training.experiments.costs` measured something, such as "stylize/milliseconds_"."""
    return sorted(int(key.removeprefix(prefix)) for key in run.curves if key.startswith(prefix))


def _search(client: MlflowClient, experiment: str) -> list[Run]:
    with plain_errors(client.tracking_uri, f"reading the experiment {experiment!r}"):
        found = client.get_experiment_by_name(experiment)
        if found is None or found.lifecycle_stage != "active":
            return []
        runs = all_pages(client.search_runs, [found.experiment_id])
    return sorted(runs, key=lambda run: run.info.start_time)


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
        concurrent=_concurrent(run, others),
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


def _concurrent(run: Run, others: Iterable[Run]) -> float:
    started, ended = run.info.start_time, run.info.end_time
    if not ended or ended <= started:
        return 0.0
    shared = 0
    for other in others:
        if other.info.run_id != run.info.run_id and other.info.end_time:
            shared += max(0, min(ended, other.info.end_time) - max(started, other.info.start_time))
    return shared / (ended - started)


def _representatives(versions: Iterable[RegisteredVersion]) -> list[RegisteredVersion]:
    """For each style its champion, or else its most trained version."""
    chosen: dict[str, RegisteredVersion] = {}
    for version in sorted(versions, key=lambda v: (CHAMPION in v.aliases, v.iterations or 0, v.run_id)):
        chosen[version.name] = version
    return [chosen[name] for name in sorted(chosen)]


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
