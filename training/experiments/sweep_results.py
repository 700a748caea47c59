"""The results of a search in MLflow: a table of its trials, and a contact sheet."""

import csv
import io
from collections.abc import Sequence

import optuna
from optuna.trial import FrozenTrial, TrialState
from torch import Tensor

from stylecore.pictures.write import to_image
from stylecore.sheet import compose
from training.registry.published import previews_of
from training.tracking.store import MlflowClient, Run, all_pages, fetch_picture, plain_errors

SHEET_TRIALS = 24
TABLE_TRIALS = 20


def publish(study: optuna.Study, client: MlflowClient, parent: str) -> None:
    """Write the table and the contact sheet of the trials that have ended to the study's run."""
    trials = ranking(study)
    if not trials:
        return
    with plain_errors(client.tracking_uri, "logging the results of the sweep"):
        runs = child_runs(client, parent)
        rows = _rows(trials)
        client.log_text(parent, _csv(rows, runs), "trials.csv")
        client.set_tag(parent, "mlflow.note.content", _note(study.study_name, rows, runs))
        best = trials[0]
        if best.state == TrialState.COMPLETE and best.value is not None:
            client.log_metric(parent, "reference/best_total", best.value, step=len(trials))
            client.set_tag(parent, "best_trial", str(best.number))
        sheet = _sheet(trials[:SHEET_TRIALS], runs, client)
        if sheet is not None:
            client.log_image(parent, to_image(sheet), artifact_file="sheet.png")


def ranking(study: optuna.Study) -> list[FrozenTrial]:
    """The ended trials, best first: complete trials sorted by loss, then trials ended early sorted by loss."""
    trials = [t for t in study.get_trials(deepcopy=False) if t.state in (TrialState.COMPLETE, TrialState.PRUNED)]
    return sorted(trials, key=lambda t: (t.state != TrialState.COMPLETE, t.user_attrs.get("loss", float("inf"))))


def child_runs(client: MlflowClient, parent: str) -> dict[int, Run]:
    """Number of the trial to its run."""
    experiment = client.get_run(parent).info.experiment_id
    runs = all_pages(client.search_runs, [experiment], f"tags.`mlflow.parentRunId` = '{parent}'")
    return {int(run.data.tags["trial"]): run for run in runs if "trial" in run.data.tags}


def _rows(trials: Sequence[FrozenTrial]) -> list[dict[str, str]]:
    return [
        {
            "trial": str(trial.number),
            "loss": f"{trial.user_attrs['loss']:.5g}" if "loss" in trial.user_attrs else "",
            "state": trial.user_attrs.get("reason", trial.state.name.lower()),
            "iterations": str(trial.last_step or ""),
            **{
                name: f"{value:.4g}" if isinstance(value, float) else str(value)
                for name, value in trial.params.items()
            },
            "minutes": f"{trial.duration.total_seconds() / 60:.1f}" if trial.duration else "",
            "worker": trial.user_attrs.get("worker", ""),
        }
        for trial in trials
    ]


def _csv(rows: Sequence[dict[str, str]], runs: dict[int, Run]) -> str:
    table = io.StringIO()
    writer = csv.DictWriter(table, [*rows[0], "run_id"], restval="", lineterminator="\n")
    writer.writeheader()
    for row in rows:
        run = runs.get(int(row["trial"]))
        writer.writerow({**row, "run_id": run.info.run_id if run else ""})
    return table.getvalue()


def _note(name: str, rows: Sequence[dict[str, str]], runs: dict[int, Run]) -> str:
    """The head of the table as Markdown, for the top of the run's page."""
    lines = [
        f"**{name}**: {len(rows)} trials, best first; all of them in `trials.csv`, pictures in `sheet.png`.",
        "",
        "| " + " | ".join(rows[0]) + " |",
        "|" + " --- |" * len(rows[0]),
    ]
    for row in rows[:TABLE_TRIALS]:
        if run := runs.get(int(row["trial"])):
            row = {**row, "trial": f"[{row['trial']}](#/experiments/{run.info.experiment_id}/runs/{run.info.run_id})"}
        lines.append("| " + " | ".join(row.values()) + " |")
    return "\n".join(lines)


def _sheet(trials: Sequence[FrozenTrial], runs: dict[int, Run], client: MlflowClient) -> Tensor | None:
    """The last picture of every trial, with its settings."""
    cells = []
    for trial in trials:
        previews = previews_of(client, runs[trial.number]) if trial.number in runs else []
        measured = [preview for preview in previews if preview.step > 0]
        if not measured:
            continue
        last = max(measured, key=lambda preview: preview.step)
        values = " ".join(_short(value) for value in trial.params.values())
        cells.append((f"{trial.number}: {trial.user_attrs['loss']:.3g} ({values})", fetch_picture(client, last.path)))
    return compose(cells) if cells else None


def _short(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.1e}"
    return str(value).replace("relu", "").replace(",", "+")


def trial_line(trial: FrozenTrial) -> str:
    (row,) = _rows([trial])
    return ", ".join(f"{name} {value}" for name, value in row.items() if value)
