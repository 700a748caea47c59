"""OpenVINO computes what PyTorch does, for every form of network and every size."""

import dataclasses
import functools
import importlib.util
import itertools
import logging
import os
import re
import signal
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from stylecore.errors import StylecoreError
from stylecore.inference import openvino as openvino_runtime
from stylecore.inference.engine import Engine
from stylecore.johnson.style_model import StyleCard, StyleModel
from stylecore.johnson.transform_net import TransformNet, TransformNetConfig
from stylecore.preprocessing import CAFFE, IMAGENET

with_openvino = pytest.mark.skipif(not importlib.util.find_spec("openvino"), reason="OpenVINO is not installed")

TINY = TransformNetConfig(residual_blocks=1, width=0.125)
FORMS = {
    " ".join(form): dataclasses.replace(TINY, padding=form[0], upsampling=form[1], normalization=form[2])
    for form in itertools.product(
        ("reflect", "reflect-start", "same"), ("nearest", "transposed"), ("instance", "batch")
    )
} | {
    "tanh": dataclasses.replace(TINY, output="tanh", tanh_scale=2.0),
    "of the authors, blue first": dataclasses.replace(
        TINY, output="tanh", tanh_scale=150.0, padding="reflect-start", input_values=CAFFE, output_values=CAFFE
    ),
    "blue first, folded": dataclasses.replace(TINY, input_values=CAFFE, output_values=CAFFE),
    "mixed values": dataclasses.replace(TINY, padding="same", input_values=CAFFE, output_values=IMAGENET),
    "no bias": dataclasses.replace(TINY, bias=False, upsampling="transposed"),
    "normalized output": dataclasses.replace(
        TINY, normalize_output=True, bias=False, padding="same", output="tanh", output_values=CAFFE
    ),
    "normalized before upsampling": dataclasses.replace(TINY, normalize_before_upsampling=True),
    "normalized before upsampling, batch": dataclasses.replace(
        TINY, normalize_before_upsampling=True, normalization="batch", padding="reflect-start"
    ),
    "another epsilon": dataclasses.replace(TINY, normalization_epsilon=1e-2),
    "three blocks": dataclasses.replace(TINY, residual_blocks=3, padding="reflect-start"),
}


def make_model(config: TransformNetConfig, seed: int = 0) -> StyleModel:
    """A network with statistics and factors as if trained."""
    torch.manual_seed(seed)
    network = TransformNet(config)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
        if isinstance(module, nn.BatchNorm2d | nn.InstanceNorm2d):
            nn.init.normal_(module.bias, std=0.3)
            nn.init.uniform_(module.weight, 0.5, 1.5)
    return StyleModel(network, StyleCard(name="test", network=config))


def psnr(a: Tensor, b: Tensor) -> float:
    return float(-10 * torch.log10((a - b).square().mean() + 1e-20))


@with_openvino
@pytest.mark.parametrize("form", FORMS)
def test_the_result_is_that_of_pytorch(form: str) -> None:
    model = make_model(FORMS[form])
    expected, engine = Engine(model, "cpu", "torch"), Engine(model, "cpu", "openvino")
    assert (expected.runtime, engine.runtime) == ("torch", "openvino")
    for height, width in [(37, 50), (64, 48), (1, 2), (5, 70)]:  # in one compiled network
        pixels = torch.rand(3, height, width)
        result = engine.stylize(pixels)
        assert result.shape == pixels.shape
        assert result.dtype == torch.float32
        assert psnr(result, expected.stylize(pixels)) > 60
    assert result.std() > 0.01


@with_openvino
def test_a_wrong_result_would_be_noticed() -> None:
    pixels = torch.rand(3, 40, 40)
    one, other = (Engine(make_model(TINY, seed), "cpu", "openvino").stylize(pixels) for seed in (0, 1))
    assert psnr(one, other) < 30


@with_openvino
def test_a_batch() -> None:
    engine = Engine(make_model(TINY), "cpu", "openvino")
    pictures = torch.rand(3, 3, 21, 34)
    for picture, result in zip(pictures, engine.stylize(pictures), strict=True):
        assert psnr(result, engine.stylize(picture)) > 80


@with_openvino
def test_the_result_stays_when_the_next_picture_comes() -> None:
    engine = Engine(make_model(TINY), "cpu", "openvino")
    first = engine.stylize(torch.zeros(3, 20, 20))
    kept = first.clone()
    engine.stylize(torch.rand(3, 20, 20))
    engine.release_memory()
    assert torch.equal(first, kept)
    assert torch.equal(engine.stylize(torch.zeros(3, 20, 20)), kept)


@with_openvino
@pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")
def test_a_signal_ends_no_process_that_let_networks_go() -> None:
    """Or else it ends this process, too."""
    received: list[int] = []
    before = signal.signal(signal.SIGUSR1, lambda number, frame: received.append(number))
    try:
        engines = [Engine(make_model(TINY, seed), "cpu", "openvino") for seed in range(3)]
        while engines:
            del engines[0]  # the oldest first
            signal.raise_signal(signal.SIGUSR1)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert len(received) == 3


@with_openvino
@settings(max_examples=30, deadline=None)
@given(height=st.integers(1, 70), width=st.integers(1, 70))
def test_every_size(height: int, width: int) -> None:
    pixels = torch.rand(3, height, width)
    result, expected = (made(runtime).stylize(pixels) for runtime in ("openvino", "torch"))
    assert psnr(result, expected) > 60


@functools.cache
def made(runtime: str) -> Engine:
    return Engine(make_model(TINY), "cpu", runtime)


@with_openvino
def test_as_many_threads_as_pytorch_has() -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        network = openvino_runtime.OpenVinoNetwork(make_model(TINY).network)
        assert network._compiled.get_property("INFERENCE_NUM_THREADS") == 1
    finally:
        torch.set_num_threads(before)


@with_openvino
def test_two_pictures_at_once_are_those_of_one_after_the_other() -> None:
    model, photos = make_model(TINY), torch.rand(4, 3, 20, 24)
    engine = Engine(model, "cpu", "openvino", streams=2)
    assert engine.streams == 2
    with ThreadPoolExecutor(4) as pool:
        painted = list(pool.map(engine.paint, photos))
    engine.release_memory()
    alone = Engine(model, "cpu", "openvino")
    expected = [alone.paint(photo) for photo in photos]
    assert torch.allclose(torch.stack(painted), torch.stack(expected), atol=1e-5)
    assert Engine(model, "cpu", "torch", streams=2).streams == 1


@with_openvino
def test_a_failure_to_free_memory_stops_no_later_picture() -> None:
    runtime = openvino_runtime.OpenVinoNetwork(make_model(TINY).network)
    compiled, photo = runtime._compiled, torch.rand(1, 3, 20, 24)

    class Failing:
        outputs = compiled.outputs

        def release_memory(self) -> None:
            raise RuntimeError("no")

    runtime._compiled = Failing()
    with pytest.raises(StylecoreError, match="OpenVINO failed: no"):
        runtime.release_memory()
    assert runtime(photo).shape == photo.shape


@with_openvino
def test_what_openvino_cannot_compile_is_run_by_pytorch(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("\n  unsupported operation\nmore")

    monkeypatch.setattr(openvino_runtime, "build_graph", fail)
    model = make_model(TINY)
    with caplog.at_level(logging.WARNING):
        assert Engine(model, "cpu").runtime == "torch"
    assert "unsupported operation" in caplog.text
    with pytest.raises(
        StylecoreError, match=re.escape("OpenVINO cannot compile this network: unsupported operation.")
    ):
        Engine(model, "cpu", "openvino")


def test_no_such_runtime() -> None:
    with pytest.raises(StylecoreError, match="choose one of auto, torch, openvino"):
        Engine(make_model(TINY), "cpu", "tensorrt")
    with pytest.raises(StylecoreError, match="on the CPU, not on meta"):
        Engine(make_model(TINY), "meta", "openvino")
