"""What hooks cost: the loader with and without them, interleaved, from decoded images in memory.

Writes results/hooks.json. The hook that does nothing is the price of the call itself: it should stay below
2 % of a sample. The others are the examples of docs/hooks.md, one of them as plain Python, too.
"""

from __future__ import annotations

import argparse
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from folders import DATA, REPOSITORY, RESULTS

from yolofast.bench.figures import OURS, compared_times, write_result
from yolofast.bench.protocol import interleave
from yolofast.config import AugmentConfig
from yolofast.load import Loader, YOLODataset
from yolofast.load.hooks import Hook, hook

BATCH = 16


@hook(draws=1)
def nothing(image, labels, draws):  # type: ignore[no-untyped-def]
    """Does nothing, with every possible argument."""


def examples() -> tuple[Hook, ...]:
    """The two hooks of docs/hooks.md."""
    page = (REPOSITORY / "docs" / "hooks.md").read_text(encoding="utf-8")
    names: dict[str, Any] = {}
    for block in re.findall(r"^```python\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)[:2]:
        exec(block, names)
    return names["gray_sometimes"], names["random_erasing"]


def milliseconds_per_sample(loader: Loader, seconds: float) -> Callable[[], float]:
    """Runs whole epochs for about `seconds`."""

    def run() -> float:
        samples, started = 0, time.perf_counter()
        while time.perf_counter() - started < seconds:
            samples += sum(len(batch) for batch in loader)
        return (time.perf_counter() - started) / samples * 1e3

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", nargs="?", type=Path, default=DATA / "coco128" / "data.yaml")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=2.0, help="length of a round of each variant")
    options = parser.parse_args()
    gray, erasing = examples()
    variants: dict[str, tuple[Hook, ...]] = {
        OURS: (),
        "nothing": (nothing,),
        "gray_sometimes": (gray,),
        "random_erasing": (erasing,),
        "random_erasing, plain Python": (Hook(erasing.function, draws=erasing.draws, compiled=False),),
    }
    entries = {}
    for imgsz in (320, 640):
        runs = {}
        for name, hooks in variants.items():
            dataset = YOLODataset(
                options.data, "train", imgsz=imgsz, augment=AugmentConfig(), cache="ram", hooks=hooks
            )
            runs[name] = milliseconds_per_sample(Loader(dataset, BATCH, threads=1), options.seconds)
        times = interleave(runs, options.rounds, warm_up=1)
        entries[f"ram_{imgsz}"] = {
            "what": f"training samples of {imgsz} px from decoded images in memory, one thread; ms per "
            "sample, and the ratio to the loader without hooks",
            "rounds": options.rounds,
            **compared_times(times),
        }
        for name, figures in entries[f"ram_{imgsz}"]["ratio"].items():
            print(f"{imgsz} px, {name}: {100 * (figures['median'] - 1):+.2f} %", flush=True)
    print(write_result(RESULTS / "hooks.json", entries, ("numpy", "numba", "yolofast")))


if __name__ == "__main__":
    main()
