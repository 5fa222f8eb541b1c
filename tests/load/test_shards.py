"""Shards: ranks share an epoch, none of it lost or twice, also when their number changes."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.coloured_dataset import names, plain_samples
from support.loader_cases import dataset, one_by_one, through_json
from support.property_tests import examples

from yolofast.config import AugmentConfig
from yolofast.load import Loader, YOLODataset
from yolofast.load.plan.shards import remaining_positions, shard_positions


def ranks(data: Path, world_size: int, batch: int, options: dict[str, Any], **loading: Any) -> list[Loader]:
    return [
        Loader(dataset(data, **options), batch, threads=1, rank=rank, world_size=world_size, **loading)
        for rank in range(world_size)
    ]


RANKED = {
    "default": {},
    "small blocks": {"augment": AugmentConfig(mosaic_block=3)},
    "letterbox": {"augment": None},
    "rect": {"rect": True, "shuffle": False},
}


@pytest.mark.parametrize("name", RANKED)
@pytest.mark.parametrize("world_size", [1, 2, 4])
def test_ranks_share_out_an_epoch(data: Path, world_size: int, name: str) -> None:
    whole = one_by_one(dataset(data, **RANKED[name]), 0, batch=3)
    parts = [plain_samples(loader) for loader in ranks(data, world_size, 3, RANKED[name])]
    assert sorted(itertools.chain(*parts)) == sorted(whole)
    assert max(map(len, parts)) - min(map(len, parts)) <= (3 if name == "rect" else 1)


@pytest.mark.parametrize("name", RANKED)
@pytest.mark.parametrize("world_size", [2, 3, 4])
def test_with_drop_last_all_ranks_have_as_many_full_batches(data: Path, world_size: int, name: str) -> None:
    loaders = ranks(data, world_size, 3, RANKED[name], drop_last=True)
    batches = [list(loader) for loader in loaders]
    assert {len(each) for each in batches} == {len(loaders[0])}
    assert len(loaders[0]) > 0
    assert all(len(batch) == 3 for batch in itertools.chain(*batches))
    samples = list(itertools.chain(*map(plain_samples, batches)))
    assert len(set(names(samples))) == len(samples)


@pytest.mark.parametrize("name", RANKED)
@pytest.mark.parametrize(
    "worlds", [(1, 2), (2, 4), (4, 1), (2, 1, 4), (2, 4, 2), (4, 3, 1), (3, 3, 2)], ids=str
)
def test_ranks_may_change_in_the_middle_of_an_epoch(data: Path, worlds: tuple[int, ...], name: str) -> None:
    """Two batches of each stage but the last: no sample is lost and none comes twice."""
    options = RANKED[name]
    whole = one_by_one(dataset(data, **options), 0, batch=3 if name == "rect" else 2)
    state, seen = None, []
    for stage, world_size in enumerate(worlds):
        loaders = ranks(data, world_size, 3 if name == "rect" else 2, options)
        states = []
        for loader in loaders:
            if state is not None:
                loader.load_state_dict(state)
            most = None if stage == len(worlds) - 1 else 1
            if loader.epoch == 0:
                seen += plain_samples(itertools.islice(loader, most))
            states.append(through_json(loader.state_dict()))
        if stage < len(worlds) - 1:
            assert all(each == states[0] for each in states)
        state = states[0]
    assert state is not None
    assert (state["epoch"], state["position"]) == (1, 0)
    assert sorted(seen) == sorted(whole)


def test_multi_scale_samples_do_not_depend_on_the_number_of_ranks(data: Path) -> None:
    """Every batch has a size of its own, whichever rank gets it."""

    def sizes(world_size: int) -> dict[str, set[tuple[int, ...]]]:
        found: dict[str, set[tuple[int, ...]]] = {}
        for rank in range(world_size):
            dataset = YOLODataset(data, "train", imgsz=96, augment=AugmentConfig(), multi_scale=0.6)
            for batch in Loader(dataset, 3, threads=1, rank=rank, world_size=world_size):
                for path in batch.paths:
                    found.setdefault(path, set()).add(batch.images.shape[2:])
        return found

    assert sizes(1) == sizes(2) == sizes(4)


@given(
    count=st.integers(0, 500),
    world_size=st.integers(1, 9),
    block=st.integers(1, 70),
    unit_is_block=st.booleans(),
)
@examples(100)
def test_sharding_is_fair_and_complete(count: int, world_size: int, block: int, unit_is_block: bool) -> None:
    unit = block if unit_is_block else 1
    everything = np.arange(count, dtype=np.int64)
    parts = shard_positions(everything, world_size, block, unit)
    assert len(parts) == world_size
    np.testing.assert_array_equal(np.sort(np.concatenate(parts)), everything)
    for part in parts:
        assert part.dtype == np.int64
        assert (np.diff(part) > 0).all()
    assert max(map(len, parts)) - min(map(len, parts)) <= unit
    # Blocks of the full rounds are not torn.
    rounds = count // block // world_size * world_size
    owners = [
        {rank for rank, part in enumerate(parts) if (part // block == number).any()}
        for number in range(rounds)
    ]
    assert all(len(owner) == 1 for owner in owners)


@given(
    count=st.integers(0, 300),
    block=st.integers(1, 40),
    unit_is_block=st.booleans(),
    stages=st.lists(st.tuples(st.integers(1, 6), st.integers(0, 8)), max_size=4),
)
@examples(100)
def test_nothing_is_lost_when_ranks_change(
    count: int, block: int, unit_is_block: bool, stages: list[tuple[int, int]]
) -> None:
    unit = block if unit_is_block else 1
    progress = [(world_size, batches * unit) for world_size, batches in stages]
    left = np.arange(count, dtype=np.int64)
    taken = []
    for number, (world_size, most) in enumerate(progress):
        np.testing.assert_array_equal(left, remaining_positions(count, progress[:number], block, unit))
        parts = shard_positions(left, world_size, block, unit)
        assert max(map(len, parts)) - min(map(len, parts)) <= unit
        taken += [part[:most] for part in parts]
        left = remaining_positions(count, progress[: number + 1], block, unit)
    np.testing.assert_array_equal(np.sort(np.concatenate([*taken, left])), np.arange(count))
