"""Loader: the same samples, bit for bit, whatever the threads, batches, ranks and interruptions."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from coloured_dataset import (
    CLASSES,
    Plain,
    eventually,
    names,
    plain,
    plain_samples,
    resident_bytes,
    write_coloured,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from yolofast.config import AugmentConfig, YOLOConfig
from yolofast.errors import ConfigError, DataError
from yolofast.load import Loader, YOLODataset, create_dataloader, create_loader
from yolofast.load.dealing import deal, remaining
from yolofast.types import Batch

COUNT = 23
SIZE = 64
PERSPECTIVE = AugmentConfig(degrees=20, shear=5, perspective=0.001, flipud=0.5, mosaic=0.7, mixup=0.5)
AUGMENTS = {
    "letterbox": None,
    "default": AugmentConfig(),
    "small blocks": AugmentConfig(mosaic_block=4, mixup=0.5),
    "all partners": AugmentConfig(mosaic_block=0, mixup=0.3),
    "perspective": PERSPECTIVE,
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_coloured(tmp_path_factory.mktemp("coloured"), COUNT)


def dataset(data: Path, **options: Any) -> YOLODataset:
    options = {"imgsz": SIZE, "augment": AugmentConfig(mosaic_block=8, mixup=0.3), "shuffle": True} | options
    return YOLODataset(data, "train", **options)


def one_by_one(samples: YOLODataset, epoch: int = 0) -> list[Plain]:
    return [plain(samples[epoch, position]) for position in range(len(samples))]


# ------------------------------------------------------------ the same samples


@pytest.mark.parametrize("name", AUGMENTS)
def test_loader_gives_what_the_dataset_gives(data: Path, name: str) -> None:
    """For any number of threads and any batch size, in both of two epochs."""
    options = {"augment": AUGMENTS[name], "shuffle": name != "letterbox", "seed": 7}
    single = dataset(data, **options)
    expected = [one_by_one(single, epoch) for epoch in range(2)]
    assert sorted(names(expected[0])) == [Path(path).name for path in single.paths]
    assert (expected[0] == expected[1]) == (name == "letterbox")
    for threads, batch in itertools.product((0, 1, 2, 4), (1, 4, 16)):
        loader = Loader(dataset(data, **options), batch, threads=threads, prefetch=3)
        for epoch in range(2):
            batches = list(loader)
            assert len(batches) == len(loader) == -(-COUNT // batch)
            assert plain_samples(batches) == expected[epoch], (threads, batch, epoch)
        loader.close()


@pytest.mark.parametrize("workers", [0, 2])
def test_torch_loaders_give_what_the_dataset_gives(data: Path, workers: int) -> None:
    config = YOLOConfig().replace(data=data, imgsz=SIZE, batch=4, workers=workers, mosaic_block=8, mixup=0.3)
    expected = one_by_one(dataset(data), 1)
    for create in (create_loader, create_dataloader):
        loader = create(config)
        loader.set_epoch(1)
        batches = list(loader)
        assert [type(batch.images).__module__ for batch in batches] == ["torch"] * 6
        assert plain_samples(batches) == expected


def test_real_images(shared_data: Path) -> None:
    options = {"imgsz": 160, "augment": AugmentConfig(mixup=0.2)}
    single = dataset(shared_data / "coco128" / "data.yaml", **options)
    loader = Loader(dataset(shared_data / "coco128" / "data.yaml", **options), 16, threads=2)
    assert plain_samples(loader) == one_by_one(single)


def test_order_and_labels_are_those_of_the_files(data: Path) -> None:
    """Letterboxed in file order: every image once, and its colour is that of its class."""
    loader = Loader(dataset(data, augment=None, shuffle=False), 4, threads=2)
    seen = 0
    for batch in loader:
        for row, path in enumerate(batch.paths):
            number = int(Path(path).stem)
            assert number == seen
            classes = batch.targets[batch.targets[:, 0] == row, 1]
            assert classes.tolist() == [number % CLASSES] * 2
            seen += 1
    assert seen == COUNT


# ------------------------------------------------------------ epochs


def test_epochs_follow_one_another_and_can_be_chosen(data: Path) -> None:
    single = dataset(data)
    loader = Loader(dataset(data), 4, threads=2)
    assert loader.epoch == 0
    assert plain_samples(loader) == one_by_one(single, 0)
    assert plain_samples(loader) == one_by_one(single, 1)
    loader.set_epoch(5)
    assert plain_samples(loader) == one_by_one(single, 5)
    loader.set_epoch(0)
    assert plain_samples(loader) == one_by_one(single, 0)
    assert loader.epoch == 1


@pytest.mark.parametrize("threads", [0, 2])
@pytest.mark.parametrize("taken", [1, 3, 6])
def test_an_iteration_that_was_left_starts_over(data: Path, threads: int, taken: int) -> None:
    loader = Loader(dataset(data), 4, threads=threads)
    for _ in range(3):
        assert len(list(itertools.islice(loader, taken))) == taken
    assert plain_samples(loader) == one_by_one(dataset(data), 0)
    assert loader.epoch == 1


def test_a_new_iteration_and_a_new_epoch_end_the_old_iteration(data: Path) -> None:
    loader = Loader(dataset(data), 4, threads=2)
    old = iter(loader)
    next(old)
    new = iter(loader)
    first = next(new)
    assert next(old, None) is None
    assert plain_samples([first, *new]) == one_by_one(dataset(data), 0)
    third = iter(loader)
    next(third)
    loader.set_epoch(8)
    assert next(third, None) is None
    assert plain_samples(loader) == one_by_one(dataset(data), 8)


def test_mosaics_close_at_the_same_epoch(data: Path) -> None:
    options = {"augment": AugmentConfig(close_mosaic=2, translate=0, scale=0), "epochs": 5}
    loader, counts = Loader(dataset(data, **options), 4, threads=2), []
    for epoch in range(5):
        batches = list(loader)
        assert plain_samples(batches) == one_by_one(dataset(data, **options), epoch)
        counts.append(max((b.targets[:, 0] == row).sum() for b in batches for row in range(len(b))))
    assert min(counts[:3]) > 2
    assert counts[3:] == [2, 2]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"batch_size": 0}, "batch_size: got 0"),
        ({"threads": -1}, "threads: got -1"),
        ({"prefetch": 0}, "prefetch: got 0"),
        ({"rank": 2, "world_size": 2}, "rank: got 2"),
    ],
)
def test_wrong_settings_are_said(data: Path, changes: dict[str, int], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Loader(dataset(data), **changes)


# ------------------------------------------------------------ resume


def stream(loader: Loader, epochs: int) -> Iterator[Batch]:
    """All batches up to the end of an epoch."""
    while loader.epoch < epochs:
        yield from loader


def through_json(state: dict[str, Any]) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(json.dumps(state))
    return loaded


@pytest.mark.parametrize(
    ("threads", "batch", "options", "loading"),
    [
        (2, 4, {}, {}),
        (0, 1, {}, {}),
        (2, 16, {}, {}),
        (2, 4, {}, {"drop_last": True}),
        (1, 4, {"rect": True, "shuffle": False, "batch": 4}, {}),
        (2, 4, {"multi_scale": 0.5, "batch": 4}, {"drop_last": True}),
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
    iterator = iter(loader)
    assert (loader.state_dict()["epoch"], loader.state_dict()["position"]) == (1, 0)
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
    ("state", "said"),
    [
        ({}, "not a loader's state"),
        ({"seed": 0, "epoch": "x", "position": 0}, "not a loader's state"),
        ({"seed": 1, "epoch": 0, "position": 0, "dealt": []}, "seed 1"),
        ({"seed": 0, "epoch": 0, "position": 99, "dealt": [[1, 99]]}, "99 samples behind it"),
    ],
)
def test_a_state_of_another_run_is_refused(data: Path, state: dict[str, Any], said: str) -> None:
    with pytest.raises(DataError, match=said):
        Loader(dataset(data), 4).load_state_dict(state)


# ------------------------------------------------------------ ranks


def ranks(data: Path, world_size: int, batch: int, options: dict[str, Any], **loading: Any) -> list[Loader]:
    return [
        Loader(dataset(data, **options), batch, threads=1, rank=rank, world_size=world_size, **loading)
        for rank in range(world_size)
    ]


RANKED = {
    "default": {},
    "small blocks": {"augment": AugmentConfig(mosaic_block=3)},
    "letterbox": {"augment": None},
    "rect": {"rect": True, "shuffle": False, "batch": 3},
}


@pytest.mark.parametrize("name", RANKED)
@pytest.mark.parametrize("world_size", [1, 2, 4])
def test_ranks_share_out_an_epoch(data: Path, world_size: int, name: str) -> None:
    whole = one_by_one(dataset(data, **RANKED[name]), 0)
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
    whole = one_by_one(dataset(data, **options), 0)
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


@given(
    count=st.integers(0, 500),
    world_size=st.integers(1, 9),
    block=st.integers(1, 70),
    unit_is_block=st.booleans(),
)
@settings(deadline=None)
def test_dealing_is_fair_and_complete(count: int, world_size: int, block: int, unit_is_block: bool) -> None:
    unit = block if unit_is_block else 1
    everything = np.arange(count, dtype=np.int64)
    parts = deal(everything, world_size, block, unit)
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
@settings(deadline=None)
def test_nothing_is_lost_when_ranks_change(
    count: int, block: int, unit_is_block: bool, stages: list[tuple[int, int]]
) -> None:
    unit = block if unit_is_block else 1
    dealt = [(world_size, batches * unit) for world_size, batches in stages]
    left = np.arange(count, dtype=np.int64)
    taken = []
    for number, (world_size, most) in enumerate(dealt):
        np.testing.assert_array_equal(left, remaining(count, dealt[:number], block, unit))
        parts = deal(left, world_size, block, unit)
        assert max(map(len, parts)) - min(map(len, parts)) <= unit
        taken += [part[:most] for part in parts]
        left = remaining(count, dealt[: number + 1], block, unit)
    np.testing.assert_array_equal(np.sort(np.concatenate([*taken, left])), np.arange(count))


# ------------------------------------------------------------ shapes


@pytest.mark.parametrize("batch", [1, 4, 5])
@pytest.mark.parametrize("augment", [None, AugmentConfig()], ids=["plain", "augmented"])
def test_rectangular_batches(data: Path, batch: int, augment: AugmentConfig | None) -> None:
    options = {"rect": True, "shuffle": False, "batch": batch, "stride": 16, "augment": augment, "pad": 0.5}
    single = dataset(data, **options)
    batches = list(Loader(dataset(data, **options), batch, threads=2))
    samples = plain_samples(batches)
    assert samples == one_by_one(single)
    assert sorted(names(samples)) == [Path(path).name for path in single.paths]
    ratios = np.array([shape[0] / shape[1] for *_, shape in samples])
    assert (np.diff(ratios) >= 0).all()
    for each in batches:
        height, width = each.images.shape[2:]
        assert height % 16 == width % 16 == 0
        assert max(height, width) == 80  # 64 and half a stride of padding, in whole strides
        # No row of strides more than the most extreme image and the padding need.
        gains = SIZE / each.shapes.max(axis=1)
        need = np.ceil((each.shapes * gains[:, None]).max(axis=0) / 16 + 0.5) * 16
        assert height <= need[0]
        assert width <= need[1]
        if augment is None:
            assert (each.targets[:, 2:] >= 0).all()
            assert (each.targets[:, 2:] <= 1).all()
    assert len({each.images.shape for each in batches}) > 1


def test_rectangles_exclude_what_would_break_them(data: Path) -> None:
    for options in ({"shuffle": True}, {"shuffle": False, "multi_scale": 0.5}):
        with pytest.raises(ConfigError, match="rect: excludes"):
            dataset(data, rect=True, **options)
    for options in ({"shuffle": False, "rect": True}, {"multi_scale": 0.5}):
        with pytest.raises(ConfigError, match="batch_size: got 4"):
            Loader(dataset(data, batch=8, **options), 4)


@pytest.mark.parametrize("mosaic", [0.0, 1.0])
def test_multi_scale_draws_a_side_a_batch(data: Path, mosaic: float) -> None:
    options = {"multi_scale": 0.5, "batch": 2, "stride": 16, "augment": AugmentConfig(mosaic=mosaic)}
    loader = Loader(dataset(data, **options), 2, threads=2)
    batches = [*loader, *loader]
    sides = [batch.images.shape[2] for batch in batches]
    assert all(batch.images.shape[3] == side for batch, side in zip(batches, sides, strict=True))
    assert set(sides) <= {32, 48, 64, 80, 96}
    assert len(set(sides)) >= 4
    assert sides[:12] != sides[12:]
    single = dataset(data, **options)
    assert plain_samples(batches) == one_by_one(single, 0) + one_by_one(single, 1)


def test_single_class(data: Path) -> None:
    single = dataset(data, single_cls=True)
    batches = list(Loader(single, 4, threads=2))
    assert single.class_names == ("object",)
    targets = np.concatenate([batch.targets for batch in batches])
    assert len(targets) > COUNT
    assert (targets[:, 1] == 0).all()
    labelled = [batch.targets for batch in Loader(dataset(data), 4)]
    np.testing.assert_array_equal(targets[:, 2:], np.concatenate(labelled)[:, 2:])


# ------------------------------------------------------------ cache


@pytest.mark.parametrize("augment", [None, AugmentConfig(), PERSPECTIVE], ids=["letterbox", "default", "all"])
def test_caches_change_nothing_but_the_last_bits(
    data: Path, tmp_path: Path, augment: AugmentConfig | None
) -> None:
    kinds = {}
    for cache in ("none", "ram", "disk"):
        options = {"cache": cache, "cache_dir": tmp_path, "imgsz": 32, "augment": augment}
        runs = [plain_samples(Loader(dataset(data, **options), 4, threads=threads)) for threads in (0, 1, 4)]
        assert runs[0] == runs[1] == runs[2] == one_by_one(dataset(data, **options))
        kinds[cache] = runs[0]
    assert kinds["ram"] == kinds["disk"]
    assert [sample[1:] for sample in kinds["ram"]] == [sample[1:] for sample in kinds["none"]]
    pixels = [
        np.frombuffer(b"".join(s[0] for s in kinds[kind]), np.uint8).astype(int) for kind in ("none", "ram")
    ]
    assert np.abs(pixels[0] - pixels[1]).mean() < 4


# ------------------------------------------------------------ memory


@pytest.mark.parametrize("tensors", [False, True])
@pytest.mark.parametrize("threads", [0, 2])
def test_batches_that_are_held_stay_as_they_are(data: Path, threads: int, tensors: bool) -> None:
    loader = Loader(dataset(data), 4, threads=threads, prefetch=2, tensors=tensors)
    held = [batch for _ in range(3) for batch in loader]
    single = dataset(data)
    expected = [sample for epoch in range(3) for sample in one_by_one(single, epoch)]
    assert plain_samples(held) == expected
    # A view of one sample is enough to hold it.
    loader.set_epoch(0)
    views = [batch.images[-1:][0, :, ::2] for batch in loader]
    list(loader)
    for view, last in zip(views, [3, 7, 11, 15, 19, 22], strict=True):
        whole = np.frombuffer(expected[last][0], np.uint8).reshape(expected[last][1])
        np.testing.assert_array_equal(np.asarray(view), whole[:, ::2])


def test_memory_of_batches_that_were_let_go_is_used_again(data: Path) -> None:
    loader = Loader(dataset(data), 4, threads=2, prefetch=3, drop_last=True)
    places = {batch.images.ctypes.data for _ in range(5) for batch in loader}
    assert len(places) <= 3 + 2


def test_memory_stays_flat(data: Path) -> None:
    loader = Loader(dataset(data, imgsz=256), 8, threads=2)
    for _ in range(3):
        list(loader)
    before = resident_bytes()
    for _ in range(12):
        list(loader)
        loader.close()
    assert eventually(lambda: resident_bytes() - before < 8 * 2**20)


def test_multi_scale_samples_do_not_depend_on_the_number_of_ranks(data: Path) -> None:
    """Every batch has a size of its own, whoever it is dealt to."""

    def sizes(world_size: int) -> dict[str, set[tuple[int, ...]]]:
        found: dict[str, set[tuple[int, ...]]] = {}
        for rank in range(world_size):
            dataset = YOLODataset(data, "train", imgsz=96, augment=AugmentConfig(), multi_scale=0.6, batch=3)
            for batch in Loader(dataset, 3, threads=1, rank=rank, world_size=world_size):
                for path in batch.paths:
                    found.setdefault(path, set()).add(batch.images.shape[2:])
        return found

    assert sizes(1) == sizes(2) == sizes(4)


@pytest.mark.parametrize(
    "change",
    [{"epoch": -1}, {"dealt": [[0, 5]]}, {"dealt": [[1, -3]]}, {"dealt": [[1, 10**6]]}, {"position": 1}],
)
def test_a_state_that_cannot_be_is_refused(data: Path, change: dict[str, object]) -> None:
    loader = Loader(YOLODataset(data, "train", imgsz=64), 2, threads=0)
    with pytest.raises(DataError, match="state"):
        loader.load_state_dict(loader.state_dict() | change)
