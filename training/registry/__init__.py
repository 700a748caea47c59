"""The registered styles: their versions, their files, their champions (registry.py).

As a command, `python -m training.registry` (__main__.py). A training logs its styles (versions.py) without MLflow.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from stylecore.errors import StylecoreError
from training.tracking import TrackingError


@contextmanager
def as_stylecore_errors() -> Iterator[None]:
    """Turn a TrackingError into a StylecoreError, in a block or as the decorator of a function."""
    try:
        yield
    except TrackingError as error:
        raise StylecoreError(str(error)) from error
