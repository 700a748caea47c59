"""Send the unsent records of a run to MLflow."""

import os
import shutil
from pathlib import Path

from training.tracking import TrackingError
from training.tracking.journal import Journal
from training.tracking.journal_files import unsent_folders
from training.tracking.sender import Sender
from training.tracking.store import tracking_uri_of
from training.tracking.tracker import unsent

REPLAY_SECONDS = 30.0
"""A replay stops when nothing has arrived for this time."""


def replay(run_folder: Path, tracking_uri: str | None = None) -> int:
    """Send the unsent records of the runs in a folder; returns their number.

    Args:
        tracking_uri: the store; by default $MLFLOW_TRACKING_URI, or else the run's store.

    Raises:
        TrackingError: when there is no journal, a run is still being written, or the store does not accept all.
    """
    folders = unsent_folders(run_folder)
    if not folders:
        raise TrackingError(f"{run_folder} has no journal; give the folder of a run, such as runs/starry_night.")
    sent = 0
    for folder in folders:
        journal = Journal(folder)
        try:
            before = journal.sent
            _replay_one(journal, tracking_uri or os.environ.get("MLFLOW_TRACKING_URI"))
            sent += journal.sent - before
        finally:
            journal.close()
        if folder != run_folder:  # a journal that was set aside
            shutil.rmtree(folder, ignore_errors=True)
    return sent


def _replay_one(journal: Journal, tracking_uri: str | None) -> None:
    last = journal.last
    if journal.sent >= last:
        return
    stores = [record.data["tracking_uri"] for record in journal.records() if record.kind == "run"]
    if not stores:
        raise TrackingError(f"the journal {journal.folder} does not name its run, so it cannot be sent.")
    sender = Sender(journal, tracking_uri_of(tracking_uri or stores[-1]))
    sender.start()
    try:
        while journal.sent < last:
            arrived = sender.wait(journal.sent + 1, REPLAY_SECONDS)
            if sender.is_lost or not arrived:
                raise TrackingError(unsent(journal, sender))
    finally:
        sender.stop()
