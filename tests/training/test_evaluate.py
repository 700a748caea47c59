"""Networks with a known answer: one that replays a picture of the optimization, and random small ones."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.nn import functional
from tracked_runs import start_run

from stylecore.errors import StylecoreError
from stylecore.gatys.config import GatysConfig
from stylecore.gatys.optimizer import Descent
from stylecore.inference.engine import BORDER_OF_REFLECTION, Engine
from stylecore.johnson.style_model import StyleCard, StyleModel
from stylecore.johnson.transform_net import TransformNetConfig
from stylecore.pictures.write import save_picture
from stylecore.vgg.network import VGG
from tests.small_vgg import small_vgg
from training import evaluation
from training.checkpoints import trained_style
from training.config import TrainConfig
from training.evaluate import main, photo_files
from training.evaluation import evaluate, find_candidate, middle_square, training_settings
from training.objective import pixel_objective, style_targets, training_losses
from training.registry.versions import description_of
from training.tracking import JournaledTracker
from training.tracking.store import connect

SIZE = 32
SETTINGS = {
    "style_image": "style.png",
    "style_size": 32,
    "content_layer": "relu2_1",
    "content_weight": 1e3,
    "style_layers": ["relu1_1", "relu2_1"],
    "style_weight": 1e7,
}


@pytest.fixture(scope="module")
def vgg() -> VGG:
    return small_vgg("A")


def picture(seed: int, height: int = 40, width: int = 48) -> Tensor:
    """Soft blotches, with no pixel near black or white."""
    coarse = torch.rand(1, 3, 5, 6, generator=torch.Generator().manual_seed(seed))
    return 0.2 + 0.6 * nn.functional.interpolate(coarse, (height, width), mode="bilinear")[0]


STYLE = picture(100)


def trained(model: StyleModel, **settings) -> StyleModel:
    """The same network with a card that says how it was trained."""
    card = dataclasses.replace(model.card, training={**SETTINGS, **settings})
    return StyleModel(model.network, card)


class Replay(nn.Module):
    """A network that knows one answer."""

    def __init__(self, config: TransformNetConfig, answer: Tensor) -> None:
        super().__init__()
        self.config, self.answer = config, answer

    def forward(self, pixels: Tensor, crop: int) -> Tensor:
        height, width = self.answer.shape[-2:]
        assert pixels.shape[-2:] == (height + 2 * BORDER_OF_REFLECTION, width + 2 * BORDER_OF_REFLECTION)
        return functional.pad(self.answer.view(1, 3, height, width), [BORDER_OF_REFLECTION - 4 * crop] * 4)


def replay(answer: Tensor) -> StyleModel:
    network = TransformNetConfig(residual_blocks=1, width=0.25)
    return StyleModel(Replay(network, answer), StyleCard("replay", network=network, training=SETTINGS))


def iterates(vgg: VGG, photo: Tensor, count: int) -> tuple[list[Tensor], list[float]]:
    """The pictures of projected L-BFGS from uniform noise, and their losses."""
    config = training_settings(replay(photo).card)
    objective = pixel_objective(vgg, middle_square(photo, SIZE)[None], style_targets(vgg, STYLE, config), config)
    noise = torch.rand(1, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    descent = Descent(noise, objective, GatysConfig())
    pictures, losses = [descent.pixels], [descent.losses["total"]]
    for _ in range(count):
        descent.step()
        pictures.append(descent.pixels)
        losses.append(descent.losses["total"])
    return pictures, losses


def test_a_network_as_good_as_some_iterations_of_gatys_evaluates_to_them(vgg: VGG):
    photo = picture(1)
    pictures, losses = iterates(vgg, photo, 7)
    assert losses == sorted(losses, reverse=True)
    networks = [replay(pictures[index]) for index in (0, 3, 7)]
    found = evaluate(networks, [("blotches", photo)], STYLE, [SIZE], gatys_iterations=20, vgg=vgg)
    equivalents = [each.photos[0].figures["equivalent_gatys_iterations"] for each in found]
    assert equivalents == pytest.approx([0, 3, 7], abs=1e-3)
    assert [each.photos[0].figures["total"] for each in found] == pytest.approx([losses[0], losses[3], losses[7]])
    (alone,) = evaluate([networks[1]], [("blotches", photo)], STYLE, [SIZE], gatys_iterations=20, vgg=vgg)
    assert alone.photos[0].figures["equivalent_gatys_iterations"] == equivalents[1]


def test_an_optimization_that_was_ended_early_gives_a_lower_bound(vgg: VGG):
    photo = picture(1)
    pictures, _ = iterates(vgg, photo, 7)
    (found,) = evaluate([replay(pictures[7])], [("blotches", photo)], STYLE, [SIZE], gatys_iterations=4, vgg=vgg)
    (result,) = found.photos
    assert (result.figures["equivalent_gatys_iterations"], result.reached) == (4, False)
    assert "over 4.0" in found.table()
    (without,) = evaluate([replay(pictures[7])], [("blotches", photo)], STYLE, [SIZE], gatys_iterations=0, vgg=vgg)
    assert without.photos[0].reached
    assert "eval/equivalent_gatys_iterations" not in without.metrics()


@pytest.mark.parametrize(
    "objective",
    [
        {},
        {"style_normalization": "sum"},
        {
            "style_normalization": "relative",
            "content_normalization": "relative",
            "loss_scales": [1, 2],
            "style_layer_weights": [0.5, 2],
        },
        {"loss_scales": [2]},
    ],
)
def test_the_losses_are_those_of_training(vgg: VGG, tiny_style: Callable[..., StyleModel], objective: dict[str, Any]):
    model = trained(tiny_style(), total_variation_weight=3.0, **objective)
    photo = picture(1)
    ((found,),) = (
        each.photos for each in evaluate([model], [("blotches", photo)], STYLE, [SIZE], gatys_iterations=0, vgg=vgg)
    )
    config = training_settings(model.card)
    content = middle_square(photo, SIZE)
    stylized = Engine(model, runtime="torch").stylize(content)
    wanted = training_losses(
        vgg, content[None], stylized[None], style_targets(vgg, STYLE, config), config, Accelerator(cpu=True)
    )
    losses = {name: found.figures[name] for name in ("total", "content", "style", "tv")}
    assert losses == pytest.approx({name: float(wanted[f"loss/{name}"]) for name in losses}, rel=1e-4)
    assert losses["tv"] > 0


def test_photos_and_sizes_are_put_together(vgg: VGG, tiny_style: Callable[..., StyleModel]):
    photos = [("one", picture(1)), ("two", picture(2, 70, 33)), ("three", picture(3, 20, 90))]
    (found,) = evaluate([trained(tiny_style())], iter(photos), STYLE, [32, 48], gatys_iterations=2, vgg=vgg)
    assert [(each.photo, each.size) for each in found.photos] == [
        (name, size) for name, _ in photos for size in (32, 48)
    ]
    small, large = found.means().values()
    of_small = [each for each in found.photos if each.size == 32]
    assert small["total"] == pytest.approx(sum(each.figures["total"] for each in of_small) / 3)
    assert small["milliseconds"] == sorted(each.figures["milliseconds"] for each in of_small)[1]
    metrics = found.metrics()
    assert metrics["eval/style_48"] == large["style"]
    assert metrics["eval/spot_share"] == pytest.approx((small["spot_share"] + large["spot_share"]) / 2)
    assert metrics.keys() == {
        "eval/spot_share",
        "eval/equivalent_gatys_iterations",
        *(
            f"eval/{name}_{size}"
            for size in (32, 48)
            for name in (
                *("total", "content", "style", "tv"),
                *("spot_share", "milliseconds", "equivalent_gatys_iterations"),
            )
        ),
    }


def test_a_white_blob_in_every_picture_is_seen(vgg: VGG):
    answer = middle_square(picture(1), SIZE)
    answer[:, 4:12, 8:24] = 1
    (found,) = evaluate([replay(answer)], [("blotches", picture(1))], STYLE, [SIZE], gatys_iterations=0, vgg=vgg)
    assert found.metrics()["eval/spot_share"] == pytest.approx(8 * 16 / SIZE**2)
    assert f"{8 * 16 / SIZE**2:.2%}" in found.table()


def test_networks_that_cannot_be_compared_are_refused(vgg: VGG, tiny_style: Callable[..., StyleModel]):
    photos = [("one", picture(1))]
    with pytest.raises(StylecoreError, match="only networks trained by"):
        evaluate([tiny_style()], photos, STYLE, [SIZE], vgg=vgg)
    with pytest.raises(StylecoreError, match="different losses"):
        evaluate([trained(tiny_style()), trained(tiny_style(), style_weight=1.0)], photos, STYLE, [SIZE], vgg=vgg)


def test_the_settings_of_a_card_are_those_of_the_run(tiny_style: Callable[..., StyleModel]):
    config = TrainConfig(name="x", style_image="y", style_layers=("relu1_1",), checkpoints=(3,))
    saved = json.loads(json.dumps(dataclasses.asdict(config)))
    model = tiny_style()
    card = dataclasses.replace(model.card, training={**saved, "forgotten_setting": 1})
    assert training_settings(card) == config


@pytest.fixture
def workplace(tmp_path: Path, vgg: VGG, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with a style picture and two photos; the small VGG stands for VGG-16."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(evaluation, "load_vgg", lambda *_, **__: vgg)
    (tmp_path / "photos").mkdir()
    save_picture(STYLE, tmp_path / "style.png")
    for seed in (1, 2):
        save_picture(picture(seed), tmp_path / "photos" / f"{seed}.png")
    return tmp_path


def run_of(model: StyleModel, folder: Path) -> tuple[JournaledTracker, Path]:
    """Registers the network as a training run does, and writes its file."""
    file = folder / f"{model.card.iterations}.safetensors"
    model.save(file)
    tracker = start_run(experiment="johnson", run_name="first", params={}, tags={}, system_metrics=False)
    tracker.log_checkpoint(file, model.card.iterations, description_of(model.card), {"loss/total": 1.0})
    tracker.finish()
    return tracker, file


@pytest.mark.parametrize("by_file", [True, False])
def test_the_command_line_prints_a_table_and_keeps_the_metrics_with_the_checkpoint(
    workplace: Path, store: str, tiny_style: Callable[..., StyleModel], capsys: pytest.CaptureFixture[str], by_file
):
    tracker, file = run_of(trained(tiny_style(iterations=1000)), workplace)
    reference = str(file) if by_file else "models:/tiny_waves@iterations-1000"
    assert (
        main([reference, "--photos", "photos", "--sizes", "32", "40", "--gatys-iterations", "2", "--judge-sizes"]) == 0
    )
    output = capsys.readouterr().out
    assert "tiny_waves, 1000 iterations, mean of 2 photos" in output
    assert [line.split()[0] for line in output.splitlines() if line.strip()][1:] == ["size", "32", "40"]

    client = connect(store)
    (model,) = client.search_logged_models([client.get_run(tracker.run_id).info.experiment_id])
    kept = {metric.key: metric for metric in model.metrics}
    assert {"loss/total", "eval/total_32", "eval/equivalent_gatys_iterations", "eval/spot_share"} <= kept.keys()
    assert kept["eval/total_40"].step == 1000
    assert f"{kept['eval/total_40'].value:.4g}" in output
    assert client.get_run(tracker.run_id).data.metrics["eval/total_40"] == kept["eval/total_40"].value
    assert client.get_run(tracker.run_id).info.status == "FINISHED"


def test_networks_of_different_losses_without_logging_leave_the_store_alone(
    workplace: Path, store: str, tiny_style: Callable[..., StyleModel], capsys: pytest.CaptureFixture[str]
):
    tracker, file = run_of(trained(tiny_style()), workplace)
    other = workplace / "other.safetensors"
    trained(tiny_style(name="other"), style_weight=1e15).save(other)
    flags = ["--photos", "photos/1.png", "photos", "--sizes", "32", "--gatys-iterations", "0"]
    assert main([str(file), str(other), *flags, "--judge-sizes", "--no-log"]) == 0
    first, second = capsys.readouterr().out.strip().split("\n\n")
    assert first.startswith("tiny_waves, 10 iterations, mean of 2 photos")
    assert second.startswith("other, ")
    totals = [float(table.splitlines()[-1].split()[1]) for table in (first, second)]
    assert 100 * totals[0] < totals[1]
    assert not any(name.startswith("eval/") for name in connect(store).get_run(tracker.run_id).data.metrics)


def test_a_network_that_the_store_does_not_know_is_evaluated_all_the_same(
    workplace: Path, store: str, tiny_style: Callable[..., StyleModel], capsys: pytest.CaptureFixture[str]
):
    run_of(trained(tiny_style(), style_image="elsewhere.png"), workplace)
    trained(tiny_style(), style_image="elsewhere.png").save("new.safetensors")  # other weights
    flags = ["--photos", "photos", "--sizes", "32", "--gatys-iterations", "0", "--judge-sizes"]
    assert main(["new.safetensors", *flags]) == 2
    assert "no file elsewhere.png" in capsys.readouterr().err
    assert main(["new.safetensors", *flags, "--style-image", "style.png"]) == 0
    captured = capsys.readouterr()
    assert "not in the store" in captured.err
    assert "tiny_waves" in captured.out


def test_networks_and_the_pictures_of_others_are_judged_in_one_table(
    workplace: Path, store: str, tiny_style: Callable[..., StyleModel], capsys: pytest.CaptureFixture[str]
):
    tracker, file = run_of(trained(tiny_style(iterations=1000)), workplace)
    photo = workplace / "photo.png"
    save_picture(picture(1, 96, 128), photo)
    save_picture(picture(100, 80, 96), workplace / "painting.png")
    flags = ["--photos", str(photo), "--sizes", "32", "--gatys-iterations", "0", "--style-image", "painting.png"]
    assert main([str(file), str(photo), "painting.png", *flags, "--judge-sizes", "96"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    network, itself, painting = rows[-3:]
    assert network[:2] == ["tiny_waves/1", "96"]
    assert itself[:2] == ["photo.png", "128"]
    assert float(itself[6]) == 0  # it has changed nothing
    assert float(painting[2]) == 0  # it is the style
    kept = connect(store).get_run(tracker.run_id).data.metrics
    assert f"{kept['eval/style_error_96']:.3f}" == network[2]
    assert {"eval/content_change_96", "eval/grid_96"} <= kept.keys()


def test_a_picture_is_judged_by_a_painting_that_is_named(
    workplace: Path, store: str, capsys: pytest.CaptureFixture[str]
):
    assert main(["style.png"]) == 2
    assert "give the painting to compare it with by --style-image" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing.safetensors"], "no style file missing.safetensors"),
        (["missing"], "registry"),
        (["new.safetensors", "--photos", "nowhere"], "nowhere does not exist"),
        (["new.safetensors", "--photos", "empty"], "has no photos"),
        (["new.safetensors", "--sizes", "8"], "at least 32"),
        (["new.safetensors", "--gatys-iterations", "-1"], "at least 0"),
        (["new.safetensors", "--device", "nonsense"], "no device"),
    ],
)
def test_mistakes_end_with_one_sentence(
    workplace: Path,
    store: str,
    tiny_style: Callable[..., StyleModel],
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
):
    (workplace / "empty").mkdir()
    trained(tiny_style()).save("new.safetensors")
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error


def test_photos_of_one_name_stay_apart(tmp_path: Path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        save_picture(STYLE, tmp_path / folder / "same.png")
    assert len(photo_files([str(tmp_path / "a"), str(tmp_path / "b")])) == 2


def test_networks_from_before_relative_losses_keep_the_losses_that_they_were_trained_with(tiny_style) -> None:
    settings = training_settings(trained(tiny_style()).card)
    assert (settings.style_normalization, settings.content_normalization) == ("mean", "mean")
    assert (settings.loss_scales, settings.steadiness_weight) == ((1,), 0.0)
    assert training_settings(trained(tiny_style(), loss_scales=[1, 2]).card).loss_scales == (1, 2)


def test_published_networks_are_found_before_they_are_in_the_registry(
    store: str, tiny_style: Callable[..., StyleModel], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STYLECORE_STYLES", str(tmp_path))
    tiny_style("stripes", 10).save(tmp_path / "first" / "checkpoints" / "iterations-10.safetensors")
    for found in (find_candidate("models:/stripes@iterations-10").model, trained_style("models:/stripes")):
        assert (found.card.name, found.card.iterations) == ("stripes", 10)
    for find in (find_candidate, trained_style):
        with pytest.raises(StylecoreError, match="is empty"):
            find("models:/clouds")
