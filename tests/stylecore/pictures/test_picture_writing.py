"""Pictures written, resized and fitted; the awkward files."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from picture_files import UPRIGHT, exif_with, noise, refused
from PIL import ExifTags, Image

from stylecore.errors import StylecoreError
from stylecore.pictures.read import fit, load_picture, picture_from_image, read_settings, resize
from stylecore.pictures.write import encode_picture, output_format, save_picture, to_image


@settings(max_examples=10)
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


def test_places_that_cannot_hold_a_file_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StylecoreError, match=r"folder .*missing does not exist"):
        save_picture(torch.rand(3, 2, 2), tmp_path / "missing" / "a.png")
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(StylecoreError, match="is a folder"):
        output_format(tmp_path / "folder.png")
    assert output_format(tmp_path / "a.JPG") == "JPEG"
    monkeypatch.setattr("os.access", lambda *_: False)  # a superuser may write everywhere
    with pytest.raises(StylecoreError, match=r"folder .* cannot be written"):
        output_format(tmp_path / "a.jpg")


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


SIDES = st.integers(1, 40)


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
    part = (..., slice(80), slice(80))  # enough to be the same again, and soon compressed
    alpha = None if picture.alpha is None else picture.alpha[part]
    save_picture(picture.pixels[part], tmp_path / "a.png", alpha=alpha, exif=picture.exif)
    assert torch.equal(load_picture(tmp_path / "a.png").pixels, picture.pixels[part])


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
