import io
import os
import struct
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from broken_files import png
from picture_files import UPRIGHT, exif_with, noise
from PIL import ExifTags, Image, ImageCms

from stylecore.errors import StylecoreError
from stylecore.pictures.read import load_picture, load_reduced, picture_from_image
from stylecore.pictures.write import encode_picture, save_picture

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


def test_12_bit_tiff_is_scaled_by_its_own_white(tmp_path: Path) -> None:
    packed = bytes([0x00, 0x08, 0x00, 0xFF, 0xFF, 0xFF])  # 0, 2048, 4095, 4095
    entries = [(256, 4), (257, 1), (258, 12), (259, 1), (262, 1), (273, 8), (277, 1), (278, 1), (279, len(packed))]
    directory = b"".join(struct.pack("<HHII", tag, 3, 1, value) for tag, value in entries)
    data = b"II*\0" + struct.pack("<I", 8 + len(packed)) + packed + struct.pack("<H", len(entries)) + directory
    (tmp_path / "a.tif").write_bytes(data + bytes(4))
    assert bytes_of(load_picture(tmp_path / "a.tif").pixels)[0, :, 0].tolist() == [0, 128, 255, 255]


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


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tif"])
@pytest.mark.parametrize("encoding", ["latin-1", "utf-8"])
def test_text_that_is_not_ascii_keeps_its_bytes(tmp_path: Path, suffix: str, encoding: str) -> None:
    text = "© Zoë".encode(encoding)
    given = exif_with(Copyright=text)
    given[ExifTags.IFD.Exif] = {ExifTags.Base.LensMake: text}
    Image.fromarray(UPRIGHT).save(tmp_path / "in.jpg", exif=given.tobytes())
    picture = load_picture(tmp_path / "in.jpg")
    save_picture(picture.pixels, tmp_path / f"out.{suffix}", exif=picture.exif, settings={"a": 1})
    with Image.open(tmp_path / f"out.{suffix}") as image:
        assert image.getexif()[ExifTags.Base.Copyright].encode("latin-1") == text
        assert image.getexif().get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.LensMake] == text


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


def test_of_an_animation_that_is_cut_short_the_first_frame_is_taken(tmp_path: Path) -> None:
    frames = [Image.fromarray(np.random.default_rng(seed).integers(0, 255, (32, 32), np.uint8)) for seed in range(3)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    whole, data = load_picture(tmp_path / "a.gif").pixels, (tmp_path / "a.gif").read_bytes()
    told = set()
    for end in range(len(data) // 2, len(data), 7):
        picture = load_picture(io.BytesIO(data[:end]))
        assert torch.equal(picture.pixels, whole)
        told |= set(picture.notices)
    assert any("cut short" in notice for notice in told)


def test_the_content_and_not_the_name_decides(tmp_path: Path) -> None:
    Image.fromarray(UPRIGHT).save(tmp_path / "a.png")
    (tmp_path / "a.png").rename(tmp_path / "a.jpg")
    assert np.array_equal(bytes_of(load_picture(str(tmp_path / "a.jpg")).pixels), UPRIGHT)


def test_a_stream_that_cannot_seek() -> None:
    reading, writing = os.pipe()
    with os.fdopen(writing, "wb") as stream:
        stream.write(encode_picture(torch.rand(3, 2, 2), "PNG"))
    with os.fdopen(reading, "rb") as stream:
        assert load_picture(stream).source_size == (2, 2)
    reading, writing = os.pipe()
    with os.fdopen(writing, "wb") as stream:
        stream.write(encode_picture(torch.rand(3, 2, 2), "PNG"))
    assert load_picture(f"/dev/fd/{reading}").source_size == (2, 2)  # as a shell's <(...)
    os.close(reading)


def test_the_stream_is_named_in_errors() -> None:
    stream = io.BytesIO(b"text")
    with pytest.raises(StylecoreError, match=r"^the picture is not a picture"):
        load_picture(stream)
    stream = io.BytesIO(b"text")
    stream.name = "<stdin>"
    with pytest.raises(StylecoreError, match=r"^<stdin> is not a picture"):
        load_picture(stream)


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_training_sees_photos_as_everybody_does(tmp_path: Path, mode: str) -> None:
    picture = Image.fromarray(noise(12, 20, len(mode)), mode)
    picture.save(tmp_path / "a.png", icc_profile=swapped_profile(), exif=exif_with(Orientation=6))
    wanted = bytes_of(load_picture(tmp_path / "a.png").pixels)
    reduced = np.asarray(load_reduced(tmp_path / "a.png", lambda size: min(size)))
    assert np.abs(reduced.astype(int) - wanted).max() <= 1


def test_a_jpeg_is_decoded_no_larger_than_it_is_needed(tmp_path: Path) -> None:
    Image.fromarray(noise(400, 640)).save(tmp_path / "a.jpg")
    assert load_reduced(tmp_path / "a.jpg", lambda size: 100).size == (160, 100)
    assert load_reduced(tmp_path / "a.jpg", lambda size: 101).size == (320, 200)
    assert load_reduced(tmp_path / "a.jpg", lambda size: 1000).size == (640, 400)
