"""What a change costs the data commands: two source trees on one COCO-sized dataset, in alternating rounds.

Reads and writes YOLO, COCO and Pascal VOC: coco_sized.py makes the first two, and the VOC files are converted
from them once. Every command runs in a fresh process, all files in the page cache. Writes
results/data_before_after.json: seconds and peak memory with either tree, and the ratio before / after within
each round; above 1, the change is faster.

    python benchmarks/run_data_before_after.py ROOT --before TREE [--after TREE] [--rounds N]
"""

from __future__ import annotations

import argparse
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from coco_sized import BOXES, IMAGES, make
from folders import RESULTS

from yolofast.bench import data_stages
from yolofast.bench.data_stages import run_command
from yolofast.bench.figures import ratio, spread, write_result
from yolofast.bench.protocol import Participants, interleave

COMMANDS = {
    **data_stages.COMMANDS,
    "analyze_voc": ("analyze", "voc", "--json"),
    "prepare_voc": ("prepare", "voc", "--out", "OUT"),
    "convert_to_coco": ("convert", "yolo", "--to", "coco", "--out", "OUT"),
    "convert_to_voc": ("convert", "yolo", "--to", "voc", "--out", "OUT"),
}
"""Entry -> command line, as in `data_stages.COMMANDS`."""
HERE = Path(__file__).resolve().parents[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("root", type=Path, help="folder that holds the dataset, or where it is made")
    parser.add_argument("--before", type=Path, required=True, help="source tree, with its kernels built")
    parser.add_argument("--after", type=Path, default=HERE)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=int, default=IMAGES)
    parser.add_argument("--boxes", type=int, default=BOXES)
    parser.add_argument("--only", nargs="*", choices=COMMANDS, default=tuple(COMMANDS))
    options = parser.parse_args()
    root = make(options.root.resolve(), options.images, options.boxes)
    trees = {"before": options.before.resolve(), "after": options.after.resolve()}
    entries: dict[str, Any] = {}
    with Participants(Path("/")) as participants, tempfile.TemporaryDirectory(dir=root) as folder:
        outputs = Path(folder)
        if not (root / "voc").exists():
            to_voc = ("convert", "yolo", "--to", "voc", "--out", str(root / "voc"))
            run_command(root, to_voc, outputs, participants, trees["before"])
        for name in options.only:
            arguments = COMMANDS[name]
            runs = {
                which: partial(run_command, root, arguments, outputs, participants, tree)
                for which, tree in trees.items()
            }
            results = interleave(runs, options.rounds, warm_up=1)
            seconds = {which: [each for each, _ in found] for which, found in results.items()}
            entries[name] = {
                "what": f"yolofast {' '.join(arguments)}",
                "rounds": options.rounds,
                "seconds": {which: spread(each) for which, each in seconds.items()},
                "peak_mib": {
                    which: max(round(peak) for _, peak in found) for which, found in results.items()
                },
                "ratio": ratio(seconds["before"], seconds["after"]),
            }
            print(f"{name}: {entries[name]}", flush=True)
    print(write_result(RESULTS / "data_before_after.json", entries, ("numpy", "yolofast")))


if __name__ == "__main__":
    main()
