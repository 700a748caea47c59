"""The optimizer of Gatys et al. (2016): L-BFGS or Adam, with pixels in [0, 1]."""

import math

import torch
from torch import Tensor

from stylecore.gatys.config import GatysConfig
from stylecore.gatys.objective import Objective

FIRST_MOVE = 2 / 255
"""Mean change of a pixel in the first step of L-BFGS. In torch's first step the changes of all pixels sum to 1: too
little for float32 gradients to show the curvature. Without a line search the second step then goes far out of the
range, and the run does not recover."""
LARGEST_MOVE = 5 / 255
"""The largest mean change of a pixel in any step. With these two limits every start converges with one evaluation for
each step; a line search needs more evaluations and gains nothing."""


class Descent:
    """The pixels of a run at one size.

    Attributes:
        pixels: (1, 3, H, W) in [0, 1]; a new tensor after every step, so older ones do not change.
        losses: of exactly these pixels, see `Objective.evaluate`.
    """

    # Tensors made under a caller's inference_mode could not take part in a gradient.
    @torch.inference_mode(False)
    def __init__(self, pixels: Tensor, objective: Objective, config: GatysConfig) -> None:
        self.objective = objective
        self.pixels = pixels
        self.losses, gradient = objective.evaluate(pixels)
        # L-BFGS and Adam have absolute thresholds (1e-10, 1e-8). Losses that start at 1 are far from them for all
        # weights, so only the ratio of the weights matters.
        self._unit = self.losses["total"] or 1.0
        self._parameter = torch.nn.Parameter(pixels.clone(memory_format=torch.contiguous_format))
        self._parameter.grad = gradient / self._unit
        self._optimizer: torch.optim.LBFGS | torch.optim.Adam
        if config.optimizer == "lbfgs":
            # One iteration for each step, without tolerances: the caller has the budgets.
            self._optimizer = torch.optim.LBFGS(
                [self._parameter],
                lr=_first_rate(self._parameter.grad),
                max_iter=1,
                history_size=config.history,
                tolerance_grad=-1,
                tolerance_change=-1,
            )
        else:
            self._optimizer = torch.optim.Adam([self._parameter], lr=config.learning_rate)

    def is_finite(self) -> bool:
        """Whether the loss of the pixels, and the pixels, are finite numbers."""
        return math.isfinite(self.losses["total"]) and bool(self.pixels.isfinite().all())

    @torch.inference_mode(False)
    @torch.no_grad()
    def step(self) -> None:
        """Move, clip and evaluate the pixels: one pass through VGG and back."""
        parameter = self._parameter
        if isinstance(self._optimizer, torch.optim.LBFGS):
            self._optimizer.step(lambda: self.losses["total"] / self._unit)
            self._optimizer.param_groups[0]["lr"] = 1.0
            moved = parameter - self.pixels
            shrink = min(1.0, LARGEST_MOVE / max(moved.abs().mean().item(), 1e-12))
            parameter.copy_((self.pixels + moved * shrink).clamp_(0, 1))
            # Curvature is measured along the actual change, which torch computes as t * d.
            state = self._optimizer.state[parameter]
            state["d"] = (parameter - self.pixels).flatten() / state["t"]
        else:
            self._optimizer.step()
            parameter.clamp_(0, 1)
        self.pixels = parameter.clone()
        self.losses, gradient = self.objective.evaluate(self.pixels)
        parameter.grad = gradient / self._unit


def _first_rate(gradient: Tensor) -> float:
    """The rate at which torch's first step of L-BFGS, rate * min(1, 1 / |g|_1) * g, moves each pixel by FIRST_MOVE."""
    total = gradient.abs().sum().item()
    # With this order of arguments a NaN counts as 1: the caller checks is_finite and has a better message than torch.
    return FIRST_MOVE * gradient.numel() / max(1e-12, min(1.0, total))
