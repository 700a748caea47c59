"""What MLflow's page shows of an experiment: its runs first, and what it is for."""

from mlflow import MlflowClient

KIND_TAG = "mlflow.experimentKind"
KIND = "custom_model_development"
"""MLflow's name for experiments that train models: without it their page opens on charts for language models."""
NOTE_TAG = "mlflow.note.content"

DESCRIPTIONS = {
    "johnson": (
        "Transformation networks, one training a run (Johnson et al. 2016). Compare runs by their losses and by the "
        "judge: `eval/style_error_640` is the distance to the painting, `eval/content_change_640` that to the photo."
    ),
    "gatys": "Pictures that were painted by optimizing their pixels (Gatys et al. 2015, 2016), one picture a run.",
    "benchmarks": "What training costs: seconds and memory of an iteration, one machine a run.",
}
"""What the project's own experiments are for, in Markdown."""
REPORT = "\n\nThe report, `mlruns/published/REPORT.md` in the repository, says what came out."


def describe_experiment(client: MlflowClient, experiment_id: str, name: str) -> None:
    """Let MLflow's page open on the experiment's runs and say what it is for. What somebody has set stays."""
    there = client.get_experiment(experiment_id).tags
    wanted = {KIND_TAG: KIND}
    if name in DESCRIPTIONS:
        wanted[NOTE_TAG] = DESCRIPTIONS[name] + REPORT
    for key, value in wanted.items():
        if key not in there:
            client.set_experiment_tag(experiment_id, key, value)
