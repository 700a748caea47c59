"""The size of the strokes: at which size a photo is painted, and how the result comes back to the photo's size."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stylecore.errors import StylecoreError
from stylecore.inference.brush import lay_detail, painted_size
from stylecore.inference.engine import Engine
from stylecore.johnson.style_model import StyleCard, StyleModel
from stylecore.johnson.transform_net import TransformNet, TransformNetConfig
from stylecore.pictures.read import resize


def engine(side: int = 64) -> Engine:
    torch.manual_seed(0)
    config = TransformNetConfig(residual_blocks=1, width=0.25)
    return Engine(
        StyleModel(TransformNet(config), StyleCard("waves", network=config, painted_side=side)), "cpu", "torch"
    )


def smooth(height: int, width: int) -> torch.Tensor:
    return resize(torch.rand(3, 5, 7, generator=torch.Generator().manual_seed(1)), (height, width))


def test_a_large_photo_is_painted_as_if_it_were_as_large_as_the_card_says() -> None:
    assert painted_size(3000, 4000, 640, 1) == (480, 640)
    assert painted_size(3000, 4000, 640, 2) == (240, 320)
    assert painted_size(3000, 4000, 640, 0.5) == (960, 1280)
    assert painted_size(300, 400, 640, 1) == (300, 400)
    assert painted_size(1, 4000, 640, 4) == (1, 160)


@pytest.mark.parametrize("brush", [0.0, -1.0, 0.05, 8.0, float("nan"), float("inf")])
def test_a_brush_out_of_range_is_refused(brush: float) -> None:
    with pytest.raises(StylecoreError, match=r"from 0\.1 to 4"):
        engine().stylize(torch.rand(3, 20, 20), brush=brush)


@pytest.mark.parametrize("detail", [-0.1, 1.1, float("nan")])
def test_a_share_of_detail_out_of_range_is_refused(detail: float) -> None:
    with pytest.raises(StylecoreError, match="from 0 to 1"):
        engine().stylize(torch.rand(3, 100, 100), detail=detail)
    with pytest.raises(StylecoreError, match="from 0 to 1"):  # also where no detail is laid
        engine().stylize(torch.rand(3, 20, 20), detail=detail)


@settings(deadline=None, max_examples=15)
@given(height=st.integers(1, 150), width=st.integers(1, 150), brush=st.floats(0.1, 4))
def test_the_result_has_the_size_of_the_photo(height: int, width: int, brush: float) -> None:
    result = engine(32).stylize(torch.rand(3, height, width), brush=brush)
    assert result.shape == (3, height, width)
    assert result.min() >= 0
    assert result.max() <= 1


def test_a_photo_of_the_painted_side_or_less_is_painted_as_it_is() -> None:
    stylist, photo = engine(64), torch.rand(3, 48, 64)
    assert torch.equal(stylist.stylize(photo), stylist.paint(photo))


def test_strokes_cover_the_same_share_of_the_picture_at_every_size() -> None:
    stylist, small = engine(64), smooth(48, 64)
    large = stylist.stylize(smooth(192, 256), detail=0)
    painted = stylist.paint(small)
    assert (resize(large, (48, 64)) - painted).square().mean() < 0.1 * (painted - painted.mean()).square().mean()


def test_a_batch_is_its_pictures_one_by_one() -> None:
    stylist, pictures = engine(32), torch.rand(2, 3, 40, 60)
    batch = stylist.stylize(pictures, brush=1.5, detail=1)
    for picture, result in zip(pictures, batch, strict=True):
        torch.testing.assert_close(stylist.stylize(picture, brush=1.5, detail=1), result)


def test_all_of_the_detail_on_the_reduced_photo_is_the_photo_in_luminance() -> None:
    photo = torch.rand(1, 1, 40, 60).expand(1, 3, 40, 60) * 0.5 + 0.25
    reduced = resize(photo, (20, 30))
    torch.testing.assert_close(lay_detail(reduced, reduced, photo, 1.0), photo, atol=1e-5, rtol=0)
    # Half of the detail lies half way.
    none, half = (lay_detail(reduced, reduced, photo, share) for share in (0.0, 0.5))
    torch.testing.assert_close(half, (none + photo) / 2, atol=1e-5, rtol=0)


def test_detail_is_gray() -> None:
    photo = torch.rand(1, 3, 40, 60)
    painted = torch.full((1, 3, 20, 30), 0.5)
    painted[:, 2] = 0.4
    laid = lay_detail(painted, resize(photo, (20, 30)), photo, 0.3)
    torch.testing.assert_close(laid[:, 0] - laid[:, 2], torch.full((1, 40, 60), 0.1), atol=1e-5, rtol=0)
