"""What a run ran on: commit, versions, machine, user."""

import getpass
import platform
import subprocess
from importlib.metadata import version

from training.tracking.store import REPOSITORY

_PACKAGES = ("torch", "torchvision", "accelerate", "datasets", "mlflow")


def environment_tags(world_size: int, device: str) -> dict[str, str]:
    """The tags that say what produced a run: git commit and whether files were changed since, devices, versions."""
    commit = _git("rev-parse", "HEAD")
    changed = _git("status", "--porcelain", "--untracked-files=no")
    tags = {
        "git_commit": commit or "unknown",
        "git_dirty": "unknown" if commit is None else str(bool(changed)).lower(),
        "world_size": str(world_size),
        "device": device,
        "python": platform.python_version(),
        **{package: version(package) for package in _PACKAGES},
    }
    return tags | ({"mlflow.source.git.commit": commit} if commit else {})


def _git(*arguments: str) -> str | None:
    try:
        answer = subprocess.run(["git", "-C", str(REPOSITORY), *arguments], capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.strip() if answer.returncode == 0 else None


def user_name() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container whose user id has no name
        return "unknown"
