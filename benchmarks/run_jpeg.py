"""JPEG decode of real files against libjpeg-turbo 2 and 3, simplejpeg and OpenCV: writes results/jpeg.json.

    python benchmarks/run_jpeg.py --peers-python peers/bin/python

`peers` is the environment of requirements-peers.txt; simplejpeg and opencv-python-headless are enough of it,
and Pillow, whose wheel brings libjpeg-turbo 3.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from folders import DATA, RESULTS

from yolofast.bench.figures import write_result
from yolofast.bench.jpeg import JpegComparison, compare_jpeg


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA, help="the folder with coco128 and bccd_voc")
    parser.add_argument("--peers-python", type=Path, default=Path(sys.executable))
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--folder", type=Path, default=RESULTS, help="where jpeg.json is written")
    options = parser.parse_args()
    folders = {"coco128": "coco128/images/train2017", "bccd": "bccd_voc/JPEGImages"}
    sets = {name: sorted((options.data / folder).glob("*.jpg")) for name, folder in folders.items()}
    for name, paths in sets.items():
        if not paths:
            raise SystemExit(f"no *.jpg in {options.data / folders[name]}: give the data folder with --data")
    figures = compare_jpeg(JpegComparison(sets, options.peers_python, options.rounds), report=print)
    for peer, reason in figures["left_out"].items():
        print(f"{peer}: left out: {reason}")
    path = options.folder / "jpeg.json"
    print(write_result(path, figures["entries"], ("numpy", "yolofast"), figures["versions"]))


if __name__ == "__main__":
    main()
