"""Work in threads beside the painting, with queues of limited length: memory does not grow with a film."""

import queue
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

_END = object()
_PATIENCE = 0.2
"""Seconds between two looks whether the other side has ended."""


@contextmanager
def ahead(items: Iterator[Item], count: int) -> Iterator[Iterator[Item]]:
    """The items, which a thread makes ahead of their use, `count` at most. The end of the block ends the thread."""
    made: queue.Queue[object] = queue.Queue(count)
    failure: list[BaseException] = []
    ended = threading.Event()

    def put(item: object) -> None:
        while not ended.is_set():
            try:
                made.put(item, timeout=_PATIENCE)
                return
            except queue.Full:
                continue

    def work() -> None:
        try:
            for item in items:
                put(item)
                if ended.is_set():
                    return
        except BaseException as error:
            failure.append(error)
        finally:
            put(_END)

    def taken() -> Iterator[Item]:
        while (item := made.get()) is not _END:
            yield item  # type: ignore[misc]
        if failure:
            raise failure[0]

    thread = threading.Thread(target=work, name="reads the film", daemon=True)
    thread.start()
    try:
        yield taken()
    finally:
        ended.set()
        thread.join()


def at_once(work: Callable[[Item], Result], items: Iterator[Item], count: int) -> Generator[Result, None, None]:
    """The results of the work on each item, in the order of the items; threads work on `count` items at once.

    Three times as many are begun: with fewer, threads wait for the one that uses the results (a tenth of the time of a
    film).
    """
    with ThreadPoolExecutor(count, "paints the film") as pool:
        begun: deque[Future[Result]] = deque()
        try:
            for item in items:
                begun.append(pool.submit(work, item))
                if len(begun) > 3 * count:
                    yield begun.popleft().result()
            while begun:
                yield begun.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


class Behind(Generic[Item]):
    """Does work on items in a thread, `count` of them waiting at most. The end of a `with` waits for all of it.

    Raises:
        What the work raised, at the next `put` or at the end.
    """

    def __init__(self, work: Callable[[Item], None], count: int) -> None:
        self._work = work
        self._waiting: queue.Queue[object] = queue.Queue(count)
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="writes the film", daemon=True)

    def put(self, item: Item) -> None:
        self._waiting.put(item)
        if self._failure is not None:
            raise self._failure

    def __enter__(self) -> "Behind[Item]":
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._waiting.put(_END)
        self._thread.join()
        if kind is None and self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        while (item := self._waiting.get()) is not _END:
            if self._failure is None:  # after a failure the rest is thrown away, so that `put` never waits for ever
                try:
                    self._work(item)  # type: ignore[arg-type]
                except BaseException as error:
                    self._failure = error
