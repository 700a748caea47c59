"""The written-out derivative against torch's own."""

import pytest
import torch
from torch import nn

from stylecore.johnson.instance_norm import InstanceNorm


def both(dtype: torch.dtype) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """[y, dx, dweight, dbias] of torch and of ours, for the same values."""
    generator = torch.Generator().manual_seed(0)
    values = (torch.randn(2, 6, 5, 7, generator=generator) * 3 + 1).to(dtype)
    direction = torch.randn(2, 6, 5, 7, generator=generator).to(dtype)
    weight, bias = torch.randn(2, 6, generator=generator)
    results = []
    for layer, memory_format in (
        (nn.InstanceNorm2d(6, affine=True), torch.contiguous_format),
        (InstanceNorm(6, affine=True), torch.channels_last),
    ):
        layer.load_state_dict({"weight": weight, "bias": bias})
        x = values.clone(memory_format=memory_format).requires_grad_()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
            y = layer(x)
        (y * direction).sum().backward()
        results.append([y, x.grad, layer.weight.grad, layer.bias.grad])
    assert results[1][0].is_contiguous(memory_format=torch.channels_last)
    return results[0], results[1]


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 2e-5), (torch.bfloat16, 2e-2)])
def test_result_and_gradients_are_those_of_torch(dtype: torch.dtype, tolerance: float) -> None:
    for expected, ours in zip(*both(dtype), strict=True):
        assert ours.dtype == expected.dtype
        distance = (ours.double() - expected.double()).norm() / expected.double().norm()
        assert distance < tolerance


def test_without_gradients_it_is_torchs_own() -> None:
    x = torch.randn(1, 4, 6, 6).contiguous(memory_format=torch.channels_last)
    layer = InstanceNorm(4, affine=True)
    with torch.no_grad():
        assert torch.equal(layer(x), nn.functional.instance_norm(x, weight=layer.weight, bias=layer.bias))
