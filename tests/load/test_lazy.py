"""LazyDataset keeps what was used last; stream_process_dataset passes over a dataset in bounded memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.coloured_dataset import CLASSES, names, plain, plain_samples, resident_bytes, write_coloured

from yolofast.errors import ConfigError, DataError
from yolofast.load import LazyDataset, Loader, YOLODataset, stream_process_dataset

COUNT = 20


@pytest.fixture(scope="module")
def intact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_coloured(tmp_path_factory.mktemp("coloured"), COUNT)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_coloured(tmp_path / "data", COUNT)


# ------------------------------------------------------------ LazyDataset


def test_lazy_samples_are_those_of_the_dataset(intact: Path) -> None:
    lazy, eager = LazyDataset(intact, imgsz=96, capacity=3), YOLODataset(intact, "train", imgsz=96)
    assert len(lazy) == COUNT
    assert [plain(sample) for sample in lazy] == [plain(sample) for sample in eager]
    assert plain(lazy[-1]) == plain(eager[COUNT - 1])
    for outside in (COUNT, -COUNT - 1):
        with pytest.raises(IndexError):
            lazy[outside]


def test_the_longest_unused_sample_goes_first(intact: Path) -> None:
    lazy = LazyDataset(intact, imgsz=64, capacity=3)
    accesses = [
        (0, 0, 1),
        (1, 0, 2),
        (2, 0, 3),
        (0, 1, 3),
        (3, 1, 4),
        (0, 2, 4),
        (1, 2, 5),
        (-COUNT, 3, 5),
        (3, 4, 5),
    ]
    kept = {}
    for index, hits, misses in accesses:
        sample = lazy[index]
        assert (lazy.hits, lazy.misses) == (hits, misses)
        assert kept.setdefault(index % COUNT, sample) is sample or index == 1
        assert len(lazy._kept) <= 3
    with pytest.raises(ConfigError, match="capacity: got 0"):
        LazyDataset(intact, capacity=0)


def test_lazy_memory_is_bounded(intact: Path) -> None:
    lazy = LazyDataset(intact, imgsz=640, capacity=2)
    for _ in range(2):
        list(lazy)
    before = resident_bytes()
    for _ in range(5):
        list(lazy)
    assert resident_bytes() - before < 10 * 2**20
    assert lazy.misses == 7 * COUNT


# ------------------------------------------------------------ stream_process_dataset


@pytest.mark.parametrize("batch", [1, 7, 20, 50])
def test_a_stream_gives_every_image_in_file_order(intact: Path, batch: int) -> None:
    batches = list(stream_process_dataset(intact, batch, imgsz=96))
    assert [len(each) for each in batches] == [batch] * (COUNT // batch) + [COUNT % batch] * (
        COUNT % batch > 0
    )
    samples = plain_samples(batches)
    assert samples == [plain(sample) for sample in YOLODataset(intact, "train", imgsz=96)]
    assert names(samples) == sorted(names(samples))
    for each in batches:
        for row, path in enumerate(each.paths):
            classes = each.targets[each.targets[:, 0] == row, 1]
            assert classes.tolist() == [int(Path(path).stem) % CLASSES] * 2


def test_a_stream_takes_a_folder_and_another_split(intact: Path) -> None:
    by_folder = plain_samples(stream_process_dataset(intact.parent, split="valid", imgsz=64))
    assert by_folder == plain_samples(stream_process_dataset(intact, imgsz=64))


def test_a_stream_leaves_out_what_cannot_be_read(data: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Bad headers, damage behind the header, and label rows: each reported once, and a batch may be empty."""
    folder = data.parent / "images"
    for number in (0, 2, 3, 4, 10):
        path = next(folder.glob(f"{number:04}.*"))
        content = path.read_bytes()
        path.write_bytes(b"" if number == 0 else content[: len(content) * 2 // 3])
    (data.parent / "labels" / "0005.txt").write_text("5 0.5 0.5 1 1\n5 0.5 oops 1 1\n")
    batches = list(stream_process_dataset(data, 2, imgsz=64))
    samples = plain_samples(batches)
    wanted = [number for number in range(COUNT) if number not in (0, 2, 3, 4, 10)]
    assert [int(Path(name).stem) for name in names(samples)] == wanted
    assert all(len(batch) for batch in batches)
    for _, _, labels, path, _ in samples:
        rows = np.frombuffer(labels, np.float32).reshape(-1, 5)
        number = int(Path(path).stem)
        assert rows[:, 0].tolist() == [number % CLASSES] * (1 if number == 5 else 2)
    messages = [record.getMessage() for record in caplog.records]
    assert [sum(f"{number:04}." in m for m in messages) for number in range(11)] == [
        1,
        0,
        1,
        1,
        1,
        1,
        0,
        0,
        0,
        0,
        1,
    ]
    assert "0005.txt:2" in caplog.text


def test_a_stream_without_a_readable_image_fails(data: Path) -> None:
    for path in (data.parent / "images").iterdir():
        path.write_bytes(path.read_bytes()[:400])
    with pytest.raises(DataError, match="no image of split 'train' can be read"):
        list(stream_process_dataset(data, 4, imgsz=64))
    with pytest.raises(ConfigError, match="batch_size: got 0"):
        next(stream_process_dataset(data, 0))


def test_a_stream_takes_the_memory_of_a_batch(tmp_path: Path) -> None:
    data = write_coloured(tmp_path / "many", 400, kinds=("420", "444"), sides=(200, 320))
    batches = stream_process_dataset(data, 8, imgsz=320)
    seen, start, most = 0, 0, 0
    for number, batch in enumerate(batches):
        seen += len(batch)
        if number == 5:
            start = resident_bytes()
        most = max(most, resident_bytes())
    assert seen == 400
    assert most - start < 12 * 2**20


def test_a_loader_and_a_stream_agree(intact: Path) -> None:
    loader = Loader(YOLODataset(intact, "train", imgsz=128), 6, threads=2)
    assert plain_samples(loader) == plain_samples(stream_process_dataset(intact, 6, imgsz=128))
