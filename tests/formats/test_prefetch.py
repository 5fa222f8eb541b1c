"""prefetch_batches: everything in order, nothing lost, errors raised in order."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator

import pytest

from yolofast.formats.prefetch import prefetch_batches


@pytest.mark.parametrize("count", [0, 1, 7, 8, 100])
def test_batches_come_back_in_order(count: int) -> None:
    def work(batch: list[int]) -> int:
        time.sleep(0.002 * (batch[0] % 3))
        return sum(batch)

    got = list(prefetch_batches(range(count), work, batch=7))
    assert [item for batch, _ in got for item in batch] == list(range(count))
    assert all(done == sum(batch) for batch, done in got)


def test_an_endless_stream_is_read_only_a_little_ahead() -> None:
    taken = []

    def stream() -> Iterator[int]:
        for i in itertools.count():
            taken.append(i)
            yield i

    reader = prefetch_batches(stream(), len, batch=10)
    for _ in range(3):
        assert next(reader)[1] == 10
    reader.close()
    assert len(taken) <= 100


def test_what_work_raises_comes_in_its_turn() -> None:
    def work(batch: list[int]) -> int:
        if batch[0] == 20:
            raise ValueError("twenty")
        return batch[0]

    reader = prefetch_batches(range(100), work, batch=10)
    assert [done for _, done in itertools.islice(reader, 2)] == [0, 10]
    with pytest.raises(ValueError, match="twenty"):
        next(reader)
