import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stylecore.color import blend, luma, match_color, with_colors_of
from stylecore.errors import StylecoreError


def middling(*shape: int) -> torch.Tensor:
    """Colors away from 0 and 1, so that nothing is clipped."""
    return 0.4 + 0.2 * torch.rand(*shape)


def statistics(pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    colors = pixels.double().reshape(3, -1)
    return colors.mean(1), torch.cov(colors, correction=0)


def test_the_ends_of_the_mix_are_exact() -> None:
    content, stylized = torch.rand(3, 5, 7), torch.rand(3, 5, 7)
    assert torch.equal(blend(content, stylized, 0), content)
    assert torch.equal(blend(content, stylized, 0, keep_colors=True), content)
    assert torch.equal(blend(content, stylized), stylized)


def test_the_middle_of_the_mix() -> None:
    content, stylized = torch.rand(2, 3, 5, 7), torch.rand(2, 3, 5, 7)
    assert torch.allclose(blend(content, stylized, 0.25), 0.75 * content + 0.25 * stylized)


@settings(max_examples=30, deadline=None)
@given(st.floats(0, 1))
def test_the_mix_stays_in_range(strength: float) -> None:
    mixed = blend(torch.rand(3, 4, 4).round(), torch.rand(3, 4, 4).round(), strength, keep_colors=True)
    assert mixed.min() >= 0
    assert mixed.max() <= 1


@pytest.mark.parametrize("strength", [-0.01, 1.01, math.nan, math.inf])
def test_a_strength_outside_0_to_1_is_refused(strength: float) -> None:
    with pytest.raises(StylecoreError, match="from 0 to 1"):
        blend(torch.rand(3, 2, 2), torch.rand(3, 2, 2), strength)


def test_pictures_of_different_size_are_not_broadcast() -> None:
    with pytest.raises(ValueError, match="cannot blend"):
        blend(torch.rand(3, 2, 2), torch.rand(3, 1, 1))


def test_luma_of_the_primaries() -> None:
    assert luma(torch.eye(3).reshape(3, 1, 3)).flatten().tolist() == pytest.approx([0.299, 0.587, 0.114])
    assert luma(torch.ones(2, 3, 1, 1)).shape == (2, 1, 1, 1)


def test_kept_colors_are_y_of_the_stylized_and_i_q_of_the_content() -> None:
    # RGB to YIQ (NTSC), back by its inverse: the long way round, as the paper describes it.
    to_yiq = torch.tensor([[0.299, 0.587, 0.114], [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]]).double()
    content, stylized = middling(3, 4, 5).double(), middling(3, 4, 5).double()
    yiq = torch.einsum("ij,jhw->ihw", to_yiq, content)
    yiq[0] = torch.einsum("j,jhw->hw", to_yiq[0], stylized)
    expected = torch.einsum("ij,jhw->ihw", torch.linalg.inv(to_yiq), yiq)
    assert torch.allclose(with_colors_of(content, stylized), expected, atol=1e-3)  # the matrix has four digits
    assert torch.equal(blend(content, stylized, keep_colors=True), with_colors_of(content, stylized))


def test_gray_content_makes_a_gray_picture() -> None:
    kept = blend(middling(1, 4, 4).expand(3, -1, -1), middling(3, 4, 4), keep_colors=True)
    assert torch.allclose(kept[0], kept[1])
    assert torch.allclose(kept[0], kept[2])


def test_matched_colors_have_the_contents_mean_and_covariance() -> None:
    mixing = torch.tensor([[0.6, 0.3, 0.1], [0.1, 0.7, 0.2], [0.3, 0.0, 0.7]])
    style = middling(3, 20, 30)
    content = torch.einsum("ij,jhw->ihw", mixing, middling(3, 17, 11)) - 0.05
    matched = match_color(style, content)
    assert matched.shape == style.shape
    assert matched.dtype == torch.float32
    for ours, theirs in zip(statistics(matched), statistics(content), strict=True):
        assert torch.allclose(ours, theirs, atol=1e-6)


def test_matching_a_picture_to_itself_changes_nothing() -> None:
    style = torch.rand(3, 20, 30)
    assert torch.allclose(match_color(style, style), style, atol=1e-6)


def test_gray_and_plain_pictures_give_numbers() -> None:
    colorful, gray = torch.rand(3, 8, 8), torch.rand(1, 8, 8).expand(3, 8, 8)
    plain = torch.tensor([0.2, 0.5, 0.7]).reshape(3, 1, 1).expand(3, 8, 8)
    for style in (colorful, gray, plain, torch.rand(3, 1, 1)):
        for content in (colorful, gray, plain, torch.rand(3, 1, 1)):
            matched = match_color(style, content)
            assert torch.isfinite(matched).all()
            assert matched.min() >= 0
            assert matched.max() <= 1
    grayed = match_color(colorful, gray)
    assert torch.allclose(grayed[0], grayed[1], atol=1e-5)
    assert torch.allclose(match_color(colorful, plain), plain, atol=1e-5)
    assert torch.allclose(match_color(plain, colorful).mean((1, 2)), colorful.mean((1, 2)), atol=1e-5)
