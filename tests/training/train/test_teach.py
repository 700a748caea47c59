"""A lesson as its user gives it: a real process, real VGG weights, a thin network, a few seconds."""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState
from forked import REPOSITORY, VGG_CACHE
from PIL import Image
from train_script import curve, only_run, small_vgg16  # noqa: F401 - a fixture

from stylecore.errors import StylecoreError
from stylecore.johnson.style_model import StyleModel
from stylecore.library import write_alias
from stylecore.pictures.write import save_picture
from stylecore.vgg.weights import find_weights
from training import state
from training.config import TrainConfig
from training.registry.registry import Registry
from training.state import ENOUGH, ENOUGH_SHARE, LEAST_REST, Clock, newest_state
from training.teach.__main__ import main
from training.teach.painting import name_of, title_of
from training.teach.settings import DEFAULTS, far_settings, style_size
from training.teach.start import Start, candidates


def stripes(side: int = 128, period: int = 8) -> torch.Tensor:
    pixels = torch.zeros(3, side, side)
    pixels[0, :, torch.arange(side) % period < period // 2] = 1
    return pixels


@pytest.fixture
def library(tmp_path: Path, tiny_style: Callable[..., StyleModel], monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two published styles of one form of network: one of stripes, one of noise."""
    library = tmp_path / "library"
    for name, painting in (("stripes", stripes()), ("noise", torch.rand(3, 128, 128))):
        tiny_style(name, 10).save(library / name / "checkpoints" / "iterations-10.safetensors")
        (library / name / "style").mkdir()
        save_picture(painting, library / name / "style" / "picture.jpg")
        write_alias(library / "aliases.json", name, "champion", f"{name}/10")
    monkeypatch.setenv("STYLECORE_STYLES", str(library))
    monkeypatch.setenv("STYLECORE_CACHE", str(VGG_CACHE))
    return library


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for index in range(3):
        coarse = np.random.default_rng(index).integers(0, 255, (6, 8, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((80, 60), Image.Resampling.BICUBIC).save(folder / f"{index}.png")
    return folder


@pytest.mark.cluster
def test_a_lesson_is_killed_goes_on_and_ends_in_time_as_a_style(
    library: Path,
    photos: Path,
    store: str,
    main_here: Callable[[list[str]], int],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    try:
        for name in ("vgg16", "vgg19"):
            find_weights(name)  # type: ignore[arg-type]
    except StylecoreError as error:
        pytest.skip(f"VGG's weights are not here: {error}")
    save_picture(stripes(period=10), tmp_path / "My stripes.png")
    flags: dict[str, object] = {
        "--minutes": 0.07,
        "--photos": photos,
        "--output-dir": tmp_path / "runs",
        "--preview-photos": photos / "0.png",
        "--progress": tmp_path / "progress",
        "--width": 0.25,
        "--warmup": 1,
        "--residual-blocks": 1,
        "--input-noise": 0,
        "--style-size": 48,
        "--crop": 32,
        "--workers": 0,
        "--log-every": 1,
        "--save-minutes": 0,
        "--evaluate-sizes": 32,
        "--mixed-precision": "no",
    }
    words = [str(tmp_path / "My stripes.png"), *(str(word) for pair in flags.items() for word in pair)]
    words += ["--cpu", "--judge-sizes"]
    folder = tmp_path / "runs" / "my_stripes"

    command = [sys.executable, "-m", "training.teach", *words]
    with subprocess.Popen(
        command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as first:
        while not (folder / "state-0000002.safetensors").exists():
            assert first.poll() is None, first.communicate()[0]
            time.sleep(0.02)
        first.kill()
        assert "begins with Tiny waves, whose painting is nearest" in first.communicate()[0]
    settings = json.loads((folder / "lesson.json").read_text())["settings"]
    assert settings["init_from"] == str(library / "stripes" / "checkpoints" / "iterations-10.safetensors")
    before = newest_state(folder).progress
    assert before.seconds > 0

    assert main_here(words) == 0
    assert "--style my_stripes" in capsys.readouterr().out
    after = newest_state(folder).progress
    assert after.iteration > before.iteration
    assert 4.2 <= after.seconds < 60

    client, run = only_run(store)
    assert run.info.status == "FINISHED"
    assert "python -m training.teach" in run.data.tags["mlflow.note.content"]
    rates = curve(client, run, "opt/lr")
    assert rates[-1] == min(rates[1:]) < max(rates)  # to zero only where iterations are short
    assert "eval/total_32" in run.data.metrics
    (version,) = Registry(store).versions("my_stripes")
    assert set(version.aliases) == {"champion", "fast", f"iterations-{after.iteration}"}
    assert Registry(store).card(version).title == "My stripes"
    progress = json.loads((tmp_path / "progress" / "progress.json").read_text())
    assert (progress["phase"], progress["version"]) == ("done", "1")
    assert run.info.run_id in progress["run_page"]
    assert StyleModel.load(progress["file"]).card.iterations == after.iteration
    StyleModel.load(tmp_path / "progress" / "now.style")
    assert bool(version.int8) == Path(progress["file"]).with_suffix(".int8.json").is_file()

    assert main_here(words) == 0  # once more, it only evaluates
    assert "learned: " in capsys.readouterr().out
    assert newest_state(folder).progress.iteration == after.iteration


@pytest.fixture
def main_here() -> Iterator[Callable[[list[str]], int]]:
    """Calls the command in this process, as if no training had been in it."""

    def call(words: list[str]) -> int:
        AcceleratorState._reset_state(reset_partial_state=True)
        return main(words)

    yield call
    AcceleratorState._reset_state(reset_partial_state=True)


def test_where_a_bundle_is_served_its_champions_are_the_starts(
    tiny_style: Callable[..., StyleModel], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    styles = []
    for name, aliases, picture in (("a", ["champion"], "a.jpg"), ("b", [], "b.jpg"), ("c", ["champion"], "")):
        tiny_style(name, 10).save(tmp_path / f"{name}.safetensors")
        styles.append({"file": f"{name}.safetensors", "aliases": aliases, "picture": picture})
    (tmp_path / "manifest.json").write_text(json.dumps({"styles": styles}))
    monkeypatch.setenv("STYLECORE_BUNDLE", str(tmp_path))
    form = tiny_style("a", 10).card.network
    assert [(style.path.name, picture) for style, picture in candidates(form, "")] == [
        ("a.safetensors", tmp_path / "a.jpg")
    ]
    assert candidates(form, "a") == []
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(StylecoreError, match=r"the bundle .* cannot be read"):
        candidates(form, "")


@pytest.mark.parametrize(
    ("picture", "sentence"),
    [
        (torch.full((3, 200, 300), 0.9), "is nearly blank"),
        (torch.rand(3, 20, 20), "has 20 x 20 pixels, too few"),
    ],
)
def test_a_picture_with_too_little_in_it_is_one_sentence(
    picture: torch.Tensor, sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_picture(picture, tmp_path / "page.png")
    assert main([str(tmp_path / "page.png"), "--output-dir", str(tmp_path / "runs")]) == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert error.count("\n") == 1
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--name", "noise"], "there is a style noise already"),
        (["--name", "../noise"], "is not a name for a style"),
        (["--run-name", "a/b"], "is not a name for a style"),
        (["--minutes", "0"], "must be above 0"),
        (["--brush", "9", "--init-from", "x"], "must be 0.5 to 2"),
    ],
)
def test_names_and_numbers_have_limits(
    flags: list[str], sentence: str, library: Path, store: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_picture(stripes(), tmp_path / "painting.png")
    assert main([str(tmp_path / "painting.png"), "--output-dir", str(tmp_path / "runs"), *flags]) == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_a_folder_of_another_painting_is_refused(
    library: Path, store: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_picture(stripes(), tmp_path / "painting.png")
    folder = tmp_path / "runs" / "painting"
    folder.mkdir(parents=True)
    (folder / "lesson.json").write_text(json.dumps({"painting": "other", "settings": {"name": "painting"}}))
    assert main([str(tmp_path / "painting.png"), "--output-dir", str(tmp_path / "runs")]) == 2
    assert "the lesson of another painting" in capsys.readouterr().err


def test_flags_of_a_repeated_command_replace_those_of_the_first(
    library: Path, small_vgg16: None, store: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    painting, folder = tmp_path / "painting.png", tmp_path / "runs" / "painting"
    save_picture(torch.rand(3, 512, 512), painting)
    command = [str(painting), "--output-dir", str(tmp_path / "runs"), "--init-from", "none.safetensors", "--cpu"]
    assert main([*command, "--photos", "/typo", "--learning-rate", "10", "--brush", "0.8"]) == 2
    assert "there is no photo folder /typo" in capsys.readouterr().err
    assert main([*command, "--photos", "samples", "--learning-rate", "0.001"]) == 2
    assert "/typo" not in capsys.readouterr().err
    settings = json.loads((folder / "lesson.json").read_text())["settings"]
    assert (settings["photos"], settings["learning_rate"], settings["style_size"]) == ("samples", 0.001, 358)
    assert main([*command, "--brush", "2"]) == 2
    assert "a lesson with the style size 358, and not 512" in capsys.readouterr().err


def test_the_clock_counts_over_resumes_and_ends_early_when_it_is_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state, "time", SimpleNamespace(monotonic=lambda: 1000.0))
    config = TrainConfig(name="night", minutes=10, iterations=10**6, output_dir=str(tmp_path))
    config.folder.mkdir()
    assert Clock(config, 300).share(1) == 0.5
    assert Clock(config, 600).share(1) >= 1
    assert Clock(config, 0).share(10**6) == 1
    (config.folder / ENOUGH).touch()
    assert Clock(config, 90).share(1) == ENOUGH_SHARE
    assert Clock(config, 0).seconds_left(1, 1.0) <= 600
    clock = Clock(config, 0)
    assert clock.share(0) < 1
    assert clock.seconds_left(0, 1.0) == LEAST_REST
    shutil.rmtree(config.folder)
    assert Clock(replace(config, minutes=0), 10**6).share(5) == 5e-6


def test_the_rate_falls_to_zero_with_the_minutes() -> None:
    config = TrainConfig(minutes=5, schedule="cosine", learning_rate=1.0, iterations=100_000, warmup=2)
    assert config.learning_rate_at(1, 0.0) == 0.5
    assert config.learning_rate_at(50, 0.5) == pytest.approx(0.5)
    assert config.learning_rate_at(90, 1.0) == pytest.approx(0)


def test_names_titles_and_sizes_come_from_the_painting() -> None:
    assert name_of(Path("Sunflowers (1888).jpg")) == "sunflowers_1888"
    assert name_of(Path("向日葵.jpg")) == "my_painting"
    assert title_of(Path("the_old-mill.jpg")) == "The old mill"
    assert style_size(torch.empty(3, 900, 1200), 1) == 448
    assert style_size(torch.empty(3, 900, 1200), 2) == 896
    assert style_size(torch.empty(3, 300, 400), 1) == 300
    assert style_size(torch.empty(3, 100, 150), 1) == 256
    assert style_size(torch.empty(3, 500, 4000), 1) == 224


def test_a_start_that_is_far_from_the_painting_has_settings_of_its_own(tiny_style: Callable[..., StyleModel]) -> None:
    card = tiny_style("start", 10).card
    near, far = (far_settings(Start("start", card, distance)) for distance in (0.9, 1.1))
    assert near == far_settings(None) == {}
    config = replace(DEFAULTS, **far)
    assert config.style_layer_shares == {"relu1_1": 20, **DEFAULTS.style_layer_shares}
    assert (config.bias_rate, config.steadiness_every) == (8, 4)
