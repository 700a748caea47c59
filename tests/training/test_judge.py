"""The judge: exact at its ends, and in the order that a person would give."""

import math

import pytest
import torch
from torch import Tensor

from stylecore.pictures.read import resize
from stylecore.vgg.network import VGG
from tests.small_vgg import small_vgg
from training.judge import PERIODS, Judge, Judgment, grid_peak, judge_style


@pytest.fixture(scope="module")
def vgg() -> VGG:
    return small_vgg()


def judge(stylized: Tensor, photo: Tensor | None, painting: Tensor, vgg: VGG) -> Judgment:
    return Judge(painting, vgg).judge(stylized, photo)


def picture(seed: int, side: int = 64) -> Tensor:
    return resize(torch.rand(3, 9, 9, generator=torch.Generator().manual_seed(seed)), (side, side))


def test_the_painting_itself_has_no_style_error_and_the_photo_itself_no_change(vgg: VGG) -> None:
    judged = judge(picture(1), picture(1), picture(1), vgg)
    assert judged.style_error == pytest.approx(0, abs=1e-9)
    assert judged.content_change == pytest.approx(0, abs=1e-9)
    assert set(judged.style_errors) == {1, 2, 4}
    assert judge(picture(1), None, picture(1), vgg).content_change is None


def test_the_painting_has_as_many_pixels_as_the_picture(vgg: VGG) -> None:
    enlarged = resize(picture(1), (128, 128))
    judged = judge(enlarged, None, picture(1), vgg)
    assert judged.style_error == pytest.approx(0, abs=1e-9)


def test_what_is_nearer_to_the_painting_has_the_smaller_style_error(vgg: VGG) -> None:
    painting, photo = picture(1), picture(2).mean(0, keepdim=True).expand(3, -1, -1)
    errors = [judge(painting * share + photo * (1 - share), photo, painting, vgg) for share in (0, 0.5, 1)]
    assert errors[0].style_error > errors[1].style_error > errors[2].style_error
    changes = [each.content_change for each in errors]
    assert changes[0] < changes[1] < changes[2]  # type: ignore[operator]


def test_a_photo_that_is_too_narrow_is_left_out(vgg: VGG) -> None:
    panorama, square = torch.rand(3, 60, 640), picture(2)
    judging = Judge(picture(1), vgg)
    [judged] = judge_style(lambda pixels: pixels, [("panorama", panorama), ("square", square)], judging, (640,))
    assert judged.photos == 1
    assert judge_style(lambda pixels: pixels, [("panorama", panorama)], judging, (640,)) == []


@pytest.mark.parametrize("period", PERIODS)
def test_a_pattern_stands_out_at_its_own_period(period: int) -> None:
    noise = torch.rand(3, 160, 176, generator=torch.Generator().manual_seed(0))
    row = torch.cos(torch.arange(176) * 2 * math.pi / period)
    woven = noise + 0.3 * row
    for other in PERIODS:
        assert abs(grid_peak(noise, other)) < 6
        assert grid_peak(woven, other) == pytest.approx(grid_peak(noise, other), abs=3) or other == period
    assert grid_peak(woven, period) > 15


def test_a_blank_picture_has_no_grid() -> None:
    assert all(grid_peak(torch.full((3, 80, 80), 0.5), period) <= 0 for period in PERIODS)


def test_a_size_that_is_given_twice_is_judged_once(vgg: VGG) -> None:
    (judged,) = judge_style(lambda pixels: pixels, [("photo", picture(2))], Judge(picture(1), vgg), (64, 64))
    assert judged.photos == 1
