"""Experiments as MLflow's page shows them: their descriptions, and a saved view of the project's own.

The page keeps nothing on the server but tags of the experiment: its kind, its description in Markdown, and views in
the menu "Views" of the runs, with the columns of the table and the charts. It takes everything else from the address
or the browser, above all whether it shows the runs or the page for language models, its default. So the description
has links.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from mlflow import MlflowClient
from mlflow.entities import Experiment
from mlflow.exceptions import MlflowException

from training.tracking import TrackingError
from training.tracking.environment import is_server, page_of_runs, without_password
from training.tracking.store import artifact_folder, plain_errors

KIND_TAG = "mlflow.experimentKind"
KIND = "custom_model_development"
"""MLflow's name for experiments that train models."""
NOTE_TAG = "mlflow.note.content"
VIEW = "compare"
"""Key of the saved view."""
VIEW_TAG = f"mlflow.sharedViewState.{VIEW}"
VIEW_TIME = 1_795_000_000_000
"""Time of a view in ms, which the page requires. It is constant, so that the same view is the same text."""


@dataclass(frozen=True)
class About:
    """What an experiment of the project is for.

    Attributes:
        purpose: a sentence or two in Markdown.
        columns: of the table of runs, in this order: the names of params, metrics (with a "/") and "Duration".
        charts: title of a section to its charts. "a" is a curve of the metric a; "=a"
            are bars of the last values of a; "a ~ b" is a point for each run, a to the right, b upwards; a name that
            begins with "preview/" is a grid of pictures with one column a run, at the step that the slider says.
    """

    purpose: str
    columns: list[str]
    charts: dict[str, list[str]]


ABOUT = {
    name: About(**entries)
    for name, entries in yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8")).items()
}


def open_experiment(client: MlflowClient, name: str) -> str:
    """The id of the experiment, which is made if it is new; for a local store its files are beside the store."""
    if not re.fullmatch(r"[\w. -]+", name):
        raise TrackingError(f"The experiment name {name!r} may hold only letters, digits, '_', '-', '.' and spaces.")
    with plain_errors(client.tracking_uri, f"opening the experiment {name!r}"):
        experiment = client.get_experiment_by_name(name)
        if experiment is None:
            folder = artifact_folder(client.tracking_uri)
            try:
                client.create_experiment(name, artifact_location=(folder / name).as_uri() if folder else None)
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":  # another process made it first
                    raise
            experiment = client.get_experiment_by_name(name)
    if experiment.lifecycle_stage != "active":
        raise TrackingError(
            f"The experiment {name!r} was deleted in MLflow; restore it with "
            f"`MLFLOW_TRACKING_URI={without_password(client.tracking_uri)} mlflow experiments restore "
            f"--experiment-id {experiment.experiment_id}`, or use another name."
        )
    if experiment.artifact_location.startswith("mlflow-artifacts:") and not is_server(client.tracking_uri):
        raise TrackingError(
            f"The experiment {name!r} was made through an MLflow server, which has its files; "
            "set MLFLOW_TRACKING_URI to that server's address."
        )
    with plain_errors(client.tracking_uri, f"describing the experiment {name!r}"):
        _describe(client, experiment)
    return experiment.experiment_id


def _describe(client: MlflowClient, experiment: Experiment) -> None:
    """Say what the experiment is for, and save its view. A kind and a description that somebody has set stay."""
    wanted = {KIND_TAG: experiment.tags.get(KIND_TAG, KIND)}
    if about := ABOUT.get(experiment.name):
        wanted[NOTE_TAG] = experiment.tags.get(NOTE_TAG, _note(about, experiment.experiment_id))
        wanted[VIEW_TAG] = _view(about)
    for key, value in wanted.items():
        if experiment.tags.get(key) != value:
            client.set_experiment_tag(experiment.experiment_id, key, value)


def _note(about: About, experiment_id: str) -> str:
    table, charts = (page_of_runs("", experiment_id, VIEW, charts=charts) for charts in (False, True))
    return (
        f"**[Table of the runs]({table})** · **[Charts and pictures]({charts})**\n\n{about.purpose}\n\n"
        "The report, `mlruns/published/REPORT.md` in the repository, says what came out. If this page shows traces "
        "and judges of language models, choose *Model training* at the top left; the browser remembers it."
    )


def _view(about: About) -> str:
    """The tag's value: an envelope with the state of the page as JSON inside."""
    columns = {_column(name): min(max(110, 60 + 6 * len(name)), 180) for name in about.columns}
    sections = [
        {
            "uuid": title,
            "name": title,
            "display": True,
            "isReordered": True,
            "deleted": False,
            "isGenerated": False,
            "columns": 1 if charts[0].startswith("preview/") else min(len(charts), 4),
        }
        for title, charts in about.charts.items()
    ]
    state = {
        "selectedColumns": ["attributes.`Duration`" if column == "duration" else column for column in columns],
        "columnOrder": ["attributes.`Run Name`", *columns, "runDateAndNestInfo"],
        "columnWidths": {"attributes.`Run Name`": 220, **columns, "runDateAndNestInfo": 140},
        "runsHiddenMode": "FIRST_10_RUNS",
        "isAccordionReordered": True,
        "compareRunSections": sections,
        "compareRunCharts": [
            _chart(text, title, number) for title, charts in about.charts.items() for number, text in enumerate(charts)
        ],
    }
    envelope = {"name": "Compare", "createdAt": VIEW_TIME, "updatedAt": VIEW_TIME, "state": json.dumps(state)}
    return json.dumps(envelope)


def _column(name: str) -> str:
    """The page's name of a column."""
    if name == "Duration":
        return "duration"
    return f"metrics.`{name}`" if "/" in name else f"params.`{name}`"


def _chart(text: str, section: str, number: int) -> dict[str, Any]:
    """A chart of `About.charts` as the page describes it (its RunsChartsCardConfig)."""
    chart: dict[str, Any] = {
        "uuid": f"{section}-{number}",
        "metricSectionId": section,
        "deleted": False,
        "isGenerated": False,  # the page turns generated bars into points, one for each step
        "runsCountToCompare": 100,
        "displayName": text.removeprefix("="),
    }
    if text.startswith("preview/"):
        return chart | {"type": "IMAGE", "imageKeys": [text], "step": 0, "showRunParams": False}
    if text.startswith("="):
        return chart | {"type": "BAR", "metricKey": text[1:]}
    if " ~ " in text:
        right, up = ({"key": name, "type": "METRIC"} for name in text.split(" ~ "))
        return chart | {"type": "SCATTER", "xaxis": right, "yaxis": up}
    return chart | {
        "type": "LINE",
        "metricKey": text,
        "selectedMetricKeys": [text],
        "lineSmoothness": 0,
        "scaleType": "linear",
        "xAxisKey": "step",
        "xAxisScaleType": "linear",
        "yAxisKey": "metric",
        "yAxisExpressions": [],
        "range": {},
        "useGlobalXaxisKey": True,
        "useGlobalLineSmoothing": True,
    }
