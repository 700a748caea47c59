"""Gatys' method for visitors: limits, previews, stopping, and the command line to repeat it."""

import argparse
import gc
import shlex
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from demo.services.catalogue import BundleCatalogue
from demo.services.gatys import Painter
from demo.services.stylize import Stylizer
from demo.tabs.gatys import start_choices
from demo.tabs.painting import Stop, curve_table, estimate_text, larger_label, painting
from stylecore.cli import gatys
from stylecore.errors import StylecoreError
from stylecore.gatys.paint import GatysConfig
from stylecore.pictures.write import save_picture
from tests.demo.conftest import LIMITS
from tests.small_vgg import small_vgg


@pytest.fixture(scope="module")
def painter(catalogue: BundleCatalogue) -> Painter:
    return Painter(small_vgg, Stylizer(catalogue, LIMITS))


@pytest.fixture(scope="module")
def style(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("styles") / "stripes.png"
    save_picture(torch.zeros(3, 40, 40).index_fill(2, torch.arange(0, 40, 4), 1.0), path)
    return path


def test_it_paints_and_hands_over_the_picture_at_the_photos_size(painter: Painter, photo: Path, style: Path) -> None:
    job = painter.job(photo, style, steps=3, longest_side=48)
    frames = list(painting(painter, job))
    assert [frame.png is not None for frame in frames] == [False] * (len(frames) - 1) + [True]
    assert len(frames) >= 2  # the first step is shown at once
    last = frames[-1]
    assert last.facts["step"] == 3
    assert "Painted after 3 steps" in last.status
    assert last.recipe_label.startswith("The same picture")
    # Screen readers announce the end, not every step.
    assert {'aria-live="off"' in frame.status for frame in frames[:-1]} == {True}
    assert 'aria-live="polite"' in last.status
    assert last.png is not None
    with Image.open(last.png) as png:
        assert (png.size, png.mode) == ((48, 35), "RGBA")
    table = curve_table(last.curve)
    assert sorted(set(table["part"])) == ["content", "style"]
    assert table["step"].max() == 3


def test_stop_keeps_the_picture_reached(painter: Painter, photo: Path) -> None:
    stop = Stop()
    frames = painting(painter, painter.job(photo, photo, steps=50, longest_side=48), stop)
    next(frames)
    stop.wanted = True
    (last,) = list(frames)
    assert last.png is not None
    assert last.facts["step"] < 5
    assert f"--steps {last.facts['step']}" in last.facts["command_line"]
    assert "Stopped after" in last.status
    assert last.recipe_label.startswith("A picture like it")  # 2 steps small and 2 large are not 4 small ones


def test_a_painting_that_is_left_leaves_gradients_alone(painter: Painter, photo: Path) -> None:
    frames = painting(painter, painter.job(photo, photo, steps=5, longest_side=32))
    next(frames)
    assert torch.is_grad_enabled()
    frames.close()  # type: ignore[attr-defined]
    assert torch.is_grad_enabled()


def test_the_command_line_says_what_differs_from_the_defaults(painter: Painter, photo: Path) -> None:
    plain = painter.job(photo, photo, steps=GatysConfig.steps, longest_side=64)
    assert shlex.split(plain.command_line())[3:] == [
        *("gatys", "photo.png", "--style", "photo.png", "--max-side", "64", "-o", "painting.png")
    ]
    other = painter.job(
        photo, photo, steps=20, longest_side=64, balance=-1, start="noise", keep_colors="match", style_scale=1.5
    )
    words = shlex.split(other.command_line())
    assert dict(zip(words[7::2], words[8::2], strict=False)) == {
        "--max-side": "64",
        "--style-weight": f"{GatysConfig.style_weight / 10:g}",
        "--start": "noise",
        "--steps": "20",
        "--style-scale": "1.5",
        "--keep-colors": "match",
        "-o": "painting.png",
    }


def test_the_command_line_is_understood_and_means_the_same(painter: Painter, photo: Path) -> None:
    job = painter.job(
        photo, photo, steps=20, longest_side=64, balance=0.7, start="style", keep_colors="luminance", style_scale=0.5
    )
    parser = argparse.ArgumentParser()
    gatys.add_arguments(parser)
    options = parser.parse_args(shlex.split(job.command_line())[4:])
    assert options.max_side == job.longest_side
    for name in (
        "steps",
        "style_weight",
        "start",
        "keep_colors",
        "style_scale",
        "content_weight",
        "optimizer",
        "seed",
    ):
        assert getattr(options, name) == getattr(job.config, name), name


@pytest.mark.parametrize(
    ("wish", "says"),
    [
        ({"photo": None}, "there is no photo yet"),
        ({"style": None}, "there is no style picture yet"),
        ({"steps": 10_000}, "the number of steps may be 1 to 500 here, not 10000"),
        ({"longest_side": 5000}, "the longest side may be 16 to 1024 here"),
        ({"balance": float("nan")}, "the balance may be"),
        ({"steps": None}, "the number of steps must be a number, not None"),
        ({"start": "nothing"}, "start is 'nothing', and must be one of content"),
    ],
)
def test_wishes_beyond_the_limits_are_one_sentence(painter: Painter, photo: Path, wish: dict, says: str) -> None:
    wishes = {"photo": photo, "style": photo, "steps": 3, "longest_side": 48} | wish
    with pytest.raises(StylecoreError, match=says):
        painter.job(wishes.pop("photo"), wishes.pop("style"), **wishes)


def test_the_time_is_estimated_from_a_measured_step(painter: Painter, photo: Path) -> None:
    loads = []
    painter = Painter(lambda: (loads.append(1), small_vgg())[1], painter.stylizer)
    assert "About" in estimate_text(painter, str(photo), 48, 10)
    one, ten = painter.estimate(48, 48, 1), painter.estimate(48, 48, 10)
    assert 0 < one < ten
    assert ten == pytest.approx(10 * one)
    assert len(loads) == 1
    assert "About" not in estimate_text(painter, None, 48, 10)


def test_a_painting_begins_with_what_a_styles_network_makes(painter: Painter, photo: Path) -> None:
    job = painter.job(photo, photo, steps=1, longest_side=48, start="network:night")
    assert job.settings()["start_picture"] == "night/3"
    begun = painter._start(job)
    assert begun is not None
    stylized = painter.stylizer.stylize(photo, "night", "3", 48)
    assert torch.equal(begun, stylized.stylized / 255)
    (step,) = painter.paint(job, painter.photo(job))
    (other,) = painter.paint(painter.job(photo, photo, steps=1, longest_side=48), painter.photo(job))
    assert (step.picture() - begun).abs().mean() < (other.picture() - begun).abs().mean()
    first, _, second = job.command_line().partition(" && ")
    assert first.endswith("stylize photo.png --style night@iterations-3000 --max-side 48 -o start.png")
    assert second.endswith("--start-picture start.png -o painting.png")
    with pytest.raises(StylecoreError, match="there is no style 'nope'"):
        painter.job(photo, photo, steps=1, longest_side=48, start="network:nope")


def test_a_finished_painting_goes_on_at_twice_the_size(painter: Painter, photo: Path, style: Path) -> None:
    *_, first = painting(painter, painter.job(photo, style, steps=2, longest_side=24, start="noise", balance=0.5))
    assert first.larger is not None
    assert larger_label(first.larger) == "Go on at twice the size"
    assert first.larger.longest_side == 48
    job = replace(first.larger, config=replace(first.larger.config, steps=1))
    *_, second = painting(painter, job)
    with Image.open(second.png) as png:
        assert png.size == (48, 35)
    begun = painter._start(job)
    assert begun is not None
    assert tuple(begun.shape) == (3, 18, 24)  # the picture that was finished
    lines = second.facts["command_line"].split(" && ")
    assert len(lines) == 2
    assert "--max-side 24" in lines[0]
    assert "--start noise --steps 2 -o painting.png" in lines[0]
    assert lines[1].endswith("--steps 1 --scales 1 --start-picture painting.png -o painting-2.png")
    parser = argparse.ArgumentParser()
    gatys.add_arguments(parser)
    for line in lines:
        parser.parse_args(shlex.split(line)[4:])
    # Then at the photo's own 61 pixels, and no further.
    assert second.larger is not None
    assert larger_label(second.larger) == "Go on at 61 pixels"
    *_, last = painting(painter, replace(second.larger, config=job.config))
    assert last.larger is None


def test_every_start_that_is_offered_can_be_ordered(painter: Painter, photo: Path) -> None:
    choices = start_choices(painter)
    assert ("The photo stylized by The Night", "network:night") in choices
    for _, start in choices:
        painter.job(photo, photo, steps=1, longest_side=48, start=start)


@pytest.mark.parametrize("ending", ["done", "left"])
def test_a_painting_leaves_nothing_behind(painter: Painter, photo: Path, ending: str) -> None:
    frames = painting(painter, painter.job(photo, photo, steps=4, longest_side=48))
    next(frames)
    if ending == "done":
        list(frames)
    frames.close()  # type: ignore[attr-defined]
    del frames
    gc.collect()
    # Of a painting remain no pictures: nothing of its (1, 3, H, W), whether pixels, gradient or history.
    sizes = {(1, 3, 35, 48), (1, 3, 43, 56)}
    assert [each.shape for each in _tensors() if tuple(each.shape) in sizes] == []


def _tensors() -> list[torch.Tensor]:
    return [each for each in gc.get_objects() if type(each) is torch.Tensor]


def test_the_estimate_counts_coarse_steps_as_cheaper(painter: Painter) -> None:
    # 360 x 480 begins at 180 x 240, where a step costs a quarter: 10 steps take as long as 5 + 5 / 4.
    assert painter.estimate(480, 360, 10) == pytest.approx(painter.estimate(480, 360, 1) * 6.25)
