"""What the comparison of training losses holds equal."""

from pathlib import Path

import pytest
import torch

from stylecore.pictures.read import fit
from tests.small_vgg import small_vgg
from training.config import TrainConfig, parse_config
from training.experiments.objectives import PHOTO_LOSS, balanced, variants
from training.objective import pixel_objective, style_targets

RECIPE = Path(__file__).parents[3] / "training" / "recipes" / "starry_night.yaml"


def test_every_combination_is_compared_once_and_nothing_else_differs() -> None:
    recipe, _ = parse_config(["--recipe", str(RECIPE), "--iterations", "3", "--checkpoints", "3"])
    compared = variants(recipe)
    combinations = {(each.style_normalization, each.loss_scales, each.content_layer) for each in compared}
    assert len(compared) == len(combinations) == 18
    assert len({each.run_name for each in compared}) == 18
    assert all(each.grid_weight == each.steadiness_weight == 0 for each in compared)
    settings = [{**each.for_card(), "run_name": ""} for each in compared]
    changing = {name for name in settings[0] if len({str(each[name]) for each in settings}) > 1}
    assert changing == {"style_normalization", "loss_scales", "content_layer"}


@pytest.mark.parametrize("normalization", ["mean", "sum", "relative"])
def test_the_photos_have_the_same_style_loss_by_every_objective(normalization: str) -> None:
    vgg = small_vgg("A")
    painting = torch.rand(3, 64, 80)
    photos = {"one": torch.rand(3, 70, 64), "two": torch.rand(3, 64, 64) * 0.5}
    config = TrainConfig(
        crop=64, style_size=64, style_normalization=normalization, loss_scales=(1, 2),  # type: ignore[arg-type]
        style_layers=("relu1_1", "relu2_1"), content_layer="relu2_1",
    )  # fmt: skip
    weighted = balanced(config, vgg, painting, photos)
    targets = style_targets(vgg, painting, weighted)
    losses = [
        pixel_objective(vgg, photo, targets, weighted).evaluate(photo)[0]["style"]
        for photo in (fit(pixels, 64).unsqueeze(0) for pixels in photos.values())
    ]
    assert sum(losses) / len(losses) == pytest.approx(PHOTO_LOSS, rel=1e-3)
