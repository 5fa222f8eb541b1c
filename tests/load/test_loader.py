"""Loader: the same samples, bit for bit, whatever the threads, batches, epochs and caches."""

from __future__ import annotations

import itertools
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.coloured_dataset import CLASSES, eventually, names, plain, plain_samples, resident_bytes
from support.loader_cases import COUNT, SIZE, dataset, one_by_one

from yolofast.config import AugmentConfig, YOLOConfig
from yolofast.errors import ConfigError
from yolofast.load import DataFlowMonitor, Loader, create_dataloader, create_loader

PERSPECTIVE = AugmentConfig(degrees=20, shear=5, perspective=0.001, flipud=0.5, mosaic=0.7, mixup=0.5)
AUGMENTS = {
    "letterbox": None,
    "default": AugmentConfig(),
    "small blocks": AugmentConfig(mosaic_block=4, mixup=0.5),
    "all partners": AugmentConfig(mosaic_block=0, mixup=0.3),
    "perspective": PERSPECTIVE,
    "cutmix": AugmentConfig(mosaic_block=4, mixup=0.3, cutmix=0.7, degrees=5),
}


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
def test_an_iteration_after_one_that_was_left_is_the_next_epochs(
    data: Path, threads: int, taken: int
) -> None:
    """So a run of short epochs sees other samples in each of them, and a chosen epoch is what it says."""
    loader = Loader(dataset(data), 4, threads=threads)
    for epoch in range(3):
        assert plain_samples(itertools.islice(loader, taken)) == one_by_one(dataset(data), epoch)[: 4 * taken]
    loader.set_epoch(2)
    assert plain_samples(loader) == one_by_one(dataset(data), 2)
    assert loader.epoch == 3
    for _ in range(2):
        next(iter(loader))
        loader.set_epoch(loader.epoch)
    assert loader.state_dict()["position"] == 0
    assert plain_samples(loader) == one_by_one(dataset(data), 3)
    iter(loader), iter(loader)  # nothing was taken of these
    assert plain_samples(loader) == one_by_one(dataset(data), 4)


def test_a_new_iteration_and_a_new_epoch_end_the_old_iteration(data: Path) -> None:
    loader = Loader(dataset(data), 4, threads=2)
    old = iter(loader)
    next(old)
    new = iter(loader)
    first = next(new)
    assert next(old, None) is None
    assert plain_samples([first, *new]) == one_by_one(dataset(data), 1)
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
    ("changes", "message"),
    [
        ({"batch_size": 0}, "batch_size: got 0"),
        ({"threads": -1}, "threads: got -1"),
        ({"prefetch": 0}, "prefetch: got 0"),
        ({"rank": 2, "world_size": 2}, "rank: got 2"),
    ],
)
def test_wrong_settings_are_reported(data: Path, changes: dict[str, int], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Loader(dataset(data), **changes)


@pytest.mark.parametrize("side", ["loader", "consumer"])
def test_the_queue_is_looked_at_before_waiting(data: Path, side: str) -> None:
    """A consumer that always waits has found nothing ready, although each batch was there when it got it."""

    def slow(image: Any, labels: Any, draws: Any) -> None:
        if side == "loader":
            time.sleep(0.004)

    monitor = DataFlowMonitor(warm_up=0)
    loader = Loader(dataset(data, hooks=[slow]), 4, threads=1, prefetch=2, monitor=monitor)
    for _ in loader:
        if side == "consumer":
            time.sleep(0.05)
    mean = monitor.report()["queue_depth"]["mean"]
    assert mean < 0.5 if side == "loader" else mean > 0.8


# ------------------------------------------------------------ shapes


@pytest.mark.parametrize("batch", [1, 4, 5])
@pytest.mark.parametrize("augment", [None, AugmentConfig()], ids=["plain", "augmented"])
def test_rectangular_batches(data: Path, batch: int, augment: AugmentConfig | None) -> None:
    options = {"rect": True, "shuffle": False, "stride": 16, "augment": augment, "pad": 0.5}
    single = dataset(data, **options)
    batches = list(Loader(dataset(data, **options), batch, threads=2))
    samples = plain_samples(batches)
    assert samples == one_by_one(single, batch=batch)
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


@pytest.mark.parametrize("options", [{"shuffle": False, "rect": True}, {"multi_scale": 0.5}], ids=str)
def test_loaders_of_any_batch_size_share_a_dataset(data: Path, options: dict[str, Any]) -> None:
    """The loader alone states the batch size; a sample asked for without one is a batch of its own."""
    shared = dataset(data, stride=16, **options)
    for batch in (8, 4, 1):
        assert plain_samples(Loader(shared, batch, threads=2)) == one_by_one(shared, batch=batch)
    assert [plain(shared[0, at]) for at in range(COUNT)] == one_by_one(shared, batch=1)
    with pytest.raises(ConfigError, match="batch_size: got 0"):
        shared.sizes(0)


@pytest.mark.parametrize("mosaic", [0.0, 1.0])
def test_multi_scale_draws_a_side_a_batch(data: Path, mosaic: float) -> None:
    options = {"multi_scale": 0.5, "stride": 16, "augment": AugmentConfig(mosaic=mosaic)}
    loader = Loader(dataset(data, **options), 2, threads=2)
    batches = [*loader, *loader]
    sides = [batch.images.shape[2] for batch in batches]
    assert all(batch.images.shape[3] == side for batch, side in zip(batches, sides, strict=True))
    assert set(sides) <= {32, 48, 64, 80, 96}
    assert len(set(sides)) >= 4
    assert sides[:12] != sides[12:]
    single = dataset(data, **options)
    assert plain_samples(batches) == one_by_one(single, 0, batch=2) + one_by_one(single, 1, batch=2)


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
