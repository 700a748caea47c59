"""Equivalent iterations by curves whose answer is plain, and spots that were painted on purpose."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from stylecore.gatys.objective import Objective
from tests.small_vgg import small_vgg
from training.measures import SPOT, equivalent_iterations, loss_curve, spot_share


@pytest.mark.parametrize(
    ("loss", "iterations"),
    [(100.0, 0), (101.0, 0), (80.0, 0.5), (60.0, 1), (50.0, 1.5), (40.0, 2), (10.0, 4), (9.9, None), (math.nan, None)],
)
def test_equivalent_iterations_are_read_off_the_curve_where_it_first_gets_there(loss, iterations):
    curve = [100.0, 60.0, 40.0, 45.0, 10.0]
    assert equivalent_iterations(loss, curve) == (None if iterations is None else pytest.approx(iterations))


def test_without_a_curve_nothing_is_reached():
    assert equivalent_iterations(1.0, []) is None


@given(st.lists(st.floats(1e-3, 1e9), min_size=2, max_size=20), st.data())
def test_a_loss_of_the_curve_is_reached_no_later_than_there(curve, data):
    index = data.draw(st.integers(0, len(curve) - 1))
    reached = equivalent_iterations(curve[index], curve)
    assert reached is not None
    assert reached <= index
    assert curve[math.ceil(reached)] <= curve[index]


@pytest.fixture(scope="module")
def objective() -> Objective:
    """Being gray."""
    vgg = small_vgg("A")
    gray = vgg.activations(torch.full((1, 3, 32, 32), 0.5), ["relu1_1"])
    return Objective(vgg, gray, {}, {"content/relu1_1": 1e5})


def test_the_curve_begins_with_noise_falls_and_ends_where_it_was_asked_to(objective):
    curve = loss_curve(objective, 32, until=0, at_most=6)
    noise = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    assert curve[0] == objective.evaluate(noise)[0]["total"]
    assert len(curve) == 7
    assert curve[-1] < curve[0] / 2
    assert loss_curve(objective, 32, until=curve[3], at_most=6) == curve[:4]
    assert loss_curve(objective, 32, until=2 * curve[0], at_most=6) == curve[:1]


PHOTO = 0.2 + 0.6 * torch.rand(3, 40, 50, generator=torch.Generator().manual_seed(1))


def painted(color: float, height: int, width: int, channels: slice = slice(None)) -> torch.Tensor:
    picture = PHOTO.clone()
    picture[channels, 10 : 10 + height, 20 : 20 + width] = color
    return picture


@pytest.mark.parametrize("color", [1.0, 0.0, 254 / 255, 1 / 255])
@pytest.mark.parametrize(("height", "width"), [(SPOT, SPOT), (12, 7), (20, 20)])
def test_a_painted_square_counts_with_its_area(color, height, width):
    assert spot_share(painted(color, height, width), PHOTO) == pytest.approx(height * width / (40 * 50))


@pytest.mark.parametrize(
    "picture",
    [
        painted(1.0, SPOT - 1, 20),  # a stroke
        painted(0.97, 20, 20),  # bright
        painted(1.0, 20, 20, slice(0, 2)),  # a yellow that is not pure
        (torch.rand(1, 40, 50, generator=torch.Generator().manual_seed(2)) > 0.5).float().expand(3, -1, -1),  # grain
    ],
    ids=["stroke", "bright", "pure color", "grain"],
)
def test_what_is_no_spot_does_not_count(picture):
    assert spot_share(picture, PHOTO) == 0


def test_what_the_photo_itself_has_burnt_in_does_not_count():
    sky = painted(1.0, 20, 20)
    assert spot_share(sky, sky) == 0
    assert spot_share(sky.roll(2, dims=-1), sky) == 0  # where a stroke moved its border
    assert spot_share(painted(0.0, 20, 20), sky) == pytest.approx(400 / 2000)  # a white sky gone black


def test_spots_of_both_colors_add_up_and_a_burnt_picture_is_all_spot():
    both = painted(1.0, 10, 10)
    both[:, 25:35, 5:15] = 0.0
    assert spot_share(both, PHOTO) == pytest.approx(200 / 2000)
    assert spot_share(torch.ones_like(PHOTO), PHOTO) == 1


def test_a_pure_color_is_a_spot_and_each_color_is_opened_by_itself():
    yellow = painted(1.0, 10, 10)
    yellow[2, 10:20, 20:30] = 0.0
    assert spot_share(yellow, PHOTO) == pytest.approx(100 / 2000)
    stripes = yellow.clone()
    stripes[2, 10:20, 20:30:2] = 1.0
    assert spot_share(stripes, PHOTO) == 0


@given(st.integers(1, 12), st.integers(1, 12))
def test_every_size_has_a_share_from_zero_to_one(height, width):
    picture = torch.rand(3, height, width).round()
    assert 0 <= spot_share(picture, torch.rand(3, height, width)) <= 1
