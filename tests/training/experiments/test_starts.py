"""The comparison of starts: what differs between the variants, and its table."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from stylecore.errors import StylecoreError
from stylecore.johnson.style_model import StyleModel
from stylecore.johnson.transform_net import TransformNet, TransformNetConfig
from stylecore.library import write_alias
from stylecore.pictures.write import save_picture
from stylecore.vgg.network import VGG
from tests.small_vgg import small_vgg
from training.checkpoints import initial_network
from training.config import TrainConfig
from training.experiments import starts
from training.teach.settings import DEFAULTS


@pytest.fixture
def library(tmp_path: Path, tiny_style: Callable[..., StyleModel], monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three published styles: two paintings that are alike, and one that is like neither."""
    torch.manual_seed(0)
    noise = torch.rand(3, 128, 128)
    paintings = {"noise": noise, "fog": 0.8 * noise + 0.1, "blocks": torch.zeros(3, 128, 128)}
    paintings["blocks"][:, :64] = 1
    for name, painting in paintings.items():
        tiny_style(name, 10).save(tmp_path / name / "checkpoints" / "iterations-10.safetensors")
        (tmp_path / name / "style").mkdir()
        save_picture(painting, tmp_path / name / "style" / "picture.jpg")
        write_alias(tmp_path / "aliases.json", name, "champion", f"{name}/10")
    monkeypatch.setenv("STYLECORE_STYLES", str(tmp_path))
    monkeypatch.setattr("training.teach.start.SIDE", 64)  # the same comparison of smaller pictures
    monkeypatch.setattr(starts, "DEFAULTS", replace_form(tiny_style("x", 1).card.network))
    return tmp_path


def replace_form(form: TransformNetConfig) -> TrainConfig:
    return replace(DEFAULTS, width=form.width, residual_blocks=form.residual_blocks, input_noise=form.input_noise)


@pytest.fixture
def vgg() -> VGG:
    return small_vgg()


def test_variants_differ_in_their_start_or_in_what_they_train(
    library: Path, vgg: VGG, monkeypatch: pytest.MonkeyPatch
) -> None:
    painting = library / "new.png"
    torch.manual_seed(1)
    pixels = torch.rand(3, 1, 1).expand(3, 128, 128).clone()
    pixels[:, :64] = 1
    save_picture(pixels, painting)
    monkeypatch.setattr("training.teach.settings.FAR", 0.0)
    form = starts.DEFAULTS.network
    nearest, base = starts.nearest_start(pixels, form, vgg, "new"), starts.base_start(form, vgg)
    assert nearest is not None
    given = {name: starts.settings_of(painting, name, 70, nearest, base, {}) for name in starts.VARIANTS}
    assert "/blocks/" in given["nearest"].init_from
    assert given["base"].init_from == base
    assert "/blocks/" not in given["base"].init_from
    assert given["random"].init_from == ""
    assert given["affine"].trained_weights == "affine"
    assert given["small"].small_crops == 0.5
    for config in given.values():
        assert (config.iterations, config.minutes, config.schedule) == (70, 0, "cosine")
        assert config.learning_rate_at(70) == pytest.approx(0)
        assert config.content_weight == given["nearest"].content_weight
        assert config.style_layers == ("relu1_1", *DEFAULTS.style_layers)
    assert len({config.run_name for config in given.values()}) == len(given)


def test_affine_trains_scales_shifts_and_the_last_layer_alone(library: Path) -> None:
    style = library / "noise" / "checkpoints" / "iterations-10.safetensors"
    config = starts.DEFAULTS
    network = initial_network(replace(config, init_from=str(style), trained_weights="affine"))
    trained = {name for name, each in network.named_parameters() if each.requires_grad}
    assert trained == {
        name for name, _ in network.named_parameters() if "normalization" in name or name.startswith("decoder.2.")
    }
    assert all(each.requires_grad for each in TransformNet(network.config).parameters())
    with pytest.raises(StylecoreError, match="--init-from"):
        replace(config, name="a", style_image="b", style_size=64, trained_weights="affine").check()


def test_the_table_has_what_was_measured(tmp_path: Path) -> None:
    for name, error in (("base", 0.25), ("nearest", 0.2)):
        (tmp_path / f"starts-a-{name}-7").mkdir()
        measured = {"eval/style_error_640": error, "eval/content_change_640": 1.2, "seconds": 30}
        about = {"painting": "a", "variant": name, "iterations": 7}
        (tmp_path / f"starts-a-{name}-7" / "judged.json").write_text(json.dumps(about | measured))
    lines = starts.table(tmp_path).splitlines()
    assert [line.split()[1:] for line in lines[1:]] == [
        ["base", "7", "0.250", "1.200", "30"],
        ["nearest", "7", "0.200", "1.200", "30"],
    ]


def test_a_sheet_without_a_painting_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert starts.main(["--sheet", str(tmp_path / "sheet.jpg")]) == 2
    assert "name that painting" in capsys.readouterr().err
