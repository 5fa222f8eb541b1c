"""Trains n, yolo11n and yolo26n from scratch beside the peer's networks of the same size: their mAP.

    python benchmarks/families.py --peer-python PEER/bin/python --data NAME=SIDE=DATA_YAML [...]

Same split, input size, epochs, batch, one step per batch (nbs=16 for the peer), each side with the settings
that it chooses itself. A run is one row of benchmarks/results/families.json; rows that are there are not run
again, so that the table can be filled in several sittings. mAP is that of the best checkpoint on the split
`val`, by this package's evaluator for both: the peer's file is imported. Its own figure is kept beside.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from folders import REPOSITORY, RESULTS

from yolofast.bench.figures import write_result

TARGET = RESULTS / "families.json"
PEERS = {"n": "yolov8n", "yolo11n": "yolo11n", "yolo26n": "yolo26n"}
PEER = """
import json, sys, time
from pathlib import Path
import torch, ultralytics, yaml
data, model, side, epochs, batch, seed, folder = sys.argv[1:]
torch.set_num_threads(1)
split = yaml.safe_load(open(data))
split["path"] = str(Path(data).resolve().parent)
Path(folder).mkdir(parents=True, exist_ok=True)
(Path(folder) / "data.yaml").write_text(yaml.safe_dump(split))
begin = time.perf_counter()
net = ultralytics.YOLO(model + ".yaml")
found = net.train(
    data=str(Path(folder) / "data.yaml"), imgsz=int(side), epochs=int(epochs), batch=int(batch), nbs=16,
    seed=int(seed), workers=0, device="cpu", project=folder, name="run", plots=False, verbose=False)
said = {"map50": float(found.box.map50), "map50_95": float(found.box.map), "best": str(net.trainer.best)}
said |= {"seconds": time.perf_counter() - begin, "version": ultralytics.__version__}
print("SAID " + json.dumps(said))
"""


def evaluated(weights: Path, data: Path, side: int, batch: int) -> dict[str, float]:
    """map50 and map50_95 of a weights file on the split `val`, by this package."""
    import torch

    from yolofast import YOLO

    torch.set_num_threads(1)

    found = YOLO(weights).val(data=data, imgsz=side, batch=batch)
    return {"map50": found.map50, "map50_95": found.map50_95}


def train_ours(data: Path, model: str, side: int, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "yolofast.cli", "train", "--data", str(data), "--model", model]
        command += ["--imgsz", str(side), "--epochs", str(options.epochs), "--batch", str(options.batch)]
        command += ["--seed", str(seed), "--project", folder, "--name", "run"]
        begin = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, env=one_thread())
        seconds = time.perf_counter() - begin
        if done.returncode:
            raise SystemExit(f"{model}: training failed:\n{done.stderr[-2000:]}")
        best = Path(folder) / "run" / "weights" / "best.safetensors"
        return evaluated(best, data, side, options.batch) | {"seconds": round(seconds, 1)}


def train_peer(data: Path, model: str, side: int, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        values = [data, PEERS[model], side, options.epochs, options.batch, seed, folder]
        command = [options.peer_python, "-c", PEER, *map(str, values)]
        done = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=one_thread())
        said = [line for line in done.stdout.splitlines() if line.startswith("SAID ")]
        if done.returncode or not said:
            raise SystemExit(f"{model}: the peer failed:\n{done.stderr[-2000:]}")
        own = json.loads(said[0].removeprefix("SAID "))
        return evaluated(Path(own["best"]), data, side, options.batch) | {
            "seconds": round(own["seconds"], 1),
            "peer": f"ultralytics {own['version']}, {PEERS[model]}",
            "its_own_figures": {"map50": own["map50"], "map50_95": own["map50_95"]},
        }


def one_thread() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def commit() -> str:
    command = ["git", "describe", "--always", "--dirty"]
    return subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY).stdout.strip()


def table(rows: dict[str, dict[str, Any]]) -> str:
    """Means over the seeds, one line per dataset, side and model."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for name, row in rows.items():
        groups.setdefault(name.rpartition(" ")[0], []).append(row)
    lines = []
    for name, found in sorted(groups.items()):
        means = [
            sum(row[metric] for row in found) / len(found) for metric in ("map50", "map50_95", "seconds")
        ]
        lines.append(f"{name:28} {means[0]:.4f} {means[1]:.4f} {means[2]:7.0f} s  {len(found)} seeds")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peer-python", help="interpreter of an environment with ultralytics; omitted: ours")
    parser.add_argument("--data", nargs="+", required=True, help="NAME=SIDE=DATA_YAML of each dataset")
    parser.add_argument("--sides", nargs="+", choices=("ours", "peer"), default=["ours", "peer"])
    parser.add_argument("--models", nargs="+", choices=tuple(PEERS), default=list(PEERS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--target", type=Path, default=TARGET)
    options = parser.parse_args()
    if "peer" in options.sides and options.peer_python is None:
        parser.error("--sides peer: needs --peer-python")
    for seed in options.seeds:
        for dataset in options.data:
            name, side, data = dataset.split("=", 2)
            for model in options.models:
                for who in options.sides:
                    run(f"{name} {who} {model} {seed}", who, Path(data), model, int(side), seed, options)
    print(table(read(options.target)))


def read(target: Path) -> dict[str, dict[str, Any]]:
    return json.loads(target.read_text())["entries"] if target.exists() else {}


def run(
    name: str, who: str, data: Path, model: str, side: int, seed: int, options: argparse.Namespace
) -> None:
    if name in read(options.target):
        return
    train = train_ours if who == "ours" else train_peer
    row = train(data, model, side, seed, options)
    row["settings"] = {"imgsz": side, "epochs": options.epochs, "batch": options.batch}
    row["commit"] = commit()
    write_result(options.target, {**read(options.target), name: row}, ("torch", "numpy", "yolofast"))
    print(f"{name}: {row['map50']:.4f} / {row['map50_95']:.4f} in {row['seconds']:.0f} s", flush=True)


if __name__ == "__main__":
    main()
