"""Our own sides of `yolofast bench loader --peers`: the loader, and JPEG decode alone as the floor.

Run as a process of its own (`python -m yolofast.bench.loader_side JSON`) that answers the same requests as
a peer does (`peers.serve`), so that ours and the others are started, pinned and asked in the same way.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from yolofast import __version__
from yolofast.bench.peers.loaders import private_stdout, serve, timed, versions
from yolofast.config import AugmentConfig, Cache
from yolofast.formats.yolo.data_yaml import list_images, read_data_yaml
from yolofast.kernels import decode_jpeg, jpeg_info
from yolofast.load import DataFlowMonitor, Loader, YOLODataset
from yolofast.types import Batch, JpegInfo, Split

BATCH = 16
ENDLESS = 2**31
"""Epochs of the run that is measured: past the last one there would be no more mosaics."""
FLOORS: Mapping[str, str] = {"decode to planes": "auto", "libjpeg-turbo to planes": "turbo"}
"""Decode alone, of the same files at full size, bytes in memory: side -> decoder."""


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
        """A loader of batches of 16 that makes mosaics in every epoch, however many are measured."""
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
        return Loader(dataset, batch_size=BATCH, threads=self.threads, monitor=DataFlowMonitor())


class _Epochs:
    """Whole epochs of a loader: between two of them it has nothing in hand and does no work."""

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

    def save(self, count: int, images: int, to: str) -> dict[str, Any]:
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
        """Seconds that each stage has taken so far."""
        monitor = self.loader.monitor
        found = {} if monitor is None else monitor.report()["stages"]
        return {name: stage["total_s"] for name, stage in found.items()}


class _Decode:
    """Nothing but the decoder, into memory that it has used before: fresh pages would cost extra."""

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


def main() -> None:
    replies = private_stdout()
    job = json.loads(sys.argv[1])
    side, data, split = job["side"], Path(job["data"]), job["split"]
    hello: dict[str, Any] = {"peer": side, "versions": versions(("numpy",))}
    hello["versions"]["yolofast"] = __version__
    if side in FLOORS:
        decode = _Decode(data, split, FLOORS[side])
        if not decode.files:
            hello = {"left_out": "no JPEG among the images"}
        print(json.dumps(hello), file=replies, flush=True)
        serve({"run": timed(decode.run)}, sys.stdin, replies)
        return
    augment = AugmentConfig() if job["augment"] else None
    loader = LoaderWork(data, split, job["imgsz"], job["threads"], augment, job["cache"]).loader()
    epochs = _Epochs(loader)
    print(json.dumps(hello | {"images": len(loader.dataset)}), file=replies, flush=True)
    serve(
        {"run": timed(epochs.run), "save": epochs.save, "stages": epochs.stages},
        sys.stdin,
        replies,
    )


if __name__ == "__main__":
    main()
