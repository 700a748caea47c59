"""Everything that the report shows, read from the MLflow store: runs with curves, evaluations and sample pictures.

Nothing here draws or writes.
"""

import statistics
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from stylecore.errors import StylecoreError
from stylecore.johnson.style_model import OBJECTIVE
from stylecore.library import CHAMPION
from training.checkpoints import EXPERIMENT
from training.experiments import gatys_grid
from training.experiments.costs import EXPERIMENT as BENCHMARKS
from training.experiments.costs import RUN_NAME as COSTS
from training.experiments.objectives import COMPARISON
from training.registry.published import SYSTEM_METRICS, previews_of, style_picture_of
from training.registry.registry import RegisteredVersion, Registry
from training.tracking.delivery import newest
from training.tracking.store import MlflowClient, Run, all_pages, plain_errors

EARLIER = "fine-strokes"
"""Alias of the champion that a style had before its network was trained with losses relative to the painting."""
FROM_SCRATCH = "_from_scratch"
"""A run whose name ends so trains the style of the run without the ending, but from random weights."""
SMOOTHING = 100
"""A smoothed loss is the mean of this many iterations: the losses of single batches differ by half and more."""

Curve = Sequence[tuple[int, float]]
"""Steps in rising order, each with its value."""

COMPARABLE = (*OBJECTIVE, "photos", "crop", "smallest_crop", "batch_size")
"""The settings that losses during training depend on."""


class NotInStoreError(StylecoreError):
    """What a section of the report shows is not in the store."""


@dataclass(frozen=True)
class ReportRun:
    """One run of the MLflow store.

    Attributes:
        curves: metric to curve; of several values at a step, the last one.
        previews: photo to step to the sample picture's address in the store; step 0 is the photo itself.
        style_picture: address of the style picture, "" when the run has none.
    """

    name: str
    run_id: str
    status: str
    params: Mapping[str, str]
    tags: Mapping[str, str]
    curves: Mapping[str, Curve] = field(repr=False)
    previews: Mapping[str, Mapping[int, str]] = field(repr=False)
    style_picture: str = ""

    @property
    def checkpoints(self) -> list[int]:
        """The steps after 0 that have an evaluation or sample pictures."""
        evaluated = {step for key, curve in self.curves.items() if key.startswith("eval/") for step, _ in curve}
        pictured = {step for steps in self.previews.values() for step in steps}
        return sorted((evaluated | pictured) - {0})

    def number(self, param: str) -> float:
        """A numeric parameter; NaN when it was not recorded."""
        return float(self.params.get(param, "nan"))

    def by_weight(self, metric: str) -> Curve:
        """A content or style loss, "loss/style" or "loss/style/relu3_3", divided by its weight."""
        weight = self.number(f"{metric.split('/')[1]}_weight")
        return [(step, value / weight) for step, value in self.curves.get(metric, ())]

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
class ReportData:
    """Everything that the report shows.

    Attributes:
        runs: name to run, of the requested runs that have a checkpoint.
        gallery: for each style its champion or most trained version, without the networks of the experiment.
        earlier, champions: style to network, by the aliases.
        transfer_pairs: two runs of one style, begun with a trained network and with random weights, with the same
            losses and photos.
        grids: name of a grid to its runs of `training.experiments.gatys_grid`, from most content to most style.
        costs: the newest run of `training.experiments.costs`.
        objectives: runs of `training.experiments.objectives`, the newest of each name.
    """

    runs: Mapping[str, ReportRun]
    gallery: Sequence[Network]
    earlier: Mapping[str, Network]
    champions: Mapping[str, Network]
    transfer_pairs: Sequence[tuple[ReportRun, ReportRun]]
    grids: Mapping[str, Sequence[ReportRun]]
    costs: ReportRun | None
    objectives: Sequence[ReportRun]

    def run(self, name: str) -> ReportRun:
        """One of `runs`; NotInStoreError when it is not there."""
        if name not in self.runs:
            raise NotInStoreError(f"a checkpoint of the run `{name}`")
        return self.runs[name]


def read_report_data(client: MlflowClient, names: Collection[str], experiment: Collection[str]) -> ReportData:
    """Read the runs with these names, and everything else that the report shows.

    Args:
        experiment: names of runs whose networks the gallery leaves out.

    Raises:
        StylecoreError: when the store cannot be read.
    """
    trainings = _search(client, EXPERIMENT)
    by_id = {run.info.run_id: run for run in trainings}
    # Of the runs of one name the newest finished one counts; without one, the newest.
    by_name = {run.info.run_name: run for run in sorted(trainings, key=lambda run: run.info.status == "FINISHED")}
    read: dict[str, ReportRun] = {}

    def details(run: Run) -> ReportRun:
        if run.info.run_id not in read:
            read[run.info.run_id] = _read_run(client, run)
        return read[run.info.run_id]

    def network(version: RegisteredVersion) -> Network:
        return Network(version.name, version.iterations, details(by_id[version.run_id]))

    versions = [v for v in Registry(client.tracking_uri).versions() if v.run_id in by_id]
    best = {v.name: v for v in sorted(versions, key=lambda v: (CHAMPION in v.aliases, v.iterations, v.run_id))}
    costs = [run for run in _finished(client, BENCHMARKS) if run.info.run_name == COSTS]
    return ReportData(
        runs={name: run for name in names if name in by_name and (run := details(by_name[name])).checkpoints},
        gallery=[
            network(version)
            for _, version in sorted(best.items())
            if by_id[version.run_id].info.run_name not in experiment
        ],
        earlier={v.name: network(v) for v in versions if EARLIER in v.aliases},
        champions={v.name: network(v) for v in versions if CHAMPION in v.aliases},
        transfer_pairs=[
            (details(tuned), details(by_name[name + FROM_SCRATCH]))
            for name, tuned in sorted(by_name.items())
            if tuned.data.params.get("init_from") and name + FROM_SCRATCH in by_name
            if _settings(tuned) == _settings(by_name[name + FROM_SCRATCH])
        ],
        grids=_read_grids(client),
        costs=_read_run(client, costs[-1]) if costs else None,
        objectives=[
            details(run)
            for run in by_name.values()
            if run.data.tags.get("comparison") == COMPARISON and run.info.status == "FINISHED"
        ],
    )


def _settings(run: Run) -> list[str | None]:
    return [run.data.params.get(name) for name in COMPARABLE]


def smoothed(curve: Curve) -> Curve:
    """A curve of the means of the last `SMOOTHING` iterations, from the first whole mean on."""
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


def _search(client: MlflowClient, experiment: str) -> list[Run]:
    with plain_errors(client.tracking_uri, f"reading the experiment {experiment!r}"):
        found = client.get_experiment_by_name(experiment)
        if found is None or found.lifecycle_stage != "active":
            return []
        runs = all_pages(client.search_runs, [found.experiment_id])
    return sorted(runs, key=lambda run: run.info.start_time)


def _finished(client: MlflowClient, experiment: str) -> list[Run]:
    return [run for run in _search(client, experiment) if run.info.status == "FINISHED"]


def _read_run(client: MlflowClient, run: Run) -> ReportRun:
    run_id = run.info.run_id
    previews: dict[str, dict[int, str]] = {}
    for preview in previews_of(client, run):
        previews.setdefault(preview.photo, {})[preview.step] = preview.path
    with plain_errors(client.tracking_uri, f"reading the run {run.info.run_name}"):
        keys = [key for key in run.data.metrics if not key.startswith(SYSTEM_METRICS)]
        histories = {key: newest(client.get_metric_history(run_id, key)) for key in keys}
    return ReportRun(
        name=run.info.run_name,
        run_id=run_id,
        status=run.info.status,
        params=dict(run.data.params),
        tags=dict(run.data.tags),
        curves={key: [(each.step, each.value) for each in history] for key, history in histories.items()},
        previews=previews,
        style_picture=style_picture_of(client, run),
    )


def _read_grids(client: MlflowClient) -> dict[str, list[ReportRun]]:
    newest = {
        (run.data.tags["grid"], float(run.data.params["ratio"])): run
        for run in _finished(client, gatys_grid.EXPERIMENT)
        if "grid" in run.data.tags and "ratio" in run.data.params
    }
    grids: dict[str, list[ReportRun]] = {}
    for grid, ratio in sorted(newest, key=lambda key: (key[0], -key[1])):
        grids.setdefault(grid, []).append(_read_run(client, newest[grid, ratio]))
    return grids
