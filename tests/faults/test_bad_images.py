"""Unreadable images: reported once, replaced by the same image everywhere, counted, never written to."""

from __future__ import annotations

import itertools
import logging
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.coloured_dataset import (
    PALETTE,
    Plain,
    encoded,
    names,
    picture,
    plain,
    plain_samples,
    resident_bytes,
    write_coloured,
)
from support.dataset_files import tree_digest

from yolofast.config import AugmentConfig, YOLOConfig
from yolofast.errors import DataError
from yolofast.load import Loader, YOLODataset, create_dataloader
from yolofast.load import dataset as dataset_module
from yolofast.load.plan.bad_images import BadImages
from yolofast.load.plan.plan import plan_batch

COUNT = 24
SIZE = 64
MOSAIC = AugmentConfig(mosaic_block=8, mixup=0.3, degrees=5)


def truncate(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 2 // 3])


def garble(path: Path) -> None:
    """Noise in the middle of the compressed pixels."""
    data = bytearray(path.read_bytes())
    start = data.index(b"\xff\xda") + 40
    data[start : start + 200] = np.random.default_rng(0).integers(0, 255, 200, np.uint8).tobytes()
    path.write_bytes(data)


def huge(path: Path) -> None:
    """A header that promises 65500 x 65500 pixels."""
    data = bytearray(path.read_bytes())
    at = next(at for at in range(len(data)) if data[at] == 0xFF and data[at + 1] in (0xC0, 0xC1, 0xC2))
    data[at + 5 : at + 9] = (65500).to_bytes(2, "big") * 2
    path.write_bytes(data)


def other_size(path: Path) -> None:
    path.write_bytes(encoded(picture(0, 37, 53), "420"))


def other_size_png(path: Path) -> None:
    path.write_bytes(encoded(picture(0, 37, 53), "png"))


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


BREAKS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "truncated": (truncate, "cannot decode JPEG"),
    "garbled": (garble, "cannot decode JPEG"),
    "empty": (lambda path: path.write_bytes(b""), "the file is empty"),
    "missing": (Path.unlink, "No such file"),
    "text": (lambda path: path.write_text("<html>not found</html>"), "not an image"),
    "cut in the header": (lambda path: path.write_bytes(path.read_bytes()[:30]), ""),
    "huge": (huge, "65500 x 65500 pixels"),
    "other size": (other_size, "got 53 x 37 pixels, expected"),
    "other size, PNG": (other_size_png, "got 53 x 37 pixels, expected"),
    "folder": (folder, "not a regular file"),
}


@pytest.fixture(scope="module")
def intact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_coloured(tmp_path_factory.mktemp("intact"), COUNT).parent


@pytest.fixture
def data(intact: Path, tmp_path: Path) -> Path:
    shutil.copytree(intact, tmp_path / "data")
    return tmp_path / "data" / "data.yaml"


def dataset(data: Path, **options: Any) -> YOLODataset:
    options = {"imgsz": SIZE, "augment": MOSAIC, "shuffle": True} | options
    return YOLODataset(data, "train", **options)


def image(data: Path, number: int) -> Path:
    return next((data.parent / "images").glob(f"{number:04}.*"))


def jpegs(data: Path) -> list[int]:
    return [number for number in range(COUNT) if image(data, number).suffix == ".jpg"]


def warnings_about(caplog: pytest.LogCaptureFixture, path: Path) -> list[str]:
    return [record.getMessage() for record in caplog.records if str(path) in record.getMessage()]


def classes_match_colours(samples: list[Plain]) -> bool:
    """Whether each letterboxed sample has the colour of the class in its labels."""
    for pixels, shape, labels, *_ in samples:
        centre = np.frombuffer(pixels, np.uint8).reshape(shape)[:, SIZE // 2 - 5 : SIZE // 2 + 5, SIZE // 2]
        nearest = np.abs(PALETTE - centre.mean(axis=1)).sum(axis=1).argmin()
        classes = np.frombuffer(labels, np.float32).reshape(-1, 5)[:, 0]
        if len(classes) != 2 or (classes != nearest).any():
            return False
    return True


@pytest.mark.parametrize("threads", [0, 2])
@pytest.mark.parametrize("kind", BREAKS)
def test_an_image_that_went_bad_is_reported_once_and_replaced(
    data: Path, caplog: pytest.LogCaptureFixture, kind: str, threads: int
) -> None:
    """For three epochs: its path and reason once, the next image in its place, with that one's labels."""
    samples = dataset(data, augment=None, shuffle=False)
    number = next(n for n in jpegs(data) if n + 1 in jpegs(data))
    path = image(data, number)
    action, reason = BREAKS[kind]
    action(path)
    before = tree_digest(data.parent), {p: p.stat().st_mtime_ns for p in data.parent.rglob("*")}
    for _ in range(3):
        got = plain_samples(Loader(samples, 4, threads=threads))
        assert len(got) == COUNT
        assert got[number] == got[number + 1]
        expected = [f"{n:04}" for n in range(COUNT)]
        expected[number] = expected[number + 1]
        assert [Path(name).stem for name in names(got)] == expected
        assert classes_match_colours(got)
    (message,) = warnings_about(caplog, path)
    assert f"{path}: " in message
    assert message.count(str(path)) == 1
    assert reason in message
    assert len(samples.bad_images) == 1
    assert before == (tree_digest(data.parent), {p: p.stat().st_mtime_ns for p in data.parent.rglob("*")})


@pytest.mark.parametrize(
    "augment",
    [None, MOSAIC, AugmentConfig(mosaic_block=0), AugmentConfig(mosaic_block=8, mixup=0.3, cutmix=0.7)],
    ids=["letterbox", "mosaic", "all", "cutmix"],
)
def test_what_stands_in_depends_on_nothing_but_the_files(data: Path, augment: AugmentConfig | None) -> None:
    """The same samples for any threads, batches, processes, single access, and knowledge from before.

    Narrow images make tiles that one neighbour shows and the next does not.
    """
    for number in (3, 4, 9, 17, 20):
        sides = (100, 12) if number % 2 else (14, 110)
        image(data, number).write_bytes(encoded(picture(number, *sides), "420"))
    options = {"augment": augment, "shuffle": True}
    single = dataset(data, **options)
    batched = [(threads, batch, dataset(data, **options)) for threads in (0, 1, 4) for batch in (1, 4, 16)]
    config = YOLOConfig().replace(data=data, imgsz=SIZE, batch=4)
    torch_loaders = [
        create_dataloader(config.replace(workers=workers, mosaic_block=8), augment=False)
        for workers in (0, 2)
    ]
    late = dataset(data, **options)
    bad = [3, 4, 11, 19, 23]
    for number, kind in zip(bad, ("truncated", "empty", "missing", "text", "garbled"), strict=True):
        BREAKS[kind][0](image(data, number))
    expected = [[plain(single[epoch, at]) for at in range(COUNT)] for epoch in range(4)]
    assert (
        not {f"{number:04}" for number in bad} & {Path(s[3]).stem for s in itertools.chain(*expected)}
        or augment
    )
    for threads, batch, samples in batched:
        loader = Loader(samples, batch, threads=threads)
        assert [plain_samples(loader) for _ in range(4)] == expected, (threads, batch)
        assert set(samples.bad_images.reasons) <= set(bad)
    if augment is None:
        for torch_loader in torch_loaders:
            torch_loader.set_epoch(2)
            assert plain_samples(torch_loader) == expected[2]
    # Backwards, and only the last epoch: it knows of the bad images in another order, or of fewer.
    assert [plain(late[3, at]) for at in reversed(range(COUNT))][::-1] == expected[3]
    resumed = Loader(single, 4, threads=2)
    resumed.load_state_dict({"seed": 0, "epoch": 2, "position": 8, "dealt": [[1, 8]]})
    assert plain_samples(resumed) == expected[2][8:]


@pytest.mark.parametrize("cache", ["none", "ram", "disk"])
def test_a_run_of_cut_files_costs_each_sample_little(
    tmp_path: Path, cache: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An interrupted copy: one image stands in for hundreds, found without a step for each of them."""
    count, cut, epochs = 120, 30, 2
    data = write_coloured(tmp_path / "data", count, kinds=("420",))
    drawn = []

    def counted(order: Any, positions: Any, *arguments: Any, **options: Any) -> Any:
        drawn.append(len(positions))
        return plan_batch(order, positions, *arguments, **options)

    monkeypatch.setattr(dataset_module, "plan_batch", counted)
    options = {"max_bad_share": 0.5, "cache": cache, "cache_dir": tmp_path, "augment": None, "shuffle": False}
    for number in range(count - cut, count):
        truncate(image(data, number))
    expected = [f"{number:04}" for number in range(count - cut)] + ["0000"] * cut
    with_hook = options | {"hooks": [lambda image, labels, draws: len(labels)]}
    for loader in (
        Loader(dataset(data, **options), 8, threads=0),
        Loader(dataset(data, **options), 8, threads=2),
        Loader(dataset(data, **options), 8, device="cpu"),
        Loader(dataset(data, **with_hook), 8, threads=2),
    ):
        drawn.clear()
        for _ in range(epochs):
            assert [Path(path).stem for batch in loader for path in batch.paths] == expected
        assert len(loader.dataset.bad_images) == cut
        assert sum(drawn) < 3 * epochs * count
    mixed = dataset(data, **options | {"augment": MOSAIC, "shuffle": True})
    single = dataset(data, **options | {"augment": MOSAIC, "shuffle": True})
    drawn.clear()
    got = plain_samples(Loader(mixed, 8, threads=2))
    assert sum(drawn) < 6 * count
    assert got == [plain(single[0, at]) for at in range(count)]


def test_a_hundred_thousand_unreadable_images_in_a_row_take_linear_time() -> None:
    count, begin, end = 300_000, 150_000, 250_000
    known = BadImages(count, 0.5, "data")
    known.add(begin, "path", "cut")
    read, started = 0, time.monotonic()
    while len(images := known.unconfirmed(256)):
        read += len(images)
        unreadable = (images >= begin) & (images < end)
        for number in images[unreadable].tolist():
            known.add(number, "path", "cut")
        known.confirm(images[~unreadable])
    assert end - begin <= read < end - begin + 256
    for number in range(begin, end, 1000):
        assert known.substitutes(np.array([number, number + 1, 7])).tolist() == [end, end, 7]
    assert time.monotonic() - started < 15


def test_a_file_may_go_bad_in_the_middle_of_an_epoch(data: Path, caplog: pytest.LogCaptureFixture) -> None:
    samples = dataset(data, augment=None, shuffle=False)
    loader = Loader(samples, 2, threads=2, prefetch=1)
    got: list[Plain] = []
    for number, batch in enumerate(loader):
        got += plain_samples([batch])
        if number == 3:
            BREAKS["empty"][0](image(data, 21))
            BREAKS["missing"][0](image(data, 22))
    expected = [f"{n:04}" for n in range(COUNT)]
    expected[21] = expected[22] = expected[23]
    assert [Path(name).stem for name in names(got)] == expected
    assert classes_match_colours(got)
    assert [len(warnings_about(caplog, data.parent / "images" / f"00{n}.jpg")) for n in (20, 23)] == [0, 0]
    assert len([r for r in caplog.records if "replaced by another image" in r.getMessage()]) == 2
    assert samples.bad_images.reasons.keys() == {21, 22}


@pytest.mark.parametrize("threads", [0, 2])
def test_too_many_bad_images_stop_the_run_with_their_names(data: Path, threads: int) -> None:
    """Every time that it is asked again, too."""
    samples = dataset(data, augment=None, shuffle=False, max_bad_share=0.1)
    for number in (2, 5, 9):
        BREAKS["empty"][0](image(data, number))
    loader = Loader(samples, 4, threads=threads)
    for _ in range(3):
        with pytest.raises(
            DataError, match=r"3 of 24 images .* more than the share of 0\.1 .*0002.*0009"
        ) as caught:
            list(loader)
        assert "--max-bad-share" in str(caught.value)
    with pytest.raises(DataError, match="3 of 24"):
        list(samples)
    allowed = dataset(data, augment=None, max_bad_share=0.2)
    assert len(plain_samples(Loader(allowed, 4, threads=threads))) == COUNT - 3


@pytest.mark.parametrize("threads", [0, 2])
def test_no_readable_image_at_all_is_reported(data: Path, threads: int) -> None:
    samples = dataset(data, max_bad_share=1.0)
    for number in range(COUNT):
        BREAKS["empty"][0](image(data, number))
    for _ in range(2):
        with pytest.raises(DataError, match="24 of 24 images cannot be read") as caught:
            list(Loader(samples, 4, threads=threads))
        assert "share" not in str(caught.value)
    with pytest.raises(DataError, match="no readable image"):
        dataset(data)


def test_images_that_are_bad_from_the_start_are_left_out_and_count(
    data: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for number, kind in ((2, "empty"), (5, "text"), (7, "cut in the header")):
        BREAKS[kind][0](image(data, number))
    samples = dataset(data, augment=None, shuffle=False)
    assert len(samples) == COUNT - 3
    assert classes_match_colours(plain_samples(Loader(samples, 4, threads=1)))
    for number in (2, 5, 7):
        assert len(warnings_about(caplog, image(data, number))) == 1
    with pytest.raises(DataError, match="3 of 24 images cannot be read"):
        dataset(data, max_bad_share=0.1)


def test_the_content_counts_not_the_name(data: Path, caplog: pytest.LogCaptureFixture) -> None:
    """PNG called .jpg, JPEG called .png and .bmp, and a folder called .jpg beside them."""
    jpeg, other = image(data, 0), image(data, 1)
    assert (jpeg.suffix, other.suffix) == (".jpg", ".png")
    wanted = plain_samples(Loader(dataset(data, augment=None, shuffle=False), 4))
    jpeg.rename(jpeg.with_suffix(".png"))
    other.rename(other.with_suffix(".jpg"))
    image(data, 2).rename(image(data, 2).with_suffix(".bmp"))
    (data.parent / "images" / "folder.jpg").mkdir()
    samples = dataset(data, augment=None, shuffle=False)
    for threads in (0, 2):
        got = plain_samples(Loader(samples, 4, threads=threads))
        assert [(s[0], s[2]) for s in got] == [(s[0], s[2]) for s in wanted]
    assert len(samples.bad_images) == 0
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_huge_header_costs_neither_time_nor_memory(data: Path, when: str) -> None:
    path = image(data, 8)
    samples = dataset(data, augment=None, shuffle=False)
    list(Loader(samples, 4, threads=2))
    samples = dataset(data, augment=None, shuffle=False)
    huge(path)
    Path("/proc/self/clear_refs").write_text("5")  # forget the highest memory so far
    before, started = resident_bytes(), time.monotonic()
    if when == "before":
        samples = dataset(data, augment=None, shuffle=False)
    got = plain_samples(Loader(samples, 4, threads=2))
    assert time.monotonic() - started < 2
    status = Path("/proc/self/status").read_text()
    peak = next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))
    assert peak - before < 50 * 2**20
    assert path.name not in names(got)
    assert classes_match_colours(got)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read anything")
def test_a_file_without_permission_is_reported(data: Path, caplog: pytest.LogCaptureFixture) -> None:
    samples = dataset(data, augment=None, shuffle=False)
    image(data, 8).chmod(0)
    assert classes_match_colours(plain_samples(Loader(samples, 4, threads=2)))
    assert "Permission denied; check its permissions" in warnings_about(caplog, image(data, 8))[0]
