"""ZeroGPU: the GPUs that Hugging Face lends a Space for the seconds of one call. Elsewhere nothing here is used.

On such a Space the page's own process has no GPU. What `spaces.GPU` decorates runs in another process, forked for the
call, and what it is given and returns is pickled: so these functions take and give networks and pictures on the CPU,
never an engine, a lock or a closure. Of an error only `gr.Error` comes through with its words.

`spaces` is installed on every Gradio Space, also where the hardware is a CPU; the variable says which it is.
"""

import dataclasses
import math
import os
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from stylecore.gatys.paint import GatysConfig, GatysStep
from stylecore.gatys.paint import paint as paint_here
from stylecore.inference.engine import Engine
from stylecore.johnson.style_model import StyleModel
from stylecore.vgg.network import VGG

VARIABLE = "SPACES_ZERO_GPU"
NAME = "ZeroGPU"

STYLIZE_SECONDS = 15
"""Asked of ZeroGPU for one photo; the process with the GPU has to start and to get the network in them too."""

SECONDS_TO_START = 15
LEAST_GATYS_SECONDS, GATYS_SECONDS = 20, 100
"""For one painting, at least and at most: visitors without an account have two minutes a day."""

SECONDS_PER_PIXEL = 5e-7
"""Of one step of Gatys' method, to ask for enough. Reckoned from VGG's multiplications, not measured: 1.6 million
floating point operations for a pixel forth and back, at 10 a nanosecond, three times over."""


def _decorator() -> Callable[..., Any] | None:
    if os.environ.get(VARIABLE, "").lower() not in ("1", "t", "true"):
        return None
    try:
        import spaces
    except ImportError:
        return None
    return spaces.GPU


_gpu = _decorator()

PRESENT = _gpu is not None

DEVICE = "cpu" if PRESENT else None
"""For engines outside the functions below: in the page's own process a GPU seems to be there and is not."""


def _borrowing(duration: int | Callable[..., int]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give a function the GPU for so many seconds, where there is ZeroGPU."""

    def decorate(task: Callable[..., Any]) -> Callable[..., Any]:
        if _gpu is None:
            return task
        from demo.errors import plainly  # here, because it imports gradio, and the catalogue does without

        return _gpu(duration=duration)(plainly(task))

    return decorate


@_borrowing(STYLIZE_SECONDS)
def stylize(model: StyleModel, pixels: Tensor, brush: float) -> tuple[Tensor, str]:
    """The stylized picture, as `Engine.stylize` gives it, and the name of the GPU."""
    engine = Engine(model)
    stylized = engine.stylize(pixels, brush=brush)
    return stylized, torch.cuda.get_device_name(engine.device) if engine.device.type == "cuda" else NAME


def painting_seconds(
    content: Tensor, style: Tensor, vgg: VGG, config: GatysConfig, start: Tensor | None = None
) -> int:
    """How long the GPU is asked for, to paint with `paint`."""
    expected = config.steps * content.shape[-2] * content.shape[-1] * SECONDS_PER_PIXEL
    wanted = min(max(expected, LEAST_GATYS_SECONDS), config.seconds or math.inf, GATYS_SECONDS)
    return SECONDS_TO_START + math.ceil(wanted)


@_borrowing(painting_seconds)
def paint(
    content: Tensor, style: Tensor, vgg: VGG, config: GatysConfig, start: Tensor | None = None
) -> Iterator[GatysStep]:
    """`stylecore.gatys.paint.paint`, whose steps hold finished pictures.

    It ends in time to be kept: ZeroGPU would end it without.
    """
    seconds = painting_seconds(content, style, vgg, config) - SECONDS_TO_START
    vgg = vgg.to("cuda" if torch.cuda.is_available() else "cpu")
    for step in paint_here(content, style, vgg, dataclasses.replace(config, seconds=float(seconds)), start=start):
        yield dataclasses.replace(step, _pixels=step.picture(), _finish=_finished)


def _finished(pixels: Tensor) -> Tensor:
    return pixels.clone()
