"""How many samples a second a dataset gives, with nothing behind it that waits."""

from __future__ import annotations

import itertools
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from yolofast.config import AugmentConfig
from yolofast.load.dataset import YOLODataset
from yolofast.types import Split

WARM_UP = 8


def measure_loader(
    data: Path,
    split: Split,
    *,
    imgsz: int,
    threads: int,
    augment: AugmentConfig | None,
    seconds: float,
) -> dict[str, Any]:
    """Samples a second of `threads` threads over at least `seconds`; file read to finished sample.

    Every thread takes the next position, over as many epochs as the time lasts; native code holds no
    lock. Returns images_per_s and what was measured.
    """
    dataset = YOLODataset(data, split, imgsz=imgsz, augment=augment, shuffle=augment is not None)
    for position in range(min(WARM_UP, len(dataset))):
        dataset[position]
    counter = itertools.count()
    started = time.perf_counter()

    def work() -> int:
        done = 0
        while time.perf_counter() - started < seconds:
            dataset[divmod(next(counter), len(dataset))]
            done += 1
        return done

    with ThreadPoolExecutor(threads) as pool:
        total = sum(job.result() for job in [pool.submit(work) for _ in range(threads)])
    elapsed = time.perf_counter() - started
    return {
        "images_per_s": total / elapsed,
        "images": total,
        "seconds": elapsed,
        "threads": threads,
        "imgsz": imgsz,
        "augment": augment is not None,
        "cache": "none",
        "dataset_images": len(dataset),
        "data": str(data),
    }
