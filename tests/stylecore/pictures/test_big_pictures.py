"""Tiles join without a seam, and held statistics are those of the picture."""

import dataclasses

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from stylecore.inference.engine import Engine, border_of
from stylecore.inference.tiling import hold_statistics, samples, stylize_by_tiles, tiles
from stylecore.johnson.style_model import StyleCard, StyleModel
from stylecore.johnson.transform_net import PAPER, TransformNet, TransformNetConfig


def network(config: TransformNetConfig) -> TransformNet:
    torch.manual_seed(0)
    made = TransformNet(config).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return made


def picture(height: int, width: int) -> Tensor:
    """A ramp of brightness with noise: its parts have other statistics than the whole."""
    ramp = torch.linspace(0, 0.6, width).expand(3, height, width)
    return ramp + 0.4 * torch.rand((3, height, width), generator=torch.Generator().manual_seed(1))


def engine(made: TransformNet) -> Engine:
    return Engine(StyleModel(made, StyleCard(name="x", network=made.config)), "cpu")


SMALL = TransformNetConfig(residual_blocks=1, width=0.125)


def test_held_statistics_of_the_whole_picture_change_nothing() -> None:
    made = network(SMALL)
    whole = picture(64, 64)
    with torch.no_grad():
        expected, held = made(whole[None]), hold_statistics(made, whole)(whole[None])
    assert (expected - held).abs().max() < 0.02  # the variance held is the unbiased one, of 256 positions
    assert (expected - held).abs().mean() < 0.002


@pytest.mark.parametrize(
    "config",
    [
        SMALL,
        dataclasses.replace(SMALL, padding="same"),
        dataclasses.replace(SMALL, upsampling="transposed", normalize_output=True),
        dataclasses.replace(PAPER, residual_blocks=2, width=0.125),
    ],
)
def test_tiles_join_without_a_seam(config: TransformNetConfig) -> None:
    whole = picture(100, 131)
    held = engine(hold_statistics(network(config), whole))
    radius = config.border + 16
    together = stylize_by_tiles(held.stylize, whole, receptive_radius=radius, side=64)
    inside = (
        ...,
        slice(radius, -radius),
        slice(radius, -radius),
    )  # edges reflect other parts
    assert (together - held.paint(whole))[inside].abs().max() < 1e-5


def test_tiles_with_statistics_of_their_own_would_show_seams() -> None:
    whole = picture(100, 131)
    alone = engine(network(SMALL))
    together = stylize_by_tiles(alone.stylize, whole, receptive_radius=24, side=64)
    assert (together - alone.paint(whole)).abs().max() > 0.02


@given(st.integers(1, 700), st.integers(1, 700), st.sampled_from([64, 128, 512]))
def test_tiles_cover_every_pixel_once(height: int, width: int, side: int) -> None:
    covered = torch.zeros(height, width, dtype=torch.int)
    for top, bottom, left, right in tiles(height, width, side):
        assert top % 4 == left % 4 == 0
        assert 0 < bottom - top <= side
        assert 0 < right - left <= side
        covered[top:bottom, left:right] += 1
    assert bool((covered == 1).all())


@given(st.integers(8, 3000), st.integers(8, 3000))
def test_samples_are_few_and_reach_every_edge(height: int, width: int) -> None:
    where = torch.arange(height * width, dtype=torch.float64).reshape(1, height, width).expand(3, -1, -1)
    found = samples(where, side=64, count=9)
    assert len(found) <= 9
    assert max(found.shape[-2:]) <= 64
    if height > 128 and width > 128 and max(height, width) < 2 * min(height, width):
        rows, columns = found[:, 0] // width, found[:, 0] % width
        assert (rows.min(), columns.min()) == (0, 0)
        assert (rows.max(), columns.max()) == (height - 1, width - 1)


def test_progress_ends_at_one() -> None:
    shares: list[float] = []
    stylize_by_tiles(lambda part: part, picture(70, 90), receptive_radius=8, side=32, progress=shares.append)
    assert shares == sorted(shares)
    assert shares[-1] == 1
    assert len(shares) > 4


def test_the_engine_cuts_what_is_too_large_into_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    stylist = engine(network(SMALL))
    whole = picture(140, 143)
    at_once = stylist.paint(whole)
    monkeypatch.setattr("stylecore.inference.engine.LARGEST_WHOLE", 140 * 143 - 1)
    monkeypatch.setattr("stylecore.inference.engine.TILE_SIDE", 64)
    shares: list[float] = []
    by_tiles = stylist.paint(whole, shares.append)
    assert shares[-1] == 1
    assert torch.equal(stylist.paint(torch.stack([whole, whole]))[1], by_tiles)
    assert torch.equal(stylist.paint(whole.double()), by_tiles)
    monkeypatch.undo()
    by_themselves = stylize_by_tiles(stylist.stylize, whole, receptive_radius=24, side=64)
    assert (by_tiles - at_once).square().mean() < 0.5 * (by_themselves - at_once).square().mean()


def test_tiles_have_the_noise_once_and_the_border_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    stylist = engine(network(dataclasses.replace(SMALL, normalization="batch", input_noise=0.2)))
    whole = picture(140, 143)
    at_once = stylist.paint(whole)
    monkeypatch.setattr("stylecore.inference.engine.LARGEST_WHOLE", 140 * 143 - 1)
    monkeypatch.setattr("stylecore.inference.engine.TILE_SIDE", 64)
    assert (stylist.paint(whole) - at_once).abs().max() < 1e-5


def test_held_statistics_keep_the_border_of_a_network_with_noise() -> None:
    made = network(dataclasses.replace(SMALL, input_noise=0.2))
    assert border_of(hold_statistics(made, picture(64, 64)).config) == border_of(made.config)
