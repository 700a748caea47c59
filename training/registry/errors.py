"""Errors of the tracker, as those who use the registry know them."""

from collections.abc import Iterator
from contextlib import contextmanager

from stylecore.errors import StylecoreError
from training.tracking import TrackingError


@contextmanager
def as_stylecore_errors() -> Iterator[None]:
    """Raise what the tracker says as a StylecoreError; for a block, or as the decorator of a function."""
    try:
        yield
    except TrackingError as error:
        raise StylecoreError(str(error)) from error
