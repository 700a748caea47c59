"""Files that are no picture, cut short, damaged, or too large."""

import io
import warnings
from pathlib import Path

import pytest
import torch
from broken_files import png
from hypothesis import given, settings
from hypothesis import strategies as st
from picture_files import UPRIGHT, noise, refused
from PIL import Image

from stylecore.errors import StylecoreError
from stylecore.pictures.read import DEFAULT_MAX_PIXELS, load_picture


def test_files_that_are_no_picture_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "text.jpg").write_text("no picture " * 50)
    (tmp_path / "phone.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(50))
    refused(tmp_path / "missing.jpg", "does not exist")
    refused(tmp_path, "is a folder")
    refused(tmp_path / "empty.jpg", "is empty")
    refused(tmp_path / "text.jpg", "is not a picture")
    refused(tmp_path / "phone.heic", "cannot be read")
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
