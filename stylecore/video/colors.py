"""The colors of a film's frames, as 8-bit sRGB.

Films of the common kinds (BT.601, BT.709) are converted by FFmpeg's libswscale: their values count as sRGB, as players
show them. For films with another set of primaries or more than the usual brightness (HDR) the light is computed: the
curve of BT.2100 (PQ or HLG) is undone, so that 1 is the white of a page (203 nits, BT.2408), what is brighter is
compressed, and the primaries are converted.
"""

from functools import cache
from typing import Any

import av
import numpy as np
from av.video.reformatter import ColorPrimaries, ColorTrc, Interpolation, VideoReformatter
from numpy.typing import NDArray

from stylecore.errors import StylecoreError
from stylecore.video.frames import Pixels

Array = NDArray[Any]

WHITE_NITS = 203
PEAK = 1000 / WHITE_NITS
"""The brightest light that stays distinct: 1000 nits, for which most films are graded."""
KNEE = 0.5
"""Light below is not changed; light from here to the peak is compressed to the rest."""

BT709, BT601, BT2020 = 1, 6, 9
"""Matrices of AVColorSpace."""
KNOWN_MATRICES = (0, BT709, 4, 5, BT601, 7, 8, BT2020)
"""RGB, BT.709, FCC, both of BT.601, SMPTE 240M, YCgCo, BT.2020."""
UNSPECIFIED = 2

CURVES_LIKE_SRGB = (
    0,
    ColorTrc.BT709,
    ColorTrc.UNSPECIFIED,
    ColorTrc.GAMMA22,
    ColorTrc.GAMMA28,
    ColorTrc.SMPTE170M,
    ColorTrc.SMPTE240M,
    ColorTrc.IEC61966_2_4,
    ColorTrc.BT1361_ECG,
    ColorTrc.IEC61966_2_1,
    ColorTrc.BT2020_10,
    ColorTrc.BT2020_12,
)
PRIMARIES_LIKE_SRGB = (
    0,
    ColorPrimaries.BT709,
    ColorPrimaries.UNSPECIFIED,
    ColorPrimaries.BT470M,
    ColorPrimaries.BT470BG,
    ColorPrimaries.SMPTE170M,
    ColorPrimaries.SMPTE240M,
    ColorPrimaries.EBU3213,
)
TO_BT709: dict[int, Array] = {
    ColorPrimaries.BT2020: np.array(
        [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]], np.float32
    ),
    ColorPrimaries.SMPTE432: np.array(
        [[1.2249, -0.2249, 0.0], [-0.0421, 1.0421, 0.0], [-0.0196, -0.0786, 1.0983]], np.float32
    ),
}
"""Linear light of BT.2020 and of Display P3 to that of BT.709."""
LUMINANCE_OF_BT2020 = np.array([0.2627, 0.6780, 0.0593], np.float32)

SCALING = Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT


class FrameConverter:
    """Converts the frames of one film.

    Args:
        name: of the film, for errors.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._reformatters: dict[tuple[int, int], VideoReformatter] = {}

    def convert(self, frame: av.VideoFrame, width: int, height: int) -> Pixels:
        """(height, width, 3) of a decoded frame as it is stored: not turned upright. Over white where transparent.

        Raises:
            StylecoreError: for colors that are not known here.
        """
        trc, primaries = frame.color_trc, frame.color_primaries
        self._check(frame)
        if trc in CURVES_LIKE_SRGB and primaries in PRIMARIES_LIKE_SRGB:
            if _is_transparent(frame):
                rgba = self._samples(frame, width, height, "rgba").astype(np.uint16)
                color, alpha = rgba[..., :3], rgba[..., 3:]
                return ((color * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)
            return self._samples(frame, width, height, "rgb24")
        return light_to_srgb(self._samples(frame, width, height, "rgb48le"), trc, primaries)

    def _samples(self, frame: av.VideoFrame, width: int, height: int, format: str) -> Array:
        # One reformatter for each size: it keeps its tables for the next frame.
        reformatter = self._reformatters.setdefault((width, height), VideoReformatter())
        if frame.colorspace == UNSPECIFIED and not frame.format.is_rgb:
            frame.colorspace = BT709 if frame.height > 576 or frame.width > 1024 else BT601  # as players assume
        return reformatter.reformat(frame, width, height, format, interpolation=SCALING).to_ndarray()

    def _check(self, frame: av.VideoFrame) -> None:
        trc, primaries = frame.color_trc, frame.color_primaries
        curves = (*CURVES_LIKE_SRGB, ColorTrc.SMPTE2084, ColorTrc.ARIB_STD_B67)
        known = frame.colorspace in (*KNOWN_MATRICES, UNSPECIFIED) or frame.format.is_rgb
        if known and trc in curves and primaries in (*PRIMARIES_LIKE_SRGB, *TO_BT709):
            return
        raise StylecoreError(
            f"{self.name} has colors of a kind that is not known here (matrix {int(frame.colorspace)}, curve "
            f"{int(trc)}, primaries {int(primaries)} of ITU-T H.273); convert it to BT.709 first."
        )


def light_to_srgb(samples: Array, trc: int, primaries: int) -> Pixels:
    """Samples of HDR or of wide primaries as sRGB.

    Args:
        samples: (H, W, 3) uint16, the whole range.
        trc: the curve; PQ, HLG or one like sRGB's.
        primaries: of `TO_BT709`, or like those of sRGB.
    """
    light = _light_of(trc)[samples]
    if trc == ColorTrc.ARIB_STD_B67:  # the system gamma of a display of 1000 nits, BT.2100
        light *= PEAK * np.maximum(light @ LUMINANCE_OF_BT2020, 1e-6)[..., None] ** 0.2
    if trc in (ColorTrc.SMPTE2084, ColorTrc.ARIB_STD_B67):
        brightest = np.maximum(light.max(-1, keepdims=True), 1e-6)
        light *= compress(brightest) / brightest
    if primaries in TO_BT709:
        light = light @ TO_BT709[primaries].T
    steps = len(_srgb_of_light()) - 1
    return _srgb_of_light()[(np.clip(light, 0, 1) * steps + 0.5).astype(np.uint16)]


def compress(light: Array) -> Array:
    """Light as a screen without HDR can show it: [0, `PEAK`] to [0, 1], unchanged below `KNEE`.

    Above, it is the extended curve of Reinhard et al. (2002), x (1 + x / p^2) / (1 + x), with a continuous slope.
    """
    x = np.clip((light - KNEE) / (1 - KNEE), 0, None)
    peak = (PEAK - KNEE) / (1 - KNEE)
    curve = x * (1 + x / peak**2) / (1 + x)
    return np.where(light <= KNEE, light, np.minimum(KNEE + (1 - KNEE) * curve, 1)).astype(np.float32)


@cache
def _light_of(trc: int) -> Array:
    """(65536,): the light of each 16-bit value; 1 is white, for HLG the peak before the system gamma."""
    value = np.linspace(0, 1, 65536)
    if trc == ColorTrc.SMPTE2084:
        root = value ** (32 / 2523)
        nits = 10000 * (np.maximum(root - 0.8359375, 0) / (18.8515625 - 18.6875 * root)) ** (8192 / 1305)
        return (nits / WHITE_NITS).astype(np.float32)
    if trc == ColorTrc.ARIB_STD_B67:
        a, b, c = 0.17883277, 0.28466892, 0.55991073
        return np.where(value <= 0.5, value**2 / 3, (np.exp((value - c) / a) + b) / 12).astype(np.float32)
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4).astype(np.float32)


@cache
def _srgb_of_light() -> Pixels:
    """(16384,): the 8-bit sRGB value of light in [0, 1]."""
    light = np.linspace(0, 1, 16384)
    value = np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.round(value * 255).astype(np.uint8)


def _is_transparent(frame: av.VideoFrame) -> bool:
    return frame.format.has_palette or any(component.is_alpha for component in frame.format.components)
