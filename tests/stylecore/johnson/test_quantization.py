"""The quantized network: its sidecar, and what the engine does with it."""

import dataclasses
import importlib.util
import json
import logging
import platform
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from stylecore.errors import StylecoreError
from stylecore.inference.engine import X86, Engine, frame
from stylecore.inference.openvino import OpenVinoNetwork, convolution_names
from stylecore.johnson.quantization import (
    Quantization,
    network_digest,
    read_quantization,
    sidecar_of,
    write_quantization,
)
from stylecore.johnson.style_model import StyleCard, StyleModel
from stylecore.johnson.transform_net import TransformNet, TransformNetConfig

with_openvino = pytest.mark.skipif(not importlib.util.find_spec("openvino"), reason="OpenVINO is not installed")
TINY = TransformNetConfig(residual_blocks=1, width=0.25)


def make_model(config: TransformNetConfig = TINY, seed: int = 0) -> StyleModel:
    torch.manual_seed(seed)
    return StyleModel(TransformNet(config), StyleCard(name="test", network=config))


def form_of(model: StyleModel, ranges: dict[str, tuple[float, float]] | None = None) -> Quantization:
    """A quantized network; without ranges nothing is in 8 bits."""
    return Quantization(network_digest(model.network), ranges or {}, 40.0, 35.5, 20, 10)


def picture(height: int = 60, width: int = 84) -> Tensor:
    """Something smoother than noise."""
    torch.manual_seed(1)
    return torch.nn.functional.interpolate(torch.rand(1, 3, 6, 8), (height, width), mode="bicubic").clamp(0, 1)[0]


def psnr(a: Tensor, b: Tensor) -> float:
    return float(-10 * torch.log10((a - b).square().mean() + 1e-20))


def test_the_file_holds_it(tmp_path: Path) -> None:
    model = make_model()
    form = form_of(model, {"encoder.0": (0.0, 1.0), "decoder.2": (-0.25, 3.5)})
    model.quantization = form
    model.save(tmp_path / "a.safetensors", half=True)
    assert {path.name for path in tmp_path.iterdir()} == {"a.safetensors", "a.int8.json"}
    assert StyleModel.load(tmp_path / "a.safetensors").quantization == form
    assert sidecar_of("b/c.d.safetensors") == Path("b/c.d.int8.json")


def test_saving_another_network_there_removes_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    model = make_model()
    model.quantization = form_of(model)
    model.save(tmp_path / "a.safetensors")
    make_model(seed=1).save(tmp_path / "a.safetensors")
    assert StyleModel.load(tmp_path / "a.safetensors").quantization is None
    assert not caplog.records


def test_what_belongs_to_another_network_is_refused(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    model, other = make_model(), make_model(seed=1)
    model.save(tmp_path / "a.safetensors")
    write_quantization(form_of(other), tmp_path / "a.int8.json")
    with pytest.raises(StylecoreError, match=r"a\.int8\.json belongs to another network .* training\.quantize"):
        read_quantization(tmp_path / "a.int8.json", model.network)
    with caplog.at_level(logging.WARNING):
        loaded = StyleModel.load(tmp_path / "a.safetensors")
    assert loaded.quantization is None
    (record,) = caplog.records
    assert "belongs to another network" in record.getMessage()
    with pytest.raises(StylecoreError, match="has no quantized network"):
        Engine(loaded, "cpu", "openvino-int8")


def test_a_network_is_known_by_form_and_weights() -> None:
    digest = network_digest(make_model().network)
    assert digest == network_digest(make_model().network)
    assert digest != network_digest(make_model(seed=1).network)
    changed = make_model()
    with torch.no_grad():
        changed.network.decoder[2].convolution.bias[1] += 0.1  # type: ignore[union-attr]
    assert digest != network_digest(changed.network)
    other_form = TransformNet(dataclasses.replace(TINY, padding="same"))
    other_form.load_state_dict(make_model().network.state_dict())
    assert digest != network_digest(other_form)


Change = Callable[[dict], object]


@pytest.mark.parametrize(
    "change",
    [
        lambda values: values.update(format="stylecore.int8/2"),
        lambda values: values.pop("format"),
        lambda values: values.pop("ranges"),
        lambda values: values.update(ranges=[1]),
        lambda values: values.update(ranges={"encoder.0": [0.0]}),
        lambda values: values.update(ranges={"encoder.0": [1.0, 1.0]}),
        lambda values: values.update(ranges={"encoder.0": [0.0, float("nan")]}),
        lambda values: values.update(more=1),
    ],
)
def test_a_damaged_file_is_refused(tmp_path: Path, change: Change) -> None:
    model, path = make_model(), tmp_path / "a.int8.json"
    write_quantization(form_of(model), path)
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))
    with pytest.raises(StylecoreError, match="is no sidecar of a quantized network"):
        read_quantization(path, model.network)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"[]", b"7", b"{"])
def test_another_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.int8.json"
    path.write_bytes(content)
    with pytest.raises(StylecoreError, match="is no sidecar of a quantized network"):
        read_quantization(path, make_model().network)


@with_openvino
@pytest.mark.parametrize("padding", ["reflect", "reflect-start", "same"])
@pytest.mark.parametrize("upsampling", ["nearest", "transposed"])
def test_8_bits_are_near_to_float32(padding: str, upsampling: str) -> None:
    config = dataclasses.replace(TINY, padding=padding, upsampling=upsampling)
    model, pixels = make_model(config), picture()
    ranges = OpenVinoNetwork(model.network, watch=True).input_ranges(frame(pixels[None], config)[0])
    assert list(ranges) == convolution_names(model.network)
    model.quantization = form_of(model, ranges)
    engine = Engine(model, "cpu", "openvino-int8")
    near = psnr(engine.stylize(pixels), Engine(model, "cpu", "torch").stylize(pixels))
    assert 25 < near < 60  # a network that nobody trained, and it is not float32
    if platform.machine() in X86:
        assert Engine(model, "cpu").runtime == "openvino-int8"
    assert Engine(model, "cpu", "openvino").runtime == "openvino"


@with_openvino
def test_the_ranges_are_those_of_the_convolutions_inputs() -> None:
    model, pixels = make_model(), torch.rand(1, 3, 40, 48)
    seen: dict[str, tuple[float, float]] = {}
    for name in convolution_names(model.network):

        def hook(_: object, inputs: tuple[Tensor], name: str = name) -> None:
            seen[name] = (float(inputs[0].min()), float(inputs[0].max()))

        model.network.get_submodule(name).convolution.register_forward_pre_hook(hook)  # type: ignore[union-attr]
    with torch.no_grad():
        model.network(pixels)
    found = OpenVinoNetwork(model.network, watch=True).input_ranges(pixels)
    del seen["encoder.0"]  # its input is the picture itself, the preprocessing is in the weights
    assert found.pop("encoder.0") == pytest.approx((float(pixels.min()), float(pixels.max())))
    assert found.keys() == seen.keys()
    for name, (low, high) in seen.items():
        assert found[name] == pytest.approx((low, high), abs=1e-3), name


@with_openvino
def test_convolutions_without_a_range_stay_float32() -> None:
    model, pixels = make_model(), picture()
    model.quantization = form_of(model)
    engine = Engine(model, "cpu", "openvino-int8")
    assert psnr(engine.stylize(pixels), Engine(model, "cpu", "torch").stylize(pixels)) > 60


def test_the_digest_of_a_network_without_input_noise_is_what_it_was_before_there_was_any() -> None:
    config = TransformNetConfig(residual_blocks=1, width=0.0625)
    network = TransformNet(config)
    for value in network.state_dict().values():
        value.fill_(0.5)
    assert network_digest(network) == "430ad461abe5576c2413fd035e8d129388948482411e9158c6d2f7f8a905b755"
    assert network_digest(TransformNet(dataclasses.replace(config, input_noise=0.1))) != network_digest(network)
