"""A photo through a network: sizes, memory of results, limits; and what the Stylize tab makes of it."""

import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import gradio as gr
import numpy as np
import pytest
import torch
from PIL import Image

from demo.errors import plainly
from demo.page import address_of
from demo.services.catalogue import BundleCatalogue
from demo.services.stylize import MIXES_KEPT, Stylizer, Wanted, Webcam, mixed
from demo.tabs.result import describe, stylize
from demo.tabs.stylize import version_choices
from stylecore.errors import StylecoreError
from stylecore.inference.engine import Engine
from stylecore.pictures.read import load_picture, read_settings
from stylecore.pictures.write import save_picture
from stylecore.video.frames import to_pixels, to_tensor
from tests.demo.conftest import LIMITS, make_style, write_bundle


@pytest.fixture
def stylizer(catalogue: BundleCatalogue) -> Stylizer:
    return Stylizer(catalogue, LIMITS)


def count_runs(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """The shapes that engines are given from now on."""
    shapes: list[tuple[int, ...]] = []
    original = Engine.paint
    monkeypatch.setattr(
        Engine, "paint", lambda self, pixels, *given: (shapes.append(pixels.shape), original(self, pixels, *given))[1]
    )
    return shapes


def test_the_picture_keeps_its_size_and_transparency(stylizer: Stylizer, photo: Path) -> None:
    answer = stylize(stylizer, str(photo), Wanted("night", longest_side=96))
    with Image.open(answer.png) as png, Image.open(photo) as source:
        assert png.size == source.size == (61, 45)
        assert png.getchannel("A").tobytes() == source.getchannel("A").tobytes()
    (before_file,) = re.findall(r'data-before="[^"]*file=([^"]+)"', answer.pictures)
    with Image.open(answer.jpeg) as jpeg, Image.open(before_file) as before:
        assert jpeg.size == before.size == (61, 45)
        assert before.mode == "RGBA"
    assert f'data-after="{address_of(answer.png)}"' in answer.pictures
    assert 'data-transparent="true"' in answer.pictures
    assert Path(answer.png).name == "photo-night.png"
    assert read_settings(answer.png) == {
        "command": "stylize",
        "style": "night",
        "version": "3",
        "max_side": 61,
        "strength": 1.0,
        "keep_colors": False,
        "brush": 1.0,
        "runtime": "OpenVINO" if find_spec("openvino") else "PyTorch",
    }


def test_strength_and_colors_do_not_run_the_network_again(
    stylizer: Stylizer, photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = count_runs(monkeypatch)
    full = stylize(stylizer, str(photo), Wanted("night", longest_side=96))
    none = stylize(stylizer, str(photo), Wanted("night", longest_side=96, strength=0.0))
    kept = stylize(stylizer, str(photo), Wanted("night", "3", longest_side=96, keep_colors=True))
    assert len(runs) == 1
    assert len({Path(answer.png).read_bytes() for answer in (full, none, kept)}) == 3
    assert torch.allclose(load_picture(none.png).pixels, load_picture(photo).pixels, atol=1.5 / 255)
    stylize(stylizer, str(photo), Wanted("night", "1", longest_side=96))
    stylize(stylizer, str(photo), Wanted("night", longest_side=48))
    assert [shape[-1] for shape in runs] == [61, 61, 48]


def test_what_is_remembered_is_bounded(catalogue: BundleCatalogue, tmp_path: Path) -> None:
    from dataclasses import replace

    stylizer = Stylizer(catalogue, replace(LIMITS, remembered_megabytes=0))
    for seed in range(3):
        torch.manual_seed(seed)
        path = tmp_path / f"{seed}.png"
        save_picture(torch.rand(3, 20, 20), path)
        stylizer.stylize(path, "night")
    assert len(stylizer._results) == 1


def test_only_the_last_engine_keeps_memory_for_its_next_picture(
    stylizer: Stylizer, photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    released: list[str] = []
    monkeypatch.setattr(Engine, "release_memory", lambda engine: released.append(engine.card.name))
    for style, side in (("night", 96), ("night", 48), ("wave", 96), ("night", 32)):
        stylizer.stylize(photo, style, longest_side=side)
    assert released == ["night", "wave"]


def test_a_webcam_is_painted_by_the_fast_network_of_its_style(tmp_path: Path) -> None:
    best, fast = make_style(5, name="night"), make_style(6, name="night")
    frame = to_pixels(torch.rand(3, 40, 48))
    with_fast = write_bundle(tmp_path / "with", [(best, "1", ["champion"]), (fast, "2", ["fast"])])
    without = write_bundle(tmp_path / "without", [(best, "1", ["champion"])])
    for folder, model in ((with_fast, fast), (without, best)):
        painted = Stylizer(BundleCatalogue(folder), LIMITS).live(frame, "night", Webcam())
        torch.testing.assert_close(painted, Engine(model, "cpu", "auto").stylize(to_tensor(frame)))


def test_strokes_stay_from_one_frame_of_a_webcam_to_the_next(stylizer: Stylizer) -> None:
    webcam, frame = Webcam(), to_pixels(torch.rand(3, 40, 48))
    first, brighter = stylizer.live(frame, "night", webcam), frame // 2 + 60
    second, alone = (stylizer.live(brighter, "night", each) for each in (webcam, Webcam()))
    assert first is not None
    assert second is not None
    assert alone is not None
    assert (second - first).abs().mean() < (alone - first).abs().mean()
    turned = stylizer.live(np.ascontiguousarray(np.rot90(frame)), "night", webcam)
    assert turned is not None
    assert turned.shape == (3, 48, 40)


def test_two_photos_of_the_same_name_are_two(stylizer: Stylizer, tmp_path: Path) -> None:
    path = tmp_path / "image.png"
    save_picture(torch.zeros(3, 20, 20), path)
    dark = stylizer.stylize(path, "night").content
    save_picture(torch.ones(3, 20, 20), path)
    assert stylizer.stylize(path, "night").content.float().mean() > dark.float().mean()


def test_a_large_photo_is_reduced_and_the_page_says_so(stylizer: Stylizer, tmp_path: Path) -> None:
    path = tmp_path / "large.jpg"
    save_picture(torch.rand(3, 200, 300), path)
    result = stylizer.stylize(path, "wave", longest_side=96)
    assert result.size == (64, 96)
    line = describe(result, is_sample=False)
    assert "reduced from 300 \N{MULTIPLICATION SIGN} 200" in line
    words, _, how = line.partition("<details")
    assert "CPU" not in words  # what computed it is one click away
    assert result.runtime in how
    assert "&lt;b&gt;Wave&lt;/b&gt;" in line  # titles are text, not HTML


@pytest.mark.parametrize(
    ("style", "version", "side", "says"),
    [
        ("nope", "champion", 96, "there is no style 'nope'; the styles are night, wave"),
        ("night", "7", 96, "has no version '7'"),
        ("night", "champion", 4096, "16 to 128 here, not 4096"),
        ("night", "champion", float("nan"), "not nan"),
        ("night", "champion", "large", "the longest side must be a number, not .large."),
    ],
)
def test_wrong_wishes_are_one_sentence(
    stylizer: Stylizer, photo: Path, style: str, version: str, side: float, says: str
) -> None:
    with pytest.raises(StylecoreError, match=says):
        stylizer.stylize(photo, style, version, side)


@pytest.mark.parametrize(
    ("content", "says"), [(b"just text", "this file is not a picture"), (b"", "this file is empty")]
)
def test_what_is_no_picture_is_named_without_the_servers_path(
    stylizer: Stylizer, tmp_path: Path, content: bytes, says: str
) -> None:
    path = tmp_path / "secret" / "photo.jpg"
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(StylecoreError, match=says) as caught:
        stylizer.stylize(path, "night")
    assert "secret" not in str(caught.value)


def test_a_huge_picture_is_refused_before_it_is_decoded(stylizer: Stylizer, tmp_path: Path) -> None:
    path = tmp_path / "huge.png"
    Image.new("1", (1000, 1000)).save(path)
    with pytest.raises(StylecoreError, match=r"more than the limit of 250,000: use a smaller picture$"):
        stylizer.stylize(path, "night")


def test_versions_are_called_by_their_iterations(catalogue: BundleCatalogue) -> None:
    assert version_choices(catalogue.find("night")) == [
        ("3,000 iterations (best)", "champion"),
        ("2,000 iterations", "2"),
        ("1,000 iterations", "1"),
    ]


def test_errors_become_one_sentence_and_the_unexpected_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    def mistake() -> None:
        raise StylecoreError("the file <x> is broken")

    def accident() -> None:
        raise ZeroDivisionError("secret detail")

    def stream() -> Iterator[int]:
        yield 1
        accident()

    with pytest.raises(gr.Error) as caught:
        plainly(mistake)()
    assert caught.value.message == "The file &lt;x&gt; is broken."
    assert not caught.value.print_exception
    for handler in (plainly(accident), lambda: list(plainly(stream)())):
        with pytest.raises(gr.Error) as caught:
            handler()
        assert "secret" not in caught.value.message
    assert caplog.text.count("ZeroDivisionError: secret detail") == 2


def test_a_mix_is_painted_by_a_network_between_the_two(stylizer: Stylizer, photo: Path) -> None:
    night, wave = (stylizer.stylize(photo, name).finish(1, False) for name in ("night", "wave"))
    result = stylizer.stylize(photo, "night:0.9+wave:0.1")
    between = result.finish(1, False)
    assert 0 < (between - night).abs().mean() < (between - wave).abs().mean()
    assert result.version == "3+1"
    answer = stylize(stylizer, str(photo), Wanted("night:0.9+wave:0.1", longest_side=96))
    settings = read_settings(answer.png)
    assert settings is not None
    assert settings["style"] == "night:0.9+wave:0.1"
    assert "The Night with &lt;b&gt;Wave&lt;/b&gt;" in answer.status
    assert result.alpha is not None


def test_no_more_than_a_few_mixes_stay_in_memory(stylizer: Stylizer, photo: Path) -> None:
    for share in range(1, MIXES_KEPT + 4):
        stylizer.stylize(photo, f"night:1+wave:{share}")
    assert stylizer._mixed.cache_info().currsize == MIXES_KEPT
    assert stylizer._engine_of_mix.cache_info().currsize == MIXES_KEPT


def test_what_cannot_be_mixed_is_one_sentence(stylizer: Stylizer, photo: Path) -> None:
    for style, says in (
        ("night+nope", "no style 'nope'"),
        ("night/1+night/2", "no style 'night/1'|began with"),
        ("night/1+wave", "cannot be mixed"),
        ("night@oldest+wave", "no version 'oldest'"),
        ("../night+wave", "does not name a style"),
    ):
        with pytest.raises(StylecoreError, match=says):
            stylizer.stylize(photo, style)


@pytest.mark.parametrize(
    ("choice", "asked"),
    [
        (("night", "2", "", 0.5), ("night", "2")),
        (("night", "2", None, 0.5), ("night", "2")),
        (("night", "2", "night", 0.5), ("night", "2")),
        (("night", "2", "wave", 0.0), ("night", "2")),
        (("night", "2", "wave", 1.0), ("wave", "champion")),
        (("night", "2", "wave", 0.4), ("night/2:0.6+wave:0.4", "champion")),
        (("night", "champion", "wave", 0.4), ("night:0.6+wave:0.4", "champion")),
    ],
)
def test_the_choice_of_a_second_style(choice: tuple[str, str, str, float], asked: tuple[str, str]) -> None:
    assert mixed(*choice) == asked
