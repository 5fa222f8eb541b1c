"""Kernels against OpenCV and numpy, one thread each, interleaved: writes results/kernels.json."""

from __future__ import annotations

import cv2
from interleave import compare, write_result
from work import CASES


def main() -> None:
    cv2.setNumThreads(1)
    entries = {}
    for name, make in CASES.items():
        case = make()
        case.same()
        entries[name] = {"what": case.what, "threads": 1, **compare(case.ours, case.peers)}
        ratios = ", ".join(f"{r['median']:.2f}x {peer}" for peer, r in entries[name]["ratio"].items())
        print(f"{case.what}: {entries[name]['ms']['yolofast']['median']:.3f} ms, {ratios}")
    print(write_result("kernels", entries, ("numpy", "opencv-python-headless", "yolofast")))


if __name__ == "__main__":
    main()
