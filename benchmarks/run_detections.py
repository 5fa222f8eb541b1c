"""NMS and COCO evaluation against other packages: writes results/nms.json, map.json and their charts.

The peers' packages live in an environment of their own (requirements-peers.txt), whose interpreter is given
with --peers-python. The slow ones among the COCO evaluators run once on the large set, which takes minutes:
they are skipped without --slow.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from folders import RESULTS

from yolofast.bench.chart import plot_bars
from yolofast.bench.detections import coco, nms
from yolofast.bench.detections.coco_set import CocoSet
from yolofast.bench.figures import write_result

PACKAGES = ("numpy", "yolofast")


def run_nms(peers_python: Path) -> None:
    figures = nms.compare_nms(nms.NmsComparison(peers=nms.PEERS, peers_python=peers_python))
    print(nms.text_table(figures), flush=True)
    path = write_result(RESULTS / "nms.json", figures["entries"], PACKAGES, figures["versions"])
    if panels := nms.panels(figures):
        plot_bars(panels, "NMS, one thread", "ms", path.with_suffix(".png"))


def run_map(peers_python: Path, slow: bool) -> None:
    entries, versions = {}, {}
    threads = min(2, len(os.sched_getaffinity(0)))
    for style in ("rounded", "full"):
        work = coco.MapComparison(
            generated=CocoSet(style=style),
            peers=coco.PEERS if slow else coco.FAST_PEERS,
            peers_python=peers_python,
            threads=threads,
        )
        entries[style] = coco.compare_map(work)
        print(coco.text_table(entries[style]), flush=True)
        versions |= entries[style]["versions"]
    path = write_result(RESULTS / "map.json", entries, PACKAGES, versions)
    panels = [panel for figures in entries.values() for panel in coco.panels(figures)]
    plot_bars(panels, f"COCO evaluation, {threads} threads", "", path.with_suffix(".png"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--only", choices=["nms", "map"])
    parser.add_argument("--peers-python", type=Path, default=Path(sys.executable))
    parser.add_argument("--slow", action="store_true")
    options = parser.parse_args()
    if options.only != "map":
        run_nms(options.peers_python)
    if options.only != "nms":
        run_map(options.peers_python, options.slow)


if __name__ == "__main__":
    main()
