"""A tracker for Accelerate that logs to MLflow: records first go to the disk, and a thread sends them.

tracker = JournaledTracker("runs/my_run")
accelerator = Accelerator(log_with=tracker)
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from training.tracking.tracker import JournaledTracker
    from training.tracking.values import ModelDescription

__all__ = ["JournaledTracker", "ModelDescription", "TrackingError", "database_address"]


class TrackingError(Exception):
    """One sentence for the user: what is wrong between a run and its store, and what to do."""


def database_address(address: str) -> str:
    """The address with the PostgreSQL driver of requirements.txt, unless it names a driver.

    SQLAlchemy's default driver for postgresql:// is another one.
    """
    scheme, separator, rest = address.partition("://")
    return f"postgresql+psycopg2://{rest}" if separator and scheme in ("postgresql", "postgres") else address


def __getattr__(name: str) -> Any:
    """Import Accelerate and MLflow, which takes seconds, only for those who ask for the tracker."""
    modules = {"JournaledTracker": "tracker", "ModelDescription": "values"}
    if name not in modules:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{modules[name]}"), name)
