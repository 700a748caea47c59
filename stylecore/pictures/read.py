"""Picture files to pixels. A picture is a float32 tensor (3, H, W), sRGB, [0, 1]."""

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from PIL import ExifTags, Image
from pillow_heif import HeifImageFile
from torch import Tensor
from torch.nn import functional

from stylecore.errors import StylecoreError
from stylecore.files import DEFAULT_MAX_PIXELS
from stylecore.pictures.heif import HEAD_BYTES, HEIF, is_heif
from stylecore.pictures.metadata import kept_exif, read_exif, settings_of, to_srgb

# Pillow's names, and the formats' own. Only formats of cameras, browsers and editors: other decoders cannot be
# attacked.
READABLE_FORMATS = {
    "JPEG": "JPEG",
    "PNG": "PNG",
    "WEBP": "WebP",
    "TIFF": "TIFF",
    "AVIF": "AVIF",
    "GIF": "GIF",
    "BMP": "BMP",
    "JPEG2000": "JPEG 2000",
    "PPM": "PPM",
}
READABLE = (*READABLE_FORMATS.values(), "HEIC")
"""The formats that `load_picture` reads, by their own names."""

# EXIF orientation: what brings the stored picture upright.
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture file's content for a network, and the data that the network does not process.

    Attributes:
        pixels: (3, H, W) in [0, 1], sRGB, upright; over white where the file is transparent.
        alpha: (1, H, W) in [0, 1], or None when every pixel is opaque.
        source_size: (height, width) upright, before any reduction.
        exif: Date, artist, copyright and camera, for `save_picture`; None when there are none.
        notices: Things worth telling the user, each a clause about "the picture".
    """

    pixels: Tensor
    alpha: Tensor | None
    source_size: tuple[int, int]
    exif: bytes | None = None
    notices: tuple[str, ...] = ()


def load_picture(
    source: str | Path | BinaryIO,
    *,
    max_side: int | None = None,
    max_pixels: int = DEFAULT_MAX_PIXELS,
) -> Picture:
    """Read a picture file: JPEG, PNG, WebP, TIFF, AVIF, GIF, BMP, JPEG 2000, PPM or HEIC, recognized by its content.

    The EXIF orientation is applied, the color profile converted to sRGB, transparency composited on white and
    kept in `alpha`; 16-bit samples are reduced to 8; of an animation the first frame is taken.

    Args:
        source: A path, or an open binary stream (read to its end).
        max_side: The longest side of the result; larger pictures are reduced by `fit` after decoding.
        max_pixels: Refuse files with more pixels. They are counted in the header, before anything is decoded, and
            `max_side` makes no difference: the whole file must be decoded.

    Raises:
        StylecoreError: The file is missing, unreadable, no picture, broken, cut short, or too large.
    """
    with _opened(source) as (image, name):
        return picture_from_image(image, max_side=max_side, max_pixels=max_pixels, name=name)


def picture_from_image(
    image: Image.Image,
    *,
    max_side: int | None = None,
    max_pixels: int = DEFAULT_MAX_PIXELS,
    name: str = "the picture",
) -> Picture:
    """The same for an image that Pillow has opened, decoded or not.

    Args:
        name: What error messages call it.
        Others: As in `load_picture`.

    Raises:
        StylecoreError: Too many pixels, or samples without a known range. A broken file raises Pillow's errors.
    """
    _check_size(image, max_pixels, name)
    rgb, opacity, exif, notices = _decode(image, name)
    pixels = _tensor(rgb)
    alpha = None
    if opacity is not None:
        alpha = _tensor(opacity)
        pixels = pixels * alpha + (1 - alpha)
    source_size = (rgb.height, rgb.width)
    if max_side is not None:
        pixels = fit(pixels, max_side)
        alpha = None if alpha is None else fit(alpha, max_side)
    return Picture(pixels, alpha, source_size, exif, tuple(notices))


def load_reduced(source: str | Path | BinaryIO, shortest_side: Callable[[tuple[int, int]], int]) -> Image.Image:
    """The same treatment of a file, for a part of it: an RGB image, upright and over white, which may be smaller.

    JPEG decodes at 1/2, 1/4 or 1/8 of its size for a fraction of the time.

    Args:
        source: As in `load_picture`.
        shortest_side: Given the file's (width, height), how many pixels the short side of the result must have.

    Raises:
        StylecoreError: As `load_picture`.
    """
    with _opened(source) as (image, name):
        _check_size(image, DEFAULT_MAX_PIXELS, name)
        reduction = max(1, min(image.size) // max(1, shortest_side(image.size)))
        image.draft("RGB", (image.width // reduction, image.height // reduction))
        rgb, opacity, _, _ = _decode(image, name)
    if opacity is None:
        return rgb
    return Image.composite(rgb, Image.new("RGB", rgb.size, "white"), opacity)


def read_settings(path: str | Path | BinaryIO) -> dict[str, Any] | None:
    """The settings that `save_picture` wrote into a file, or None where there are none.

    Raises:
        StylecoreError: The file is missing, unreadable or no picture.
    """
    with _opened(path) as (image, _):
        return settings_of(image)


def resize(pixels: Tensor, size: tuple[int, int]) -> Tensor:
    """Bicubic resizing, antialiased when reducing, clamped to [0, 1] (bicubic overshoots at edges).

    torch is used instead of Pillow's Lanczos, which gives similar pictures, because it keeps float precision, accepts
    batches, and runs on the tensor's device. Like every common resizer it averages sRGB values, not light.

    Args:
        pixels: (C, H, W) or (N, C, H, W) in [0, 1].
        size: (height, width), each at least 1.

    Returns:
        The same number of dimensions; `pixels` itself when it has the size already.
    """
    if min(size) < 1:
        raise ValueError(f"a picture has at least one pixel a side, not {size[0]} x {size[1]}")
    if tuple(pixels.shape[-2:]) == tuple(size):
        return pixels
    batch = pixels if pixels.ndim == 4 else pixels[None]
    resized = functional.interpolate(batch, size=size, mode="bicubic", antialias=True, align_corners=False)
    return resized.clamp_(0, 1).reshape(*pixels.shape[:-2], *size)


def fit(pixels: Tensor, max_side: int) -> Tensor:
    """Reduce a picture so that its longest side is `max_side`, keeping the aspect; never enlarge it.

    Args:
        pixels: (C, H, W) or (N, C, H, W) in [0, 1].

    Raises:
        StylecoreError: `max_side` is less than 1.
    """
    if max_side < 1:
        raise StylecoreError(f"the longest side of a picture must be at least 1 pixel, not {max_side}")
    height, width = pixels.shape[-2:]
    scale = max_side / max(height, width)
    if scale >= 1:
        return pixels
    # A very long picture would lose its short side.
    return resize(pixels, (max(1, round(height * scale)), max(1, round(width * scale))))


# --- opening ---


def read_size(source: str | Path | BinaryIO) -> tuple[int, int]:
    """(height, width) of a picture file as its header says; with some orientations it is shown the other way round.

    Raises:
        StylecoreError: as `load_picture`; a file that is broken further on is not noticed.
    """
    with _opened(source) as (image, _):
        return image.height, image.width


@contextmanager
def _opened(source: str | Path | BinaryIO) -> Iterator[tuple[Image.Image, str]]:
    """The image with its header read and nothing decoded, and its name in messages.

    Raises:
        StylecoreError: also for what the block raises. Decoders raise many kinds of errors: OSError, SyntaxError,
            ValueError, struct.error, zlib.error...
    """
    name = str(source) if isinstance(source, str | Path) else getattr(source, "name", None)
    name = name if isinstance(name, str) else "the picture"  # a number for an unnamed descriptor
    try:
        # A pipe cannot seek.
        with open(source, "rb") if isinstance(source, str | Path) else io.BytesIO(source.read()) as stream:
            yield _image(stream if stream.seekable() else io.BytesIO(stream.read()), name), name
    except (StylecoreError, MemoryError):
        raise
    except FileNotFoundError:
        raise StylecoreError(f"{name or 'a file without a name'} does not exist") from None
    except IsADirectoryError:
        raise StylecoreError(f"{name} is a folder, not a picture file") from None
    except PermissionError:
        raise StylecoreError(f"{name} cannot be read: permission denied") from None
    except Exception as error:
        raise StylecoreError(f"{name} cannot be read, it is broken or cut short: {error}") from error


def _image(stream: BinaryIO, name: str) -> Image.Image:
    head = stream.read(HEAD_BYTES)
    if not head:
        raise StylecoreError(f"{name} is empty, so there is no picture to read")
    stream.seek(0)
    if is_heif(head):
        return HeifImageFile(stream, "")  # not registered with Pillow: that would change what others open
    Image.init()
    # Image.open does this, too, but compares the size with a limit in a global variable. Our limit is an argument,
    # checked by `_check_size`.
    for readable in READABLE_FORMATS:
        factory, accepts = Image.OPEN[readable]
        if accepts is None or accepts(head[:16]):
            return factory(stream, "")
    raise StylecoreError(f"{name} is not a picture: its content is none of {', '.join(READABLE)}")


def _check_size(image: Image.Image, max_pixels: int, name: str) -> None:
    count = image.width * image.height
    if count > max_pixels:
        raise StylecoreError(
            f"{name} has {image.width} x {image.height} = {count:,} pixels, more than the limit of {max_pixels:,}: "
            f"use a smaller picture, or raise the limit with --max-pixels"
        )


# --- samples ---


def _decode(image: Image.Image, name: str) -> tuple[Image.Image, Image.Image | None, bytes | None, list[str]]:
    """sRGB pixels and opacity (None when every pixel is opaque), both upright; what is kept of EXIF; notices."""
    notices = []
    try:
        frames = getattr(image, "n_frames", 1)
    except Exception:  # the decoders' errors are of many kinds
        frames = 1
        image.seek(0)
        notices.append("its animation is cut short, and only the first frame is used")
    if frames > 1 and image.format not in ("MPO", HEIF):  # those have previews or a depth map behind the photo
        kind = "pages" if image.format == "TIFF" else "frames of its animation"
        notices.append(f"only the first of the {frames} {kind} is used")
    image.load()
    orientation = 1
    exif = None
    try:
        found = read_exif(image)
        orientation = found.get(ExifTags.Base.Orientation, 1)
        exif = kept_exif(found)
    except Exception:  # EXIF written by a thousand programs: a picture is not refused for its metadata
        notices.append("its EXIF data is broken and was left out")
    profile = image.info.get("icc_profile")
    color, opacity = _split_alpha(_eight_bits(image, name))
    rgb, profile_notice = to_srgb(color, profile)
    if profile_notice:
        notices.append(profile_notice)
    if opacity is not None and opacity.getextrema() == (255, 255):
        opacity = None
    if orientation in UPRIGHT:
        rgb = rgb.transpose(UPRIGHT[orientation])
        opacity = opacity.transpose(UPRIGHT[orientation]) if opacity else None
    return rgb, opacity, exif, notices


def _eight_bits(image: Image.Image, name: str) -> Image.Image:
    """9- to 16-bit gray scaled to 8 bits, which Pillow would clip; Pillow reduces 16-bit color itself."""
    if image.mode == "F":
        raise StylecoreError(f"{name} holds floating-point samples: save it with 8 or 16 bits a channel")
    if image.mode != "I" and not image.mode.startswith("I;16"):
        return image
    samples = np.asarray(image).astype(np.int64)
    if samples.min() < 0 or samples.max() > 65535:  # "I" is 32 bits, in which Pillow also keeps some 16-bit files
        raise StylecoreError(f"{name} holds 32-bit samples: save it with 8 or 16 bits a channel")
    tags = getattr(image, "tag_v2", {})  # of a TIFF
    largest = 2 ** min(16, tags.get(258, (16,))[0]) - 1
    transparent = samples == image.info.get("transparency", -1)
    if tags.get(262) == 0:  # white is zero: Pillow inverts only 8 bits
        samples = largest - samples
    gray = Image.fromarray(((samples * 255 + largest // 2) // largest).astype(np.uint8))
    if transparent.any():
        gray.putalpha(Image.fromarray(np.where(transparent, 0, 255).astype(np.uint8)))
    return gray


def _split_alpha(image: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    """The colors (L, RGB, CMYK or LAB) and the opacity (L, or None), of an image of any mode."""
    if image.has_transparency_data:
        # Gray stays gray: its color profile may be a gray one.
        image = image.convert("LA" if image.mode in ("L", "LA", "La") else "RGBA")
        return image.convert("L" if image.mode == "LA" else "RGB"), image.getchannel("A")
    return image if image.mode in ("L", "RGB", "CMYK", "LAB") else image.convert("RGB"), None


def _tensor(image: Image.Image) -> Tensor:
    """L or RGB to (1 or 3, H, W) in [0, 1]."""
    channels = torch.from_numpy(np.array(image)).reshape(image.height, image.width, -1)
    return channels.permute(2, 0, 1).contiguous().to(torch.float32) / 255
