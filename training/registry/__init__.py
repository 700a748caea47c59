"""The registered styles: their versions, their files, their champions (registry.py).

As a command, `python -m training.registry` (__main__.py).
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from training.registry.published import publish_run
    from training.registry.registry import RegisteredVersion, Registry
    from training.registry.restoring import restore_published

__all__ = ["RegisteredVersion", "Registry", "publish_run", "restore_published"]


def __getattr__(name: str) -> Any:
    """Import MLflow only for those who ask for the registry; a training logs its styles (versions.py) without."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from training.registry import registry

    return getattr(registry, name)
