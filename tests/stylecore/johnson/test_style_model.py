"""A style file comes back as it was saved, and no broken file gets past."""

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from stylecore.errors import StylecoreError
from stylecore.johnson.style_model import CARD_KEY, FORMAT_KEY, StyleCard, StyleModel, read_card
from stylecore.johnson.transform_net import PAPER, TransformNet, TransformNetConfig

TINY = TransformNetConfig(residual_blocks=1, width=0.0625)


def make_model(network: TransformNetConfig = TINY) -> StyleModel:
    card = StyleCard(
        name="starry-night_2",
        title="Die Sternennacht, “星月夜”",
        artist="Vincent van Gogh",
        year="1889",
        credit="Museum of Modern Art",
        license="public domain",
        network=network,
        training={"learning_rate": 1e-3, "style_layers": ["relu1_2"], "content": None},
        iterations=1500,
        dataset="photos",
        vgg="vgg16",
        losses={"total": 0.1},
        git_commit="abc",
    )
    return StyleModel(TransformNet(network), card)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "style.safetensors"
    make_model().save(path)
    return path


def refusal(path: Path) -> str:
    """The error of loading `path`, which must be one sentence about it."""
    with pytest.raises(StylecoreError) as caught:
        StyleModel.load(path)
    message = str(caught.value)
    assert path.name in message
    assert message.endswith(".")
    assert not message.endswith("..")
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    "config",
    [
        TINY,
        dataclasses.replace(PAPER, width=0.0625, residual_blocks=2),
        dataclasses.replace(TINY, normalize_before_upsampling=True, normalize_output=True, bias=False),
    ],
)
def test_round_trip_is_exact(config: TransformNetConfig, tmp_path: Path) -> None:
    model = make_model(config)
    model.save(tmp_path / "new folder" / "style.safetensors")
    loaded = StyleModel.load(str(tmp_path / "new folder" / "style.safetensors"))
    assert loaded.card == model.card
    assert not loaded.network.training
    expected, got = model.network.state_dict(), loaded.network.state_dict()
    assert expected.keys() == got.keys()
    assert all(torch.equal(expected[name], got[name]) and expected[name].dtype == got[name].dtype for name in expected)
    pixels = torch.rand(1, 3, 24, 24)
    assert torch.equal(model.network(pixels), loaded.network(pixels))


def test_half_precision_halves_the_file_and_nearly_keeps_the_result(tmp_path: Path) -> None:
    model = make_model(TransformNetConfig(residual_blocks=1, width=0.25))
    whole, half = tmp_path / "whole.safetensors", tmp_path / "half.safetensors"
    model.save(whole)
    model.save(half, half=True)
    assert half.stat().st_size < 0.6 * whole.stat().st_size
    loaded = StyleModel.load(half)
    assert all(tensor.dtype == torch.float32 for tensor in loaded.network.parameters())
    pixels = torch.rand(1, 3, 24, 24)
    torch.testing.assert_close(loaded.network(pixels), model.network(pixels), rtol=0, atol=0.01)
    assert model.network.encoder[0].convolution.weight.dtype == torch.float32  # saving changed nothing


def test_numbers_whose_sum_half_precision_cannot_hold_are_finite(tmp_path: Path) -> None:
    model = make_model(TransformNetConfig(residual_blocks=1, width=0.25))
    model.network.encoder[0].convolution.weight.data.fill_(60_000)
    model.save(tmp_path / "large.safetensors", half=True)
    loaded = StyleModel.load(tmp_path / "large.safetensors").network.encoder[0].convolution.weight
    assert (loaded - 60_000).abs().max() < 32


def test_the_header_says_what_the_file_is(saved: Path) -> None:
    with safe_open(saved, framework="pt") as file:
        header = file.metadata()
    assert header["stylecore.format"] == "1"
    card = json.loads(header["stylecore.card"])
    assert card["name"] == "starry-night_2"
    assert card["license"] == "public domain"
    assert card["network"]["residual_blocks"] == 1
    assert read_card(saved) == make_model().card


def test_saving_leaves_one_readable_file(saved: Path) -> None:
    assert os.listdir(saved.parent) == [saved.name]
    assert saved.stat().st_mode & 0o777 == 0o644


def test_a_card_without_a_later_field_still_loads(saved: Path) -> None:
    card = json.loads(make_model().card.to_json())
    del card["git_commit"]
    del card["network"]["normalize_before_upsampling"]
    rewrite_header(saved, {FORMAT_KEY: "1", CARD_KEY: json.dumps(card)})
    assert StyleModel.load(saved).card.network == TINY


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_failing_to_save_leaves_what_was_there(
    saved: Path, error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = saved.read_bytes()

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(os, "replace", fail)
    expected = StylecoreError if isinstance(error, OSError) else KeyboardInterrupt
    with pytest.raises(expected, match="No space left" if expected is StylecoreError else None):
        make_model(dataclasses.replace(TINY, residual_blocks=2)).save(saved)
    with pytest.raises(expected):
        make_model().save(saved.with_name("other.safetensors"))
    assert os.listdir(saved.parent) == [saved.name]
    assert saved.read_bytes() == before


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StylecoreError, match="cannot write"):
        make_model().save(tmp_path / "file" / "style.safetensors")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_numbers_are_neither_saved_nor_loaded(saved: Path, value: float) -> None:
    tensors = load_file(saved)
    tensors["decoder.2.convolution.weight"][1, 1, 1, 1] = value
    save_file(tensors, saved, metadata={FORMAT_KEY: "1", CARD_KEY: make_model().card.to_json()})
    assert "decoder.2.convolution.weight are not finite" in refusal(saved)

    model = make_model()
    with torch.no_grad():
        model.network.encoder[0].convolution.weight[0, 0, 0, 0] = value
    target = saved.with_name("broken.safetensors")
    with pytest.raises(StylecoreError, match=r"encoder\.0\.convolution\.weight"):
        model.save(target)
    assert os.listdir(saved.parent) == [saved.name]


def test_weights_beyond_half_precision_are_not_saved_as_such(tmp_path: Path) -> None:
    model = make_model()
    with torch.no_grad():
        model.network.encoder[0].convolution.weight[0, 0, 0, 0] = 70000
    with pytest.raises(StylecoreError, match="not finite"):
        model.save(tmp_path / "style.safetensors", half=True)
    model.save(tmp_path / "style.safetensors")


def test_missing_file_and_folder(tmp_path: Path) -> None:
    assert "no style file" in refusal(tmp_path / "absent.safetensors")
    assert "no style file" in refusal(tmp_path)


def test_truncated_files(saved: Path) -> None:
    whole = saved.read_bytes()
    for length in [0, 1, 7, 8, 9, 100, len(whole) // 2, len(whole) - 1]:
        saved.write_bytes(whole[:length])
        assert "damaged" in refusal(saved)


def test_a_damaged_header(saved: Path) -> None:
    whole = bytearray(saved.read_bytes())
    whole[8:40] = os.urandom(32)
    saved.write_bytes(whole)
    refusal(saved)


@pytest.mark.parametrize("content", [b"not a style at all", b"\x89PNG\r\n\x1a\n" + bytes(100), bytes(100)])
def test_foreign_files(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "style.safetensors"
    path.write_bytes(content)
    assert "something else" in refusal(path)


def test_a_safetensors_file_of_someone_else(tmp_path: Path) -> None:
    path = tmp_path / "style.safetensors"
    save_file({"weight": torch.zeros(3)}, path, metadata={"format": "pt"})
    assert "without a style card" in refusal(path)
    save_file({"weight": torch.zeros(3)}, path)
    assert "without a style card" in refusal(path)


def test_another_format_version(saved: Path) -> None:
    rewrite_header(saved, {FORMAT_KEY: "2", CARD_KEY: make_model().card.to_json()})
    message = refusal(saved)
    assert "format 2" in message
    assert "update stylecore" in message


def change(**network: Any) -> str:
    card = json.loads(make_model().card.to_json())
    card["network"] |= network
    return json.dumps(card)


def change_card(**fields: Any) -> str:
    return json.dumps(json.loads(make_model().card.to_json()) | fields)


@pytest.mark.parametrize(
    ("card", "why"),
    [
        ("", "cannot be read"),
        ("[]", "cannot be read"),
        ("{}", "name: Field required"),
        ("[" * 100_000, "cannot be read"),
        (change(residual_blocks=0), "--residual-blocks is 0, and must be a number from 1 to 9"),
        (change(residual_blocks=1.5), "network.residual_blocks: Input should be a valid integer"),
        (change(width="wide"), "network.width: Input should be a valid number"),
        (change(bias=1), "network.bias: Input should be a valid boolean"),
        (change(output=["tanh"]), "network.output: Input should be 'linear' or 'tanh'"),
        (change(dilation=2), "network.dilation: Unexpected keyword argument"),
        (
            change(input_values={"channel_order": "RGB", "scale": 1.0, "mean": [0.0], "std": [1.0]}),
            "input_values.mean.1: Field required",
        ),
        (change_card(title=7), "title: Input should be a valid string"),
        (change_card(year=["1889"]), "year: Input should be a valid string"),
        (change_card(iterations="many"), "iterations: Input should be a valid integer"),
        (change_card(iterations=True), "iterations: Input should be a valid integer"),
        (change_card(painted_side=640.5), "painted_side: Input should be a valid integer"),
        (change_card(losses={"total": "low"}), "losses.total: Input should be a valid number"),
        (change_card(training=[1]), "training: Input should be an object"),
        (change_card(git_commit=None), "git_commit: Input should be a valid string"),
        (make_model().card.to_json().replace("starry-night_2", "../starry"), "letters"),
    ],
)
def test_broken_cards(saved: Path, card: str, why: str) -> None:
    rewrite_header(saved, {FORMAT_KEY: "1", CARD_KEY: card})
    assert why in refusal(saved)


@pytest.mark.parametrize("network", [{"residual_blocks": 2}, {"width": 0.125}, {"upsampling": "transposed"}])
def test_a_card_of_another_network(saved: Path, network: dict) -> None:
    rewrite_header(saved, {FORMAT_KEY: "1", CARD_KEY: change(**network)})
    assert "does not hold the network that its card describes" in refusal(saved)


@pytest.mark.parametrize("name", ["", "starry night", "../up", "sternennächte", "a/b", "a.b"])
def test_names(name: str) -> None:
    with pytest.raises(StylecoreError, match="name"):
        StyleCard(name=name)


def test_a_network_goes_with_its_own_card() -> None:
    with pytest.raises(ValueError, match="another network"):
        StyleModel(TransformNet(TINY), StyleCard(name="other"))


def rewrite_header(path: Path, header: dict[str, str]) -> None:
    save_file(load_file(path), path, metadata=header)


def test_cards_of_one_objective_agree_and_earlier_ones_have_the_losses_of_then() -> None:
    earlier = StyleCard("waves", training={"style_weight": 1e10, "seed": 0}, vgg="imagenet")
    same = {"style_weight": 1e10, "seed": 1, "style_normalization": "mean", "loss_scales": [1], "vgg_weights": ""}
    assert earlier.objective == StyleCard("waves", training=same, vgg="imagenet").objective
    for other in ({"loss_scales": [1, 2]}, {"style_normalization": "relative"}, {"style_layers": ["relu1_1"]}):
        assert earlier.objective != StyleCard("waves", training={**same, **other}, vgg="imagenet").objective
    assert earlier.objective != StyleCard("waves", training=same, vgg="caffe").objective
    assert StyleCard("imported").objective == {}
