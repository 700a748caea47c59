"""Metadata of a picture file: color profile, EXIF, and the settings that made it."""

import io
import json
from functools import cache
from typing import Any

from PIL import ExifTags, Image, ImageCms, PngImagePlugin

# Date, artist and camera are kept. Everything else is removed: orientation and pixel sizes would be wrong for the
# result, the thumbnail would show the old picture, maker notes have serial numbers, and the place is private.
KEPT_TAGS = (
    ExifTags.Base.DateTime,
    ExifTags.Base.Artist,
    ExifTags.Base.Copyright,
    ExifTags.Base.Make,
    ExifTags.Base.Model,
)
KEPT_PHOTO_TAGS = (
    ExifTags.Base.DateTimeOriginal,
    ExifTags.Base.DateTimeDigitized,
    ExifTags.Base.OffsetTime,
    ExifTags.Base.OffsetTimeOriginal,
    ExifTags.Base.OffsetTimeDigitized,
    ExifTags.Base.SubsecTime,
    ExifTags.Base.SubsecTimeOriginal,
    ExifTags.Base.SubsecTimeDigitized,
    ExifTags.Base.LensMake,
    ExifTags.Base.LensModel,
)
SETTINGS_KEY = "stylecore"
# EXIF 2.32, section 4.6.5: a UserComment begins with eight bytes that name its character set.
ASCII_COMMENT = b"ASCII\0\0\0"


# --- color profiles ---


@cache
def srgb_profile() -> bytes:
    """An sRGB profile, always the same bytes."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    # Bytes 24 to 35 are the time of creation (ICC.1:2022, table 17). A fixed time makes files with the same picture
    # equal.
    profile[24:36] = bytes([7, 208, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0])  # 2000-01-01
    return bytes(profile)


def to_srgb(image: Image.Image, profile: bytes | None) -> tuple[Image.Image, str | None]:
    """An L, RGB, CMYK or LAB image as RGB in sRGB, and a notice when its profile could not be used.

    With a profile the conversion is relative colorimetric with black point compensation. Without one, gray and
    RGB count as sRGB, CMYK is converted by the plain formula (1 - ink) * (1 - black), LAB is CIE L*a*b* (D50).
    """
    if profile:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            # A gray JPEG may carry an RGB profile: its three channels are equal.
            gray_in_rgb = image.mode == "L" and source.profile.xcolor_space.strip() == "RGB"
            return _transform(image.convert("RGB") if gray_in_rgb else image, source), None
        except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
            converted, _ = to_srgb(image, None)
            return converted, "its color profile is broken or belongs to other colors, so it was not used"
    if image.mode == "LAB":
        return _transform(image, ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))), None
    return image.convert("RGB"), None


def _transform(image: Image.Image, source: ImageCms.ImageCmsProfile) -> Image.Image:
    converted = ImageCms.profileToProfile(
        image,
        source,
        ImageCms.ImageCmsProfile(io.BytesIO(srgb_profile())),
        renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
        outputMode="RGB",
        flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )
    assert converted is not None  # it is None only when asked to work in place
    return converted


# --- EXIF ---


def read_exif(image: Image.Image) -> Image.Exif:
    """The EXIF data of an image that is already decoded (in a PNG it may follow the pixels).

    Not `image.getexif()`, which also uses the orientation in XMP: browsers and cameras ignore it, and editors leave it
    in pictures that are upright.

    Broken data raises any error of Pillow's parser.
    """
    exif = Image.Exif()
    if "exif" in image.info:
        exif.load(image.info["exif"])
    elif "Raw profile type exif" in image.info:  # ImageMagick's way in a PNG: hexadecimal after three lines
        exif.load(bytes.fromhex("".join(image.info["Raw profile type exif"].split("\n")[3:])))
    elif hasattr(image, "tag_v2"):  # a TIFF's own tags are its EXIF; Pillow has applied the orientation
        return image.getexif()
    return exif


def kept_exif(exif: Image.Exif) -> bytes | None:
    """The date, artist, copyright and camera of `exif`; None if there are none."""
    kept = Image.Exif()
    for tag in KEPT_TAGS:
        if tag in exif:
            kept[tag] = exif[tag]
    photo = exif.get_ifd(ExifTags.IFD.Exif)
    if kept_photo := {tag: photo[tag] for tag in KEPT_PHOTO_TAGS if tag in photo}:
        kept[ExifTags.IFD.Exif] = kept_photo
    return _with_bytes_for_text(kept).tobytes() if len(kept) else None


def _loaded(exif: bytes) -> Image.Exif:
    result = Image.Exif()
    result.load(exif)
    return _with_bytes_for_text(result)


def _with_bytes_for_text(exif: Image.Exif) -> Image.Exif:
    """Pillow reads text as Latin-1 and writes it as ASCII, without the © of a copyright; it does not change bytes."""
    for tag, value in list(exif.items()):
        exif[tag] = _bytes_of(value)
    return exif


def _bytes_of(value: Any) -> Any:
    if isinstance(value, dict):
        return {tag: _bytes_of(each) for tag, each in value.items()}
    return value.encode("latin-1") if isinstance(value, str) and not value.isascii() else value


# --- settings ---


def exif_with_settings(exif: bytes | None, settings: dict[str, Any] | None) -> Image.Exif | None:
    """`exif` for an upright picture, with `settings` as its UserComment; None when both are missing."""
    if exif is None and settings is None:
        return None
    result = Image.Exif() if exif is None else _loaded(exif)
    result[ExifTags.Base.Orientation] = 1
    if settings is not None:
        comment = ASCII_COMMENT + _to_json({SETTINGS_KEY: settings}).encode("ascii")
        photo = _bytes_of(dict(result.get_ifd(ExifTags.IFD.Exif)))
        result[ExifTags.IFD.Exif] = {**photo, ExifTags.Base.UserComment: comment}
    return _loaded(result.tobytes())  # for TIFF, Pillow finds only what was loaded


def png_text_with_settings(settings: dict[str, Any] | None) -> PngImagePlugin.PngInfo:
    """`settings` as the iTXt chunk "stylecore"."""
    text = PngImagePlugin.PngInfo()
    if settings is not None:
        text.add_itxt(SETTINGS_KEY, _to_json(settings))
    return text


def settings_of(image: Image.Image) -> dict[str, Any] | None:
    """The settings in an opened image, or None. Never raises: other programs use the same fields."""
    try:
        if image.format == "PNG":
            settings = json.loads(image.info[SETTINGS_KEY])
        else:
            comment = read_exif(image).get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.UserComment]
            settings = json.loads(bytes(comment).removeprefix(ASCII_COMMENT))[SETTINGS_KEY]
    except Exception:  # no such entry, or one of any other shape
        return None
    return settings if isinstance(settings, dict) else None


def _to_json(value: dict[str, Any]) -> str:
    return json.dumps(value, default=str)  # paths as text
