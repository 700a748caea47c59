"""The ONNX file computes what PyTorch does, for every form of network and every size."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from stylecore.__main__ import main
from stylecore.errors import StylecoreError
from stylecore.inference.engine import Engine, crop_of
from stylecore.inference.tiling import hold_statistics, samples
from stylecore.johnson.style_model import CARD_KEY, StyleCard, StyleModel
from tests.stylecore.inference.test_openvino_runtime import FORMS, TINY, make_model, psnr

onnx = pytest.importorskip("onnx", reason="onnx is not installed")
onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

from stylecore.inference.onnx_graph import Weights, export_onnx  # noqa: E402 - it imports onnx

KNOWN_TO_RUN_IN_BROWSERS = {
    "Add", "Cast", "Clip", "Conv", "DepthToSpace", "Identity", "InstanceNormalization", "Mul", "Pad", "Relu", "Slice",
    "Tanh",
}  # fmt: skip


def engine_of(model: StyleModel, weights: Weights = "float32") -> Engine:
    """An engine whose network is computed by ONNX Runtime."""
    file = export_onnx(model, weights, crop=crop_of(model.card.network))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    engine = Engine(model, "cpu", "torch")

    def stylize(pixels: Tensor, rows: slice, columns: slice) -> Tensor:
        return torch.from_numpy(session.run(["stylized"], {"pixels": pixels.numpy()})[0][..., rows, columns])

    engine._stylize = stylize
    return engine


@pytest.mark.parametrize("form", FORMS)
def test_the_result_is_that_of_pytorch(form: str) -> None:
    model = make_model(FORMS[form])
    expected, engine = Engine(model, "cpu", "torch"), engine_of(model)
    for height, width in [(37, 50), (64, 48), (1, 2), (5, 70)]:  # in one session
        pixels = torch.rand(3, height, width)
        assert psnr(engine.stylize(pixels), expected.stylize(pixels)) > 60
    pictures = torch.rand(2, 3, 21, 34)
    assert psnr(engine.stylize(pictures), expected.stylize(pictures)) > 60


@pytest.mark.parametrize(("weights", "least", "share"), [("float16", 55, 0.56), ("int8", 25, 0.36)])
def test_smaller_weights_cost_little(weights: str, least: float, share: float) -> None:
    model = make_model(TINY)
    file, whole = export_onnx(model, weights), export_onnx(model, "float32")  # type: ignore[arg-type]
    assert stored_bytes(file) < share * stored_bytes(whole)
    pixels = torch.rand(3, 61, 83)
    found = psnr(engine_of(model, weights).stylize(pixels), Engine(model, "cpu", "torch").stylize(pixels))
    assert least < found < 100


def stored_bytes(file: bytes) -> int:
    """Of the constants: the names of a tiny network's nodes are larger."""
    return sum(onnx.numpy_helper.to_array(tensor).nbytes for tensor in onnx.load_from_string(file).graph.initializer)


@pytest.mark.parametrize("form", FORMS)
def test_only_operators_that_browsers_compute(form: str) -> None:
    graph = onnx.load_from_string(export_onnx(make_model(FORMS[form]), "int8")).graph
    assert {node.op_type for node in graph.node} <= KNOWN_TO_RUN_IN_BROWSERS
    for node in graph.node:
        if node.op_type == "Pad":
            mode = next(attribute.s for attribute in node.attribute if attribute.name == "mode")
            assert mode in (b"reflect", b"edge")


def test_a_large_flat_picture_does_not_lose_its_statistics() -> None:
    model = make_model(TINY)
    pixels = 0.9 + 0.01 * torch.rand(3, 400, 500)
    result = engine_of(model, "float16").paint(pixels)
    assert psnr(result, Engine(model, "cpu", "torch").paint(pixels)) > 45


def test_the_command_writes_the_file_with_its_card(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    style, out = tmp_path / "night.safetensors", tmp_path / "night.onnx"
    model = make_model(TINY)
    StyleModel(model.network, StyleCard(name="night", title="The Night", network=TINY)).save(style)
    assert main(["export", str(style), "-o", str(out)]) == 0
    assert "night" in capsys.readouterr().out
    properties = {each.key: each.value for each in onnx.load(out).metadata_props}
    assert json.loads(properties[CARD_KEY])["title"] == "The Night"
    assert out.read_bytes() == export_onnx(StyleModel.load(style))  # depends on the style alone
    assert main(["export", str(style), "-o", str(tmp_path / "night.bin")]) == 2
    assert capsys.readouterr().err == f"error: -o {tmp_path / 'night.bin'} must end in .onnx.\n"


def test_weights_beyond_float16_are_refused() -> None:
    model = make_model(TINY)
    with torch.no_grad():
        model.network.encoder[1].convolution.weight[0, 0, 0, 0] = 1e5
    with pytest.raises(StylecoreError, match=r"encoder.1 do not fit into float16; export it in float32"):
        export_onnx(model)
    assert np.isfinite(engine_of(model).stylize(torch.rand(3, 32, 32)).numpy()).all()


def test_the_form_for_tiles_measures_the_statistics_of_all_samples_and_holds_them() -> None:
    model = make_model(TINY)
    file = export_onnx(model, "float32", tiles=True)
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    channels = session.get_inputs()[2].shape[1]
    photo = torch.rand(3, 96, 128)
    squares = samples(photo, side=32, count=6)
    nothing = np.zeros((2, channels, 1, 1), np.float32)
    given = {"pixels": squares.numpy(), "held": np.array(False), "statistics": nothing}
    statistics = session.run(["measured"], given)[0]

    held = {"pixels": photo[None].numpy(), "held": np.array(True), "statistics": statistics}
    stylized, same = session.run(["stylized", "measured"], held)
    assert (same == statistics).all()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("stylecore.inference.tiling.samples", lambda _: squares)
        expected = hold_statistics(model.network, photo)(photo[None])
    assert psnr(torch.from_numpy(stylized), expected.detach()) > 60
