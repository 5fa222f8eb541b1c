"""Work in threads: results in order, a bounded number ahead, errors in their turn, and a clean end."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator

import pytest

from yolofast.threads import map_in_threads


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("count", [0, 1, 50])
def test_results_come_in_order(count: int, threads: int) -> None:
    def work(number: int) -> int:
        time.sleep(0.001 * (number % 3))
        return number * number

    assert list(map_in_threads(work, range(count), threads)) == [number**2 for number in range(count)]


def test_items_are_read_only_as_far_ahead_as_asked() -> None:
    read = []

    def numbers() -> Iterator[int]:
        for number in itertools.count():
            read.append(number)
            yield number

    results = map_in_threads(str, numbers(), 2, ahead=5)
    for expected in range(4):
        assert next(results) == str(expected)
        assert len(read) <= expected + 5
    results.close()


def test_closing_waits_for_running_work_and_drops_the_rest() -> None:
    begun, ended = [], []
    release = threading.Event()

    def work(number: int) -> None:
        begun.append(number)
        if number:
            release.wait(5)
        ended.append(number)

    results = map_in_threads(work, range(100), 2, ahead=10)
    next(results)
    threading.Timer(0.05, release.set).start()
    results.close()
    assert sorted(begun) == sorted(ended)
    assert len(begun) < 10


def test_an_error_comes_in_its_turn() -> None:
    def work(number: int) -> int:
        if number == 3:
            raise ValueError("three")
        return number

    results = map_in_threads(work, range(10), 2)
    assert list(itertools.islice(results, 3)) == [0, 1, 2]
    with pytest.raises(ValueError, match="three"):
        next(results)
