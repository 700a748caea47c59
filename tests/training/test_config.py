import dataclasses
import math
from pathlib import Path

import pytest

from stylecore.errors import StylecoreError
from training.config import REPOSITORY, TrainConfig, parse_config, read_recipe

GIVEN = ["--name", "x", "--style-image", "x.jpg"]


def test_every_setting_has_a_flag_with_its_default_in_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse_config(["--help"])
    text = " ".join(capsys.readouterr().out.split())
    for field in dataclasses.fields(TrainConfig):
        assert f"--{field.name.replace('_', '-')}" in text
    assert "(default: 0.001)" in text
    assert "(default: (1000, 1500, 3500))" in text


def test_flags_win_over_the_recipe_and_the_recipe_over_the_defaults(tmp_path: Path) -> None:
    recipe = tmp_path / "r.yaml"
    recipe.write_text(
        "name: a\nstyle_image: s.jpg\nstyle_weight: 1e10\ncrop: 64\nstyle_layers: [relu1_1]\nyear: 1889\n"
        "mixed_precision: no\ncompile: yes\n"
    )
    config, resume = parse_config(["--recipe", str(recipe), "--crop", "128", "--resume", "auto"])
    assert (config.name, config.style_weight, config.crop, config.year) == ("a", 1e10, 128, "1889")
    assert (config.style_layers, config.mixed_precision, config.compile) == (("relu1_1",), "no", True)
    assert config.content_weight == TrainConfig().content_weight
    assert resume == "auto"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("style_wieght: 1", "style_wieght"),
        ("crop: wide", "crop"),
        ("crop: 12.5", "crop"),
        ("padding: zeros", "padding"),
        ("compile: maybe", "compile"),
        ("- a", "setting: value"),
        ("a: [", "YAML"),
    ],
)
def test_a_recipe_that_cannot_be_used_is_one_sentence(tmp_path: Path, line: str, words: str) -> None:
    recipe = tmp_path / "r.yaml"
    recipe.write_text(line)
    with pytest.raises(StylecoreError, match=words):
        read_recipe(recipe)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--crop", "130"], "multiple of 4"),
        (["--iterations", "0"], "--iterations"),
        (["--learning-rate", "0"], "--learning-rate"),
        (["--style-weight", "nan"], "--style-weight"),
        (["--smallest-crop", "1.5"], "--smallest-crop"),
        (["--residual-blocks", "10"], "--residual-blocks is 10"),
        (["--name", ""], "--name"),
        (["--name", "van gogh/1"], "a style's name is made of"),
        (["--style-image", ""], "--style-image"),
        (["--style-layers"], "--style-layers"),
        (["--crop", "32", "--loss-scales", "4"], "of a crop of 32"),
        (["--evaluate-sizes", "16"], "--evaluate-sizes"),
        (["--judge-sizes", "640", "32"], "--judge-sizes"),
        (["--recipe", "missing.yaml"], "missing.yaml"),
    ],
)
def test_a_setting_that_cannot_work_is_refused_before_anything_is_loaded(flags: list[str], words: str) -> None:
    with pytest.raises(StylecoreError, match=words):
        parse_config([*GIVEN, *flags])


def test_the_rate_warms_up_and_falls_along_half_a_cosine() -> None:
    config = TrainConfig(learning_rate=2.0, schedule="cosine", warmup=10, iterations=110)
    assert config.learning_rate_at(1) == pytest.approx(0.2)
    assert config.learning_rate_at(10) == pytest.approx(2.0)
    assert config.learning_rate_at(60) == pytest.approx(1.0)
    assert config.learning_rate_at(110) == pytest.approx(0.0, abs=1e-12)
    assert config.learning_rate_at(35) == pytest.approx(1 + math.cos(math.pi / 4))
    assert TrainConfig(learning_rate=2.0).learning_rate_at(10**6) == 2.0


@pytest.mark.parametrize("recipe", sorted((REPOSITORY / "training" / "recipes").glob("*.yaml")), ids=lambda p: p.stem)
def test_the_published_recipes_can_be_read(recipe: Path) -> None:
    config, _ = parse_config(["--recipe", str(recipe)])
    assert config.name
    assert config.title
    assert config.license
