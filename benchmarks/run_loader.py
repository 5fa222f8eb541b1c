"""The loader against other loaders on coco128, one core each: writes results/loader.json and loader.png.

Three cases: mosaic training from files, the same from decoded images in memory, and validation letterbox
from files; and our own scaling from one thread to two. The peers' packages live in an environment of
their own (requirements-peers.txt), whose interpreter is given with --peers-python.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from folders import DATA, RESULTS

from yolofast.bench.chart import plot_bars
from yolofast.bench.figures import write_result
from yolofast.bench.loaders.comparison import LoaderComparison, compare_loaders
from yolofast.bench.loaders.report import AXIS, panel, text_table, title

CASES: dict[str, dict[str, Any]] = {
    "train_files": {"augment": True, "cache": "none"},
    "train_ram": {"augment": True, "cache": "ram"},
    "letterbox_files": {"augment": False, "cache": "none"},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", nargs="?", type=Path, default=DATA / "coco128", help="folder with data.yaml")
    parser.add_argument("--peers-python", type=Path, default=Path(sys.executable))
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=2.0, help="length of a round of each loader")
    options = parser.parse_args()
    threads = min(2, len(os.sched_getaffinity(0)))
    entries = {}
    for name, case in CASES.items():
        work = LoaderComparison(
            options.data / "data.yaml",
            "train",
            **case,
            peers_python=options.peers_python,
            threads=threads,
            rounds=options.rounds,
            seconds=options.seconds,
        )
        figures = compare_loaders(work)
        print(text_table(figures), flush=True)
        entries[name] = {"what": title(figures), **figures, "data": options.data.resolve().name}
    path = write_result(RESULTS / "loader.json", entries, ("numpy", "yolofast"))
    panels = [panel(figures) for figures in entries.values()]
    cpu = next(iter(entries.values()))["machine"]["cpu"]
    print(path, plot_bars(panels, f"Loaders on {cpu}", AXIS, path.with_suffix(".png")))


if __name__ == "__main__":
    main()
