"""Runs in their folders: who they are, what is in them, and sending them to MLflow after they have ended."""

import itertools
import os
import re
import shutil
import uuid
from collections import Counter
from collections.abc import Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from training.tracking import TrackingError
from training.tracking.environment import tracking_uri_of, without_password
from training.tracking.journal import Journal
from training.tracking.journal_files import DISK_BYTES, FILES, FOLDER, RECORDS, all_sent, numbered, records_in

if TYPE_CHECKING:  # it imports MLflow
    from training.tracking.sender import Sender

SYNC_SECONDS = 30.0
"""A sync stops when nothing has arrived for this time."""
NO_ID_YET = "journal:"
"""Prefix of the `run_id` of a run without an id of MLflow; the key of its journal follows."""


def sync(folder: Path, tracking_uri: str | None = None) -> int:
    """Send what a store lacks of the runs in a folder; returns the number of records sent.

    Files that have arrived are removed from the folder, as are the journals of earlier runs, unless a run keeps its
    files.

    Args:
        folder: of a run.
        tracking_uri: the store; by default $MLFLOW_TRACKING_URI, or else each run's own.

    Raises:
        TrackingError: when there is no journal, a run is still being written, or the store does not accept all.
    """
    sent = 0
    for each in _some_journals(folder):
        run = _run_of(each)
        sent += _sync_one(each, run, tracking_uri)
        if each != folder and not run.get("keep_files"):  # a journal that was set aside
            shutil.rmtree(each, ignore_errors=True)
    return sent


def _sync_one(folder: Path, run: Mapping[str, Any], tracking_uri: str | None) -> int:
    address = tracking_uri or os.environ.get("MLFLOW_TRACKING_URI") or str(run["tracking_uri"])
    if not address:
        raise TrackingError(f"the run in {folder} was started without a store; say where to send it: --to URI.")
    uri = tracking_uri_of(address)
    with closing(Journal(folder, store=without_password(uri), keep_files=run.get("keep_files", False))) as journal:
        before, last = journal.sent, journal.last
        if before >= last:
            return 0
        from training.tracking.sender import Sender

        sender = Sender(journal, uri)
        try:
            while journal.sent < last:
                arrived = sender.wait(journal.sent + 1, SYNC_SECONDS)
                if sender.is_lost or not arrived:
                    raise TrackingError(unsent(journal, sender))
        finally:
            sender.stop()
        return last - before


def status(folder: Path) -> str:
    """What is in the folder of a run, and what each store has of it; the run may be going on.

    Raises:
        TrackingError: when there is no journal.
    """
    return "\n".join(line for each in _some_journals(folder) for line in _status_of_one(each))


def _status_of_one(folder: Path) -> list[str]:
    journal = folder / FOLDER
    kinds, last, ends = Counter[str](), 0, "not ended"
    first: dict[str, Any] = {}
    for record in records_in(journal):
        kinds[record.kind] += 1
        last = record.number
        if record.kind == "run":
            first, ends = first or record.data, "not ended"
        elif record.kind == "end":
            ends = record.data["status"]
    about = f"run {first['run_name']} of the experiment {first['experiment']}" if first else "no run"
    used, limit = (journal / RECORDS).stat().st_size, first.get("disk_bytes", DISK_BYTES)
    for path in (journal / FILES).iterdir():
        with suppress(OSError):  # it has arrived meanwhile
            used += path.stat().st_size
    lines = [
        f"{folder}: {about}, {ends}",
        f"  {last} records: " + ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items())),
        f"  {used / 1e6:.1f} MB on the disk, of at most {limit / 1e6:,.0f} MB",
    ]
    for store, sent in all_sent(journal).items():
        refused = len(sent.answers.get("refused", [])) + sent.answers.get("more_refused", 0)
        missing = last - sent.number
        lines.append(f"  {store}: {sent.number} sent, {missing} missing, {refused} refused")
    return lines if len(lines) > 3 else [*lines, f"  sent nowhere, {last} missing"]


def journals(folder: Path) -> list[Path]:
    """The folders with a journal, the oldest run first: those kept by `set_aside`, and the run's own."""
    folders = (*numbered(folder, rf"{FOLDER}-(\d+)").values(), folder)
    return [each for each in folders if (each / FOLDER / RECORDS).exists()]


def _some_journals(folder: Path) -> list[Path]:
    """`journals`, or TrackingError when there is none."""
    found = journals(folder)
    if not found:
        raise TrackingError(f"{folder} has no journal; give the folder of a run, such as runs/my_run.")
    return found


def _run_of(folder: Path) -> dict[str, Any]:
    """The data of the record that begins the run, or continues it."""
    runs = list(records_in(folder / FOLDER, "run"))
    if not runs:
        raise TrackingError(f"the journal {folder / FOLDER} does not name its run, so it cannot be sent.")
    return runs[-1].data


def set_aside(folder: Path) -> Path | None:
    """Remove the journal of an earlier run in the same folder, or rename it if it is needed.

    It is needed when no store has all of its records, or the run keeps its files.

    Returns:
        The new folder of a renamed journal.

    Raises:
        TrackingError: when a process has it open, or it cannot be removed or renamed.
    """
    at = Path(folder) / FOLDER
    if not (at / RECORDS).exists():
        return None
    with closing(Journal(folder, keep_files=True)) as journal:
        needed = journal.last > max((sent.number for sent in all_sent(at).values()), default=0)
        needed |= any(record.data.get("keep_files") for record in records_in(at, "run"))
    try:
        if not needed:
            shutil.rmtree(at)
            return None
        kept = next(path for n in itertools.count(1) if not (path := at.with_name(f"{FOLDER}-{n}")).exists())
        kept.mkdir()
        at.rename(kept / FOLDER)
    except OSError as error:
        raise TrackingError(
            f"the journal of an earlier run, {at}, cannot be moved ({error.strerror}); choose another folder."
        ) from error
    return kept


def unsent(journal: Journal, sender: "Sender") -> str:
    """A sentence on the unsent records, and how to send them."""
    count = journal.last - journal.sent
    why = f" ({sender.trouble.rstrip('.')})" if sender.trouble else ""
    return f"MLflow has not received {count} records of the run{why}: {how_to_sync(journal.folder.parent)}"


def how_to_sync(folder: Path, options: str = "") -> str:
    return f"`python -m training.tracking sync {folder}{options}` sends them."


def identity(journal: Journal, run_id: str, continued: bool) -> tuple[str, str]:
    """The key of the journal, and MLflow's id of the run if it is known; `run_id` is the one to continue, if known."""
    if not continued:
        return uuid.uuid4().hex, ""
    past_key = next((record.data["key"] for record in records_in(journal.folder, "run")), "")
    if not run_id:
        return past_key or uuid.uuid4().hex, ""
    if run_id.startswith(NO_ID_YET):
        key, run_id = run_id.removeprefix(NO_ID_YET), ""
        is_same = past_key in ("", key)
    else:
        key = past_key or uuid.uuid4().hex
        known = {sent.answers.get("run_id") for sent in all_sent(journal.folder).values()} - {None, ""}
        is_same = not known or run_id in known
        if journal.answers.get("run_id") not in (None, "", run_id):  # it began in another store, and was sent here
            run_id = ""
    if not is_same:
        raise TrackingError(
            f"the journal {journal.folder} and the saved state beside it are of different runs; move the journal "
            "away, or choose another --run-name."
        )
    return key, run_id


def temporary_folder(run_name: str) -> Path:
    """A new folder for a run that was given none."""
    state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    name = re.sub(r"[^A-Za-z0-9_-]", "_", run_name)
    return state / "stylecore" / "runs" / f"{name}-{uuid.uuid4().hex[:8]}"
