"""Work in threads beside the painting, with queues of limited length: memory does not grow with a film."""

from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

_END = object()


def ahead(items: Iterator[Item], count: int) -> Generator[Item, None, None]:
    """The items, which a thread makes ahead of their use, `count` at most."""
    with _pool(1, "reads the film") as pool:
        coming: deque[Future[Any]] = deque(pool.submit(next, items, _END) for _ in range(count))
        while (item := coming.popleft().result()) is not _END:
            coming.append(pool.submit(next, items, _END))
            yield item


def at_once(work: Callable[[Item], Result], items: Iterator[Item], count: int) -> Generator[Result, None, None]:
    """The results of the work on each item, in the order of the items; threads work on `count` items at once.

    Three times as many are begun: with fewer, threads wait for the one that uses the results (a tenth of the time of a
    film).
    """
    with _pool(count, "paints the film") as pool:
        begun: deque[Future[Result]] = deque()
        for item in items:
            begun.append(pool.submit(work, item))
            if len(begun) > 3 * count:
                yield begun.popleft().result()
        while begun:
            yield begun.popleft().result()


@contextmanager
def behind(work: Callable[[Item], None], count: int) -> Iterator[Callable[[Item], None]]:
    """A function that hands an item to a thread for the work; `count` items wait at most. The end waits for all.

    Raises:
        What the work raised, at a later call or at the end.
    """
    with _pool(1, "writes the film") as pool:
        begun: deque[Future[None]] = deque()

        def put(item: Item) -> None:
            begun.append(pool.submit(work, item))
            if len(begun) > count:
                begun.popleft().result()

        yield put
        for each in begun:
            each.result()


@contextmanager
def _pool(count: int, name: str) -> Iterator[ThreadPoolExecutor]:
    """Threads; the end of the block waits for work that has begun, and drops what has not."""
    pool = ThreadPoolExecutor(count, name)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
