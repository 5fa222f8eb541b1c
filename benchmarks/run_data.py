"""The data stages on a dataset of COCO's size (coco_sized.py): writes results/data.json.

The label scan (find, open and check every image header and label file) against Ultralytics', interleaved; and
what `analyze`, `check` and `prepare` take on the same boxes as YOLO and as COCO: seconds and peak memory of a
fresh process, all files in the page cache.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from coco_sized import make
from folders import RESULTS

from yolofast.bench.data_stages import DataComparison, measure_data
from yolofast.bench.figures import write_result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("root", type=Path, help="folder that holds the dataset, or where it is made")
    parser.add_argument("--peers-python", type=Path, default=Path(sys.executable))
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    root = make(options.root.resolve())
    figures = measure_data(DataComparison(root, options.peers_python, options.rounds), report=print)
    print(write_result(RESULTS / "data.json", figures["entries"], ("numpy", "yolofast"), figures["versions"]))


if __name__ == "__main__":
    main()
