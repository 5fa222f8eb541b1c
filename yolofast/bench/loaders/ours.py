"""Our loader as it is measured, alone or as a participant, and JPEG decode alone as the floor."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from yolofast.bench.peers.serve import Answer, Requests, timed, versions
from yolofast.config import AugmentConfig, Cache
from yolofast.formats.data_yaml import list_images, read_data_yaml
from yolofast.kernels import decode_jpeg, jpeg_info
from yolofast.load import DataFlowMonitor, Loader, YOLODataset
from yolofast.types import Batch, JpegInfo, Split

BATCH = 16
ENDLESS = 2**31
"""Epochs of the run that is measured: the last ones would have no mosaics."""
FLOORS: Mapping[str, str] = {"decode to planes": "auto", "libjpeg-turbo to planes": "turbo"}
"""Decode alone, of the same files at full size from memory: participant -> decoder."""


@dataclass(frozen=True)
class LoaderWork:
    """What is loaded and how; fields as of `YOLODataset` and `Loader`."""

    data: Path
    split: Split
    imgsz: int
    threads: int
    augment: AugmentConfig | None
    cache: Cache

    def loader(self) -> Loader:
        """A loader of batches of 16 with mosaics in every epoch, however many are measured."""
        augment = None if self.augment is None else replace(self.augment, close_mosaic=0)
        dataset = YOLODataset(
            self.data,
            self.split,
            imgsz=self.imgsz,
            augment=augment,
            shuffle=augment is not None,
            epochs=ENDLESS,
            cache=self.cache,
        )
        return Loader(dataset, batch_size=BATCH, threads=self.threads, monitor=DataFlowMonitor(warm_up=0))


def measure_loader(
    data: Path,
    split: Split,
    *,
    imgsz: int,
    threads: int,
    augment: AugmentConfig | None,
    seconds: float,
    cache: Cache = "none",
) -> dict[str, Any]:
    """Samples per second of our loader in this process over at least `seconds`, from file read to batch.

    Epochs repeat until the time is up. The first epoch is not measured when it fills a cache; otherwise one
    batch comes first. Nothing is prefetched when the clock starts. Returns images_per_s and what was
    measured.
    """
    loader = LoaderWork(data, split, imgsz, threads, augment, cache).loader()
    count = len(loader.dataset)
    _load(loader, samples=count if cache != "none" else min(count, BATCH))
    started = time.perf_counter()
    images = _load(loader, until=started + seconds)
    elapsed = time.perf_counter() - started
    return {
        "images_per_s": images / elapsed,
        "images": images,
        "seconds": elapsed,
        "threads": threads,
        "imgsz": imgsz,
        "augment": augment is not None,
        "cache": cache,
        "dataset_images": count,
        "data": str(data),
    }


def _load(loader: Any, *, samples: int = 0, until: float = 0.0) -> int:
    """Take batches until both are reached; returns the number of samples."""
    made = 0
    for epoch in itertools.count():
        loader.set_epoch(epoch)
        for batch in loader:
            made += len(batch)
            if made >= samples and time.perf_counter() >= until:
                return made
    raise AssertionError("epochs never end")


class _Epochs:
    """Whole epochs of a loader: between two of them it is idle and holds no prefetched batch."""

    def __init__(self, loader: Loader) -> None:
        self.loader, self.epoch = loader, 0

    def batches(self) -> Iterator[Batch]:
        self.loader.set_epoch(self.epoch)
        self.epoch += 1
        yield from self.loader

    def run(self, count: int) -> int:
        made = 0
        while made < count:
            made += sum(len(batch) for batch in self.batches())
        return made

    def save(self, count: int, images: int, to: str) -> Answer:
        shown: list[Any] = []
        boxes: list[int] = []
        while len(boxes) < count:
            for batch in self.batches():
                wanted = max(0, images - len(shown))
                shown.extend(np.array(batch.images[:wanted]))
                boxes.extend(np.bincount(batch.targets[:, 0].astype(int), minlength=len(batch)).tolist())
        np.savez(to, images=np.stack(shown), boxes=np.array(boxes[:count], dtype=np.int64))
        return {"samples": count}

    def stages(self) -> dict[str, float]:
        """Total seconds of each stage so far."""
        monitor = self.loader.monitor
        found = {} if monitor is None else monitor.report()["stages"]
        return {name: stage["total_s"] for name, stage in found.items()}


class _Decode:
    """The decoder alone, into memory that it has used before: fresh pages would cost extra."""

    def __init__(self, data: Path, split: Split, decoder: Any) -> None:
        paths = list_images(read_data_yaml(data), split)
        files = [path.read_bytes() for path in paths]
        self.files = [data for data in files if data.startswith(b"\xff\xd8\xff")]
        self.kinds = [jpeg_info(data) for data in self.files]
        self.decoder = decoder
        self.out: dict[JpegInfo, Any] = {}

    def run(self, count: int) -> int:
        for index in range(count):
            data, kind = self.files[index % len(self.files)], self.kinds[index % len(self.files)]
            self.out[kind] = decode_jpeg(data, layout="ycc", decoder=self.decoder, out=self.out.get(kind))
        return count


def participate(job: Mapping[str, Any]) -> tuple[Answer, Requests]:
    """Build the loader, or with a key of `FLOORS` as `floor` that decoder alone, for what the job describes.

    The other keys are the fields of `LoaderWork`; `augment` True is the default training augmentation.
    """
    data, split = Path(job["data"]), job["split"]
    packages = {"versions": versions(("numpy", "yolofast"))}
    if job["floor"] is not None:
        decode = _Decode(data, split, FLOORS[job["floor"]])
        if not decode.files:
            return {"left_out": "there is no JPEG among the images"}, {}
        return packages, {"run": timed(decode.run)}
    augment = AugmentConfig() if job["augment"] else None
    loader = LoaderWork(data, split, job["imgsz"], job["threads"], augment, job["cache"]).loader()
    epochs = _Epochs(loader)
    requests: Requests = {"run": timed(epochs.run), "save": epochs.save, "stages": epochs.stages}
    return {**packages, "images": len(loader.dataset)}, requests
