"""What a search decides: what is measured, who is ended early, what is put back. Its workers: tests/cluster."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import numpy as np
import optuna
import pytest
from mlflow import MlflowClient
from optuna.trial import TrialState
from PIL import Image
from sqlalchemy.exc import OperationalError

from stylecore.errors import StylecoreError
from stylecore.johnson.style_model import StyleModel
from stylecore.johnson.transform_net import TransformNet
from training.checkpoints import Caller
from training.command import Stopped
from training.config import TrainConfig, parse_config
from training.experiments import sweep
from training.experiments.study import SweepConfig
from training.experiments.sweep_results import publish
from training.registry.versions import preview_key
from training.train import DivergedError

pytestmark = pytest.mark.slow


Training = Callable[[TrainConfig, Caller], None]


@pytest.fixture
def recipe(tmp_path: Path) -> TrainConfig:
    photo = tmp_path / "photo.png"
    Image.fromarray(np.full((40, 40, 3), 128, np.uint8)).save(photo)
    about = {"name": "stripes", "style_image": str(photo), "preview_photos": (str(photo),)}
    return TrainConfig(**about, width=0.25, iterations=10, style_weight=100.0, cpu=True)  # type: ignore[arg-type]


@pytest.fixture
def config(tmp_path: Path) -> SweepConfig:
    return SweepConfig(
        trials=6, storage=f"sqlite:///{tmp_path}/sweeps.db", rungs=2, startup_trials=3, residual_blocks=(1, 2)
    )


@pytest.fixture
def measured(store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[StyleModel]:
    """The networks that were measured, by a loss that is the style weight they were trained with; none is trained."""
    models: list[StyleModel] = []
    losses: list[float] = []

    def fake_train(settings: TrainConfig, caller: Caller) -> None:
        losses.append(settings.style_weight)
        # The recipe in its note is that of the same training, under no name of the search.
        (tmp_path / "again.yaml").write_text(caller.command)
        again, _ = parse_config(["--recipe", str(tmp_path / "again.yaml")])
        assert again == replace(settings, run_name="", checkpoints=again.checkpoints, output_dir="runs")
        assert again.checkpoints == TrainConfig.checkpoints
        for iteration in settings.checkpoints:
            caller.evaluate(Mock(), TransformNet(settings.network), iteration)

    def fake_evaluate(given: list[StyleModel], *_: Any, **__: Any) -> Any:
        models.extend(given)
        means = dict.fromkeys(("total", "content", "style", "tv"), losses[-1])
        return [SimpleNamespace(means=lambda: {SweepConfig.size: means})]

    # The same proposals in every test run.
    monkeypatch.setattr(optuna.samplers, "TPESampler", partial(optuna.samplers.TPESampler, seed=0))
    monkeypatch.setattr(sweep, "load_vgg", lambda *_, **__: None)
    monkeypatch.setattr(sweep, "train", fake_train)
    monkeypatch.setattr(sweep, "evaluate", fake_evaluate)
    return models


def trials(config: SweepConfig, recipe: TrainConfig) -> list[optuna.trial.FrozenTrial]:
    study, is_new = sweep.open_study(config, recipe)
    assert not is_new
    return study.trials


def test_trials_are_measured_by_the_recipe_and_poor_ones_are_ended(
    config: SweepConfig, recipe: TrainConfig, measured: list[StyleModel]
) -> None:
    parent = sweep.sweep(config, recipe)
    made = trials(config, recipe)
    assert len(made) == 6
    assert {trial.state for trial in made} == {TrialState.COMPLETE, TrialState.PRUNED}
    for trial in made:
        assert 10 <= trial.params["style_weight"] <= 1000
        before = [t.intermediate_values[5] for t in made[: trial.number] if t.state == TrialState.COMPLETE]
        whole = trial.number < 3 or trial.params["style_weight"] <= np.median(before)
        assert trial.state == (TrialState.COMPLETE if whole else TrialState.PRUNED)
        assert list(trial.intermediate_values) == ([5, 10] if whole else [5])
    # Every one by the weight of the recipe, whatever it was trained with.
    assert {model.card.training["style_weight"] for model in measured} == {100.0}
    assert len({trial.params["style_weight"] for trial in made}) == 6
    best = min((t for t in made if t.state == TrialState.COMPLETE), key=lambda t: t.params["style_weight"])
    run = MlflowClient().get_run(parent)
    assert run.data.tags["best_trial"] == str(best.number)
    assert run.data.metrics["reference/best_total"] == best.params["style_weight"]
    assert run.info.status == "FINISHED"


def test_the_sheet_has_the_last_picture_of_each_trial(
    config: SweepConfig, recipe: TrainConfig, measured: list[StyleModel], tmp_path: Path
) -> None:
    config = replace(config, trials=4)
    parent = sweep.sweep(config, recipe)
    client, (study, _) = MlflowClient(), sweep.open_study(config, recipe)
    shades = {1: {0: 10, 5: 60, 10: 120}, 2: {0: 10, 5: 200}, 3: {0: 10}}  # of the third only the photo
    for number, pictures in shades.items():
        tags = {"mlflow.parentRunId": parent, "trial": str(number)}
        run = client.create_run(client.get_run(parent).info.experiment_id, tags=tags)
        for step, shade in pictures.items():
            picture = Image.new("RGB", (64, 64), (shade, 0, 0))
            client.log_image(run.info.run_id, picture, key=preview_key("photo"), step=step)
    publish(study, client, parent)
    with Image.open(client.download_artifacts(parent, "sheet.png", str(tmp_path))) as sheet:
        area = {color: count for count, color in sheet.convert("RGB").getcolors(1 << 16)}
    assert [area.get((shade, 0, 0), 0) for shade in (10, 60, 120, 200)] == [0, 0, 64 * 64, 64 * 64]


def test_a_trial_that_diverges_is_a_poor_one(
    config: SweepConfig, recipe: TrainConfig, measured: list[StyleModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    real: Any = sweep.train  # type: ignore[attr-defined]

    def diverging(settings: TrainConfig, caller: Caller) -> None:
        if caller.tags["trial"] == "1":
            raise DivergedError("training diverged")
        real(settings, caller=caller)

    monkeypatch.setattr(sweep, "train", diverging)
    config = replace(config, trials=4)
    parent = sweep.sweep(config, recipe)
    made = trials(config, recipe)
    assert len(made) == 4
    assert made[1].state == TrialState.PRUNED
    table = MlflowClient().download_artifacts(parent, "trials.csv")
    assert Path(table).read_text().splitlines()[-1].startswith("1,,training diverged,")
    note = MlflowClient().get_run(parent).data.tags["mlflow.note.content"].splitlines()
    assert note[2].startswith("| trial | loss | state |")
    assert note[-1].startswith("| 1 |  | training diverged |")


def test_a_stopped_trial_is_put_back(
    config: SweepConfig, recipe: TrainConfig, measured: list[StyleModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    real: Any = sweep.train  # type: ignore[attr-defined]

    def stopped(settings: TrainConfig, caller: Caller) -> None:
        if caller.tags["trial"] == "2":
            raise Stopped
        real(settings, caller=caller)

    monkeypatch.setattr(sweep, "train", stopped)
    config = replace(config, trials=4)
    with pytest.raises(Stopped, match="trial 2 is put back"):
        sweep.sweep(config, recipe)
    assert [trial.state for trial in trials(config, recipe)[2:]] == [TrialState.FAIL, TrialState.WAITING]
    sweep.sweep(config, recipe)
    made = trials(config, recipe)
    assert len(made) == 5
    assert made[3].params == made[2].params
    assert made[3].state in (TrialState.COMPLETE, TrialState.PRUNED)


def test_whoever_is_stopped_between_two_trials_puts_none_back(
    config: SweepConfig, recipe: TrainConfig, measured: list[StyleModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = optuna.Study.ask

    def interrupted(study: optuna.Study, *arguments: Any) -> optuna.Trial:
        if len(study.trials) == 2:
            raise KeyboardInterrupt
        return ask(study, *arguments)

    monkeypatch.setattr(optuna.Study, "ask", interrupted)
    with pytest.raises(Stopped, match="stopped; the same command continues"):
        sweep.sweep(config, recipe)
    assert [trial.state for trial in trials(config, recipe)] == [TrialState.COMPLETE] * 2


def test_whoever_is_stopped_while_a_trial_is_evaluated_for_the_last_time_keeps_it(
    config: SweepConfig, recipe: TrainConfig, measured: list[StyleModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    train = sweep.train
    monkeypatch.setattr(sweep, "train", lambda *given, **named: train(*given, **named) or len(measured) > 2)
    with pytest.raises(Stopped, match="stopped; the same command continues"):
        sweep.sweep(config, recipe)
    assert [trial.state for trial in trials(config, recipe)] == [TrialState.COMPLETE] * 2


def test_a_database_that_goes_away_between_two_trials_is_one_sentence(
    config: SweepConfig, recipe: TrainConfig, measured: list[StyleModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: Any) -> None:
        raise OperationalError("SELECT 1", {}, Exception("server closed the connection"))

    monkeypatch.setattr(optuna.Study, "ask", away)
    with pytest.raises(StylecoreError, match="cannot be used: server closed the connection"):
        sweep.sweep(config, recipe)


def test_a_recipe_with_weights_of_its_style_layers_and_a_start_can_be_searched(
    config: SweepConfig, recipe: TrainConfig, measured: list[StyleModel]
) -> None:
    begun = replace(recipe, style_layer_weights=(20, 8, 2, 1), init_from="start.safetensors")
    with pytest.raises(StylecoreError, match="give --residual-blocks 5"):
        sweep.sweep(config, begun)
    for layers, weights in (("relu1_2,relu3_3", (20, 2)), ("relu1_1,relu2_2", ())):
        proposed = {"style_weight": 1.0, "style_layers": layers, "residual_blocks": 5, "style_size": 256}
        one = replace(config, style_layers=(layers,), residual_blocks=(5,))
        settings = sweep.suggest(optuna.trial.FixedTrial(proposed), one, replace(begun, style_weight=1.0))  # type: ignore[arg-type]
        assert settings.style_layer_weights == weights


def test_what_is_wrong_is_one_sentence(
    config: SweepConfig, recipe: TrainConfig, measured: list[StyleModel], tmp_path: Path
) -> None:
    for wrong, sentence in (
        ({"style_weights": (0.0, 1.0)}, "two multiples above 0"),
        ({"residual_blocks": ()}, "--residual-blocks is empty"),
        ({"rungs": 0}, "--rungs is 0"),
        ({"storage": "mysql://here/there"}, "must be postgresql://"),
        ({"storage": f"sqlite:///{tmp_path}/photo.png"}, "cannot be used"),
    ):
        with pytest.raises(StylecoreError, match=sentence):
            sweep.sweep(SweepConfig(**{**vars(config), **wrong}), recipe)  # type: ignore[arg-type]
