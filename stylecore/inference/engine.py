"""Run a StyleModel on pictures of any size; the result has the same size."""

import copy
import dataclasses
import logging
import platform
from collections.abc import Callable
from functools import partial
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from stylecore.errors import StylecoreError
from stylecore.inference import openvino as openvino_runtime
from stylecore.inference.brush import lay_detail, painted_size
from stylecore.inference.painting import BRUSH, DETAIL, Painting
from stylecore.inference.tiling import hold_statistics, stylize_by_tiles
from stylecore.johnson.style_model import StyleModel
from stylecore.johnson.transform_net import TransformNet, TransformNetConfig, add_noise
from stylecore.pictures.read import resize

Runtime = Literal["torch", "openvino", "openvino-int8"]
"""The library that computes the network: PyTorch, the reference; OpenVINO in float32, the same except for rounding (60
dB and more); or OpenVINO in 8 bits, for quantized networks (32 dB and more)."""
RUNTIMES: tuple[str, ...] = ("auto", *get_args(Runtime))

ALIGNMENT = 4
"""The network halves a picture twice and doubles it twice."""

RECEPTIVE_RADIUS_OF_OTHER_LAYERS = 16
"""Radius in pixels of the receptive field of all layers except the residual blocks: 8 down to a quarter of the size, 7
back up and through the last 9 x 9 convolution; rounded up to the alignment."""

BORDER_OF_REFLECTION = 16
"""Pixels of reflected border for networks with reflection padding in every layer: enough to hide the frame. A larger
border changes instance normalization: for squares of 256 pixels, 40 increase the total loss of Johnson et al. by 6
%."""

BORDER_OF_LARGE_STROKES = 28
"""The border for networks with input noise: their strokes are larger, and with 20 pixels or less a row of them follows
the edges. With 28 the pictures look as with 40."""

BORDER_OF_UPSAMPLING = 8
"""What is left of that border behind the residual blocks; the layers behind them look 7 pixels far."""

LARGEST_WHOLE = 4_000_000
"""Pixels of the largest picture that the network gets as a whole; PyTorch needs 3 GB for it."""

SMALLEST_SIDE_IN_TILES = 64
"""The network gets narrower pictures as a whole, whatever their length."""

TILE_SIDE = 1024
"""Side of the tiles of larger pictures, without their context."""

X86 = ("x86_64", "AMD64", "i386")
"""Processors on which 8 bits are known to be faster."""

_log = logging.getLogger(__name__)


class Engine:
    """A style ready to be applied.

    The picture is extended by reflection before the network, and the result is cropped, for two reasons: the network
    changes sizes that are not multiples of 4, and its own padding leaves a visible frame. For networks with reflection
    padding a small border is enough, and most of it ends in front of the upsampling, whose layers take a third of the
    time. For networks with zero padding the border is larger than the radius of the receptive field.

    Pictures of more than `LARGEST_WHOLE` pixels are stylized in tiles that share their statistics (tiling.py): there
    are no seams, and memory grows only with the picture and its result. The statistics are estimated from samples, so
    the result differs slightly from that of the whole picture.

    Args:
        model: the style.
        device: "cpu", "cuda", ...; by default the fastest one.
        runtime: one of `RUNTIMES`; "auto" is the fastest one. OpenVINO computes only on the CPU, with the present
            weights and PyTorch's present number of threads.
        streams: pictures that OpenVINO computes at the same time when threads ask for them, for films.

    Attributes:
        model: the style with its network on the device: the caller's network, or a copy of it from another device.
        runtime: the chosen one.
        streams: 1 for PyTorch.

    Raises:
        StylecoreError: when there is no such device, or the runtime cannot run this network on it.
    """

    def __init__(
        self, model: StyleModel, device: str | None = None, runtime: str = "auto", *, streams: int = 1
    ) -> None:
        self.device = choose_device(device)
        self.network = network_on(self.device, model.network)
        self.model = StyleModel(self.network, model.card, model.quantization)
        self.card = model.card
        self.config = model.card.network
        self.runtime, self._stylize = choose_runtime(self.model, self.device, runtime, streams)
        self.streams = 1 if self.runtime == "torch" else streams

    @torch.no_grad()
    def stylize(
        self,
        pixels: Tensor,
        progress: Callable[[float], None] | None = None,
        *,
        brush: float = BRUSH,
        detail: float = DETAIL,
    ) -> Tensor:
        """Stylize one picture or a batch of equal size, with strokes of any size.

        Pictures larger than the card's `painted_side` are painted at that size and enlarged (brush.py), so that
        strokes cover the same share of a picture at every size.

        Args:
            pixels: (3, H, W) or (N, 3, H, W), RGB in [0, 1], any H, W >= 1.
            progress: for pictures in tiles, called with the finished share of the picture, 0 to 1.
            brush: size of the strokes; 1 as in the painting, 2 twice as large.
            detail: share of the photo's fine detail that is added to an enlarged picture, 0 to 1.

        Returns:
            The same shape, float32 in [0, 1], on the CPU.

        Raises:
            StylecoreError: when the shape is different, or brush or detail is out of its range.
        """
        photo = _as_batch(pixels)
        Painting(brush=brush, detail=detail)  # or an error
        size = painted_size(photo.shape[-2], photo.shape[-1], self.card.painted_side, brush)
        if size == tuple(photo.shape[-2:]):
            return self.paint(pixels, progress)
        reduced = resize(photo, size)
        return lay_detail(self.paint(reduced, progress), reduced.cpu(), photo.cpu(), detail).reshape(pixels.shape)

    # Not inference_mode: its results could not take part in a later gradient.
    @torch.no_grad()
    def paint(
        self, pixels: Tensor, progress: Callable[[float], None] | None = None, *, noise: Tensor | None = None
    ) -> Tensor:
        """Stylize a picture at exactly this size; arguments, result and errors are those of `stylize`.

        Args:
            noise: (1, 1, H, W), for networks with input noise, instead of that of all pictures (`unit_noise`).
        """
        batch = add_noise(_as_batch(pixels), self.config.input_noise, noise=noise)
        height, width = batch.shape[-2:]
        if height * width > LARGEST_WHOLE and min(height, width) >= SMALLEST_SIDE_IN_TILES:
            if pixels.ndim == 3:
                return self._paint_by_tiles(batch[0], progress)
            return torch.stack([self._paint_by_tiles(picture, progress) for picture in batch])
        extended, begin = frame(batch.to(self.device), self.config)
        stylized = self._stylize(extended, slice(begin, begin + height), slice(begin, begin + width))
        return stylized.reshape(pixels.shape)

    def _paint_by_tiles(self, pixels: Tensor, progress: Callable[[float], None] | None) -> Tensor:
        held = hold_statistics(self.network, pixels)
        card = dataclasses.replace(self.card, network=held.config)
        of_tiles = Engine(StyleModel(held, card, self.model.quantization), str(self.device), self.runtime)
        paint = partial(of_tiles.paint, noise=torch.zeros(1, 1, 1, 1))  # the picture has its noise already
        radius = self.config.border + RECEPTIVE_RADIUS_OF_OTHER_LAYERS
        try:
            return stylize_by_tiles(paint, pixels, receptive_radius=radius, side=TILE_SIDE, progress=progress)
        finally:
            of_tiles.release_memory()

    def release_memory(self) -> None:
        """Free memory that is reserved for the next picture."""
        if isinstance(self._stylize, openvino_runtime.OpenVinoNetwork):
            self._stylize.release_memory()


def _as_batch(pixels: Tensor) -> Tensor:
    """(3, H, W) or (N, 3, H, W) as (N, 3, H, W) float32."""
    if pixels.ndim not in (3, 4) or pixels.shape[-3] != 3 or pixels.numel() == 0:
        raise StylecoreError(f"a picture is a tensor of shape (3, H, W) or (N, 3, H, W), not {tuple(pixels.shape)}.")
    return (pixels if pixels.ndim == 4 else pixels[None]).to(torch.float32)


def choose_runtime(
    model: StyleModel, device: torch.device, wanted: str, streams: int = 1
) -> tuple[Runtime, Callable[[Tensor, slice, slice], Tensor]]:
    """The runtime's name, and the network in it with its crop (`crop_of`): the pixels (N, 3, H, W), H and W multiples
    of 4, and the rows and columns of its result that are wanted, on the CPU.

    Raises:
        StylecoreError: when there is no such runtime, or it cannot run the network; "auto" finds one that can.
    """
    if wanted not in RUNTIMES:
        raise StylecoreError(f"there is no runtime {wanted!r}; choose one of {', '.join(RUNTIMES)}.")
    crop = crop_of(model.card.network)
    in_torch = partial(_in_torch, model.network, crop)
    if wanted == "torch" or (wanted == "auto" and device.type != "cpu"):
        return "torch", in_torch
    if device.type != "cpu":
        raise StylecoreError(f"the runtime {wanted} computes only on the CPU, not on {device}; choose torch or auto.")
    quantization = model.quantization if wanted != "openvino" else None
    if wanted == "openvino-int8" and quantization is None:
        raise StylecoreError(
            f"the style {model.card.name} has no quantized network; `python -m training.quantize` makes one, "
            "or choose another runtime."
        )
    if wanted == "auto" and platform.machine() not in X86:
        quantization = None
    try:
        ranges = None if quantization is None else quantization.ranges
        network = openvino_runtime.OpenVinoNetwork(model.network, ranges, crop=crop, streams=streams)
        return "openvino" if ranges is None else "openvino-int8", network
    except StylecoreError as error:
        if wanted != "auto":
            raise
        _log.warning("%s is run by PyTorch: %s", model.card.name, error)
        return "torch", in_torch


def _in_torch(network: TransformNet, crop: int, pixels: Tensor, rows: slice, columns: slice) -> Tensor:
    wanted = network(pixels, crop)[..., rows, columns].detach().to("cpu", torch.float32)
    return torch.from_numpy(np.ascontiguousarray(wanted.numpy()))  # on its own, copied by one thread as in `_reflect`


def network_on(device: torch.device, network: TransformNet) -> TransformNet:
    """The network itself if it is on the device, else a copy on the device."""
    here = torch.empty(0, device=device).device  # "cuda" is "cuda:0"
    if all(tensor.device == here for tensor in network.state_dict().values()):
        return network
    return copy.deepcopy(network).to(device)


def frame(pixels: Tensor, config: TransformNetConfig) -> tuple[Tensor, int]:
    """Extend (N, 3, H, W) by the network's border.

    Returns:
        The network's input, and the row and column at which the picture begins in its output with `crop_of`.
    """
    border = border_of(config)
    # With the paper's padding the network reflects by itself, and needs more pixels than it reflects.
    least = config.border + 1 if config.padding == "reflect-start" else 0
    right, bottom = (_after(side, border, least) for side in (pixels.shape[-1], pixels.shape[-2]))
    extended = extend(pixels, border, right, border, bottom)
    return extended, border - ALIGNMENT * crop_of(config)


def _after(side: int, border: int, least: int) -> int:
    """The border behind a side: with both borders it has at least `least` pixels, a multiple of the alignment."""
    whole = max(border + side + border, least)
    return whole + -whole % ALIGNMENT - side - border


def border_of(config: TransformNetConfig) -> int:
    """Pixels of border on each side with which a network is run."""
    if config.padding == "reflect":
        return BORDER_OF_LARGE_STROKES if config.input_noise else BORDER_OF_REFLECTION
    if config.padding == "reflect-start":  # the network itself adds the border of the residual blocks
        return RECEPTIVE_RADIUS_OF_OTHER_LAYERS
    return config.border + RECEPTIVE_RADIUS_OF_OTHER_LAYERS


def crop_of(config: TransformNetConfig) -> int:
    """The crop of `TransformNet.forward` with which a network is run."""
    return (border_of(config) - BORDER_OF_UPSAMPLING) // ALIGNMENT if config.padding == "reflect" else 0


def choose_device(name: str | None) -> torch.device:
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, ImportError) as error:
        raise StylecoreError(f"there is no device {name!r} here; choose 'cpu' or leave the choice out.") from error
    return device


def extend(pixels: Tensor, left: int, right: int, top: int, bottom: int) -> Tensor:
    """Extend (N, 3, H, W) by reflection up to the picture's size, and then by repeating its edge."""
    height, width = pixels.shape[-2:]
    reflected = (min(left, width - 1), min(right, width - 1), min(top, height - 1), min(bottom, height - 1))
    wanted = (left, right, top, bottom)
    pixels = _reflect(pixels, *reflected) if any(reflected) else pixels
    missing = [want - got for want, got in zip(wanted, reflected, strict=True)]
    return functional.pad(pixels, missing, mode="replicate") if any(missing) else pixels


def _reflect(pixels: Tensor, left: int, right: int, top: int, bottom: int) -> Tensor:
    """`functional.pad` by reflection; on the CPU by NumPy, with one thread.

    PyTorch uses all its threads for such a copy. If the system runs them on one core, the first one waits for the
    others: 8 ms, measured, for half a millisecond of work. OpenVINO has its own threads.
    """
    if pixels.device.type != "cpu":
        return functional.pad(pixels, (left, right, top, bottom), mode="reflect")
    widths = ((0, 0), (0, 0), (top, bottom), (left, right))
    return torch.from_numpy(np.pad(pixels.detach().numpy(), widths, mode="reflect"))
