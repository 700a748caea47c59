"""Patterns drawn by code, at sizes of a thumbnail."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stylecore.__main__ import main
from stylecore.cli.patterns import JPEG_QUALITY
from stylecore.errors import StylecoreError
from stylecore.patterns import PATTERNS, SIZE, draw
from training.config import REPOSITORY, read_recipe

TINY = 96
every_pattern = pytest.mark.parametrize("name", PATTERNS)


@cache
def tiny(name: str, seed: int) -> Image.Image:
    return draw(name, TINY, seed)


def pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image, np.float32) / 255


def large_shapes(image: Image.Image) -> np.ndarray:
    return pixels(image.convert("RGB").resize((24, 24), Image.Resampling.BOX))


@every_pattern
def test_a_pattern_depends_on_its_seed_alone(name: str) -> None:
    first = tiny(name, 0)
    assert first.size == (TINY, TINY)
    assert first.mode == "RGB"
    assert first.tobytes() == draw(name, TINY, seed=0).tobytes()
    assert np.abs(pixels(first) - pixels(tiny(name, 1))).mean() > 0.02


@every_pattern
def test_a_pattern_has_light_middle_and_dark_tones_in_every_quarter(name: str) -> None:
    gray = pixels(tiny(name, 0).convert("L"))
    assert np.quantile(gray, 0.05) < 0.3
    assert np.quantile(gray, 0.95) > 0.6
    half = TINY // 2
    for quarter in (gray[:half, :half], gray[:half, half:], gray[half:, :half], gray[half:, half:]):
        assert quarter.std() > 0.08


@every_pattern
def test_the_published_picture_is_the_command_s_and_its_recipe_names_it(name: str) -> None:
    recipe = read_recipe(REPOSITORY / "training" / "recipes" / f"{name}.yaml")
    assert recipe["name"] == name
    published = REPOSITORY / recipe["style_image"]
    assert published.name == f"{name}.jpg"
    assert published.stat().st_size < 350_000
    with Image.open(published) as image:
        assert image.size == (SIZE, SIZE)
        stored = large_shapes(image)
    # At another size, and seen from afar: alike, and far more so than the picture of another seed.
    gap, other_gap = (np.abs(stored - large_shapes(tiny(name, seed))).mean() for seed in (0, 1))
    assert gap < 0.6 * other_gap


def test_the_command_writes_the_pattern_and_nothing_else(tmp_path: Path) -> None:
    assert main(["patterns", "woodcut", "-o", str(tmp_path / "a.png"), "--size", "48", "--seed", "3"]) == 0
    assert main(["patterns", "woodcut", "-o", str(tmp_path / "a.jpg"), "--size", "48"]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.jpg", "a.png"]
    with Image.open(tmp_path / "a.png") as image:
        assert image.tobytes() == draw("woodcut", 48, seed=3).tobytes()
    draw("woodcut", 48).save(tmp_path / "b.jpg", quality=JPEG_QUALITY, optimize=True)
    assert (tmp_path / "a.jpg").read_bytes() == (tmp_path / "b.jpg").read_bytes()


def test_the_list_names_every_pattern(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["patterns", "--list"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list(PATTERNS)


def test_an_unknown_pattern_is_one_sentence_with_the_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["patterns", "plaid", "-o", str(tmp_path / "a.png")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "plaid" in line
    assert all(name in line for name in PATTERNS)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["woodcut"], "-o"),
        (["woodcut", "-o", "a.gif"], ".png"),
        (["woodcut", "-o", "a.png", "--size", "3"], "--size"),
        (["woodcut", "-o", "a.png", "--size", "100000"], "--size"),
        (["woodcut", "-o", "a.png", "--seed", "-1"], "--seed"),
        (["woodcut", "-o", "missing/a.png", "--size", "16"], "missing"),
    ],
)
def test_what_cannot_be_is_one_sentence(
    arguments: list[str],
    word: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["patterns", *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert word in line
    assert not list(tmp_path.iterdir())


def test_a_size_out_of_range_is_refused_before_anything_is_drawn() -> None:
    with pytest.raises(StylecoreError, match="16 to 2048"):
        draw("woodcut", 15)
