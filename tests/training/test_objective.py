"""The steadiness loss and the scales of the style loss; the losses themselves are tested with stylecore.losses."""

import pytest
import torch
from accelerate import Accelerator

from stylecore.errors import StylecoreError
from stylecore.pictures.read import resize
from stylecore.vgg.network import VGG
from tests.small_vgg import small_vgg
from training.config import TrainConfig
from training.objective import (
    MOVED_BORDER,
    grid_loss,
    losses_to_log,
    move,
    shift_at,
    steadiness_loss,
    style_targets,
    training_losses,
)


def test_the_shifts_are_all_of_0_to_3_pixels_but_none_at_all() -> None:
    shifts = [shift_at(iteration) for iteration in range(1, 16)]
    assert sorted(shifts) == [(down, right) for down in range(4) for right in range(4)][1:]


def test_what_moves_with_the_photo_is_steady() -> None:
    photo = torch.rand(2, 3, 48, 48)
    for shift in ((0, 1), (2, 3)):
        assert steadiness_loss(photo.square(), move(photo, shift).square(), shift) == 0


def test_a_pattern_that_stays_while_the_photo_moves_is_not() -> None:
    pattern = (torch.arange(48) % 4 == 0).float().expand(1, 3, 48, 48)
    assert steadiness_loss(pattern, pattern, (0, 1)) == pytest.approx(0.5)
    assert steadiness_loss(pattern, pattern, (3, 0)) == 0  # it runs from top to bottom


def test_the_edges_do_not_count() -> None:
    photo = torch.rand(1, 3, 64, 64)
    moved = move(photo, (1, 2)).clone()
    moved[..., :MOVED_BORDER, :] = 0
    moved[..., -MOVED_BORDER:] = 0
    assert steadiness_loss(photo, moved, (1, 2)) == 0


def test_the_grid_loss_is_the_mean_square_of_what_repeats_on_every_photo() -> None:
    stripes = (torch.arange(32) % 4 == 0).float().expand(3, 32, 32)
    assert grid_loss(stripes.expand(2, 3, 32, 32)) == pytest.approx(3 / 16)  # the variance of one in four
    assert grid_loss(torch.stack([stripes, 1 - stripes])) == pytest.approx(0, abs=1e-9)  # not on every photo
    assert grid_loss((torch.arange(32) % 8 == 0).float().expand(1, 3, 32, 32)) == pytest.approx(3 / 64)
    assert grid_loss((torch.arange(32) // 8 % 2).float().expand(1, 3, 32, 32)) == 0  # repeats, but every 16 pixels


@pytest.fixture(scope="module")
def vgg() -> VGG:
    return small_vgg("D")


def config(**settings: object) -> TrainConfig:
    known = {"name": "tiny", "style_image": "tiny.png", "style_size": 64, "style_layers": ("relu1_1", "relu2_1")}
    return TrainConfig(**{**known, "content_layer": "relu2_1", **settings})  # type: ignore[arg-type]


def test_the_painting_itself_has_no_relative_style_loss_at_any_scale(vgg: VGG) -> None:
    settings = config(style_normalization="relative", loss_scales=(1,), style_weight=1.0)
    painting = resize(torch.rand(3, 9, 9), (64, 64))
    targets = style_targets(vgg, painting, settings)
    losses = training_losses(vgg, painting[None], painting[None], targets, settings, Accelerator(cpu=True))
    assert float(losses["loss/style"]) == pytest.approx(0, abs=1e-9)


def test_every_scale_has_its_losses_and_they_add_up(vgg: VGG) -> None:
    settings = config(loss_scales=(1, 2, 4), style_layer_weights=(2.0, 1.0))
    photo = torch.rand(1, 3, 64, 64)
    targets = style_targets(vgg, torch.rand(3, 70, 64), settings)
    losses = training_losses(vgg, photo, photo, targets, settings, Accelerator(cpu=True))
    single = {name: float(value) for name, value in losses.items() if name.startswith("loss/style/")}
    assert set(single) == {
        f"loss/style/{layer}{scale}" for layer in ("relu1_1", "relu2_1") for scale in ("", "_scale_2", "_scale_4")
    }
    assert sum(single.values()) == pytest.approx(float(losses["loss/style"]), rel=1e-5)
    alike = config(loss_scales=(1, 2, 4))
    plain = training_losses(vgg, photo, photo, targets, alike, Accelerator(cpu=True))
    assert single["loss/style/relu1_1"] == pytest.approx(2 * float(plain["loss/style/relu1_1"]), rel=1e-5)


def test_a_rarer_steadiness_loss_weighs_more(vgg: VGG) -> None:
    photo, moved = torch.rand(1, 3, 64, 64), torch.rand(1, 3, 64, 64)
    weighted = []
    for every in (1, 5):
        settings = config(steadiness_weight=2.0, steadiness_every=every)
        targets = style_targets(vgg, torch.rand(3, 70, 64), settings)
        losses = training_losses(vgg, photo, photo, targets, settings, Accelerator(cpu=True), None, moved, (1, 0))
        weighted.append(float(losses["loss/steadiness"]))
    assert weighted[1] == pytest.approx(5 * weighted[0])


def test_the_logged_total_has_a_rarer_steadiness_loss_once_in_every_iteration() -> None:
    last = torch.tensor(0.0)
    totals = []
    for computed in (None, 10.0, None):
        losses = {"loss/content": torch.tensor(3.0), "loss/total": torch.tensor(3.0 + (computed or 0))}
        if computed:
            losses["loss/steadiness"] = torch.tensor(computed)
        logged = losses_to_log(losses, last, 5)
        last = logged["loss/steadiness"]
        totals.append(float(logged["loss/total"]))
    assert totals == [3, 5, 5]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"loss_scales": ()}, "loss-scales"),
        ({"loss_scales": (1, 1)}, "different"),
        ({"loss_scales": (0, 1)}, "at least 1"),
        ({"loss_scales": (1, 32)}, "leaves 8 pixels"),
        ({"style_layer_weights": (1.0,)}, "1 numbers for 2 style layers"),
        ({"style_layer_weights": (1.0, -1.0)}, "at least 0"),
        ({"steadiness_weight": float("nan")}, "steadiness-weight"),
        ({"input_noise": 2.0}, "--input-noise is 2.0"),
        ({"painted_side": 8}, "painted-side"),
        ({"preview_photos": ("a/sea.jpg", "b/sea.png")}, "two files of the same name"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(StylecoreError, match=message):
        config(**settings).check()
