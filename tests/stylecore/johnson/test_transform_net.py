"""The transformation network against the numbers and the words of Johnson et al. (2016)."""

import dataclasses

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from stylecore.errors import StylecoreError
from stylecore.johnson.transform_net import PAPER, ResidualBlock, TransformNet, TransformNetConfig

TINY = 0.0625
ENGSTROM = {"bias": False, "normalize_output": True, "upsampling": "transposed", "padding": "same"}


def count_parameters(config: TransformNetConfig) -> int:
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in TransformNet(config).parameters())


@pytest.mark.parametrize(
    ("config", "parameters"),
    [
        (TransformNetConfig(), 1_679_235),
        (TransformNetConfig(upsampling="transposed"), 1_679_235),
        (PAPER, 1_679_235),
        (TransformNetConfig(residual_blocks=1), 496_515),
        (TransformNetConfig(**ENGSTROM), 1_677_638),
        (TransformNetConfig(residual_blocks=1, **ENGSTROM), 495_942),
        (TransformNetConfig(width=0.5), 424_899),
    ],
)
def test_number_of_parameters(config: TransformNetConfig, parameters: int) -> None:
    assert count_parameters(config) == parameters


def count_multiply_adds(config: TransformNetConfig, height: int, width: int) -> int:
    """Number of multiply-adds of the convolutions for one picture of height x width."""
    with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counter:
        TransformNet(config)(torch.empty(1, 3, height, width))
    return counter.get_total_flops() // 2  # a multiplication and an addition are two operations


@pytest.mark.parametrize(
    ("residual_blocks", "upsampling", "size", "giga"),
    [
        (5, "nearest", 256, 10.1),
        (5, "nearest", 512, 40.3),
        (5, "nearest", 1024, 161),
        (1, "nearest", 256, 5.25),
        (1, "nearest", 512, 21.0),
        (1, "nearest", 1024, 84.0),
        (5, "transposed", 256, 8.27),
        (1, "transposed", 256, 3.44),
    ],
)
def test_number_of_multiply_adds(residual_blocks: int, upsampling: str, size: int, giga: float) -> None:
    config = TransformNetConfig(residual_blocks=residual_blocks, upsampling=upsampling)
    assert count_multiply_adds(config, size, size) / 1e9 == pytest.approx(giga, rel=0.003)


def test_multiply_adds_by_hand() -> None:
    config = TransformNetConfig(residual_blocks=1, width=TINY)  # 2, 4 and 8 channels
    by_hand = (
        16 * 16 * 2 * 3 * 81
        + 8 * 8 * 4 * 2 * 9
        + 4 * 4 * 8 * 4 * 9
        + 2 * 4 * 4 * 8 * 8 * 9
        + 8 * 8 * 4 * 8 * 9
        + 16 * 16 * 2 * 4 * 9
        + 16 * 16 * 3 * 2 * 81
    )
    assert count_multiply_adds(config, 16, 16) == by_hand


@pytest.mark.parametrize("residual_blocks", range(1, 10))
@pytest.mark.parametrize("padding", ["reflect", "reflect-start", "same"])
def test_residual_blocks(residual_blocks: int, padding: str) -> None:
    config = TransformNetConfig(residual_blocks=residual_blocks, width=TINY, padding=padding)
    network = TransformNet(config).eval()
    assert sum(isinstance(module, ResidualBlock) for module in network.modules()) == residual_blocks
    assert config.border == 8 * residual_blocks
    size = config.border + 4 if padding == "reflect-start" else 16  # enough to reflect
    assert network(torch.rand(1, 3, size, size + 4)).shape == (1, 3, size, size + 4)


@pytest.mark.parametrize("width", [0.0625, 0.125, 0.25, 0.5, 1.0, 2.0, 4.0])
def test_width(width: float) -> None:
    with torch.device("meta"):
        network = TransformNet(TransformNetConfig(width=width, residual_blocks=1))
    weights = [module.weight for module in network.modules() if isinstance(module, nn.Conv2d)]
    full, half, quarter = int(32 * width), int(64 * width), int(128 * width)
    assert [weight.shape[0] for weight in weights] == [full, half, quarter, quarter, quarter, half, full, 3]


@pytest.mark.parametrize("normalization", ["instance", "batch"])
def test_normalization(normalization: str) -> None:
    network = TransformNet(TransformNetConfig(normalization=normalization, width=TINY, residual_blocks=2))
    kind, other = nn.InstanceNorm2d, nn.BatchNorm2d
    if normalization == "batch":
        kind, other = other, kind
    normalizations = [module for module in network.modules() if isinstance(module, kind)]
    assert len(normalizations) == 3 + 2 * 2 + 2  # all but the last layer
    assert all(module.affine for module in normalizations)
    assert not any(isinstance(module, other) for module in network.modules())


def test_instance_normalization_looks_at_each_picture_alone_in_training_and_evaluation() -> None:
    network = TransformNet(TransformNetConfig(width=TINY, residual_blocks=1))
    pictures = torch.rand(3, 3, 16, 16)
    for mode in (network.train(), network.eval()):
        torch.testing.assert_close(mode(pictures)[1:2], mode(pictures[1:2]), rtol=0, atol=1e-5)


@pytest.mark.parametrize("height", range(16, 25))
@pytest.mark.parametrize("padding", ["reflect", "same"])
@pytest.mark.parametrize("upsampling", ["nearest", "transposed"])
def test_sides_grow_to_the_next_multiple_of_4(height: int, padding: str, upsampling: str) -> None:
    config = TransformNetConfig(width=TINY, residual_blocks=1, padding=padding, upsampling=upsampling)
    network = TransformNet(config).eval()
    assert network(torch.rand(2, 3, height, 21)).shape == (2, 3, -(-height // 4) * 4, 24)


def test_the_result_is_clipped_in_evaluation_only() -> None:
    network = TransformNet(TransformNetConfig(width=TINY, residual_blocks=1))
    with torch.no_grad():
        network.decoder[2].convolution.bias.copy_(torch.tensor([100.0, -100.0, 0.0]))
    pixels = torch.rand(1, 3, 16, 16)
    free = network.train()(pixels)
    clipped = network.eval()(pixels)
    assert free[:, 0].min() > 1
    assert free[:, 1].max() < 0
    assert torch.equal(clipped, free.clamp(0, 1))


@pytest.mark.parametrize("normalization", ["instance", "batch"])
@pytest.mark.parametrize("upsampling", ["nearest", "transposed"])
@pytest.mark.parametrize("padding", ["reflect", "reflect-start", "same"])
def test_the_gradient_reaches_all_parameters(normalization: str, upsampling: str, padding: str) -> None:
    config = TransformNetConfig(
        normalization=normalization, upsampling=upsampling, padding=padding, width=0.25, residual_blocks=2
    )
    network = TransformNet(config).train()
    network(torch.rand(2, 3, 20, 24)).square().mean().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        # A normalization takes the mean away, and with it what a bias in front of it did.
        if not name.endswith("convolution.bias") or name == "decoder.2.convolution.bias":
            assert parameter.grad.abs().max() > 0, name


def test_the_papers_form() -> None:
    assert (PAPER.residual_blocks, PAPER.channels, PAPER.border) == (5, (32, 64, 128), 40)
    with torch.device("meta"):
        network = TransformNet(PAPER)
    convolutions = [module for module in network.modules() if isinstance(module, nn.Conv2d | nn.ConvTranspose2d)]
    layers = [(*m.weight.shape, m.stride[0], isinstance(m, nn.ConvTranspose2d)) for m in convolutions]
    residual = (128, 128, 3, 3, 1, False)
    assert layers == [
        (32, 3, 9, 9, 1, False),
        (64, 32, 3, 3, 2, False),
        (128, 64, 3, 3, 2, False),
        *[residual] * 10,
        (128, 64, 3, 3, 2, True),
        (64, 32, 3, 3, 2, True),
        (3, 32, 9, 9, 1, False),
    ]


def test_the_papers_residual_blocks_are_not_padded() -> None:
    block = ResidualBlock(8, TransformNetConfig(width=TINY, padding="reflect-start", normalization="batch")).eval()
    x = torch.randn(1, 8, 10, 11)
    assert block(x).shape == (1, 8, 6, 7)
    # Without its convolutions a block is its shortcut, cropped by 2 on all sides, and no ReLU comes after.
    nn.init.zeros_(block.second.convolution.weight)
    nn.init.zeros_(block.second.convolution.bias)
    assert torch.equal(block(x), x[..., 2:-2, 2:-2])
    assert block(x).min() < 0


def test_a_flat_picture_stays_flat_without_transposed_convolutions() -> None:
    """Nearest-neighbor upsampling has no checkerboard, and reflection leaves no frame."""
    flat = torch.tensor([0.2, 0.6, 0.9]).view(1, 3, 1, 1).expand(1, 3, 24, 28)
    config = TransformNetConfig(width=0.25, residual_blocks=2, normalization="batch")
    result = TransformNet(config).eval()(flat)
    torch.testing.assert_close(result, result[..., :1, :1].expand_as(result), rtol=0, atol=1e-5)
    checkered = TransformNet(dataclasses.replace(config, upsampling="transposed")).eval()(flat)
    assert checkered[..., 8:16, 8:16].std(dim=(-2, -1)).max() > 1e-3


def test_the_tanh_bounds_the_values() -> None:
    config = TransformNetConfig(width=TINY, residual_blocks=1, output="tanh", tanh_scale=2.0)
    network = TransformNet(config).train()
    with torch.no_grad():
        network.decoder[2].convolution.bias.fill_(1000)
    values = config.output_values.apply(network(torch.rand(1, 3, 16, 16)))
    torch.testing.assert_close(values, torch.full_like(values, 2.0))


@pytest.mark.parametrize(
    "field",
    [
        {"residual_blocks": 0},
        {"residual_blocks": 10},
        {"width": 0.01},
        {"width": 5},
        {"normalization": "layer"},
        {"padding": "valid"},
        {"upsampling": "bilinear"},
        {"output": "sigmoid"},
    ],
)
def test_a_form_that_does_not_exist_is_refused(field: dict) -> None:
    with pytest.raises(StylecoreError, match=str(next(iter(field.values())))):
        TransformNetConfig(**field)


@pytest.mark.parametrize("upsampling", ["nearest", "transposed"])
def test_a_crop_of_two_values_or_more_changes_nothing_inside(upsampling: str) -> None:
    network = TransformNet(TransformNetConfig(width=TINY, normalization="batch", upsampling=upsampling)).eval()
    pixels = torch.rand(1, 3, 96, 80)
    with torch.no_grad():
        whole, cropped = network(pixels), network(pixels, crop=4)
    assert cropped.shape == (1, 3, 64, 48)
    torch.testing.assert_close(cropped[..., 8:-8, 8:-8], whole[..., 24:-24, 24:-24])
