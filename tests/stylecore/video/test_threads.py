"""Work in threads: in order, a few at once, and failures that arrive."""

import itertools
import threading
from contextlib import closing

import pytest

from stylecore.video.threads import at_once


def test_results_come_in_the_order_of_the_items_and_two_are_made_at_once() -> None:
    both = threading.Barrier(2)

    def work(number: int) -> int:
        both.wait(timeout=30)  # passes only when another one is at work
        return number * number

    assert list(at_once(work, iter(range(6)), 2)) == [0, 1, 4, 9, 16, 25]


def test_items_are_not_taken_far_ahead() -> None:
    taken = itertools.count()
    with closing(at_once(lambda item: item, taken, 2)) as results:
        assert [next(results) for _ in range(5)] == [0, 1, 2, 3, 4]
    assert next(taken) <= 5 + 3 * 2


def test_a_failure_arrives_in_its_turn() -> None:
    def work(number: int) -> float:
        return 1 / (2 - number)

    with closing(at_once(work, iter(range(9)), 2)) as results:
        assert [next(results), next(results)] == [0.5, 1.0]
        with pytest.raises(ZeroDivisionError):
            next(results)
