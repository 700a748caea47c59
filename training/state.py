"""A run's state on disk: everything that a resumed training needs.

A state is one .safetensors file, which is written under a temporary name and renamed: a file with the final name is
complete. There is no random state to store: the next photos and crops depend only on the seed and the iteration (see
photos.py), and the network draws no random numbers.
"""

import contextlib
import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from stylecore.errors import StylecoreError
from stylecore.files import replaced_whole
from training.config import TrainConfig

KEPT_STATES = 2
ENOUGH = "enough"
"""The file that ends a run with --minutes before their end."""
ENOUGH_SHARE = 0.9
"""Such a run has this share of its time behind it."""
LEAST_REST = 5.0
"""Seconds that it still has at least."""
_PROGRESS_KEY = "stylecore.progress"


@dataclass(frozen=True)
class Progress:
    """iteration: optimizer steps; run_id: of the tracker; global_batch_size: the order of photos depends on it;
    seconds: of training, over all resumes."""

    iteration: int
    run_id: str
    global_batch_size: int
    seconds: float = 0.0


class Clock:
    """The time of a run over its resumes, and how much of the run is over.

    A run with --minutes ends earlier if its folder gets an empty file `enough`: the rest of its schedule then passes
    in a ninth of the time spent so far, because a network at a high learning rate is not at its best.
    """

    def __init__(self, config: TrainConfig, seconds: float) -> None:
        self._config = config
        self._began = time.monotonic() - seconds
        self._end = config.minutes * 60
        self._is_enough = False

    @property
    def seconds(self) -> float:
        """Spent so far."""
        return time.monotonic() - self._began

    def share(self, iteration: int) -> float:
        """The share of the run that is over after this iteration; 1 and more at its end."""
        of_iterations = iteration / self._config.iterations
        if not self._end:
            return of_iterations
        if not self._is_enough and (self._config.folder / ENOUGH).exists():
            self._is_enough = True
            self._end = min(self._end, max(self.seconds / ENOUGH_SHARE, self.seconds + LEAST_REST))
        return max(of_iterations, self.seconds / self._end)

    def seconds_left(self, iteration: int, seconds_each: float) -> float:
        """An estimate, for iterations that take `seconds_each`."""
        of_iterations = (self._config.iterations - iteration) * seconds_each
        return max(0.0, min(of_iterations, self._end - self.seconds)) if self._end else of_iterations


@dataclass(frozen=True)
class State:
    """A state that was read: its file, the progress of the run, and the tensors of network and optimizer."""

    path: Path
    progress: Progress
    tensors: dict[str, Tensor]


def new_optimizer(network: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """Adam, with biases, scales and shifts in a group of their own if their rate differs.

    Those have one dimension. They change colors and contrasts at once, where the kernels need many small steps.
    """
    weights = list(network.parameters())
    if config.bias_rate == 1:
        return torch.optim.Adam(weights, lr=config.learning_rate)
    kernels: dict[str, Any] = {"params": [each for each in weights if each.dim() > 1]}
    biases: dict[str, Any] = {"params": [each for each in weights if each.dim() == 1], "times": config.bias_rate}
    return torch.optim.Adam([kernels, biases], lr=config.learning_rate)


def set_learning_rate(optimizer: torch.optim.Optimizer, learning_rate: float) -> None:
    """Set it in every group, times what the group has for it (`new_optimizer`)."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate * group.get("times", 1)


def save_state(folder: Path, network: nn.Module, optimizer: torch.optim.Optimizer, progress: Progress) -> None:
    """Write state-<iteration>.safetensors into the folder and delete all but the newest two.

    Raises:
        StylecoreError: when it cannot be written (disk full, folder read-only), or has a value that is not finite.
    """
    tensors = {f"network.{name}": value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
    for index, values in optimizer.state_dict()["state"].items():
        for name, value in values.items():
            tensors[f"optimizer.{index}.{name}"] = torch.as_tensor(value).detach().cpu().contiguous()
    path = folder / f"state-{progress.iteration:07d}.safetensors"
    if broken := next((name for name, values in tensors.items() if not torch.isfinite(values).all()), None):
        raise StylecoreError(f"the state of the run is not saved to {path}: {broken} is not finite.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with replaced_whole(path) as temporary:
            save_file(tensors, temporary, metadata={_PROGRESS_KEY: json.dumps(asdict(progress))})
    except (OSError, SafetensorError) as error:
        raise StylecoreError(
            f"cannot save the state of the run to {path}: {getattr(error, 'strerror', None) or error}."
        ) from error
    for old in sorted(folder.glob("state-*.safetensors"))[:-KEPT_STATES]:
        old.unlink(missing_ok=True)


def newest_state(folder: Path) -> State | None:
    """The newest readable state in the folder, on the CPU; damaged ones are skipped."""
    for path in sorted(folder.glob("state-*.safetensors"), reverse=True):
        with contextlib.suppress(OSError, SafetensorError), safe_open(path, framework="pt") as file:
            if progress := (file.metadata() or {}).get(_PROGRESS_KEY):
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
                return State(path, Progress(**json.loads(progress)), tensors)
    return None


def load_state(state: State, network: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Load a state into a network and an optimizer of the same configuration.

    Raises:
        StylecoreError: when the state belongs to another network, or to an optimizer with other groups of weights.
    """
    weights = {
        name.removeprefix("network."): value for name, value in state.tensors.items() if name.startswith("network.")
    }
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        raise StylecoreError(
            f"{state.path} is the state of another network; choose another --run-name, or that network's settings."
        ) from error
    values: dict[int, dict[str, Tensor]] = {}
    for name, value in state.tensors.items():
        if name.startswith("optimizer."):
            _, index, key = name.split(".")
            values.setdefault(int(index), {})[key] = value
    shapes = [weights.shape for group in optimizer.param_groups for weights in group["params"]]
    if values and [values[index]["exp_avg"].shape for index in sorted(values)] != shapes:
        raise StylecoreError(
            f"{state.path} is of a run with another --bias-rate; give it as it was, or choose another --run-name."
        )
    optimizer.load_state_dict({"state": values, "param_groups": optimizer.state_dict()["param_groups"]})
