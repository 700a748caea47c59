"""Sends the records of a journal to an MLflow store, in their order, in a separate thread.

When the store does not accept a record for now (the store, its database or its disk does not answer or is overloaded),
the sender repeats it until it is stopped. When the store refuses a record for good (for instance an invalid value),
the record is passed over, and a tag of the run names it. After a lost answer a record is sent again; everything in
delivery.py can be repeated.
"""

import dataclasses
import logging
import random
import threading
import time
from collections.abc import Sequence

from training.tracking import TrackingError
from training.tracking.delivery import METRICS_A_CALL
from training.tracking.journal import Journal
from training.tracking.journal_files import Record
from training.tracking.sending import Answers, Lost, Refused, Store

START_SECONDS = 10.0
"""Longest wait at the start of a run for the store's answer."""
GATHER_SECONDS = 10.0
"""Metrics are collected for this time and sent together; everything else is sent at once."""
FIRST_PAUSE = 1.0
LONGEST_PAUSE = 15.0
"""Seconds between two attempts while the store does not answer; the pause doubles from the first to the longest."""

_log = logging.getLogger(__name__)


class Sender:
    """The sending thread, which starts at once, and its state."""

    answers: Answers
    trouble: str
    """A sentence on why the last attempt failed; empty after a success."""
    is_lost: bool
    """Whether a person must act: the store does not know the run, or refuses access."""

    def __init__(self, journal: Journal, tracking_uri: str) -> None:
        self.answers = Answers(**journal.answers)
        self.trouble, self.is_lost = "", False
        self._journal, self._uri = journal, tracking_uri
        self._changed = threading.Condition()
        self._due = 0.0
        self._not_before = 0.0
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="mlflow-sender", daemon=True)
        self._thread.start()

    def notice(self, *, at_once: bool) -> None:
        """Wake the thread after a record was appended."""
        with self._changed:
            due = time.monotonic() + (0 if at_once else GATHER_SECONDS)
            if due < self._due:
                self._due = due
                self._changed.notify_all()

    def wait(self, number: int, seconds: float, *, give_up_in_trouble: bool = False) -> bool:
        """Wait until all records up to this number have arrived, or the time is over; returns whether they have."""
        with self._changed:
            self._due = self._not_before = 0.0
            self._changed.notify_all()
            self._changed.wait_for(
                lambda: (
                    self._journal.sent >= number
                    or (give_up_in_trouble and self.trouble)
                    or not self._thread.is_alive()
                ),
                seconds,
            )
        return self._journal.sent >= number

    def stop(self) -> None:
        """Stop the thread; a running request gets one more second."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        self._thread.join(1.0)

    def _run(self) -> None:
        store: Store | None = None
        pause = FIRST_PAUSE
        while self._wait_for_work():
            records: list[Record] = []
            try:
                self._journal.sync()
                records = _together(self._journal.pending(METRICS_A_CALL))
                if not records:
                    continue
                store = store or Store(self._uri, self._journal, self.answers)
                store.send(records)
                self._arrived(records)
                pause = FIRST_PAUSE
            except Refused as error:
                self.answers.add_refusal(f"{records[0].kind} (record {records[0].number}): {error}")
                _log.warning("MLflow refused a record of %s: %s", self._journal.folder, error)
                self._arrived(records)
            except Exception as error:
                if self._stopped:
                    return
                self._pause(str(error), pause, lost=isinstance(error, Lost))
                pause = min(LONGEST_PAUSE, 2 * pause)

    def _wait_for_work(self) -> bool:
        with self._changed:
            while not self._stopped:
                seconds = max(self._due, self._not_before) - time.monotonic()
                if seconds <= 0:
                    self._due = time.monotonic() + 3600  # `notice` makes it earlier
                    return True
                self._changed.wait(min(seconds, 60.0))
        return False

    def _arrived(self, records: Sequence[Record]) -> None:
        self.answers.lost += max(0, records[-1].number - self._journal.sent - len(records))
        self._journal.arrived(records, dataclasses.asdict(self.answers))
        with self._changed:
            if self.trouble:
                _log.warning("The MLflow store accepts the run's records again.")
            self.trouble, self.is_lost = "", False
            self._due = 0.0  # there may be more
            self._changed.notify_all()

    def _pause(self, trouble: str, seconds: float, *, lost: bool) -> None:
        with self._changed:
            if not self.trouble:
                _log.warning("%s The run's records are kept in %s and sent later.", trouble, self._journal.folder)
            self.trouble, self.is_lost = trouble, lost
            self._due = 0.0
            # Many runs of one server should not all come back at the same time.
            self._not_before = time.monotonic() + seconds * random.uniform(0.75, 1.25)
            self._changed.notify_all()


def begin_sending(journal: Journal, uri: str, began: int) -> Sender:
    """The started sender of a run, whose first record is `began`.

    Raises:
        TrackingError: when the store refuses the run.
    """
    sender = Sender(journal, uri)
    sender.wait(began, START_SECONDS, give_up_in_trouble=True)
    if sender.is_lost:
        sender.stop()
        refused = journal.pending(1)
        if refused and refused[0].number == began:  # or a later start would send it again
            journal.arrived(refused, journal.answers)
        raise TrackingError(sender.trouble)
    return sender


def _together(records: Sequence[Record]) -> list[Record]:
    """The first record, or as many records of metrics as one call can have."""
    taken: list[Record] = []
    values = 0
    for record in records:
        if taken and (record.kind != "metrics" or taken[0].kind != "metrics"):
            break
        values += len(record.data.get("values", ()))
        if taken and values > METRICS_A_CALL:
            break
        taken.append(record)
    return taken
