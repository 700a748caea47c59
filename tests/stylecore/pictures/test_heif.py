"""HEIC files: upright, in sRGB, with what is kept of their metadata; and other files of the same container."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

from stylecore.errors import StylecoreError
from stylecore.pictures import heif
from stylecore.pictures.heif import is_heif
from stylecore.pictures.read import load_picture, read_size

pillow_heif = pytest.importorskip("pillow_heif", reason="pillow-heif is not installed")
ORIENTATION, ARTIST = 0x112, 0x13B


def halves() -> Image.Image:
    """64 x 96 pixels, the upper half red, the lower blue."""
    pixels = np.zeros((96, 64, 3), dtype=np.uint8)
    pixels[:48, :, 0] = 230
    pixels[48:, :, 2] = 230
    return Image.fromarray(pixels)


def as_heic(image: Image.Image, **options: object) -> io.BytesIO:
    stream = io.BytesIO()
    pillow_heif.from_pillow(image).save(stream, quality=95, **options)
    stream.seek(0)
    return stream


def test_a_phones_photo_is_upright_and_keeps_its_artist() -> None:
    exif = Image.Exif()
    exif[ORIENTATION], exif[ARTIST] = 6, "Ann"
    lying = halves().transpose(Image.Transpose.ROTATE_90)  # orientation 6 turns it back
    picture = load_picture(as_heic(lying, exif=exif.tobytes()))
    assert picture.pixels.shape == (3, 96, 64)
    assert picture.source_size == (96, 64)
    assert picture.pixels[0, :40].mean() > 0.8
    assert picture.pixels[2, 56:].mean() > 0.8
    assert picture.exif is not None
    kept = Image.Exif()
    kept.load(picture.exif)
    assert kept[ARTIST] == "Ann"
    assert ORIENTATION not in kept


def test_its_color_profile_is_heeded() -> None:
    def profile(gamma_of: str) -> bytes:
        return ImageCms.ImageCmsProfile(ImageCms.createProfile(gamma_of)).tobytes()

    gray = Image.new("RGB", (64, 64), (120, 80, 200))
    as_srgb = load_picture(as_heic(gray, icc_profile=profile("sRGB"))).pixels
    plain = load_picture(as_heic(gray)).pixels
    torch.testing.assert_close(as_srgb, plain, atol=0.02, rtol=0)
    wrong = load_picture(as_heic(gray, icc_profile=profile("LAB")))
    assert any("color profile" in notice for notice in wrong.notices)


def test_transparency_is_kept() -> None:
    image = halves().convert("RGBA")
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    alpha = load_picture(as_heic(image)).alpha
    assert alpha is not None
    assert alpha[0, 0].mean() < 0.1
    assert alpha[0, -1].mean() > 0.9


def test_the_size_is_read_from_the_header_and_limited() -> None:
    file = as_heic(halves())
    assert read_size(file) == (96, 64)
    file.seek(0)
    with pytest.raises(StylecoreError, match="more than the limit of 1,000"):
        load_picture(file, max_pixels=1000)


def test_a_broken_one_is_one_sentence() -> None:
    whole = as_heic(halves()).getvalue()
    for broken in (whole[: len(whole) // 2], whole[:40] + bytes(60) + whole[100:]):
        with pytest.raises(StylecoreError, match="cannot be read, it is broken or cut short"):
            load_picture(io.BytesIO(broken))


def test_its_brands_decide_not_its_container(tmp_path: Path) -> None:
    assert is_heif(b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic")
    assert not is_heif(b"\0\0\0\x18ftypmif1\0\0\0\0mif1avif")
    assert not is_heif(b"\0\0\0\x14ftypmif1\0\0\0\0mif1heic")  # what follows the list is no brand
    assert not is_heif(b"ftyp")
    halves().save(tmp_path / "photo.avif")
    assert not is_heif((tmp_path / "photo.avif").read_bytes()[: heif.HEAD_BYTES])
    assert load_picture(tmp_path / "photo.avif").pixels.shape == (3, 96, 64)
