"""A loader's state: from any position in any epoch, the stream resumes with the samples that come next."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.coloured_dataset import plain_samples
from support.loader_cases import dataset, one_by_one, through_json

from yolofast.config import AugmentConfig
from yolofast.errors import DataError
from yolofast.load import Loader, YOLODataset
from yolofast.types import Batch


def stream(loader: Loader, epochs: int) -> Iterator[Batch]:
    """All batches up to the end of an epoch."""
    while loader.epoch < epochs:
        yield from loader


@pytest.mark.parametrize(
    ("threads", "batch", "options", "loading"),
    [
        (2, 4, {}, {}),
        (0, 1, {}, {}),
        (2, 16, {}, {}),
        (2, 4, {}, {"drop_last": True}),
        (1, 4, {"rect": True, "shuffle": False}, {}),
        (2, 4, {"multi_scale": 0.5}, {"drop_last": True}),
        (2, 2, {}, {"rank": 1, "world_size": 2}),
        (2, 2, {}, {"rank": 2, "world_size": 4, "drop_last": True}),
        (2, 2, {"augment": AugmentConfig(mosaic_block=3)}, {"rank": 0, "world_size": 2}),
    ],
    ids=str,
)
def test_resumed_anywhere_the_stream_goes_on(
    data: Path, threads: int, batch: int, options: dict[str, Any], loading: dict[str, Any]
) -> None:
    """Before the first batch, after each of two epochs, and at each boundary; then once more after that."""

    def fresh() -> Loader:
        return Loader(dataset(data, **options), batch, threads=threads, prefetch=2, **loading)

    loader = fresh()
    states, whole = [loader.state_dict()], []
    for each in stream(loader, 2):
        whole.append(plain_samples([each]))
        states.append(through_json(loader.state_dict()))
    assert len(whole) == 2 * len(loader)
    assert states[len(loader)]["epoch"] == 1
    for at, state in enumerate(states[:-1]):
        resumed = fresh()
        resumed.load_state_dict(state)
        assert through_json(resumed.state_dict()) == state
        got = []
        again = None
        for each in stream(resumed, 2):
            got.append(plain_samples([each]))
            assert through_json(resumed.state_dict()) == states[at + len(got)]
            again = again or resumed.state_dict()
        assert got == whole[at:], at
        if again is not None and at + 1 < len(whole):
            twice = fresh()
            twice.load_state_dict(again)
            assert plain_samples([next(iter(twice))]) == whole[at + 1]
        resumed.close()


def test_the_state_is_where_the_consumer_is_not_where_the_pool_is(data: Path) -> None:
    loader = Loader(dataset(data), 4, threads=2, prefetch=8)
    for number, _ in enumerate(loader, 1):
        expected = (0, 4 * number) if number < 6 else (1, 0)
        state = loader.state_dict()
        assert (state["epoch"], state["position"]) == expected
    assert loader.state_dict()["epoch"] == 1
    list(itertools.islice(loader, 2))
    assert (loader.state_dict()["epoch"], loader.state_dict()["position"]) == (1, 8)
    iterator = iter(loader)
    assert (loader.state_dict()["epoch"], loader.state_dict()["position"]) == (2, 0)
    next(iterator)
    assert loader.state_dict()["position"] == 4


def test_a_state_loaded_during_an_iteration_ends_it(data: Path) -> None:
    loader = Loader(dataset(data), 4, threads=2)
    iterator = iter(loader)
    next(iterator)
    state = loader.state_dict()
    next(iterator)
    loader.load_state_dict(state)
    assert next(iterator, None) is None
    assert plain_samples(loader) == one_by_one(dataset(data), 0)[4:]
    assert loader.epoch == 1


def test_set_epoch_of_a_loaded_state_goes_on_in_it(data: Path) -> None:
    """Trainers call set_epoch at the head of every epoch, also of the one that they resume."""
    state = {"seed": 0, "epoch": 3, "position": 8, "dealt": [[1, 8]]}
    loader = Loader(dataset(data), 4, threads=2)
    loader.load_state_dict(state)
    loader.set_epoch(3)
    assert plain_samples(loader) == one_by_one(dataset(data), 3)[8:]
    assert plain_samples(loader) == one_by_one(dataset(data), 4)


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({}, "not a loader's state"),
        ({"seed": 0, "epoch": "x", "position": 0}, "not a loader's state"),
        ({"seed": 1, "epoch": 0, "position": 0, "dealt": []}, "seed 1"),
        ({"seed": 0, "epoch": 0, "position": 99, "dealt": [[1, 99]]}, "99 samples into its epoch"),
    ],
)
def test_a_state_of_another_run_is_refused(data: Path, state: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        Loader(dataset(data), 4).load_state_dict(state)


@pytest.mark.parametrize(
    "change",
    [{"epoch": -1}, {"dealt": [[0, 5]]}, {"dealt": [[1, -3]]}, {"dealt": [[1, 10**6]]}, {"position": 1}],
)
def test_a_state_that_cannot_be_is_refused(data: Path, change: dict[str, object]) -> None:
    loader = Loader(YOLODataset(data, "train", imgsz=64), 2, threads=0)
    with pytest.raises(DataError, match="state"):
        loader.load_state_dict(loader.state_dict() | change)
