"""The results of a search in MLflow: a table of its trials, and the best one."""

import csv
import io

import optuna
from optuna.trial import FrozenTrial, TrialState

from training.tracking.store import MlflowClient, Run, all_pages, plain_errors


def publish(study: optuna.Study, client: MlflowClient, parent: str) -> None:
    """Write the table of the trials that have ended, and the best of them, to the study's run."""
    ended = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))
    # The complete ones sorted by loss, then those ended early sorted by loss.
    trials = sorted(ended, key=lambda t: (t.state != TrialState.COMPLETE, t.user_attrs.get("loss", float("inf"))))
    if not trials:
        return
    rows, table = [_row(trial) for trial in trials], io.StringIO()
    writer = csv.DictWriter(table, rows[0], restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    with plain_errors(client.tracking_uri, "logging the results of the sweep"):
        client.log_text(parent, table.getvalue(), "trials.csv")
        note = f"**{study.study_name}**: {len(trials)} trials, best first in `trials.csv`."
        client.set_tag(parent, "mlflow.note.content", note)
        best = trials[0]
        if best.state == TrialState.COMPLETE and best.value is not None:
            client.log_metric(parent, "reference/best_total", best.value, step=len(trials))
            client.set_tag(parent, "best_trial", str(best.number))


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
