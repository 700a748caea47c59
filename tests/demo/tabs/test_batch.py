"""Several photos as a zip, and links that carry settings."""

import zipfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import gradio as gr
import pytest
import torch
from PIL import Image

from demo.page import photos_input
from demo.services.catalogue import BundleCatalogue
from demo.services.link import settings_of_link
from demo.services.stylize import Stylizer, Wanted
from demo.tabs.batch import stylize_all
from stylecore.errors import StylecoreError
from stylecore.pictures.read import load_picture, read_settings
from stylecore.pictures.write import save_picture
from tests.demo.conftest import LIMITS

WANTED = Wanted("night", longest_side=48)


@pytest.fixture
def photos(tmp_path: Path, photo: Path) -> list[str]:
    """Two of the same name, a transparent one, and one that is none."""
    files = [tmp_path / "a" / "beach.jpg", tmp_path / "b" / "beach.jpg"]
    for file in files:
        file.parent.mkdir()
        save_picture(torch.rand(3, 40, 60), file)
    (tmp_path / "text.jpg").write_text("I am text")
    return [*map(str, files), str(photo), str(tmp_path / "text.jpg")]


def test_several_photos_come_back_as_a_zip_with_progress(
    catalogue: BundleCatalogue, photos: list[str], tmp_path: Path
) -> None:
    stylizer = Stylizer(catalogue, LIMITS)
    *progress, last = list(stylize_all(stylizer, photos, WANTED))
    assert [f"{done} of 4 photos" in said for done, (said, _) in enumerate(progress)] == [True] * 4
    assert all(file is None for _, file in progress)
    said, file = last
    assert "<strong>3 photos</strong> · The Night" in said
    assert "text.jpg is left out: This file is not a picture" in said
    assert file is not None
    assert Path(file).name == "photos-night.zip"
    with zipfile.ZipFile(file) as archive:
        assert archive.namelist() == ["beach-night.jpg", "beach-night-2.jpg", "photo-night.png"]
        archive.extractall(tmp_path)
    expected = stylizer.stylize(photos[1], "night", "champion", 48).finish(1.0, False)
    painted = load_picture(tmp_path / "beach-night-2.jpg").pixels
    assert (painted - expected).abs().mean() < 0.03
    with Image.open(tmp_path / "photo-night.png") as image:
        assert image.mode == "RGBA"
    settings = read_settings(tmp_path / "beach-night.jpg")
    assert settings is not None
    assert settings["style"] == "night"


def test_a_mix_is_zipped_too(catalogue: BundleCatalogue, photos: list[str]) -> None:
    *_, (said, _) = stylize_all(Stylizer(catalogue, LIMITS), photos[:1], replace(WANTED, mix="wave"))
    assert "The Night with &lt;b&gt;Wave&lt;/b&gt;" in said


def test_what_cannot_be_zipped_is_one_sentence(catalogue: BundleCatalogue, photos: list[str]) -> None:
    stylizer = Stylizer(catalogue, replace(LIMITS, batch_photos=2))
    for wrong, says in (
        ([], "no photos yet"),
        (photos, "at most 2 photos at once, not 4"),
        (photos[3:], "none of th"),
    ):
        with pytest.raises(StylecoreError, match=says):
            list(stylize_all(stylizer, wrong, WANTED))
    with pytest.raises(StylecoreError, match="no style 'nope'"):
        list(stylize_all(stylizer, photos[:1], replace(WANTED, style="nope")))


def test_files_of_the_server_are_not_photos(photo: Path) -> None:
    with gr.Blocks():
        files = photos_input(file_count="multiple")
    assert files.preprocess(None) == []
    with pytest.raises(gr.Error, match="Upload it as a file"):
        files.preprocess(SimpleNamespace(root=[SimpleNamespace(path=str(photo))]))


DEFAULT = Wanted("", longest_side=LIMITS.stylize_side)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, DEFAULT),
        ({"style": "wave", "strength": "0.6"}, replace(DEFAULT, style="wave", strength=0.6)),
        (
            {"style": "night", "version": "iterations-1000", "brush": "2", "size": "64", "colors": "photo"},
            Wanted("night", "iterations-1000", brush=2.0, longest_side=64, keep_colors=True),
        ),
        ({"mix": "wave", "share": "0.3"}, replace(DEFAULT, mix="wave", share=0.3)),
        ({"mix": "night+wave", "share": "nan"}, DEFAULT),
        ({"style": "night", "version": "99"}, replace(DEFAULT, style="night")),
        ({"style": "<script>", "version": "1", "strength": "many", "brush": "nan"}, DEFAULT),
        ({"strength": "7", "brush": "-1", "size": "1e99"}, replace(DEFAULT, brush=0.5, longest_side=128)),
    ],
)
def test_a_link_carries_settings_and_nothing_wrong(
    catalogue: BundleCatalogue, query: dict[str, str], expected: Wanted
) -> None:
    assert settings_of_link(query, catalogue, LIMITS) == expected
