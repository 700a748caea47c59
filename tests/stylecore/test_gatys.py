"""Gatys' optimization on pictures of some dozen pixels, with a VGG-11 of random weights where those do."""

import itertools
import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from stylecore.color import luma, match_color
from stylecore.errors import StylecoreError
from stylecore.gatys import memory as gatys_memory
from stylecore.gatys import paint as gatys
from stylecore.gatys.config import scale_sizes, scale_steps, style_size
from stylecore.gatys.objective import Objective, build_objective
from stylecore.gatys.paint import (
    GatysConfig,
    GatysDiverged,
    GatysStep,
    estimate_memory,
    measure_step_seconds,
    paint,
)
from stylecore.losses import gram_matrix, paper_content_scale, paper_style_scale
from stylecore.preprocessing import CAFFE, IMAGENET, Preprocessing
from stylecore.vgg.network import VGG
from stylecore.vgg.weights import load_vgg

SHALLOW = GatysConfig(content_layers=("relu2_1",), style_layers=("relu1_1", "relu2_1"), steps=4)


@pytest.fixture(scope="module")
def vgg() -> VGG:
    torch.manual_seed(1)
    return VGG("A").eval()


def _picture(height: int, width: int, seed: int = 0) -> Tensor:
    """Soft shapes of strong colors, so that neither the pictures nor their Gram matrices are alike."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, 5, 5, generator=generator)
    return torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear")[0]


CONTENT = _picture(32, 40, seed=1)
STYLE = _picture(36, 30, seed=2)


def _last(steps: list[GatysStep]) -> Tensor:
    return steps[-1].picture()


# The losses and the path down


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
@pytest.mark.parametrize("start", ["content", "style", "noise"])
def test_the_loss_falls_from_every_start(vgg: VGG, optimizer: str, start: str) -> None:
    config = GatysConfig(steps=12, optimizer=optimizer, start=start)
    steps = list(paint(CONTENT, STYLE, vgg, config))
    totals = [step.losses["total"] for step in steps]
    assert [step.step for step in steps] == list(range(1, 13))
    assert totals[-1] < 0.9 * totals[0]


def test_losses_are_those_of_the_picture_and_add_up(vgg: VGG) -> None:
    config = replace(SHALLOW, tv_weight=10.0, border=0)
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
    pictures = [_last(list(paint(CONTENT, STYLE, vgg, each))) for each in (config, tiny)]
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


# Normalization, layers, weights


def _objective(vgg: VGG, config: GatysConfig, styles: list[Tensor] | None = None) -> Objective:
    pictures = [style[None] for style in styles or [STYLE]]
    size = (CONTENT.shape[-2], CONTENT.shape[-1])
    brushes = [
        gatys.resize(picture, style_size((picture.shape[-2], picture.shape[-1]), size, config)) for picture in pictures
    ]
    return build_objective(CONTENT[None], brushes, [1 / len(brushes)] * len(brushes), vgg, config)


def test_the_paper_is_the_mean_times_the_scales(vgg: VGG) -> None:
    pixels = _picture(32, 40, seed=3)[None]
    mean, _ = _objective(vgg, SHALLOW).evaluate(pixels)
    paper, _ = _objective(vgg, replace(SHALLOW, normalization="paper")).evaluate(pixels)
    scales = {
        "content/relu2_1": paper_content_scale(128, 16 * 20),
        "style/relu1_1": paper_style_scale(64),
        "style/relu2_1": paper_style_scale(128),
    }
    for name, scale in scales.items():
        assert paper[name] == pytest.approx(mean[name] * scale, rel=1e-5)


def test_relative_losses_of_an_empty_picture_would_be_their_weights(vgg: VGG) -> None:
    objective = _objective(vgg, replace(SHALLOW, normalization="relative", content_weight=3.0, style_weight=8.0))
    (target,) = objective.content_targets.values()
    assert objective.weights["content/relu2_1"] * float(target.square().mean()) == pytest.approx(3)
    for term, gram in objective.gram_targets.items():
        assert objective.weights[str(term)] * float(gram.square().mean()) == pytest.approx(4)


def test_the_paper_is_equations_1_and_4(vgg: VGG) -> None:
    """Written out as the paper has them, with its unnormalized Gram matrices."""
    config = replace(SHALLOW, normalization="paper", content_weight=3.0, style_weight=7.0)
    vgg_caffe = _with_preprocessing(vgg, CAFFE)
    pixels = _picture(32, 40, seed=3)[None]
    style = _picture(32, 40, seed=4)
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
    pixels = _picture(32, 40, seed=3)[None]
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
    copy = VGG("A", preprocessing=preprocessing).eval()
    copy.load_state_dict(vgg.state_dict())
    return copy


def test_layers_have_equal_weights_or_their_own(vgg: VGG) -> None:
    pixels = _picture(32, 40, seed=3)[None]
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
    other = _picture(44, 32, seed=5)
    pixels = _picture(32, 40, seed=3)[None]
    config = replace(SHALLOW, content_weight=0.0)
    _, both = _objective(vgg, config, [STYLE, other]).evaluate(pixels)
    alone = [_objective(vgg, config, [style]).evaluate(pixels)[1] for style in (STYLE, other)]
    torch.testing.assert_close(both, (alone[0] + alone[1]) / 2, rtol=1e-3, atol=both.abs().max().item() * 1e-4)


def test_style_blend_weighs_the_pictures(vgg: VGG) -> None:
    other = _picture(44, 32, seed=5)
    only_first = replace(SHALLOW, style_blend=(3.0, 0.0))
    assert _last(list(paint(CONTENT, [STYLE, other], vgg, only_first))).equal(
        _last(list(paint(CONTENT, STYLE, vgg, SHALLOW)))
    )
    equal = _last(list(paint(CONTENT, torch.stack([STYLE, STYLE.flip(2)]), vgg, SHALLOW)))
    assert not equal.equal(_last(list(paint(CONTENT, STYLE, vgg, SHALLOW))))


# Start, seed, scales, sizes


def test_the_same_seed_gives_the_same_picture(vgg: VGG) -> None:
    config = replace(SHALLOW, start="noise", seed=7)
    first, second = (_last(list(paint(CONTENT, STYLE, vgg, config))) for _ in range(2))
    other = _last(list(paint(CONTENT, STYLE, vgg, replace(config, seed=8))))
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


@settings(max_examples=12, deadline=None)
@given(
    height=st.integers(16, 49),
    width=st.integers(16, 49),
    style_height=st.integers(16, 60),
    border=st.integers(0, 6),
    start=st.sampled_from(["content", "style", "noise"]),
)
def test_any_size_comes_back_as_it_was(
    vgg: VGG, height: int, width: int, style_height: int, border: int, start: str
) -> None:
    config = replace(SHALLOW, steps=2, border=border, start=start)
    *_, step = paint(_picture(height, width), _picture(style_height, 33, seed=2), vgg, config)
    picture = step.picture()
    assert picture.shape == (3, height, width)
    assert picture.dtype == torch.float32
    assert 0 <= picture.min() <= picture.max() <= 1


def test_coarse_to_fine_shares_the_steps_and_hands_out_full_size(vgg: VGG) -> None:
    config = replace(SHALLOW, scales=2, steps=5)
    assert scale_sizes(320, 330, config) == [(160, 165), (320, 330)]
    assert scale_steps(2, 5) == [2, 3]
    steps = list(paint(_picture(320, 330), STYLE, vgg, config))
    assert [step.picture().shape for step in steps] == [(3, 320, 330)] * 5
    assert [step.step for step in steps] == [1, 2, 3, 4, 5]
    assert [step.scale for step in steps] == [0.5, 0.5, 1, 1, 1]


def test_scales_that_would_be_tiny_or_have_no_step_are_left_out() -> None:
    assert scale_sizes(330, 350, GatysConfig(scales=9)) == [(165, 175), (330, 350)]
    assert scale_sizes(310, 1000, GatysConfig(scales=3)) == [(310, 1000)]
    assert scale_sizes(512, 512, GatysConfig(scales=4, steps=2)) == [(256, 256), (512, 512)]


def test_style_scale_is_the_size_of_the_brush() -> None:
    assert style_size((100, 400), (200, 200), GatysConfig()) == (100, 400)
    assert style_size((50, 200), (200, 200), GatysConfig(style_scale=2)) == (200, 800)


# Colors


def test_luminance_keeps_the_colors_of_the_content(vgg: VGG) -> None:
    content = 0.3 + 0.4 * CONTENT  # room for the luminance, so that nothing is clipped
    plain, kept = (
        _last(list(paint(content, STYLE, vgg, replace(SHALLOW, keep_colors=keep)))) for keep in ("none", "luminance")
    )
    torch.testing.assert_close(luma(kept), luma(plain), atol=1e-3, rtol=0)
    torch.testing.assert_close(kept - luma(kept), content - luma(content), atol=1e-3, rtol=0)


def test_match_recolors_the_style_first(vgg: VGG) -> None:
    matched = _last(list(paint(CONTENT, STYLE, vgg, replace(SHALLOW, keep_colors="match"))))
    by_hand = _last(list(paint(CONTENT, match_color(STYLE, CONTENT), vgg, SHALLOW)))
    torch.testing.assert_close(matched, by_hand, atol=1e-5, rtol=0)


# Budgets and progress


def _ticking(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that says one second more whenever it is asked: once at the start, then twice a step."""
    ticks = itertools.count()
    monkeypatch.setattr(gatys, "perf_counter", lambda: float(next(ticks)))


def test_time_ends_the_run_before_a_step_that_would_not_end_in_time(vgg: VGG, monkeypatch: pytest.MonkeyPatch) -> None:
    _ticking(monkeypatch)
    steps = list(paint(CONTENT, STYLE, vgg, replace(SHALLOW, steps=100, seconds=10)))
    assert [step.elapsed for step in steps] == [2, 4, 6, 8, 10]
    assert [step.remaining for step in steps] == [8, 6, 4, 2, 0]
    assert steps[0].total_steps == 100


def test_there_is_a_picture_however_short_the_time(vgg: VGG) -> None:
    (step,) = paint(CONTENT, STYLE, vgg, replace(SHALLOW, seconds=1e-9))
    assert step.picture().shape == CONTENT.shape
    assert step.remaining == 0


def test_time_is_shared_among_the_scales(vgg: VGG, monkeypatch: pytest.MonkeyPatch) -> None:
    """A quarter of the pixels at half the size: a fifth of the time, and the rest is the finest's."""
    _ticking(monkeypatch)
    config = replace(SHALLOW, steps=100, seconds=20, scales=2, border=0)
    steps = list(paint(_picture(320, 320), STYLE, vgg, config))
    assert [step._pixels.shape[-1] for step in steps] == [160] * 2 + [320] * 8


def test_remaining_time_is_in_proportion_to_the_steps_without_the_preparation(
    vgg: VGG, monkeypatch: pytest.MonkeyPatch
) -> None:
    _ticking(monkeypatch)
    steps = list(paint(CONTENT, STYLE, vgg, SHALLOW))
    assert [step.remaining for step in steps] == pytest.approx([3, 3, 5 / 3, 0])


def test_a_step_keeps_its_picture_when_the_run_goes_on(vgg: VGG) -> None:
    run = paint(CONTENT, STYLE, vgg, SHALLOW)
    first = next(run)
    before = first.picture()
    before_again = first.picture()
    next(run)
    assert first.picture().equal(before)
    before.zero_()
    assert first.picture().equal(before_again)


def test_the_gradient_mode_is_never_left_changed(vgg: VGG) -> None:
    for enabled in (True, False):
        with torch.set_grad_enabled(enabled):
            for step in paint(CONTENT, STYLE, vgg, SHALLOW):
                assert torch.is_grad_enabled() is enabled
                assert not step.picture().requires_grad
            run = paint(CONTENT, STYLE, vgg, SHALLOW)
            next(run)
            run.close()
            assert torch.is_grad_enabled() is enabled


def test_it_works_under_inference_mode(vgg: VGG) -> None:
    with torch.inference_mode():
        content = CONTENT * 1.0
        painted = _last(list(paint(content, STYLE, vgg, SHALLOW)))
    assert painted.equal(_last(list(paint(CONTENT, STYLE, vgg, SHALLOW))))


# What is refused, and what goes wrong


def test_the_first_loss_that_is_no_number_stops_the_run(vgg: VGG, monkeypatch: pytest.MonkeyPatch) -> None:
    evaluate, calls = Objective.evaluate, itertools.count()

    def fails_at_the_fourth(self: Objective, pixels: Tensor) -> tuple[dict[str, float], Tensor]:
        losses, gradient = evaluate(self, pixels)
        return ({**losses, "total": math.nan}, gradient) if next(calls) == 3 else (losses, gradient)

    monkeypatch.setattr(Objective, "evaluate", fails_at_the_fourth)
    run = paint(CONTENT, STYLE, vgg, SHALLOW)
    steps = [next(run), next(run)]
    with pytest.raises(GatysDiverged, match="step 3") as caught:
        next(run)
    assert isinstance(caught.value, StylecoreError)
    assert caught.value.picture.equal(steps[-1].picture())


def test_weights_beyond_all_numbers_are_refused_at_the_start(vgg: VGG) -> None:
    with pytest.raises(GatysDiverged, match="start") as caught:
        next(paint(CONTENT, STYLE, vgg, replace(SHALLOW, style_weight=1e300, start="noise")))
    assert caught.value.picture.isfinite().all()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"optimizer": "sgd"}, "lbfgs, adam"),
        ({"normalization": "sum"}, "mean, paper"),
        ({"start": "gray"}, "content, style, noise"),
        ({"keep_colors": True}, "none, luminance, match"),
        ({"steps": 0}, "steps"),
        ({"scales": 0}, "scales"),
        ({"seconds": 0.0}, "seconds"),
        ({"style_weight": -1.0}, "style_weight"),
        ({"tv_weight": math.nan}, "tv_weight"),
        ({"style_scale": 0.0}, "style_scale"),
        ({"border": -1}, "border"),
        ({"style_layers": ()}, "layer"),
        ({"style_layers": {"relu1_1": -1.0}}, "layer"),
        ({"style_blend": (0.0, 0.0)}, "style picture"),
        ({"content_weight": 0.0, "style_weight": 0.0}, "every weight is 0"),
    ],
)
def test_settings_outside_what_is_allowed_are_refused(changes: dict[str, object], words: str) -> None:
    with pytest.raises(StylecoreError, match=words):
        GatysConfig(**changes)  # type: ignore[arg-type]


def test_everything_is_checked_at_the_call(vgg: VGG) -> None:
    """Nothing is iterated over here."""
    with pytest.raises(StylecoreError, match=r"'relu9_9'.*relu1_1"):
        paint(CONTENT, STYLE, vgg, GatysConfig(style_layers=("relu1_1", "relu9_9")))
    with pytest.raises(StylecoreError, match="too small"):
        paint(_picture(32, 8), STYLE, vgg, GatysConfig())
    with pytest.raises(StylecoreError, match="no style picture"):
        paint(CONTENT, [], vgg, SHALLOW)
    with pytest.raises(StylecoreError, match="2 weights for 1"):
        paint(CONTENT, STYLE, vgg, replace(SHALLOW, style_blend=(1.0, 1.0)))
    with pytest.raises(StylecoreError, match=r"shape \(3, H, W\)"):
        paint(CONTENT[None], STYLE, vgg, SHALLOW)
    for wrong in (CONTENT * 255, (CONTENT * 255).byte(), torch.full_like(CONTENT, math.nan)):
        with pytest.raises(StylecoreError, match="content picture has values outside"):
            paint(wrong, STYLE, vgg, SHALLOW)
    with pytest.raises(StylecoreError, match="shorter side"):
        paint(CONTENT, STYLE, vgg, replace(SHALLOW, border=32))


# Memory and time


def test_memory_grows_with_the_pixels_and_the_history(vgg: VGG) -> None:
    fixed = gatys_memory.FIXED_BYTES
    small, large = (estimate_memory(side, side, GatysConfig(), vgg) - fixed for side in (256, 512))
    assert large == pytest.approx(4 * small, rel=1e-3)
    longer = estimate_memory(256, 256, GatysConfig(history=100), vgg) - fixed
    assert longer - small == pytest.approx(2 * 80 * 3 * 4 * 256 * 256, rel=1e-6)
    assert estimate_memory(256, 256, GatysConfig(optimizer="adam"), vgg) - fixed < small
    assert estimate_memory(256, 256, GatysConfig(style_scale=4), vgg) - fixed > 2 * small


def test_a_picture_too_large_for_the_memory_is_refused_with_the_size_that_fits(
    vgg: VGG, monkeypatch: pytest.MonkeyPatch
) -> None:
    available = 10**9
    monkeypatch.setattr(gatys_memory, "available_memory", lambda device: available)
    with pytest.raises(StylecoreError, match=r"needs about .* at most ") as caught:
        paint(torch.zeros(3, 1200, 1600), STYLE, vgg, SHALLOW)
    side = int(str(caught.value).split("at most ")[1].split()[0])
    assert estimate_memory(side * 3 // 4, side, SHALLOW, vgg) <= available
    assert estimate_memory((side + 1) * 3 // 4, side + 1, SHALLOW, vgg) > available


def test_a_container_has_the_memory_that_it_is_given(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "meminfo").write_text("MemTotal: 9000000 kB\nMemAvailable: 8000000 kB\n")
    (tmp_path / "memory.max").write_text("3000000000\n")
    (tmp_path / "memory.current").write_text("1500000000\n")
    (tmp_path / "memory.stat").write_text("anon 1000000000\ninactive_file 400000000\n")
    monkeypatch.setattr(gatys_memory, "MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(gatys_memory, "CGROUP", tmp_path)
    cpu = torch.device("cpu")
    assert gatys_memory.available_memory(cpu) == 1_900_000_000
    (tmp_path / "memory.max").write_text("max\n")
    assert gatys_memory.available_memory(cpu) == 8_000_000 * 1024
    (tmp_path / "meminfo").unlink()
    assert gatys_memory.available_memory(cpu) is None


def test_a_step_of_four_times_the_pixels_is_expected_to_take_four_times(
    vgg: VGG, monkeypatch: pytest.MonkeyPatch
) -> None:
    _ticking(monkeypatch)
    assert measure_step_seconds(vgg, 160, 160, SHALLOW) == pytest.approx(1)
    assert measure_step_seconds(vgg, 320, 320, SHALLOW) == pytest.approx(4)


# The real network


def test_vgg19_has_the_loss_of_gatys_own_code_and_goes_down() -> None:
    """His notebook weighs mean squared differences of G / (H W) by 1000 / C^2, with content at 1."""
    try:
        vgg = load_vgg("vgg19")
    except StylecoreError as error:
        pytest.skip(str(error))
    style_layers = [f"relu{block}_1" for block in range(1, 6)]
    config = GatysConfig(style_layers=dict.fromkeys(style_layers, 1.0), steps=15, border=0)
    content, style = _picture(64, 64, seed=1), _picture(64, 64, seed=2)
    steps = list(paint(content, style, vgg, config))

    def gatys_notebook(pixels: Tensor) -> float:
        a, c, s = (vgg.activations(x[None], [*style_layers, "relu4_2"]) for x in (pixels, content, style))
        total = (a["relu4_2"] - c["relu4_2"]).square().mean()
        for layer in style_layers:
            channels = a[layer].shape[1]
            grams = (gram_matrix(x[layer]) * channels for x in (a, s))
            total = total + 1e3 / channels**2 * torch.nn.functional.mse_loss(*grams)
        return total.item()

    if vgg.preprocessing == CAFFE:
        assert steps[-1].losses["total"] == pytest.approx(gatys_notebook(steps[-1].picture()), rel=1e-3)
    assert steps[-1].losses["total"] < 0.4 * steps[0].losses["total"]
