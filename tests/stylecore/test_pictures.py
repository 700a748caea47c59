import io
import os
import struct
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image, ImageCms

from stylecore.errors import StylecoreError
from stylecore.pictures.read import (
    DEFAULT_MAX_PIXELS,
    encode_picture,
    fit,
    load_picture,
    output_format,
    picture_from_image,
    read_settings,
    resize,
    save_picture,
    to_image,
)

# Red, green, blue on top, white, black, gray below: no turn or mirror leaves it as it is.
UPRIGHT = np.array(
    [[[255, 0, 0], [0, 255, 0], [0, 0, 255]], [[255, 255, 255], [0, 0, 0], [128, 128, 128]]], dtype=np.uint8
)
# How a camera stores it: row 0 and column 0 of the file are the named sides of the scene (EXIF 2.32, 4.6.4).
STORED: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],  # top, right
    3: lambda a: a[::-1, ::-1],  # bottom, right
    4: lambda a: a[::-1],  # bottom, left
    5: lambda a: a.swapaxes(0, 1),  # left, top
    6: lambda a: a[:, ::-1].swapaxes(0, 1),  # right, top
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),  # right, bottom
    8: lambda a: a[::-1].swapaxes(0, 1),  # left, bottom
}


def bytes_of(pixels: torch.Tensor) -> np.ndarray:
    return (pixels * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()


def noise(height: int, width: int, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, channels), dtype=np.uint8)


def exif_with(**tags: object) -> Image.Exif:
    exif = Image.Exif()
    for name, value in tags.items():
        exif[ExifTags.Base[name]] = value
    return exif


def png(width: int, height: int, depth: int, color: int, samples: bytes, *chunks: tuple[bytes, bytes]) -> io.BytesIO:
    """A PNG of one row per filter byte in `samples`, with kinds of samples that Pillow does not write."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    body = [chunk(b"IHDR", header), *(chunk(*c) for c in chunks), chunk(b"IDAT", zlib.compress(samples))]
    return io.BytesIO(b"\x89PNG\r\n\x1a\n" + b"".join(body) + chunk(b"IEND", b""))


def profile(color_space: Literal["sRGB", "LAB"]) -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile(color_space)).tobytes()


def swapped_profile() -> bytes:
    """sRGB with the red and the green primary exchanged, so that a conversion cannot be overlooked."""
    data = bytearray(profile("sRGB"))
    count = struct.unpack(">I", data[128:132])[0]
    tags = {bytes(data[p : p + 4]): p for p in range(132, 132 + 12 * count, 12)}
    red, green = tags[b"rXYZ"], tags[b"gXYZ"]
    data[red + 4 : red + 12], data[green + 4 : green + 12] = data[green + 4 : green + 12], data[red + 4 : red + 12]
    return bytes(data)


# --- orientation ---


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_upright_once(tmp_path: Path, orientation: int, suffix: str) -> None:
    stored = np.ascontiguousarray(STORED[orientation](UPRIGHT)).repeat(16, 0).repeat(16, 1)
    path = tmp_path / f"photo.{suffix}"
    exact: dict[str, dict[str, Any]] = {"jpg": {"quality": 100, "subsampling": 0}, "webp": {"lossless": True}}
    options = exact.get(suffix, {})
    Image.fromarray(stored).save(path, exif=exif_with(Orientation=orientation).tobytes(), **options)
    picture = load_picture(path)
    assert picture.source_size == (32, 48)
    assert np.abs(bytes_of(picture.pixels)[8::16, 8::16].astype(int) - UPRIGHT).max() <= 2
    save_picture(picture.pixels, tmp_path / "again.png", exif=picture.exif)
    assert torch.equal(load_picture(tmp_path / "again.png").pixels, picture.pixels)


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_unknown_orientations_are_ignored(tmp_path: Path, orientation: int) -> None:
    Image.fromarray(UPRIGHT).save(tmp_path / "a.png", exif=exif_with(Orientation=orientation).tobytes())
    assert np.array_equal(bytes_of(load_picture(tmp_path / "a.png").pixels), UPRIGHT)


def test_orientation_turns_alpha_and_16_bit_gray_too(tmp_path: Path) -> None:
    exif = exif_with(Orientation=6).tobytes()
    Image.fromarray(np.dstack([noise(2, 3), [[0, 50, 100], [150, 200, 255]]]).astype(np.uint8)).save(
        tmp_path / "a.png", exif=exif
    )
    alpha = load_picture(tmp_path / "a.png").alpha
    assert alpha is not None
    assert bytes_of(alpha)[..., 0].tolist() == [[150, 0], [200, 50], [255, 100]]
    Image.fromarray(np.array([[0, 257], [514, 65535]], dtype=np.uint16)).save(tmp_path / "b.png", exif=exif)
    assert bytes_of(load_picture(tmp_path / "b.png").pixels)[..., 0].tolist() == [[2, 0], [255, 1]]


# --- modes and depths ---


def test_gray_becomes_three_equal_channels(tmp_path: Path) -> None:
    gray = noise(5, 4, 1)[..., 0]
    Image.fromarray(gray).save(tmp_path / "a.png")
    picture = load_picture(tmp_path / "a.png")
    assert picture.pixels.shape == (3, 5, 4)
    assert picture.alpha is None
    assert np.array_equal(bytes_of(picture.pixels), gray[..., None].repeat(3, -1))


@pytest.mark.parametrize(("mode", "suffix"), [("I;16", "png"), ("I;16", "tif"), ("I;16B", "tif"), ("I", "png")])
def test_16_bit_gray_is_scaled_not_clipped(tmp_path: Path, mode: str, suffix: str) -> None:
    samples = np.array([[0, 128, 129, 257, 32768, 65406, 65407, 65535]], dtype=np.uint16)
    image = Image.fromarray(samples.astype(">u2" if mode == "I;16B" else "<u2"))
    if mode == "I":
        image = image.convert("I")
    assert image.mode == mode
    image.save(tmp_path / f"a.{suffix}")
    # 65535 = 255 * 257, so a step of 8 bits is 257 and half of it is rounded up.
    assert bytes_of(load_picture(tmp_path / f"a.{suffix}").pixels)[0, :, 0].tolist() == [
        0, 0, 1, 1, 128, 254, 255, 255,
    ]  # fmt: skip


def test_16_bit_tiff_in_which_white_is_zero(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 65535, 257]], dtype=np.uint16)).save(tmp_path / "a.tif")
    data = (tmp_path / "a.tif").read_bytes()
    black_is_zero, white_is_zero = (struct.pack("<HHII", 262, 3, 1, value) for value in (1, 0))
    assert data.count(black_is_zero) == 1
    (tmp_path / "a.tif").write_bytes(data.replace(black_is_zero, white_is_zero))
    assert bytes_of(load_picture(tmp_path / "a.tif").pixels)[0, :, 0].tolist() == [255, 0, 254]


def test_16_bit_color(tmp_path: Path) -> None:
    data = png(2, 1, 16, 2, b"\0" + struct.pack(">6H", 65535, 32896, 0, 257, 514, 771))
    assert bytes_of(load_picture(data).pixels).tolist() == [[[255, 128, 0], [1, 2, 3]]]


def test_16_bit_gray_with_a_transparent_value() -> None:
    picture = load_picture(png(2, 1, 16, 0, b"\0" + struct.pack(">2H", 1000, 25700), (b"tRNS", b"\x03\xe8")))
    assert picture.alpha is not None
    assert picture.alpha.flatten().tolist() == [0, 1]
    assert bytes_of(picture.pixels)[0, :, 0].tolist() == [255, 100]


@pytest.mark.parametrize("mode", ["F", "I"])
def test_samples_without_a_known_range_are_refused(tmp_path: Path, mode: str) -> None:
    Image.new(mode, (2, 2), 70000).save(tmp_path / "a.tif")
    with pytest.raises(StylecoreError, match=r"a\.tif holds .* save it with 8 or 16 bits"):
        load_picture(tmp_path / "a.tif")


@pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK", "YCbCr", "RGBX", "LAB", "HSV"])
def test_white_is_white_in_every_mode(mode: str) -> None:
    white = {"CMYK": (0, 0, 0, 0), "YCbCr": (255, 128, 128), "HSV": (0, 0, 255), "LAB": (255, 128, 128)}
    image = Image.new(mode, (3, 2), white.get(mode, "white"))
    assert np.abs(bytes_of(picture_from_image(image).pixels).astype(int) - 255).max() <= 1


def test_cmyk_without_a_profile(tmp_path: Path) -> None:
    image = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    image.save(tmp_path / "a.jpg", quality=100)  # Pillow writes them as Adobe does, inverted
    assert np.abs(bytes_of(load_picture(tmp_path / "a.jpg").pixels).astype(int) - [255, 0, 0]).max() <= 2


def test_palette_with_transparency(tmp_path: Path) -> None:
    image = Image.new("P", (3, 1))
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    image.putdata([0, 1, 2])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        image.save(tmp_path / "a.png", transparency=b"\x00\x80\xff")
        picture = load_picture(tmp_path / "a.png")
    assert picture.alpha is not None
    assert bytes_of(picture.alpha).flatten().tolist() == [0, 128, 255]
    assert bytes_of(picture.pixels).tolist() == [[[255, 255, 255], [127, 255, 127], [0, 0, 255]]]


def test_transparent_color_of_rgb(tmp_path: Path) -> None:
    Image.fromarray(UPRIGHT).save(tmp_path / "a.png", transparency=(255, 0, 0))
    alpha = load_picture(tmp_path / "a.png").alpha
    assert alpha is not None
    assert alpha.flatten().tolist() == [0, 1, 1, 1, 1, 1]


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_transparency_is_composited_on_white_and_kept(tmp_path: Path, mode: str) -> None:
    color = (0, 51) if mode == "LA" else (0, 0, 0, 51)
    Image.new(mode, (2, 3), color).save(tmp_path / "a.png")
    picture = load_picture(tmp_path / "a.png")
    assert picture.alpha is not None
    assert torch.equal(picture.alpha, torch.full((1, 3, 2), 0.2))
    assert torch.allclose(picture.pixels, torch.full((3, 3, 2), 0.8))


def test_opaque_alpha_is_none() -> None:
    assert picture_from_image(Image.new("RGBA", (2, 2), (1, 2, 3, 255))).alpha is None


# --- color profiles ---


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tif"])
def test_a_profile_is_converted_to_srgb(tmp_path: Path, suffix: str) -> None:
    Image.new("RGB", (16, 16), (200, 30, 30)).save(tmp_path / f"a.{suffix}", icc_profile=swapped_profile())
    red, green, blue = load_picture(tmp_path / f"a.{suffix}").pixels.mean((1, 2)).mul(255).tolist()
    assert red == pytest.approx(30, abs=4)
    assert green == pytest.approx(200, abs=4)
    assert blue == pytest.approx(30, abs=4)


def test_a_profile_leaves_alpha_alone(tmp_path: Path) -> None:
    Image.new("RGBA", (1, 1), (200, 30, 30, 128)).save(tmp_path / "a.png", icc_profile=swapped_profile())
    picture = load_picture(tmp_path / "a.png")
    assert picture.alpha is not None
    assert bytes_of(picture.alpha).item() == 128
    assert picture.pixels[1] > picture.pixels[0]


def test_a_gray_picture_with_an_rgb_profile(tmp_path: Path) -> None:
    Image.new("L", (1, 1), 100).save(tmp_path / "a.png", icc_profile=profile("sRGB"))
    picture = load_picture(tmp_path / "a.png")
    assert picture.notices == ()
    assert bytes_of(picture.pixels).flatten().tolist() == [100, 100, 100]


@pytest.mark.parametrize("broken", [b"nonsense" * 40, profile("LAB"), profile("sRGB")[:300]])
def test_a_profile_that_cannot_be_used_is_told(tmp_path: Path, broken: bytes) -> None:
    Image.fromarray(UPRIGHT).save(tmp_path / "a.png", icc_profile=broken)
    picture = load_picture(tmp_path / "a.png")
    assert np.array_equal(bytes_of(picture.pixels), UPRIGHT)
    assert len(picture.notices) == 1
    assert "color profile" in picture.notices[0]


def test_a_broken_profile_on_cmyk() -> None:
    image = Image.new("CMYK", (1, 1), (0, 255, 255, 0))
    image.info["icc_profile"] = b"nonsense"
    picture = picture_from_image(image)
    assert bytes_of(picture.pixels).flatten().tolist() == [255, 0, 0]
    assert "color profile" in picture.notices[0]


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tif"])
def test_saved_files_carry_an_srgb_profile(tmp_path: Path, suffix: str) -> None:
    save_picture(torch.rand(3, 4, 4), tmp_path / f"a.{suffix}")
    with Image.open(tmp_path / f"a.{suffix}") as image:
        embedded = ImageCms.ImageCmsProfile(io.BytesIO(image.info["icc_profile"]))
    assert "sRGB" in ImageCms.getProfileDescription(embedded)


# --- EXIF ---


def full_exif() -> bytes:
    exif = exif_with(
        Orientation=6, DateTime="2020:02:03 04:05:06", Artist="An Artist", Copyright="(c) Someone",
        Make="Maker", Model="Camera", ImageDescription="left behind",
    )  # fmt: skip
    exif[ExifTags.IFD.Exif] = {
        ExifTags.Base.DateTimeOriginal: "2019:01:02 03:04:05",
        ExifTags.Base.MakerNote: b"serial number",
        ExifTags.Base.UserComment: b"ASCII\0\0\0left behind",
        ExifTags.Base.ExifImageWidth: 4000,
    }
    exif[ExifTags.IFD.GPSInfo] = {ExifTags.GPS.GPSLatitudeRef: "N", ExifTags.GPS.GPSLatitude: (48.0, 31.0, 12.0)}
    return exif.tobytes()


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tif"])
def test_date_author_and_camera_survive_and_nothing_else(tmp_path: Path, suffix: str) -> None:
    Image.fromarray(UPRIGHT).save(tmp_path / "in.jpg", exif=full_exif())
    picture = load_picture(tmp_path / "in.jpg")
    save_picture(picture.pixels, tmp_path / f"out.{suffix}", exif=picture.exif)
    data = (tmp_path / f"out.{suffix}").read_bytes()
    assert b"serial number" not in data
    assert b"left behind" not in data
    with Image.open(tmp_path / f"out.{suffix}") as image:
        exif = image.getexif()
        assert exif[ExifTags.Base.Artist] == "An Artist"
        assert exif[ExifTags.Base.Copyright] == "(c) Someone"
        assert (exif[ExifTags.Base.Make], exif[ExifTags.Base.Model]) == ("Maker", "Camera")
        assert exif[ExifTags.Base.DateTime] == "2020:02:03 04:05:06"
        assert exif[ExifTags.Base.Orientation] == 1
        assert dict(exif.get_ifd(ExifTags.IFD.Exif)) == {ExifTags.Base.DateTimeOriginal: "2019:01:02 03:04:05"}
        assert not exif.get_ifd(ExifTags.IFD.GPSInfo)
        assert not exif.get_ifd(ExifTags.IFD.IFD1)  # the thumbnail


def test_the_location_is_kept_when_asked_for(tmp_path: Path) -> None:
    Image.fromarray(UPRIGHT).save(tmp_path / "in.jpg", exif=full_exif())
    picture = load_picture(tmp_path / "in.jpg", keep_location=True)
    save_picture(picture.pixels, tmp_path / "out.jpg", exif=picture.exif, settings={"a": 1})
    with Image.open(tmp_path / "out.jpg") as image:
        assert image.getexif().get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitude] == (48.0, 31.0, 12.0)


def test_no_exif_is_none(tmp_path: Path) -> None:
    Image.fromarray(UPRIGHT).save(tmp_path / "a.jpg", exif=exif_with(Orientation=3).tobytes())
    assert load_picture(tmp_path / "a.jpg").exif is None
    save_picture(torch.rand(3, 2, 2), tmp_path / "b.tif")
    assert load_picture(tmp_path / "b.tif").exif is None


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_broken_exif_does_not_cost_the_picture(tmp_path: Path) -> None:
    Image.fromarray(UPRIGHT).save(tmp_path / "a.png", exif=b"Exif\0\0nonsense")
    picture = load_picture(tmp_path / "a.png")
    assert np.array_equal(bytes_of(picture.pixels), UPRIGHT)
    assert picture.exif is None
    assert "EXIF" in picture.notices[0]


def test_an_orientation_in_xmp_alone_is_not_heeded(tmp_path: Path) -> None:
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="3"/></x:xmpmeta>'
    Image.fromarray(UPRIGHT).save(tmp_path / "a.webp", lossless=True, xmp=xmp)
    with Image.open(tmp_path / "a.webp") as image:
        assert image.getexif()[ExifTags.Base.Orientation] == 3  # Pillow does
    assert np.array_equal(bytes_of(load_picture(tmp_path / "a.webp").pixels), UPRIGHT)


# --- what is read, what is refused ---


def test_avif_and_webp_are_read(tmp_path: Path) -> None:
    for suffix in ("avif", "webp"):
        Image.new("RGB", (16, 8), (200, 100, 50)).save(tmp_path / f"a.{suffix}")
        picture = load_picture(tmp_path / f"a.{suffix}")
        assert np.abs(bytes_of(picture.pixels).astype(int) - [200, 100, 50]).max() <= 6


@pytest.mark.parametrize("suffix", ["gif", "webp", "png", "tif"])
def test_the_first_frame_is_taken_and_told(tmp_path: Path, suffix: str) -> None:
    frames = [Image.new("RGB", (8, 8), color) for color in ("red", "lime", "blue")]
    options: dict[str, Any] = {"lossless": True} if suffix == "webp" else {}
    frames[0].save(tmp_path / f"a.{suffix}", save_all=True, append_images=frames[1:], **options)
    picture = load_picture(tmp_path / f"a.{suffix}")
    assert bytes_of(picture.pixels)[0, 0].tolist() == [255, 0, 0]
    assert len(picture.notices) == 1
    assert "first of the 3" in picture.notices[0]


def test_the_content_and_not_the_name_decides(tmp_path: Path) -> None:
    Image.fromarray(UPRIGHT).save(tmp_path / "a.png")
    (tmp_path / "a.png").rename(tmp_path / "a.jpg")
    assert np.array_equal(bytes_of(load_picture(str(tmp_path / "a.jpg")).pixels), UPRIGHT)


def test_a_stream_that_cannot_seek() -> None:
    reading, writing = os.pipe()
    with os.fdopen(writing, "wb") as stream:
        save_picture(torch.rand(3, 2, 2), stream, format="PNG")
    with os.fdopen(reading, "rb") as stream:
        assert load_picture(stream).source_size == (2, 2)


def test_the_stream_is_named_in_errors() -> None:
    stream = io.BytesIO(b"text")
    with pytest.raises(StylecoreError, match=r"^the picture is not a picture"):
        load_picture(stream)
    stream = io.BytesIO(b"text")
    stream.name = "<stdin>"
    with pytest.raises(StylecoreError, match=r"^<stdin> is not a picture"):
        load_picture(stream)


def refused(path: Path, reason: str, **options: Any) -> None:
    with pytest.raises(StylecoreError) as caught:
        load_picture(path, **options)
    message = str(caught.value)
    assert str(path) in message
    assert reason in message
    assert "\n" not in message


def test_files_that_are_no_picture_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "text.jpg").write_text("no picture " * 50)
    (tmp_path / "phone.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(50))
    refused(tmp_path / "missing.jpg", "does not exist")
    refused(tmp_path, "is a folder")
    refused(tmp_path / "empty.jpg", "is empty")
    refused(tmp_path / "text.jpg", "is not a picture")
    refused(tmp_path / "phone.heic", "HEIC")
    with pytest.raises(StylecoreError):
        load_picture("null\0character.png")


def test_a_file_without_permission_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", denied)  # root may read everything
    with pytest.raises(StylecoreError, match=r"a\.png cannot be read: permission denied"):
        load_picture("a.png")


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tif", "gif", "avif"])
@pytest.mark.parametrize("part", [0.02, 0.5, 0.9])
@pytest.mark.filterwarnings("ignore:Truncated File Read")
def test_a_file_cut_short_is_refused(tmp_path: Path, suffix: str, part: float) -> None:
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(noise(40, 40)).save(path)
    data = path.read_bytes()
    path.write_bytes(data[: max(20, int(len(data) * part))])
    refused(path, "broken or cut short")


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_damaged_file_gives_a_picture_or_a_sentence(data: st.DataObject) -> None:
    suffix = data.draw(st.sampled_from(["PNG", "JPEG", "WEBP", "TIFF", "GIF", "BMP"]))
    stream = io.BytesIO()
    Image.fromarray(UPRIGHT).save(stream, suffix)
    content = bytearray(stream.getvalue())
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            picture = load_picture(io.BytesIO(bytes(content)), max_pixels=10_000)
        except StylecoreError:
            return
    assert torch.isfinite(picture.pixels).all()


def test_a_bomb_is_refused_by_its_header(tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"
    limit = Image.MAX_IMAGE_PIXELS
    # No pixels follow: had they been asked for, the reason would be another.
    path.write_bytes(png(20_000, 10_000, 8, 0, b"").getvalue())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        refused(path, f"{DEFAULT_MAX_PIXELS:,}")
        refused(path, "--max-pixels")
        refused(path, "broken or cut short", max_pixels=10**9)  # beyond Pillow's own limit too
    assert limit == Image.MAX_IMAGE_PIXELS


def test_the_limit_is_exact(tmp_path: Path) -> None:
    Image.fromarray(UPRIGHT).save(tmp_path / "a.png")
    assert load_picture(tmp_path / "a.png", max_pixels=6).source_size == (2, 3)
    refused(tmp_path / "a.png", "3 x 2 = 6 pixels", max_pixels=5)
    refused(tmp_path / "a.png", "limit of 5", max_pixels=5, max_side=1)


# --- saving ---


@settings(max_examples=30, deadline=None)
@given(height=st.integers(1, 20), width=st.integers(1, 20), channels=st.sampled_from([1, 2, 3, 4]))
def test_load_save_load_is_exact(height: int, width: int, channels: int) -> None:
    original = noise(height, width, channels).squeeze(-1) if channels == 1 else noise(height, width, channels)
    picture = picture_from_image(Image.fromarray(original))
    for format in ("PNG", "TIFF"):
        again = load_picture(io.BytesIO(encode_picture(picture.pixels, format, alpha=picture.alpha)))
        assert torch.equal(again.pixels, picture.pixels)
        if picture.alpha is None:
            assert again.alpha is None
        else:
            assert again.alpha is not None
            assert torch.equal(again.alpha, picture.alpha)


def test_rounding_is_half_up_and_clipped() -> None:
    values = torch.tensor([-1.0, 0.0, 0.49 / 255, 0.5 / 255, 1.5 / 255, 2.5 / 255, 254.49 / 255, 1.0, 9.0])
    assert np.asarray(to_image(values.expand(3, 1, -1)))[0, :, 0].tolist() == [0, 0, 0, 1, 2, 3, 254, 255, 255]


def test_the_image_over_white_looks_like_the_pixels() -> None:
    alpha = torch.tensor([0.0, 0.5, 0.5, 1.0]).reshape(1, 1, 4)
    pixels = torch.tensor([0.3, 0.8, 0.2, 0.3]).expand(3, 1, 4)
    image = np.asarray(to_image(pixels, alpha)) / 255
    over_white = image[..., :3] * image[..., 3:] + 1 - image[..., 3:]
    # Transparent stays white, and half white cannot be darker than half gray.
    assert over_white[0, :, 0].tolist() == pytest.approx([1, 0.8, 0.5, 0.3], abs=0.005)


def test_values_that_are_not_numbers_are_refused(tmp_path: Path) -> None:
    pixels = torch.rand(3, 2, 2)
    pixels[1, 0, 1] = torch.nan
    with pytest.raises(StylecoreError, match="not numbers"):
        save_picture(pixels, tmp_path / "a.png")
    assert list(tmp_path.iterdir()) == []


def test_jpeg_is_444_over_white(tmp_path: Path) -> None:
    picture = picture_from_image(Image.new("RGBA", (16, 16), (0, 0, 0, 51)))
    save_picture(picture.pixels, tmp_path / "a.jpg", alpha=picture.alpha)
    with Image.open(tmp_path / "a.jpg") as image:
        assert image.mode == "RGB"
        assert [layer[1:3] for layer in image.layer] == [(1, 1)] * 3  # type: ignore[attr-defined]
        assert abs(int(np.asarray(image)[8, 8, 0]) - 204) <= 1


def test_webp_keeps_alpha_exactly(tmp_path: Path) -> None:
    picture = picture_from_image(Image.fromarray(noise(20, 20, 4)))
    save_picture(picture.pixels, tmp_path / "a.webp", alpha=picture.alpha)
    alpha = load_picture(tmp_path / "a.webp").alpha
    assert alpha is not None
    assert picture.alpha is not None
    assert torch.equal(alpha, picture.alpha)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".PNG"])
def test_settings_come_back(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    values = {"style": "Die große Welle", "strength": 0.5, "layers": ["relu1_1"], "seed": None}
    save_picture(torch.rand(3, 4, 4), path, settings=values, exif=exif_with(Artist="me").tobytes())
    assert read_settings(path) == values
    with Image.open(path) as image:
        assert image.getexif()[ExifTags.Base.Artist] == "me"
    assert load_picture(path).exif is not None
    with path.open("rb") as stream:
        assert read_settings(stream) == values


def test_no_settings(tmp_path: Path) -> None:
    comment = Image.Exif()
    comment[ExifTags.IFD.Exif] = {ExifTags.Base.UserComment: b"ASCII\0\0\0[1]"}
    Image.fromarray(UPRIGHT).save(tmp_path / "a.jpg", exif=comment.tobytes())
    Image.fromarray(UPRIGHT).save(tmp_path / "b.png")
    assert read_settings(tmp_path / "a.jpg") is None
    assert read_settings(tmp_path / "b.png") is None
    with pytest.raises(StylecoreError, match="does not exist"):
        read_settings(tmp_path / "c.png")


def test_the_same_picture_gives_the_same_file() -> None:
    pixels = torch.rand(3, 5, 5)
    assert encode_picture(pixels, "PNG", settings={"a": 1}) == encode_picture(pixels, "PNG", settings={"a": 1})


def test_an_unknown_suffix_is_refused_with_the_list(tmp_path: Path) -> None:
    for name in ("a.bmp", "a"):
        with pytest.raises(StylecoreError, match=r"suffix.*\.png, \.jpg, \.jpeg, \.webp, \.tif, \.tiff"):
            save_picture(torch.rand(3, 2, 2), tmp_path / name)
    with pytest.raises(StylecoreError, match="BMP"):
        encode_picture(torch.rand(3, 2, 2), "BMP")  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_places_that_cannot_hold_a_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(StylecoreError, match=r"folder .*missing does not exist"):
        save_picture(torch.rand(3, 2, 2), tmp_path / "missing" / "a.png")
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(StylecoreError, match="is a folder"):
        output_format(tmp_path / "folder.png")
    assert output_format(tmp_path / "a.JPG") == "JPEG"


def test_a_picture_too_large_for_the_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StylecoreError, match="WEBP file cannot hold"):
        save_picture(torch.zeros(3, 1, 16384), tmp_path / "a.webp")
    with pytest.raises(StylecoreError, match="JPEG file cannot hold"):
        save_picture(torch.zeros(3, 1, 4), tmp_path / "a.jpg", settings={"long": "x" * 70_000})
    assert list(tmp_path.iterdir()) == []


def test_a_failed_save_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    for function in ("os.replace", "pathlib.Path.write_bytes"):
        with monkeypatch.context() as patched:
            patched.setattr(function, full)
            with pytest.raises(StylecoreError, match=r"a\.png cannot be written: No space left"):
                save_picture(torch.rand(3, 2, 2), path)
        assert path.read_bytes() == b"old"
        assert list(tmp_path.iterdir()) == [path]


def test_a_saved_file_has_ordinary_permissions_and_links_are_followed(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    (tmp_path / "link.png").symlink_to(tmp_path / "target.png")
    save_picture(torch.rand(3, 2, 2), tmp_path / "link.png")
    assert (tmp_path / "link.png").is_symlink()
    assert (tmp_path / "target.png").stat().st_mode == (tmp_path / "plain").stat().st_mode


# --- resizing ---

SIDES = st.integers(1, 40)


@settings(max_examples=50, deadline=None)
@given(before=st.tuples(SIDES, SIDES), after=st.tuples(SIDES, SIDES), batch=st.sampled_from([(), (2,)]))
def test_resize_gives_the_size_and_keeps_the_range(
    before: tuple[int, int], after: tuple[int, int], batch: tuple[int, ...]
) -> None:
    pixels = torch.rand(*batch, 3, *before).round()
    resized = resize(pixels, after)
    assert resized.shape == (*batch, 3, *after)
    assert resized.min() >= 0
    assert resized.max() <= 1


def test_resize_is_antialiased_and_keeps_flat_colors() -> None:
    checkerboard = ((torch.arange(64)[:, None] + torch.arange(64)) % 2).float().expand(3, 64, 64)
    assert torch.allclose(resize(checkerboard, (8, 8))[:, 2:-2, 2:-2], torch.tensor(0.5), atol=0.01)
    assert torch.allclose(resize(torch.full((3, 7, 5), 0.3), (4, 9)), torch.tensor(0.3), atol=1e-6)
    pixels = torch.rand(3, 7, 5)
    assert resize(pixels, (7, 5)) is pixels


@settings(max_examples=50, deadline=None)
@given(height=st.integers(1, 60), width=st.integers(1, 60), max_side=st.integers(1, 70))
def test_fit_keeps_the_aspect_and_never_enlarges(height: int, width: int, max_side: int) -> None:
    pixels = torch.rand(3, height, width)
    fitted = fit(pixels, max_side)
    if max(height, width) <= max_side:
        assert fitted is pixels
        return
    assert max(fitted.shape[-2:]) == max_side
    scale = max_side / max(height, width)
    for side, before in zip(fitted.shape[-2:], (height, width), strict=True):
        assert abs(side - max(1, before * scale)) <= 0.5


def test_max_side_reduces_alpha_too_and_tells_the_source_size(tmp_path: Path) -> None:
    Image.fromarray(noise(30, 20, 4)).save(tmp_path / "a.png")
    whole, small = load_picture(tmp_path / "a.png"), load_picture(tmp_path / "a.png", max_side=15)
    assert small.source_size == (30, 20)
    assert small.alpha is not None
    assert small.alpha.shape == (1, 15, 10)
    assert torch.equal(small.pixels, fit(whole.pixels, 15))
    with pytest.raises(StylecoreError, match="at least 1"):
        load_picture(tmp_path / "a.png", max_side=0)


def test_an_image_given_is_not_changed() -> None:
    image = Image.fromarray(noise(2, 3, 4))
    before = image.copy()
    picture_from_image(image, max_side=2)
    assert image == before


# --- files from the wild ---

AWKWARD: dict[str, tuple[int, int] | str] = {
    "animated.gif": (245, 245),
    "animated.webp": (245, 245),
    "bomb_30000x30000.png": "--max-pixels",
    "broken_stream.png": "broken or cut short",
    "cmyk_adobe.jpg": (100, 100),
    "empty.jpg": "is empty",
    "gray_16bit.tif": (32, 32),
    "gray_8bit.jpg": (128, 128),
    "icc_colormatch_rgba.png": (268, 326),
    "jpeg_named.png": (440, 220),
    "orientation_landscape_0.jpg": (1200, 1800),
    "orientation_landscape_1.jpg": (1200, 1800),
    "orientation_landscape_3.jpg": (1200, 1800),
    "orientation_landscape_6.jpg": (1200, 1800),
    "orientation_portrait_6.jpg": (1800, 1200),
    "palette_trns.png": (64, 64),
    "photo.avif": (128, 128),
    "rgb_16bit.tiff": (40, 100),
    "rgb_16bit_pngsuite.png": (32, 32),
    "text_named.jpg": "is not a picture",
    "tiny_1x1.png": (1, 1),
    "transparent_rgba.png": (150, 200),
    "truncated.jpg": "broken or cut short",
}


@pytest.mark.parametrize("name", AWKWARD)
def test_awkward_files(shared_data: Path, tmp_path: Path, name: str) -> None:
    path, expected = shared_data / "awkward" / name, AWKWARD[name]
    if isinstance(expected, str):
        refused(path, expected)
        return
    picture = load_picture(path)
    assert picture.source_size == expected
    assert picture.pixels.shape == (3, *expected)
    assert bool(picture.notices) == ("animated" in name)
    assert (picture.alpha is not None) == (name in ("palette_trns.png", "tiny_1x1.png", "transparent_rgba.png"))
    save_picture(picture.pixels, tmp_path / "a.png", alpha=picture.alpha, exif=picture.exif)
    assert torch.equal(load_picture(tmp_path / "a.png").pixels, picture.pixels)


def test_the_list_of_awkward_files_is_complete(shared_data: Path) -> None:
    assert {path.name for path in (shared_data / "awkward").iterdir()} == set(AWKWARD)


def test_colors_of_awkward_files(shared_data: Path) -> None:
    cmyk = load_picture(shared_data / "awkward" / "cmyk_adobe.jpg").pixels  # red letters on black, not cyan on white
    assert cmyk[0].max() > 0.8
    assert cmyk.mean() < 0.1
    assert cmyk[0].mean() > 3 * cmyk[1].mean()
    gray = load_picture(shared_data / "awkward" / "gray_16bit.tif").pixels  # at most 285 of 65535
    assert gray.max() <= 2 / 255
    upright = load_picture(shared_data / "awkward" / "orientation_landscape_1.jpg", max_side=64).pixels
    for orientation in (0, 3, 6):  # the same photo but for the number in its middle
        path = shared_data / "awkward" / f"orientation_landscape_{orientation}.jpg"
        assert (load_picture(path, max_side=64).pixels - upright).abs().mean() < 0.01


def test_content_photos_are_read(shared_data: Path) -> None:
    for path in sorted((shared_data / "content").iterdir()):
        assert max(load_picture(path, max_side=32).pixels.shape) == 32
