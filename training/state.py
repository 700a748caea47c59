"""A run's state on disk: everything that a resumed training needs.

A state is one .safetensors file, which is written under a temporary name and renamed: a file with the final name is
complete. There is no random state to store: the next photos and crops depend only on the seed and the iteration (see
photos.py), and the network draws no random numbers.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from stylecore.errors import StylecoreError
from stylecore.files import replaced_whole

KEPT_STATES = 2
_PROGRESS_KEY = "stylecore.progress"


@dataclass(frozen=True)
class Progress:
    """iteration: optimizer steps; run_id: of the tracker; global_batch_size: the order of photos depends on it."""

    iteration: int
    run_id: str
    global_batch_size: int


@dataclass(frozen=True)
class State:
    """A state that was read: its file, the progress of the run, and the tensors of network and optimizer."""

    path: Path
    progress: Progress
    tensors: dict[str, Tensor]


def save_state(folder: Path, network: nn.Module, optimizer: torch.optim.Optimizer, progress: Progress) -> Path:
    """Write state-<iteration>.safetensors into the folder and delete all but the newest two.

    Raises:
        StylecoreError: when it cannot be written (disk full, folder read-only).
    """
    tensors = {f"network.{name}": value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
    for index, values in optimizer.state_dict()["state"].items():
        for name, value in values.items():
            tensors[f"optimizer.{index}.{name}"] = torch.as_tensor(value).detach().cpu().contiguous()
    path = folder / f"state-{progress.iteration:07d}.safetensors"
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
    return path


def newest_state(folder: Path) -> Path | None:
    """The newest readable state in the folder; damaged ones are skipped."""
    for path in sorted(folder.glob("state-*.safetensors"), reverse=True):
        try:
            with safe_open(path, framework="pt") as file:
                if _PROGRESS_KEY in (file.metadata() or {}):
                    return path
        except (OSError, SafetensorError):
            continue
    return None


def read_state(path: Path) -> State:
    """Read a state that `newest_state` found, to the CPU."""
    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return State(path, Progress(**json.loads(file.metadata()[_PROGRESS_KEY])), tensors)


def load_state(state: State, network: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Load a state into a network and an optimizer of the same configuration.

    Raises:
        StylecoreError: when the state belongs to another network.
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
    optimizer.load_state_dict({"state": values, "param_groups": optimizer.state_dict()["param_groups"]})
