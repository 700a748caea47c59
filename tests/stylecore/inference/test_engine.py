"""Any picture in, the same size out, and nothing of the network's own edge to be seen."""

import dataclasses
import itertools
from contextlib import AbstractContextManager, nullcontext

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from stylecore.errors import StylecoreError
from stylecore.inference.engine import Engine, extend
from stylecore.johnson.style_model import StyleCard, StyleModel
from stylecore.johnson.transform_net import PAPER, TransformNet, TransformNetConfig, add_noise

FORMS = {
    "reflect": TransformNetConfig(residual_blocks=1, width=0.0625),
    "paper": dataclasses.replace(PAPER, residual_blocks=1, width=0.0625, normalization="instance"),
    "same": TransformNetConfig(residual_blocks=1, width=0.0625, padding="same", upsampling="transposed"),
    "same, nearest": TransformNetConfig(residual_blocks=1, width=0.0625, padding="same"),
}
every_form = pytest.mark.parametrize("form", FORMS)


def make_engine(form: str, **changes: object) -> Engine:
    torch.manual_seed(0)
    config = dataclasses.replace(FORMS[form], **changes)
    network = TransformNet(config)
    for module in network.modules():  # statistics as if trained, so that batch normalization does something
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    return Engine(StyleModel(network, StyleCard(name="test", network=config)), device="cpu", runtime="torch")


def close(a: Tensor, b: Tensor) -> None:
    torch.testing.assert_close(a, b, rtol=0, atol=1e-5)


ENGINES = {form: make_engine(form) for form in FORMS}


@every_form
@settings(max_examples=10)
@given(height=st.integers(1, 70), width=st.integers(1, 70))
def test_the_size_stays(form: str, height: int, width: int) -> None:
    result = ENGINES[form].stylize(torch.rand(3, height, width))
    assert result.shape == (3, height, width)
    assert result.dtype == torch.float32
    assert result.min() >= 0
    assert result.max() <= 1


@pytest.mark.parametrize("residual_blocks", [1, 9])
@every_form
def test_the_size_stays_with_any_number_of_residual_blocks(form: str, residual_blocks: int) -> None:
    engine = make_engine(form, residual_blocks=residual_blocks)
    for height, width in [(1, 1), (1, 50), (2, 3), (33, 6)]:
        assert engine.stylize(torch.rand(3, height, width)).shape == (3, height, width)


@every_form
def test_a_batch_is_its_pictures(form: str) -> None:
    pictures = torch.rand(3, 3, 21, 34)
    batch = ENGINES[form].stylize(pictures)
    assert batch.shape == pictures.shape
    for picture, result in zip(pictures, batch, strict=True):
        close(ENGINES[form].stylize(picture), result)


@every_form
@pytest.mark.parametrize("normalization", ["instance", "batch"])
def test_no_frame(form: str, normalization: str) -> None:
    """A flat picture has no place that differs from another, but for the phase of the network's strides.

    So each tile of 4 x 4 pixels of the result is the same, unless the network's own padding reaches the picture.
    """
    engine = make_engine(form, normalization=normalization, residual_blocks=2)
    result = engine.stylize(torch.tensor([0.2, 0.6, 0.9]).view(3, 1, 1).expand(3, 30, 41))
    close(result[:, 4:], result[:, :-4])
    close(result[:, :, 4:], result[:, :, :-4])


@every_form
def test_a_part_of_a_picture_gives_that_part_of_the_result(form: str) -> None:
    """With statistics that are fixed (batch normalization) a pixel depends on its surroundings alone.

    Their radius is 8 pixels for the residual block and at most 16 for the other layers, so what lies deeper in a
    part is the same as in the whole, wherever the part is, in steps of 4 pixels.
    """
    engine = make_engine(form, normalization="batch")
    picture = torch.rand(3, 100, 108)
    whole = engine.stylize(picture)
    assert whole.std() > 0.01
    deep = slice(24, -24)
    for top, left in [(0, 0), (4, 0), (12, 20), (36, 44)]:
        part = (slice(None), slice(top, top + 64), slice(left, left + 64))
        close(engine.stylize(picture[part])[:, deep, deep], whole[part][:, deep, deep])
    # The radius is not larger than it needs to be for the check to mean something.
    assert not torch.allclose(engine.stylize(picture[:, :64, :64]), whole[:, :64, :64], atol=1e-3)


@every_form
def test_a_picture_extended_by_reflection_gives_the_same_inside(form: str) -> None:
    """What the engine adds around a picture is its reflection: adding it beforehand changes nothing.

    Where the network itself reflects what lies still farther out, it reflects another picture, so that only the
    inside is the same.
    """
    engine = make_engine(form, normalization="batch")
    picture = torch.rand(3, 48, 52)
    outer = engine.stylize(extend(picture.unsqueeze(0), 24, 24, 24, 24))[0, :, 24:-24, 24:-24]
    inner = slice(16, -16) if form in ("reflect", "paper") else slice(None)
    close(engine.stylize(picture)[:, inner, inner], outer[:, inner, inner])


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (2, 3), (5, 4)])
def test_reflection_is_that_of_pytorch(size: tuple[int, int]) -> None:
    picture = torch.rand(2, 3, *size)
    height, width = size
    for left, right in itertools.product(range(width), repeat=2):
        for top, bottom in itertools.product(range(height), repeat=2):
            wanted = nn.functional.pad(picture, (left, right, top, bottom), mode="reflect")
            torch.testing.assert_close(extend(picture, left, right, top, bottom), wanted, rtol=0, atol=0)


def test_extension() -> None:
    picture = torch.arange(3.0).view(1, 1, 1, 3).expand(1, 3, 2, 3)
    wide = extend(picture, 1, 4, 0, 3)
    assert wide.shape == (1, 3, 5, 8)
    assert wide[0, 0, 4].tolist() == [1, 0, 1, 2, 1, 0, 0, 0]  # reflected as far as it reaches, then repeated
    assert extend(picture, 0, 0, 0, 0) is picture


@pytest.mark.parametrize("mode", [nullcontext, torch.enable_grad, torch.no_grad, torch.inference_mode])
def test_the_callers_gradient_mode_does_not_matter(mode: type[AbstractContextManager]) -> None:
    engine = ENGINES["reflect"]
    picture = torch.rand(3, 12, 13)
    expected = engine.stylize(picture)
    with mode():
        result = engine.stylize(picture)
    assert torch.equal(result, expected)
    assert not result.requires_grad


def test_the_result_may_take_part_in_a_later_gradient() -> None:
    weight = torch.ones(1, requires_grad=True)
    (ENGINES["reflect"].stylize(torch.rand(3, 8, 8)) * weight).sum().backward()
    assert weight.grad is not None


def test_the_callers_picture_is_left_alone() -> None:
    picture = torch.rand(3, 9, 9, requires_grad=True)
    before = picture.detach().clone()
    ENGINES["paper"].stylize(picture).zero_()
    assert torch.equal(picture, before)


@pytest.mark.parametrize(
    "shape", [(3, 4), (4, 8, 8), (1, 8, 8), (2, 1, 8, 8), (3, 0, 5), (0, 3, 4, 4), (1, 1, 3, 4, 4)]
)
def test_no_picture(shape: tuple[int, ...]) -> None:
    with pytest.raises(StylecoreError, match=r"\(3, H, W\)"):
        ENGINES["reflect"].stylize(torch.zeros(shape))


@pytest.mark.parametrize("device", ["gpu", "cuda:99", "hpu", ""])
def test_no_such_device(device: str) -> None:
    config = FORMS["reflect"]
    model = StyleModel(TransformNet(config), StyleCard(name="test", network=config))
    with pytest.raises(StylecoreError, match="choose 'cpu'"):
        Engine(model, device=device)


def test_input_noise_is_laid_on_the_photo_and_the_same_every_time() -> None:
    torch.manual_seed(0)
    config = TransformNetConfig(residual_blocks=1, width=0.25, input_noise=0.2)
    noisy = Engine(StyleModel(TransformNet(config), StyleCard("noisy", network=config)), "cpu", "torch")
    flat = torch.full((3, 40, 56), 0.5)
    painted = noisy.stylize(flat)
    assert torch.equal(noisy.stylize(flat), painted)
    assert painted[:, 8:-8, 8:-8].std(dim=(1, 2)).min() > 1e-3  # without noise a flat photo stays flat
    frames = noisy.stylize(torch.stack([flat, flat.flip(-1)]))
    close(frames[0], painted)


def test_the_noise_is_as_strong_as_asked_and_gray() -> None:
    noise = add_noise(torch.zeros(2, 3, 200, 300), 0.1)
    assert noise.std().item() == pytest.approx(0.1, rel=0.25)
    assert torch.equal(noise[0], noise[1])
    assert torch.equal(noise[:, 0], noise[:, 2])
    assert torch.equal(add_noise(noise, 0.0), noise)


def test_the_caller_s_network_stays_on_its_device() -> None:
    config = FORMS["reflect"]
    model = StyleModel(TransformNet(config), StyleCard(name="test", network=config))
    engine = Engine(model, device="meta", runtime="torch")
    assert {tensor.device.type for tensor in engine.network.state_dict().values()} == {"meta"}
    assert {tensor.device.type for tensor in model.network.state_dict().values()} == {"cpu"}


def test_on_the_same_device_the_weights_are_shared() -> None:
    config = FORMS["reflect"]
    model = StyleModel(TransformNet(config), StyleCard(name="test", network=config))
    assert Engine(model, device="cpu", runtime="torch").network is model.network
