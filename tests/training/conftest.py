"""A style small enough to save."""

from collections.abc import Callable

import pytest

from stylecore.johnson.style_model import StyleModel


@pytest.fixture(scope="session")
def tiny_style() -> Callable[..., StyleModel]:
    """Makes an untrained style: `tiny_style(name=..., iterations=...)`."""
    from tracked_runs import tiny_style  # it imports Accelerate

    return tiny_style
