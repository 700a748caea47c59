"""The pictures on the cards."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from demo.services import previews
from stylecore.pictures.read import load_picture
from tests.demo.conftest import make_style


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("STYLECORE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "previews"


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (30, 44, 3), dtype=np.uint8)).save(path)
    return path


def test_a_preview_is_painted_once_and_then_read(
    photo: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make_style(0, name="stripes")
    first = previews.paint_preview(model, photo)
    (tmp_path / "made.jpg").write_bytes(first)
    assert load_picture(tmp_path / "made.jpg").pixels.shape == (3, 30, 44)
    assert [file.read_bytes() for file in cache.iterdir()] == [first]
    monkeypatch.delattr(previews, "Engine")
    assert previews.paint_preview(model, photo) == first
    with pytest.raises(NameError):  # another network is another picture
        previews.paint_preview(make_style(1, name="stripes"), photo)


def test_a_cache_that_cannot_be_written_is_done_without(photo: Path, cache: Path) -> None:
    cache.parent.mkdir()
    cache.write_text("in the way")
    assert previews.paint_preview(make_style(0, name="stripes"), photo).startswith(b"\xff\xd8")
