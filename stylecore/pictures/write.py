"""Pixels to picture files: 8 bits, with alpha, sRGB profile and settings, written completely or not at all."""

import io
import os
from pathlib import Path
from typing import Any, get_args

import torch
from PIL import Image
from torch import Tensor

from stylecore.errors import StylecoreError
from stylecore.files import FORMAT_OF_SUFFIX, Format, write_whole
from stylecore.pictures.metadata import exif_with_settings, png_text_with_settings, srgb_profile

# JPEG: 4:4:4, because a stylized picture has many colored edges. WebP: the color is lossy at the same quality (a
# lossless file has the size of a PNG), the alpha channel is lossless. TIFF: not compressed, because Pillow's
# compressing writer does not support an EXIF directory, which has the date and the settings.
OPTIONS: dict[Format, dict[str, Any]] = {
    "PNG": {},
    "JPEG": {"quality": 95, "subsampling": 0},
    "WEBP": {"quality": 95, "alpha_quality": 100},
    "TIFF": {"compression": None},
}


def to_image(pixels: Tensor, alpha: Tensor | None = None) -> Image.Image:
    """The 8-bit image of a picture, each value rounded to the nearest (half up).

    `pixels` are the colors over white, as `load_picture` gives them. With `alpha` the white is removed, color =
    (pixels - (1 - alpha)) / alpha, so that the image over white has the colors `pixels`, and a loaded picture does not
    change. Where alpha is 0 the color is invisible and does not change.

    Args:
        pixels: (3, H, W) in [0, 1]; values outside are clipped.
        alpha: (1, H, W) in [0, 1], or None.

    Returns:
        RGB, or RGBA when alpha is given.

    Raises:
        StylecoreError: a value is NaN or infinite.
    """
    if pixels.ndim != 3 or pixels.shape[0] != 3:
        raise ValueError(f"a picture is (3, H, W), not {tuple(pixels.shape)}")
    pixels = pixels.detach().to("cpu", torch.float32)
    if not torch.isfinite(pixels).all():
        raise StylecoreError("the picture holds values that are not numbers, so it cannot be saved")
    if alpha is None:
        return Image.fromarray(_bytes(pixels).numpy())
    if alpha.shape != (1, *pixels.shape[1:]):
        raise ValueError(f"alpha is (1, H, W) of the same picture, not {tuple(alpha.shape)}")
    alpha = alpha.detach().to("cpu", torch.float32)
    color = torch.where(alpha > 0, (pixels - (1 - alpha)) / alpha.clamp(min=1e-6), pixels)
    return Image.fromarray(_bytes(torch.cat([color, alpha])).numpy())


def _bytes(channels: Tensor) -> Tensor:
    """(C, H, W) in [0, 1] to (H, W, C) of 0 to 255, rounding half up."""
    rounded = channels.clamp(0, 1).mul(255).add_(0.5).floor_().to(torch.uint8)
    return rounded.permute(1, 2, 0).contiguous()


def output_format(path: str | Path) -> Format:
    """The format of the suffix of `path`, after checking that a file can be written there.

    It is called before the work begins.

    Raises:
        StylecoreError: an unknown suffix, a missing or write-protected folder, a folder in the file's place.
    """
    path = Path(path)
    suffixes = ", ".join(FORMAT_OF_SUFFIX)
    if path.suffix.lower() not in FORMAT_OF_SUFFIX:
        named = f"has the suffix {path.suffix}" if path.suffix else "has no suffix"
        raise StylecoreError(f"{path} {named}: a picture is saved as one of {suffixes}")
    if path.is_dir():
        raise StylecoreError(f"{path} is a folder: name a file in it to save the picture to")
    if not path.parent.is_dir():
        raise StylecoreError(f"the folder {path.parent} does not exist, so {path.name} cannot be saved there")
    if not os.access(path.parent, os.W_OK):  # a file is written beside its place and then renamed
        raise StylecoreError(f"the folder {path.parent} cannot be written; save {path.name} to another one")
    return FORMAT_OF_SUFFIX[path.suffix.lower()]


def encode_picture(
    pixels: Tensor,
    format: Format,
    *,
    alpha: Tensor | None = None,
    exif: bytes | None = None,
    settings: dict[str, Any] | None = None,
) -> bytes:
    """A picture file's bytes. They depend only on the arguments, not on the time.

    Args:
        pixels: (3, H, W) in [0, 1], sRGB, colors over white (see `to_image`).
        format: "PNG"; "JPEG" (quality 95, 4:4:4, over white where there is alpha); "WEBP" (quality 95, lossless
            alpha); "TIFF" (not compressed).
        alpha: (1, H, W) in [0, 1], or None.
        exif: EXIF to write; its orientation becomes 1.
        settings: values for JSON; PNG holds them as the iTXt chunk "stylecore", the others as EXIF UserComment.

    Raises:
        StylecoreError: NaN among the pixels, an unknown format, or a picture that the format cannot hold.
    """
    if format not in get_args(Format):
        raise StylecoreError(f"{format} is not a format to save pictures in: use one of {', '.join(get_args(Format))}")
    # JPEG has no alpha, and the pixels are the colors over white.
    image = to_image(pixels, None if format == "JPEG" else alpha)
    options = dict(OPTIONS[format], icc_profile=srgb_profile())
    if format == "PNG":
        options["pnginfo"] = png_text_with_settings(settings)
    embedded = exif_with_settings(exif, None if format == "PNG" else settings)
    if embedded is not None:
        options["exif"] = embedded
    stream = io.BytesIO()
    try:
        image.save(stream, format, **options)
    except (OSError, ValueError) as error:  # too large a side, too long an EXIF
        height, width = pixels.shape[1:]
        raise StylecoreError(
            f"a {format} file cannot hold this picture of {width} x {height} pixels ({error}): save it as PNG"
        ) from error
    return stream.getvalue()


def save_picture(
    pixels: Tensor,
    path: str | Path,
    *,
    alpha: Tensor | None = None,
    exif: bytes | None = None,
    settings: dict[str, Any] | None = None,
) -> None:
    """Write a picture file, completely or not at all: after a failure an older file is unchanged.

    Args:
        path: Its suffix chooses the format (.png .jpg .jpeg .webp .tif .tiff).
        pixels, alpha, exif, settings: As in `encode_picture`.

    Raises:
        StylecoreError: As `output_format` and `encode_picture`, and when the file cannot be written.
    """
    format = output_format(path)
    write_whole(path, encode_picture(pixels, format, alpha=alpha, exif=exif, settings=settings))
