"""Gatys' optimization on pictures of some dozen pixels, with a VGG-11 of random weights where those do."""

from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from gatys_pictures import (
    CONTENT,
    SHALLOW,
    STYLE,
    last,
    soft_picture,
    vgg,  # noqa: F401 - fixtures
)
from torch import Tensor

from stylecore.gatys import paint as gatys
from stylecore.gatys.config import style_size
from stylecore.gatys.objective import Objective, build_objective
from stylecore.gatys.paint import (
    GatysConfig,
    paint,
)
from stylecore.losses import paper_content_scale, paper_style_scale
from stylecore.preprocessing import CAFFE, IMAGENET, Preprocessing
from stylecore.vgg.network import VGG


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
@pytest.mark.parametrize("start", ["content", "style", "noise"])
def test_the_loss_falls_from_every_start(vgg: VGG, optimizer: str, start: str) -> None:
    config = GatysConfig(steps=12, optimizer=optimizer, start=start)
    steps = list(paint(CONTENT, STYLE, vgg, config))
    totals = [step.losses["total"] for step in steps]
    assert [step.step for step in steps] == list(range(1, 13))
    assert totals[-1] < 0.9 * totals[0]


def test_losses_are_those_of_the_picture_and_add_up(vgg: VGG) -> None:
    config = replace(SHALLOW, total_variation_weight=10.0, border=0)
    *_, step = paint(CONTENT, STYLE, vgg, config)
    losses = step.losses
    assert set(losses) == {
        *("total", "content", "style", "tv"),
        *("content/relu2_1", "style/relu1_1", "style/relu2_1"),
    }
    assert losses["total"] == pytest.approx(losses["content"] + losses["style"] + losses["tv"])
    assert losses["style"] == pytest.approx(losses["style/relu1_1"] + losses["style/relu2_1"])
    assert losses["tv"] > 0
    again, _ = _objective(vgg, config).evaluate(step.picture()[None])
    assert again == pytest.approx(losses, rel=1e-4)


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
def test_only_the_ratio_of_the_weights_matters(vgg: VGG, optimizer: str) -> None:
    config = replace(SHALLOW, optimizer=optimizer, content_weight=1.0, style_weight=8.0)
    tiny = replace(config, content_weight=2.0**-30, style_weight=2.0**-27)
    pictures = [last(list(paint(CONTENT, STYLE, vgg, each))) for each in (config, tiny)]
    torch.testing.assert_close(*pictures, atol=1e-4, rtol=0)


def test_the_gradient_is_that_of_the_total(vgg: VGG) -> None:
    objective = _objective(vgg, SHALLOW)
    pixels = CONTENT[None].clamp(0.1, 0.9)
    _, gradient = objective.evaluate(pixels)
    direction = gradient / gradient.norm()
    ahead, behind = (objective.evaluate(pixels + sign * 1e-2 * direction)[0]["total"] for sign in (1.0, -1.0))
    assert (ahead - behind) / 2e-2 == pytest.approx(gradient.norm().item(), rel=0.05)


def test_a_vgg_that_is_not_frozen_gets_no_gradients(vgg: VGG) -> None:
    list(paint(CONTENT, STYLE, vgg, replace(SHALLOW, steps=1)))
    assert all(parameter.requires_grad and parameter.grad is None for parameter in vgg.parameters())


def test_the_objective_at_its_targets_is_zero(vgg: VGG) -> None:
    losses, gradient = build_objective(CONTENT[None], [CONTENT[None]], [1.0], vgg, SHALLOW).evaluate(CONTENT[None])
    assert losses["total"] == 0
    assert not gradient.any()
    *_, step = paint(CONTENT, CONTENT, vgg, replace(SHALLOW, border=0))
    assert step.picture().equal(CONTENT)


def _objective(vgg: VGG, config: GatysConfig, styles: list[Tensor] | None = None) -> Objective:
    pictures = [style[None] for style in styles or [STYLE]]
    size = (CONTENT.shape[-2], CONTENT.shape[-1])
    brushes = [
        gatys.resize(picture, style_size((picture.shape[-2], picture.shape[-1]), size, config)) for picture in pictures
    ]
    return build_objective(CONTENT[None], brushes, [1 / len(brushes)] * len(brushes), vgg, config)


def test_the_paper_is_the_mean_times_the_scales(vgg: VGG) -> None:
    pixels = soft_picture(32, 40, seed=3)[None]
    mean, _ = _objective(vgg, SHALLOW).evaluate(pixels)
    paper, _ = _objective(vgg, replace(SHALLOW, loss_normalization="paper")).evaluate(pixels)
    scales = {
        "content/relu2_1": paper_content_scale(16, 16 * 20),
        "style/relu1_1": paper_style_scale(8),
        "style/relu2_1": paper_style_scale(16),
    }
    for name, scale in scales.items():
        assert paper[name] == pytest.approx(mean[name] * scale, rel=1e-5)


def test_relative_losses_of_an_empty_picture_would_be_their_weights(vgg: VGG) -> None:
    objective = _objective(vgg, replace(SHALLOW, loss_normalization="relative", content_weight=3.0, style_weight=8.0))
    (target,) = objective.content_targets.values()
    assert objective.weights["content/relu2_1"] * float(target.square().mean()) == pytest.approx(3)
    for term, gram in objective.gram_targets.items():
        assert objective.weights[str(term)] * float(gram.square().mean()) == pytest.approx(4)


def test_the_paper_is_equations_1_and_4(vgg: VGG) -> None:
    """Written out as the paper has them, with its unnormalized Gram matrices."""
    config = replace(SHALLOW, loss_normalization="paper", content_weight=3.0, style_weight=7.0)
    vgg_caffe = _with_preprocessing(vgg, CAFFE)
    pixels = soft_picture(32, 40, seed=3)[None]
    style = soft_picture(32, 40, seed=4)
    losses, _ = build_objective(CONTENT[None], [style[None]], [1.0], vgg_caffe, config).evaluate(pixels)

    with torch.no_grad():
        f, p, s = (vgg_caffe.activations(x, ["relu1_1", "relu2_1"]) for x in (pixels, CONTENT[None], style[None]))
    content = 0.5 * (f["relu2_1"] - p["relu2_1"]).double().square().sum()
    assert losses["content"] == pytest.approx(3 * content.item(), rel=1e-4)
    for layer in ("relu1_1", "relu2_1"):
        n, m = f[layer].shape[1], f[layer].shape[2] * f[layer].shape[3]
        g, a = (x[layer][0].reshape(n, m).double() @ x[layer][0].reshape(n, m).double().T for x in (f, s))
        style_loss = (g - a).square().sum() / (4 * n**2 * m**2)
        assert losses[f"style/{layer}"] == pytest.approx(7 * 0.5 * style_loss.item(), rel=1e-4)


def test_weights_mean_the_same_whatever_pixels_the_weights_expect(vgg: VGG) -> None:
    """Losses grow with the square (content) and the fourth power (style) of the activations' unit."""
    by_255 = Preprocessing("RGB", 255.0, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    by_1 = replace(by_255, scale=1.0)
    pixels = soft_picture(32, 40, seed=3)[None]
    without_biases = _with_preprocessing(vgg, IMAGENET)
    for name, parameter in without_biases.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.zeros_(parameter)
    losses = []
    for preprocessing in (by_255, by_1):
        without_biases.preprocessing = preprocessing
        losses.append(_objective(without_biases, SHALLOW).evaluate(pixels)[0])
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)


def _with_preprocessing(vgg: VGG, preprocessing: Preprocessing) -> VGG:
    copy = deepcopy(vgg)
    copy.preprocessing = preprocessing
    return copy


def test_layers_have_equal_weights_or_their_own(vgg: VGG) -> None:
    pixels = soft_picture(32, 40, seed=3)[None]
    equal, _ = _objective(vgg, SHALLOW).evaluate(pixels)
    own, _ = _objective(vgg, replace(SHALLOW, style_layers={"relu1_1": 2.0, "relu2_1": 0.25})).evaluate(pixels)
    assert own["style/relu1_1"] == pytest.approx(4 * equal["style/relu1_1"])
    assert own["style/relu2_1"] == pytest.approx(equal["style/relu2_1"] / 2)
    assert own["content"] == pytest.approx(equal["content"])


def test_a_weight_of_zero_leaves_the_layers_out(vgg: VGG) -> None:
    objective = _objective(vgg, replace(SHALLOW, content_weight=0.0, content_layers=("relu5_1",)))
    assert objective.content_targets == {}
    assert "content" not in {name.split("/")[0] for name in objective.weights}


def test_several_styles_pull_like_the_sum_of_their_losses(vgg: VGG) -> None:
    other = soft_picture(44, 32, seed=5)
    pixels = soft_picture(32, 40, seed=3)[None]
    config = replace(SHALLOW, content_weight=0.0)
    _, both = _objective(vgg, config, [STYLE, other]).evaluate(pixels)
    alone = [_objective(vgg, config, [style]).evaluate(pixels)[1] for style in (STYLE, other)]
    torch.testing.assert_close(both, (alone[0] + alone[1]) / 2, rtol=1e-3, atol=both.abs().max().item() * 1e-4)


def test_style_blend_weighs_the_pictures(vgg: VGG) -> None:
    other = soft_picture(44, 32, seed=5)
    only_first = replace(SHALLOW, style_blend=(3.0, 0.0))
    assert last(list(paint(CONTENT, [STYLE, other], vgg, only_first))).equal(
        last(list(paint(CONTENT, STYLE, vgg, SHALLOW)))
    )
    equal = last(list(paint(CONTENT, torch.stack([STYLE, STYLE.flip(2)]), vgg, SHALLOW)))
    assert not equal.equal(last(list(paint(CONTENT, STYLE, vgg, SHALLOW))))


def test_the_same_seed_gives_the_same_picture(vgg: VGG) -> None:
    config = replace(SHALLOW, start="noise", seed=7)
    first, second = (last(list(paint(CONTENT, STYLE, vgg, config))) for _ in range(2))
    other = last(list(paint(CONTENT, STYLE, vgg, replace(config, seed=8))))
    assert first.equal(second)
    assert not first.equal(other)


def test_a_start_picture_of_another_size_is_begun_with(vgg: VGG) -> None:
    """A step of Adam is at most its rate, so the first picture shows where it came from."""
    config = replace(SHALLOW, optimizer="adam", learning_rate=1e-3, steps=1, border=0)
    start = torch.full((3, 50, 60), 0.25)
    (step,) = paint(CONTENT, STYLE, vgg, config, start=start)
    torch.testing.assert_close(step.picture(), torch.full_like(CONTENT, 0.25), atol=2e-3, rtol=0)
    (step,) = paint(CONTENT, STYLE, vgg, config)
    torch.testing.assert_close(step.picture(), CONTENT, atol=2e-3, rtol=0)
    (step,) = paint(CONTENT, STYLE, vgg, replace(config, start="style"))
    assert (step.picture().mean((1, 2)) - STYLE.mean((1, 2))).abs().max() < 0.1
