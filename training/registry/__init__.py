"""The registered styles: their versions, their files, their champions (registry.py).

As a command, `python -m training.registry` (__main__.py).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from stylecore.errors import StylecoreError
from training.tracking import TrackingError

if TYPE_CHECKING:
    from training.registry.published import publish_run
    from training.registry.registry import RegisteredVersion, Registry
    from training.registry.restoring import restore_published

__all__ = ["RegisteredVersion", "Registry", "publish_run", "restore_published"]


@contextmanager
def as_stylecore_errors() -> Iterator[None]:
    """Turn a TrackingError into a StylecoreError, in a block or as the decorator of a function."""
    try:
        yield
    except TrackingError as error:
        raise StylecoreError(str(error)) from error


def __getattr__(name: str) -> Any:
    """Import MLflow only for those who ask for the registry; a training logs its styles (versions.py) without."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from training.registry import registry

    return getattr(registry, name)
