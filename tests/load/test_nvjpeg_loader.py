"""Loader with jpeg="nvjpeg", by the stand-in: samples are those of the CPU, errors too."""

from __future__ import annotations

import gc
import itertools
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.coloured_dataset import eventually, loader_threads, plain_samples, write_coloured
from support.loader_cases import COUNT, dataset, one_by_one
from support.nvjpeg_library import build_double

from yolofast.config import AugmentConfig
from yolofast.errors import ConfigError, DataError, MissingExtraError
from yolofast.load import Loader, YOLODataset

torch = pytest.importorskip("torch")

from yolofast.kernels import torch_nvjpeg  # noqa: E402
from yolofast.load.execute import nvjpeg as nvjpeg_pictures  # noqa: E402

FULL = 128
"""An image size at which every file of the dataset is decoded at full size, by the CPU too."""


@pytest.fixture(autouse=True)
def _stand_in(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """nvJPEG's stand-in, in small groups; no thread is left behind."""
    library = str(build_double())
    monkeypatch.setenv("YOLOFAST_NVJPEG", library)
    monkeypatch.setattr(torch_nvjpeg, "_DRIVERS", (library,))
    monkeypatch.setattr(nvjpeg_pictures, "MAX_GROUP_IMAGES", 5)
    yield
    gc.collect()
    assert eventually(lambda: not loader_threads()), loader_threads()


def nvjpeg_loader(samples: YOLODataset, batch: int, **options: Any) -> Loader:
    return Loader(samples, batch, device="cpu", jpeg="nvjpeg", **options)


@pytest.mark.parametrize("threads", [0, 2])
@pytest.mark.parametrize("augment", [None, AugmentConfig(mosaic_block=8, mixup=0.3)])
def test_samples_are_those_of_the_cpu(data: Path, augment: AugmentConfig | None, threads: int) -> None:
    """JPEGs of all kinds and PNGs, in two epochs."""
    options = {"augment": augment, "imgsz": FULL}
    single = dataset(data, **options)
    loader = nvjpeg_loader(dataset(data, **options), 4, threads=threads)
    for epoch in range(2):
        assert plain_samples(loader) == one_by_one(single, epoch)
    loader.close()


def test_planes_come_by_nvjpeg(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The CPU's decoder is asked for those files alone that nvJPEG refuses: PNGs here."""
    asked: list[int] = []
    samples = dataset(data, augment=None, imgsz=FULL)
    loader = nvjpeg_loader(samples, 4, threads=1)
    make = loader._executor.make_source  # type: ignore[attr-defined]

    def watched(pool: Any, stream: Any) -> Any:
        source = make(pool, stream)
        ask = source._fallback.ask
        monkeypatch.setattr(
            source._fallback,
            "ask",
            lambda pictures, images: (asked.extend(images.tolist()), ask(pictures, images)),
        )
        return source

    loader._executor.make_source = watched  # type: ignore[attr-defined]
    assert len(plain_samples(loader)) == COUNT
    assert sorted({samples.paths[image] for image in asked}) == sorted(
        p for p in samples.paths if p.endswith("png")
    )
    loader.close()


def test_an_iteration_may_be_left(data: Path) -> None:
    expected = one_by_one(dataset(data, imgsz=FULL), 0)
    loader = nvjpeg_loader(dataset(data, imgsz=FULL), 4, threads=1)
    for taken in (1, 3, 2):
        loader.set_epoch(0)
        assert plain_samples(itertools.islice(iter(loader), taken)) == expected[: 4 * taken]
    loader.close()


def test_unreadable_images_are_replaced_as_on_the_cpu(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Cut off, emptied, gone and of another size."""
    yaml = write_coloured(tmp_path / "set", COUNT)
    options: dict[str, Any] = {"imgsz": FULL, "augment": None, "max_bad_share": 0.5}
    both = [dataset(yaml, **options) for _ in range(2)]
    paths = [Path(path) for path in both[0].paths]
    paths[0].write_bytes(paths[0].read_bytes()[:-80])
    paths[2].write_bytes(b"")
    paths[3].unlink()
    paths[4].write_bytes(paths[5].read_bytes())
    with caplog.at_level(logging.WARNING):
        loader = nvjpeg_loader(both[0], 4, threads=1)
        found = plain_samples(loader)
        told = sorted(record.getMessage() for record in caplog.records)
        caplog.clear()
        expected = plain_samples(Loader(both[1], 4, threads=1))
    assert found == expected
    assert told == sorted(record.getMessage() for record in caplog.records)
    assert len(told) == 4
    loader.close()


def test_too_many_unreadable_images(tmp_path: Path) -> None:
    yaml = write_coloured(tmp_path / "set", COUNT)
    samples = dataset(yaml, imgsz=FULL, max_bad_share=0.01)
    Path(samples.paths[0]).write_bytes(b"")
    loader = nvjpeg_loader(samples, 4, threads=1)
    with pytest.raises(DataError, match="cannot be read"):
        plain_samples(loader)
    loader.close()


def test_what_cannot_be(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    samples = dataset(data)
    with pytest.raises(ConfigError, match="jpeg: got 'nvjpeg' without a device"):
        Loader(samples, 4, jpeg="nvjpeg")
    with pytest.raises(ConfigError, match="jpeg: got 'gpu', expected one of cpu, nvjpeg"):
        Loader(samples, 4, device="cpu", jpeg="gpu")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="decoded pictures are cached"):
        Loader(dataset(data, cache="ram"), 4, device="cpu", jpeg="nvjpeg")
    monkeypatch.setenv("YOLOFAST_NVJPEG", "/nowhere/libnvjpeg.so.13")
    with pytest.raises(MissingExtraError, match="nvJPEG is not found"):
        Loader(samples, 4, device="cpu", jpeg="nvjpeg")


def test_exit_waits_for_what_is_in_work() -> None:
    """Or a thread would be inside nvJPEG while the interpreter, and CUDA with it, is taken down."""
    script = (
        "import threading, time\n"
        "from yolofast.load.execute.nvjpeg import NvJpegGroups, _Group\n"
        "class Slow(NvJpegGroups):\n"
        "    def _decode(self, group):\n"
        "        time.sleep(0.5)\n"
        "        print('decoded', flush=True)\n"
        "class Decoder:\n"
        "    def empty(self, size): return None\n"
        "groups = Slow(None, Decoder())\n"
        "groups.submit(_Group(None, None, groups.free[0]))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "decoded\n"), done.stderr
