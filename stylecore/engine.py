"""Run a StyleModel on pictures: any size in, exactly that size out."""

import torch
from torch import Tensor
from torch.nn import functional

from stylecore.errors import StylecoreError
from stylecore.style_model import StyleModel

ALIGNMENT = 4
"""The network halves a picture twice and doubles it twice."""

REACH_OF_OTHER_LAYERS = 16
"""How far zeros beside the picture reach through all layers but the residual blocks: 8 pixels down to a quarter of
the size, 7 back up and through the last 9 x 9 convolution; rounded up to the alignment."""


class Engine:
    """A style ready to be applied.

    The picture is extended by reflection before the network and the result cropped afterwards, for two reasons:
    networks whose sides are not multiples of 4 return other sizes than they get, and the network's own padding
    leaves a visible frame, as wide as its residual blocks reach (8 pixels each). Where the network pads with zeros,
    the extension is so wide that no zero reaches the picture through any layer.

    Args:
        model: the style.
        device: "cpu", "cuda", ...; the fastest that is there when left out.

    Raises:
        StylecoreError: when there is no such device.
    """

    def __init__(self, model: StyleModel, device: str | None = None) -> None:
        self.device = choose_device(device)
        self.network = model.network.to(self.device)
        self.card = model.card
        self.config = model.card.network

    # Not inference_mode: its results could not take part in a later gradient.
    @torch.no_grad()
    def stylize(self, pixels: Tensor) -> Tensor:
        """Stylize one picture or a batch of equal size.

        Args:
            pixels: (3, H, W) or (N, 3, H, W), RGB in [0, 1], any H, W >= 1.

        Returns:
            The same shape, float32 in [0, 1], on the CPU.

        Raises:
            StylecoreError: when the shape is another one.
        """
        if pixels.ndim not in (3, 4) or pixels.shape[-3] != 3 or pixels.numel() == 0:
            raise StylecoreError(
                f"a picture is a tensor of shape (3, H, W) or (N, 3, H, W), not {tuple(pixels.shape)}."
            )
        batch = pixels if pixels.ndim == 4 else pixels.unsqueeze(0)
        height, width = batch.shape[-2:]
        border = self._border()
        top, bottom = border, border + -height % ALIGNMENT
        left, right = border, border + -width % ALIGNMENT
        extended = extend(batch.to(self.device, torch.float32), left, right, top, bottom)
        if self.config.padding == "reflect-start":
            # The network reflects by itself what it then crops; it only needs enough to reflect.
            extended = _at_least(extended, self.config.border + 1)
        stylized = self.network(extended)[..., top : top + height, left : left + width]
        stylized = stylized.to("cpu", torch.float32).contiguous()
        return stylized if pixels.ndim == 4 else stylized.squeeze(0)

    def _border(self) -> int:
        if self.config.padding == "reflect":
            return self.config.border
        if self.config.padding == "reflect-start":  # what the residual blocks need the network adds by itself
            return REACH_OF_OTHER_LAYERS
        return self.config.border + REACH_OF_OTHER_LAYERS


def choose_device(name: str | None) -> torch.device:
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise StylecoreError(f"there is no device {name!r} here; choose 'cpu' or leave the choice out.") from error
    return device


def extend(pixels: Tensor, left: int, right: int, top: int, bottom: int) -> Tensor:
    """Extend (N, 3, H, W) by reflection as far as the picture reaches, then by repeating its edge."""
    height, width = pixels.shape[-2:]
    reflected = (
        min(left, width - 1),
        min(right, width - 1),
        min(top, height - 1),
        min(bottom, height - 1),
    )
    wanted = (left, right, top, bottom)
    pixels = functional.pad(pixels, reflected, mode="reflect") if any(reflected) else pixels
    missing = [want - got for want, got in zip(wanted, reflected, strict=True)]
    return functional.pad(pixels, missing, mode="replicate") if any(missing) else pixels


def _at_least(pixels: Tensor, side: int) -> Tensor:
    """Extend to the right and below until both sides have so many pixels, kept a multiple of the alignment."""
    height, width = pixels.shape[-2:]
    right, bottom = max(0, side - width), max(0, side - height)
    right, bottom = right + -(width + right) % ALIGNMENT, bottom + -(height + bottom) % ALIGNMENT
    return extend(pixels, 0, right, 0, bottom) if right or bottom else pixels
