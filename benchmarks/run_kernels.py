"""Kernels against OpenCV and numpy, one thread each, interleaved: writes results/kernels.json."""

from __future__ import annotations

import cv2
from folders import RESULTS

from yolofast.bench.figures import OURS, write_result
from yolofast.bench.kernels import CASES
from yolofast.bench.protocol import compare_calls


def main() -> None:
    cv2.setNumThreads(1)
    entries = {}
    for name, make in CASES.items():
        case = make()
        case.check()
        entries[name] = {"what": case.what, "threads": 1, **compare_calls(case.ours, case.peers)}
        ratios = ", ".join(f"{r['median']:.2f}x {peer}" for peer, r in entries[name]["ratio"].items())
        print(f"{case.what}: {entries[name]['ms'][OURS]['median']:.3f} ms, {ratios}")
    print(write_result(RESULTS / "kernels.json", entries, ("numpy", "opencv-python-headless", "yolofast")))


if __name__ == "__main__":
    main()
