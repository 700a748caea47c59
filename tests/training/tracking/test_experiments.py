"""Experiments as MLflow's page shows them."""

from training.tracking.experiments import KIND_TAG, NOTE_TAG, open_experiment
from training.tracking.store import connect


def test_an_experiment_opens_on_its_runs_and_says_what_it_is_for(store: str) -> None:
    client = connect(store)
    number = open_experiment(client, "johnson")
    tags = client.get_experiment(number).tags
    assert tags[KIND_TAG] == "custom_model_development"
    assert "REPORT.md" in tags[NOTE_TAG]
    # One that is there already, as from an older version, gets what it lacks; what somebody wrote stays.
    client.set_experiment_tag(number, NOTE_TAG, "mine")
    assert open_experiment(client, "johnson") == number
    assert client.get_experiment(number).tags[NOTE_TAG] == "mine"
    older = client.create_experiment("own")
    assert open_experiment(client, "own") == older
    tags = client.get_experiment(older).tags
    assert tags[KIND_TAG] == "custom_model_development"
    assert NOTE_TAG not in tags
