"""The results of a search in MLflow: a table of its trials, the best one, and a contact sheet."""

import csv
import io
from collections.abc import Sequence

import optuna
from optuna.trial import FrozenTrial, TrialState
from PIL import Image

from stylecore.pictures.write import to_image
from stylecore.sheet import compose
from training.registry.published import previews_of
from training.tracking.store import MlflowClient, Run, all_pages, fetch_picture, plain_errors

NOTE_TRIALS = 20
"""Trials in the table of the run's note."""
SHEET_TRIALS = 24


def publish(study: optuna.Study, client: MlflowClient, parent: str) -> None:
    """Write the table of the trials that have ended, the best of them and a contact sheet to the study's run."""
    ended = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))
    # The complete ones sorted by loss, then those ended early sorted by loss.
    trials = sorted(ended, key=lambda t: (t.state != TrialState.COMPLETE, t.user_attrs.get("loss", float("inf"))))
    if not trials:
        return
    columns, rows, table = list(_row(trials[0])), [list(_row(trial).values()) for trial in trials], io.StringIO()
    csv.writer(table, lineterminator="\n").writerows([columns, *rows])
    head = [columns, ["---"] * len(columns), *rows[:NOTE_TRIALS]]
    with plain_errors(client.tracking_uri, "logging the results of the sweep"):
        client.log_text(parent, table.getvalue(), "trials.csv")
        about = f"**{study.study_name}**: {len(trials)} trials, best first; see also `trials.csv` and `sheet.png`."
        lines = [about, "", *(f"| {' | '.join(cells)} |" for cells in head)]
        client.set_tag(parent, "mlflow.note.content", "\n".join(lines))
        best = trials[0]
        if best.state == TrialState.COMPLETE and best.value is not None:
            client.log_metric(parent, "reference/best_total", best.value, step=len(trials))
            client.set_tag(parent, "best_trial", str(best.number))
        if cells := _pictures(trials[:SHEET_TRIALS], client, parent):
            client.log_image(parent, to_image(compose(cells)), artifact_file="sheet.png")


def _pictures(trials: Sequence[FrozenTrial], client: MlflowClient, parent: str) -> list[tuple[str, Image.Image]]:
    """The last picture of each trial that has one in MLflow, labeled with the trial's number, loss and settings."""
    runs, pictures = child_runs(client, parent), []
    for trial in trials:
        previews = previews_of(client, runs[trial.number]) if trial.number in runs else []
        if painted := [preview for preview in previews if preview.step > 0]:
            row = _row(trial)
            label = f"{trial.number}: {row['loss']} ({' '.join(row[name] for name in trial.params)})"
            pictures.append((label, fetch_picture(client, painted[-1].path)))
    return pictures


def child_runs(client: MlflowClient, parent: str) -> dict[int, Run]:
    """Number of the trial to its run."""
    experiment = client.get_run(parent).info.experiment_id
    runs = all_pages(client.search_runs, [experiment], f"tags.`mlflow.parentRunId` = '{parent}'")
    return {int(run.data.tags["trial"]): run for run in runs if "trial" in run.data.tags}


def _row(trial: FrozenTrial) -> dict[str, str]:
    params = {name: f"{value:.4g}" if isinstance(value, float) else str(value) for name, value in trial.params.items()}
    return {
        "trial": str(trial.number),
        "loss": f"{trial.user_attrs['loss']:.5g}" if "loss" in trial.user_attrs else "",
        "state": trial.user_attrs.get("reason", trial.state.name.lower()),
        "iterations": str(trial.last_step or ""),
        **params,
        "minutes": f"{trial.duration.total_seconds() / 60:.1f}" if trial.duration else "",
        "worker": trial.user_attrs.get("worker", ""),
    }


def trial_line(trial: FrozenTrial) -> str:
    return ", ".join(f"{name} {value}" for name, value in _row(trial).items() if value)
