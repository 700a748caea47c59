"""Scales, brush, colors, time and memory of the optimization."""

import itertools
import math
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
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from stylecore.color import luma, match_color
from stylecore.errors import StylecoreError
from stylecore.gatys import config as gatys_config
from stylecore.gatys import memory as gatys_memory
from stylecore.gatys import paint as gatys
from stylecore.gatys.config import scale_sizes, scale_steps, style_size
from stylecore.gatys.memory import estimate_memory
from stylecore.gatys.objective import Objective
from stylecore.gatys.paint import (
    GatysConfig,
    measure_step_seconds,
    paint,
)
from stylecore.losses import gram_matrix
from stylecore.preprocessing import CAFFE
from stylecore.vgg.network import VGG
from stylecore.vgg.weights import load_vgg


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
    *_, step = paint(soft_picture(height, width), soft_picture(style_height, 33, seed=2), vgg, config)
    picture = step.picture()
    assert picture.shape == (3, height, width)
    assert picture.dtype == torch.float32
    assert 0 <= picture.min() <= picture.max() <= 1


def test_coarse_to_fine_shares_the_steps_and_hands_out_full_size(vgg: VGG, monkeypatch: pytest.MonkeyPatch) -> None:
    config = replace(SHALLOW, scales=2, steps=5)
    assert scale_sizes(320, 330, config) == [(160, 165), (320, 330)]
    assert scale_steps(2, 5) == [2, 3]
    monkeypatch.setattr(gatys_config, "SMALLEST_COARSE_SIDE", 30)
    steps = list(paint(soft_picture(60, 70), STYLE, vgg, config))
    assert [step.picture().shape for step in steps] == [(3, 60, 70)] * 5
    assert [step.step for step in steps] == [1, 2, 3, 4, 5]
    assert [step.scale for step in steps] == [0.5, 0.5, 1, 1, 1]


def test_scales_that_would_be_tiny_or_have_no_step_are_left_out() -> None:
    assert scale_sizes(330, 350, GatysConfig(scales=9)) == [(165, 175), (330, 350)]
    assert scale_sizes(310, 1000, GatysConfig(scales=3)) == [(310, 1000)]
    assert scale_sizes(512, 512, GatysConfig(scales=4, steps=2)) == [(256, 256), (512, 512)]


def test_style_scale_is_the_size_of_the_brush() -> None:
    assert style_size((100, 400), (200, 200), GatysConfig()) == (100, 400)
    assert style_size((50, 200), (200, 200), GatysConfig(style_scale=2)) == (200, 800)


def test_luminance_keeps_the_colors_of_the_content(vgg: VGG) -> None:
    content = 0.3 + 0.4 * CONTENT  # room for the luminance, so that nothing is clipped
    plain, kept = (
        last(list(paint(content, STYLE, vgg, replace(SHALLOW, keep_colors=keep)))) for keep in ("none", "luminance")
    )
    torch.testing.assert_close(luma(kept), luma(plain), atol=1e-3, rtol=0)
    torch.testing.assert_close(kept - luma(kept), content - luma(content), atol=1e-3, rtol=0)


def test_match_recolors_the_style_first(vgg: VGG) -> None:
    matched = last(list(paint(CONTENT, STYLE, vgg, replace(SHALLOW, keep_colors="match"))))
    by_hand = last(list(paint(CONTENT, match_color(STYLE, CONTENT), vgg, SHALLOW)))
    torch.testing.assert_close(matched, by_hand, atol=1e-5, rtol=0)


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
    (step,) = paint(CONTENT, STYLE, vgg, replace(SHALLOW, seconds=1e-3))
    assert step.picture().shape == CONTENT.shape
    assert step.remaining == 0


def test_time_is_shared_among_the_scales(vgg: VGG, monkeypatch: pytest.MonkeyPatch) -> None:
    """A quarter of the pixels at half the size: a fifth of the time, and the rest is the finest's."""
    _ticking(monkeypatch)
    monkeypatch.setattr(gatys_config, "SMALLEST_COARSE_SIDE", 30)
    config = replace(SHALLOW, steps=100, seconds=20, scales=2, border=0)
    steps = list(paint(soft_picture(60, 60), STYLE, vgg, config))
    assert [step._pixels.shape[-1] for step in steps] == [30] * 2 + [60] * 8


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
        painted = last(list(paint(content, STYLE, vgg, SHALLOW)))
    assert painted.equal(last(list(paint(CONTENT, STYLE, vgg, SHALLOW))))


def test_the_first_loss_that_is_no_number_stops_the_run(vgg: VGG, monkeypatch: pytest.MonkeyPatch) -> None:
    evaluate, calls = Objective.evaluate, itertools.count()

    def fails_at_the_fourth(self: Objective, pixels: Tensor) -> tuple[dict[str, float], Tensor]:
        losses, gradient = evaluate(self, pixels)
        return ({**losses, "total": math.nan}, gradient) if next(calls) == 3 else (losses, gradient)

    monkeypatch.setattr(Objective, "evaluate", fails_at_the_fourth)
    run = paint(CONTENT, STYLE, vgg, SHALLOW)
    assert [next(run).step, next(run).step] == [1, 2]
    with pytest.raises(StylecoreError, match="step 3"):
        next(run)


def test_weights_beyond_all_numbers_are_refused_at_the_start(vgg: VGG) -> None:
    with pytest.raises(StylecoreError, match="start"):
        next(paint(CONTENT, STYLE, vgg, replace(SHALLOW, style_weight=1e300, start="noise")))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"optimizer": "sgd"}, "lbfgs, adam"),
        ({"loss_normalization": "sum"}, "mean, paper"),
        ({"start": "gray"}, "content, style, noise"),
        ({"keep_colors": True}, "none, luminance, match"),
        ({"steps": 0}, "steps"),
        ({"scales": 0}, "scales"),
        ({"seconds": 0.0}, "seconds"),
        ({"style_weight": -1.0}, "--style-weight is -1"),
        ({"total_variation_weight": math.nan}, "--total-variation-weight is nan"),
        ({"learning_rate": 1e38}, "--learning-rate is 1e"),
        ({"style_scale": 0.0}, "--style-scale is 0"),
        ({"style_scale": 1e200}, "--style-scale is 1e"),
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
        paint(soft_picture(32, 8), STYLE, vgg, GatysConfig())
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


def test_memory_grows_with_the_pixels_and_the_history() -> None:
    fixed, config = gatys_memory.FIXED_BYTES, GatysConfig(border=0)
    small, large = (estimate_memory(side, side, config) - fixed for side in (256, 512))
    assert large == pytest.approx(4 * small, rel=1e-3)
    longer = estimate_memory(256, 256, replace(config, history=100)) - fixed
    assert longer - small == pytest.approx(2 * 80 * 3 * 4 * 256 * 256, rel=1e-6)
    assert estimate_memory(256, 256, replace(config, optimizer="adam")) - fixed < small
    assert estimate_memory(256, 256, replace(config, style_scale=4)) - fixed > 2 * small


@pytest.mark.parametrize("border", [0, 200])
def test_a_picture_too_large_for_the_memory_is_refused_with_the_size_that_fits(
    vgg: VGG, monkeypatch: pytest.MonkeyPatch, border: int
) -> None:
    config = replace(SHALLOW, border=border)
    available = 10**9
    monkeypatch.setattr(gatys_memory, "available_memory", lambda device: available)
    with pytest.raises(StylecoreError, match=r"needs about .* at most ") as caught:
        paint(torch.zeros(3, 1200, 1600), STYLE, vgg, config)
    side = int(str(caught.value).split("at most ")[1].split()[0])
    gatys_memory.check_memory(side * 3 // 4, side, config, torch.device("cpu"))
    with pytest.raises(StylecoreError):
        gatys_memory.check_memory((side + 1) * 3 // 4, side + 1, config, torch.device("cpu"))


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


def test_vgg19_has_the_loss_of_gatys_own_code_and_goes_down() -> None:
    """His notebook weighs mean squared differences of G / (H W) by 1000 / C^2, with content at 1."""
    try:
        vgg = load_vgg("vgg19")
    except StylecoreError as error:
        pytest.skip(str(error))
    style_layers = [f"relu{block}_1" for block in range(1, 6)]
    config = GatysConfig(style_layers=dict.fromkeys(style_layers, 1.0), steps=15, border=0)
    content, style = soft_picture(32, 32, seed=1), soft_picture(32, 32, seed=2)
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
