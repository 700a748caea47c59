"""Colors of films beyond sRGB."""

import av
import numpy as np
import pytest
from av.video.reformatter import ColorPrimaries, ColorTrc

from stylecore.errors import StylecoreError
from stylecore.video.colors import BT2020, KNEE, PEAK, FrameConverter, compress, light_to_srgb


def gray_frame(share: float, trc: int, primaries: int = ColorPrimaries.BT2020, matrix: int = BT2020) -> av.VideoFrame:
    """10 bits, of the narrow range."""
    planes = [np.full((16, 16), round(64 + 876 * share)), *(np.full((8, 8), 512) for _ in range(2))]
    samples = np.concatenate([plane.ravel() for plane in planes]).astype("<u2").reshape(24, 16)
    frame = av.VideoFrame.from_ndarray(samples, "yuv420p10le")
    frame.colorspace, frame.color_range, frame.color_trc, frame.color_primaries = matrix, 1, trc, primaries
    return frame


def converted(frame: av.VideoFrame) -> int:
    pixels = FrameConverter("film").convert(frame, 16, 16)
    assert pixels.max() - pixels.min() <= 1
    return int(pixels[8, 8, 0])


def test_pq_of_bt2100() -> None:
    # 0.508 is 100 nits, 0.381 is 26 nits: below the knee, light over 203 nits.
    assert converted(gray_frame(0.0, ColorTrc.SMPTE2084)) == 0
    expected = 255 * (1.055 * (26 / 203) ** (1 / 2.4) - 0.055)
    assert converted(gray_frame(0.381, ColorTrc.SMPTE2084)) == pytest.approx(expected, abs=3)
    assert converted(gray_frame(0.581, ColorTrc.SMPTE2084)) < 235  # white leaves room for what is brighter
    assert converted(gray_frame(0.752, ColorTrc.SMPTE2084)) >= 253  # 1000 nits


def test_hlg_of_bt2100() -> None:
    # At 0.5 the scene's light is 1/12, shown as 1000 (1/12)^1.2 = 50.7 nits.
    expected = 255 * (1.055 * (50.7 / 203) ** (1 / 2.4) - 0.055)
    assert converted(gray_frame(0.5, ColorTrc.ARIB_STD_B67)) == pytest.approx(expected, abs=3)
    assert converted(gray_frame(1.0, ColorTrc.ARIB_STD_B67)) >= 253


def test_wide_primaries_are_converted() -> None:
    gray = np.full((1, 1, 3), 30000, np.uint16)
    assert light_to_srgb(gray, ColorTrc.BT709, ColorPrimaries.BT2020).ravel() == pytest.approx([117] * 3, abs=1)
    green = np.array([[[20000, 40000, 20000]]], np.uint16)
    red_, green_, blue_ = light_to_srgb(green, ColorTrc.BT709, ColorPrimaries.BT2020).ravel()
    assert green_ > 40000 / 257  # more saturated in the smaller gamut
    assert max(red_, blue_) < 20000 / 257


def test_light_is_compressed_smoothly() -> None:
    light = np.linspace(0, PEAK, 1000, dtype=np.float32)
    shown = compress(light)
    assert np.array_equal(shown[light <= KNEE], light[light <= KNEE])
    assert shown[-1] == pytest.approx(1)
    assert (np.diff(shown) > 0).all()
    slope = np.diff(shown) / np.diff(light)
    assert np.abs(np.diff(slope)).max() < 0.02


def test_a_matrix_that_is_not_named_is_that_of_the_size() -> None:
    yuv = np.concatenate([np.full(1280 * 720, 100), np.full(640 * 360, 90), np.full(640 * 360, 180)])
    frame = av.VideoFrame.from_ndarray(yuv.astype(np.uint8).reshape(1080, 1280), "yuv420p")
    large = FrameConverter("film").convert(frame, 64, 64)[32, 32]
    luma, blue, red = (100 - 16) / 219, (90 - 128) / 224, (180 - 128) / 224
    expected = [luma + 1.5748 * red, luma - 0.1873 * blue - 0.4681 * red, luma + 1.8556 * blue]
    assert large == pytest.approx(np.clip(expected, 0, 1) * 255, abs=3)


@pytest.mark.parametrize("trc", [ColorTrc.LINEAR, ColorTrc.LOG, ColorTrc.SMPTE428])
def test_unknown_curves_are_refused(trc: int) -> None:
    with pytest.raises(StylecoreError, match="colors of a kind that is not known"):
        FrameConverter("film").convert(gray_frame(0.5, trc), 16, 16)
