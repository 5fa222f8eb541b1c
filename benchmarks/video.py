"""Frames per second of prediction on a video, and the latency of one array, compared with Ultralytics.

    python benchmarks/video.py --peer-python PEER/bin/python [--frames 300] [--rounds 7]

Both predict the same Motion JPEG video with the same weights (yolov8n, drawn by the peer by seed and imported
from its .pt) at 320 x 320, each in a process of its own on the same single core with one torch thread, in
alternating rounds. Frames are square, so that both networks see one shape. Writes results/video.json.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from folders import REPOSITORY, RESULTS

from yolofast.bench.figures import machine
from yolofast.bench.process import cores, environment
from yolofast.bench.protocol import interleave

IMGSZ, SIDE = 320, 640
ARRAY = (480, 640)
CALLS = 30
BATCHES = (1, 2, 4, 8)
BAR_MS = 2.0
"""What the prediction of one array may cost beyond its inference."""

MAKE = """
import sys, torch
from ultralytics import YOLO
torch.manual_seed(0)
YOLO("yolov8n.yaml").save(sys.argv[1])
"""

SERVE = """
import json, sys, time
import numpy as np
import torch
torch.set_num_threads(1)
who, weights, video, imgsz, height, width, calls = sys.argv[1:8]
image = np.random.default_rng(0).integers(0, 256, (int(height), int(width), 3), np.uint8)
options = {"imgsz": int(imgsz), "device": "cpu"}
if who == "peer":
    from ultralytics import YOLO, __version__
    options["verbose"] = False
else:
    from yolofast import YOLO, __version__
model = YOLO(weights)
print(json.dumps({"version": __version__}), flush=True)
for line in sys.stdin:
    batch = json.loads(line)
    stages = {"preprocess": 0.0, "inference": 0.0, "postprocess": 0.0}
    times, count = [], 0
    if batch:
        began = time.perf_counter()
        for result in model.predict(video, stream=True, batch=batch, **options):
            count += 1
            for stage in stages:
                stages[stage] += result.speed[stage]
        times.append(time.perf_counter() - began)
    else:
        inside = []
        for _ in range(int(calls)):
            began = time.perf_counter()
            (result,) = model.predict(image, **options)
            times.append(time.perf_counter() - began)
            inside.append(result.speed["inference"])
            for stage in stages:
                stages[stage] += result.speed[stage]
        count = len(times)
        times = sorted(1e3 * t - ms for t, ms in zip(times, inside)), sorted(1e3 * t for t in times)
        times = [found[len(found) // 2] for found in times]
    print(json.dumps({"times": times, "count": count, "stages": stages}), flush=True)
"""


class Server:
    """A process that predicts the video (a batch size) or single arrays (0) when asked."""

    def __init__(self, python: str, who: str, weights: Path, video: Path, scratch: Path) -> None:
        core = str(cores(1)[0])
        numbers = [str(value) for value in (IMGSZ, *ARRAY, CALLS)]
        command = ["taskset", "-c", core, python, "-c", SERVE, who, str(weights), str(video), *numbers]
        variables = environment(scratch, 1)
        if who == "ours":
            variables |= {"PYTHONPATH": str(REPOSITORY)}
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=variables
        )
        self.version = self._answer()["version"]

    def ask(self, batch: int) -> dict[str, Any]:
        """What it measured."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{batch}\n")
        self._process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        """End it."""
        self._process.communicate()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("{"):  # the peer also says other things
                found: dict[str, Any] = json.loads(line)
                return found
        raise SystemExit(f"a process ended with {self._process.wait()}")


def write_video(path: Path, count: int) -> None:
    """Frames with moving shapes on a smooth ground: about as hard to decode as a photograph."""
    rng = np.random.default_rng(0)
    ground = cv2.resize(
        rng.integers(0, 256, (20, 20, 3), np.uint8), (SIDE, SIDE), interpolation=cv2.INTER_CUBIC
    )
    ground = cv2.add(ground, rng.integers(0, 20, ground.shape, np.uint8))
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25.0, (SIDE, SIDE))
    for number in range(count):
        frame = ground.copy()
        cv2.circle(frame, (number * 7 % SIDE, number * 3 % SIDE), 60, (20, 200, 240), -1)
        writer.write(frame)
    writer.release()


def video_row(answers: list[dict[str, Any]]) -> dict[str, Any]:
    """Medians over rounds; stages in ms per frame, which overlap in ours where there are several cores."""
    rates = [answer["count"] / answer["times"][0] for answer in answers]
    stages = {
        name: round(statistics.median(a["stages"][name] / a["count"] for a in answers), 3)
        for name in answers[0]["stages"]
    }
    return {
        "frames_per_second": round(statistics.median(rates), 2),
        "frames": answers[0]["count"],
        "ms": stages,
    }


def array_row(answers: list[dict[str, Any]]) -> dict[str, float]:
    """Medians over rounds, in ms per call."""
    beyond, whole = (statistics.median(answer["times"][i] for answer in answers) for i in (0, 1))
    return {"call_ms": round(whole, 3), "beyond_inference_ms": round(beyond, 3)}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peer-python", required=True, help="interpreter that has Ultralytics")
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", type=Path, default=RESULTS / "video.json")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        scratch = Path(temporary)
        weights, video = scratch / "yolov8n.pt", scratch / "video.avi"
        write_video(video, args.frames)
        variables = environment(scratch, 1)
        made = [args.peer_python, "-c", MAKE, str(weights)]
        subprocess.run(made, check=True, env=variables, cwd=scratch, stdout=subprocess.DEVNULL)
        peer = Server(args.peer_python, "peer", weights, video, scratch)
        ours = Server(sys.executable, "ours", weights, video, scratch)
        runs = {f"ours, batch {batch}": partial(ours.ask, batch) for batch in BATCHES}
        runs |= {"ultralytics, batch 1": partial(peer.ask, 1)}
        runs |= {"ours, one array": partial(ours.ask, 0), "ultralytics, one array": partial(peer.ask, 0)}
        found = interleave(runs, args.rounds, warm_up=1)
        ours.close()
        peer.close()
    document = {
        "machine": machine(),
        "what": f"yolov8n at {IMGSZ} px, one core, {args.rounds} rounds; video {SIDE} x {SIDE} MJPG",
        "versions": {"ours": ours.version, "ultralytics": peer.version},
        "video": {name: video_row(answers) for name, answers in found.items() if "array" not in name},
        "one_array": {name: array_row(answers) for name, answers in found.items() if "array" in name},
        "bar_ms": BAR_MS,
    }
    args.out.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    print(json.dumps({"video": document["video"], "one_array": document["one_array"]}, indent=1))
    return int(document["one_array"]["ours, one array"]["beyond_inference_ms"] > BAR_MS)


if __name__ == "__main__":
    raise SystemExit(main())
