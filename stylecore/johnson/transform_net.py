"""The image transformation network of Johnson et al. (2016).

One class has two well-known forms:

- `PAPER`: the supplement of the paper. 40 pixels of reflection padding at the start, residual blocks
  without padding (He et al.'s as changed by Gross and Wilber: no ReLU after the addition), convolutions of
  stride 1/2 (transposed), batch normalization, and a scaled tanh at the end.
- `TransformNetConfig()`: the form of most public implementations. Reflection padding in every convolution,
  instance normalization (Ulyanov et al. 2016), nearest-neighbor upsampling followed by a convolution
  (Odena et al. 2016: no checkerboard), and a linear output in the ImageNet-normalized space.
"""

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from stylecore.flags import check_limits, setting
from stylecore.johnson.instance_norm import InstanceNorm
from stylecore.preprocessing import CAFFE, IMAGENET, Preprocessing

BORDER_PER_RESIDUAL_BLOCK = 8
"""Two unpadded 3 x 3 convolutions at a quarter of the size take 2 positions, 8 pixels, off every side."""

NormalizationLayer = Literal["instance", "batch"]
Padding = Literal["reflect", "reflect-start", "same"]
Upsampling = Literal["nearest", "transposed"]
Output = Literal["linear", "tanh"]

NOISE_SIZES = (1, 4, 16)
"""Widths in pixels of the components of input noise."""


@dataclass(frozen=True)
class TransformNetConfig:
    """The form of a transformation network.

    Attributes:
        residual_blocks: 1 to 9; 5 in the paper.
        width: multiplies the channels 32, 64, 128 of the paper.
        normalization: "instance", or "batch" as in the paper.
        padding: "reflect" in every convolution; "reflect-start", the paper's 40 pixels (8 a residual block) once,
            unpadded residual blocks and zeros elsewhere; "same", TensorFlow's zeros, for imported networks.
        upsampling: "nearest" followed by a 3 x 3 convolution, or "transposed", the paper's stride 1/2.
        output: "linear", or "tanh" times `tanh_scale`.
        tanh_scale: in units of the output's values; 150 in the authors' code.
        bias: whether convolutions have one.
        normalization_epsilon: added to the variance.
        normalize_output: normalize after the last convolution too (Engstrom's networks).
        normalize_before_upsampling: normalization and ReLU in front of either upsampling layer too (networks with
            nearest-neighbor upsampling that the authors' code trained).
        input_values, output_values: the values of the first layer's input and of the last layer's output.
        input_noise: standard deviation of the noise that is added to photos (`add_noise`). In flat areas a network
            without noise can only paint a pattern that repeats every 4 pixels, because it halves and doubles twice
            and has equal inputs everywhere. With noise, strokes follow the noise.
    """

    residual_blocks: int = setting(5, "blocks of two convolutions", least=1, most=9)
    width: float = setting(1.0, "of all layers, beside the paper", least=0.0625, most=4)
    normalization: NormalizationLayer = "instance"
    padding: Padding = "reflect"
    upsampling: Upsampling = "nearest"
    output: Output = "linear"
    tanh_scale: float = 150.0
    bias: bool = True
    normalization_epsilon: float = 1e-5
    normalize_output: bool = False
    normalize_before_upsampling: bool = False
    input_values: Preprocessing = IMAGENET
    output_values: Preprocessing = IMAGENET
    input_noise: float = setting(0.0, "deviation of the noise in photos", least=0, most=1)

    def __post_init__(self) -> None:
        check_limits(self)

    @property
    def channels(self) -> tuple[int, int, int]:
        """Channels at full, half and quarter size."""
        return (round(32 * self.width), round(64 * self.width), round(128 * self.width))

    def same_form(self, other: "TransformNetConfig") -> bool:
        """Whether the weights of one network fit the other: all but the noise is the same."""
        return replace(self, input_noise=other.input_noise) == other

    @property
    def border(self) -> int:
        """Width in pixels of the border that depends on the padding of the residual blocks: 8 for each block."""
        return BORDER_PER_RESIDUAL_BLOCK * self.residual_blocks


PAPER = TransformNetConfig(
    normalization="batch",
    padding="reflect-start",
    upsampling="transposed",
    output="tanh",
    input_values=CAFFE,
    output_values=CAFFE,
)
"""Johnson et al. (2016), supplementary material; the range of the tanh from the authors' code."""


class TransformNet(nn.Module):
    """f_W of Johnson et al. (2016), section 3.1: a picture in, the stylized picture out.

    Sides that are multiples of 4 do not change; others become the next multiple of 4 (`engine.Engine` pads and crops).
    Sides below 8 pixels cannot be padded by reflection.
    """

    def __init__(self, config: TransformNetConfig) -> None:
        super().__init__()
        self.config = config
        full, half, quarter = config.channels
        self.encoder = nn.Sequential(
            ConvolutionLayer(3, full, 9, config),
            ConvolutionLayer(full, half, 3, config, stride=2),
            ConvolutionLayer(half, quarter, 3, config, stride=2),
        )
        self.residual_blocks = nn.Sequential(*(ResidualBlock(quarter, config) for _ in range(config.residual_blocks)))
        self.decoder = nn.Sequential(
            UpsamplingLayer(quarter, half, config),
            UpsamplingLayer(half, full, config),
            ConvolutionLayer(full, 3, 9, config, normalize=config.normalize_output, relu=False),
        )

    def forward(self, pixels: Tensor, crop: int = 0) -> Tensor:
        """Stylize.

        In training mode the result is not clipped to [0, 1]: the gradient of a clipped pixel would be zero.

        Args:
            pixels: (N, 3, H, W), RGB in [0, 1].
            crop: so many values, of 4 x 4 pixels each, are cut off on every side before the upsampling.

        Returns:
            (N, 3, H', W') with H' and W' the next multiples of 4, less 8 crop, RGB, within [0, 1] in evaluation mode.
        """
        values = self.config.input_values.apply(pixels)
        if self.config.padding == "reflect-start":
            values = functional.pad(values, [self.config.border] * 4, mode="reflect")
        values = cropped(self.residual_blocks(self.encoder(values)), crop)
        values = self.decoder(values)
        if self.config.output == "tanh":
            values = values.tanh() * self.config.tanh_scale
        stylized = self.config.output_values.undo(values)
        return stylized if self.training else stylized.clamp(0, 1)


def add_noise(pixels: Tensor, strength: float, seed: int = 0, noise: Tensor | None = None) -> Tensor:
    """(N, 3, H, W) plus gray noise of the standard deviation `strength`, the same for all pictures and in every call.

    Args:
        noise: (1, 1, H, W) as `unit_noise` makes it, to use instead of that of the seed.

    Returns:
        The sum, which may leave [0, 1].
    """
    if not strength:
        return pixels
    if noise is None:
        noise = unit_noise(pixels.shape[-2], pixels.shape[-1], seed)
    return pixels + (noise * strength).to(pixels)


def unit_noise(height: int, width: int, seed: int = 0) -> Tensor:
    """(1, 1, H, W), the noise of standard deviation 1 that `add_noise` scales.

    It is the sum of normal noise at three scales, of about 1, 4 and 16 pixels, for strokes of all lengths.
    """
    generator = torch.Generator().manual_seed(seed)
    noise = torch.zeros(1, 1, height, width)
    for size in NOISE_SIZES:
        octave = torch.randn(1, 1, -(-height // size) + 1, -(-width // size) + 1, generator=generator)
        if size > 1:
            octave = functional.interpolate(octave, scale_factor=size, mode="bicubic", align_corners=False)
        noise += octave[..., :height, :width]
    return noise / len(NOISE_SIZES) ** 0.5


class ConvolutionLayer(nn.Module):
    """Convolution, normalization, ReLU."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        config: TransformNetConfig,
        *,
        stride: int = 1,
        padded: bool = True,
        normalize: bool = True,
        relu: bool = True,
    ) -> None:
        super().__init__()
        self.same = padded and config.padding == "same"
        self.convolution = nn.Conv2d(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding=kernel_size // 2 if padded and not self.same else 0,
            padding_mode="reflect" if config.padding == "reflect" else "zeros",
            bias=config.bias,
        )
        self.normalization = _normalization(out_channels, config) if normalize else nn.Identity()
        self.relu = nn.ReLU() if relu else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        if self.same:
            x = _pad_same(x, self.convolution.kernel_size[0], self.convolution.stride[0])
        return self.relu(self.normalization(self.convolution(x)))


class UpsamplingLayer(nn.Module):
    """Twice the size: nearest neighbor and convolution, or a transposed convolution; normalization, ReLU."""

    def __init__(self, in_channels: int, out_channels: int, config: TransformNetConfig) -> None:
        super().__init__()
        self.before = (
            nn.Sequential(_normalization(in_channels, config), nn.ReLU())
            if config.normalize_before_upsampling
            else nn.Identity()
        )
        if config.upsampling == "nearest":
            self.layer: nn.Module = nn.Sequential(
                nn.Upsample(scale_factor=2, mode="nearest"),
                ConvolutionLayer(in_channels, out_channels, 3, config),
            )
        else:
            self.layer = TransposedConvolutionLayer(in_channels, out_channels, config)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(self.before(x))


class TransposedConvolutionLayer(nn.Module):
    """Transposed 3 x 3 convolution of stride 2 (the paper's stride 1/2), normalization, ReLU."""

    def __init__(self, in_channels: int, out_channels: int, config: TransformNetConfig) -> None:
        super().__init__()
        # TensorFlow's SAME keeps the first 2 H rows of 2 H + 1; torch's usual choice drops the first one.
        self.same = config.padding == "same"
        padding = 0 if self.same else 1
        self.convolution = nn.ConvTranspose2d(
            in_channels, out_channels, 3, 2, padding=padding, output_padding=padding, bias=config.bias
        )
        self.normalization = _normalization(out_channels, config)
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        height, width = 2 * x.shape[-2], 2 * x.shape[-1]
        return self.relu(self.normalization(self.convolution(x)[..., :height, :width]))


class ResidualBlock(nn.Module):
    """Two 3 x 3 convolutions beside a shortcut, and no ReLU after the addition (Gross and Wilber 2016)."""

    def __init__(self, channels: int, config: TransformNetConfig) -> None:
        super().__init__()
        padded = config.padding != "reflect-start"
        self.crop = 0 if padded else 2
        self.first = ConvolutionLayer(channels, channels, 3, config, padded=padded)
        self.second = ConvolutionLayer(channels, channels, 3, config, padded=padded, relu=False)

    def forward(self, x: Tensor) -> Tensor:
        return cropped(x, self.crop) + self.second(self.first(x))


def cropped(values: Tensor, width: int) -> Tensor:
    """(..., H, W) without `width` values on each side."""
    return values[..., width:-width, width:-width] if width else values


def _normalization(channels: int, config: TransformNetConfig) -> nn.Module:
    if config.normalization == "batch":
        return nn.BatchNorm2d(channels, eps=config.normalization_epsilon)
    return InstanceNorm(channels, eps=config.normalization_epsilon, affine=True)


def _pad_same(x: Tensor, kernel_size: int, stride: int) -> Tensor:
    """TensorFlow's SAME padding: an odd number of zeros has one more at the right and the bottom."""

    def before_and_after(size: int) -> tuple[int, int]:
        total = max((-(-size // stride) - 1) * stride + kernel_size - size, 0)
        return total // 2, total - total // 2

    return functional.pad(x, (*before_and_after(x.shape[-1]), *before_and_after(x.shape[-2])))
