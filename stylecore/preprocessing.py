"""The conversion of a picture to the values that a network's weights expect, and its inverse."""

from dataclasses import dataclass
from typing import Literal

from torch import Tensor


@dataclass(frozen=True)
class Preprocessing:
    """An affine map from RGB pixels in [0, 1] to the values that a set of weights was trained on.

    values = (pixels[channel_order] * scale - mean) / std, with mean and std in that channel order.
    """

    channel_order: Literal["RGB", "BGR"]
    scale: float
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def apply(self, pixels: Tensor) -> Tensor:
        """RGB pixels (N, 3, H, W) in [0, 1] to the weights' values, same shape."""
        if self.channel_order == "BGR":
            pixels = pixels.flip(1)
        mean = pixels.new_tensor(self.mean).view(3, 1, 1)
        std = pixels.new_tensor(self.std).view(3, 1, 1)
        return (pixels * self.scale - mean) / std

    def undo(self, values: Tensor) -> Tensor:
        """The inverse of `apply`: the weights' values (N, 3, H, W) to RGB pixels, not clipped to [0, 1]."""
        mean = values.new_tensor(self.mean).view(3, 1, 1)
        std = values.new_tensor(self.std).view(3, 1, 1)
        pixels = (values * std + mean) / self.scale
        return pixels.flip(1) if self.channel_order == "BGR" else pixels


IMAGENET = Preprocessing("RGB", 1.0, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""torchvision's weights."""

CAFFE = Preprocessing("BGR", 255.0, (103.939, 116.779, 123.68), (1.0, 1.0, 1.0))
"""Oxford's original weights: 0 to 255, blue first, the mean of ImageNet subtracted."""
