"""Trained checkpoints of a peer against their import: outputs after real training steps, and mAP.

    python benchmarks/evaluation_parity.py steps --peer-python PYTHON --data DATA.yaml [--models ...]
    python benchmarks/evaluation_parity.py map --peer-python PYTHON --data DATA.yaml [--trained FOLDER]

`steps` has the peer (Ultralytics) train every network for two steps of its own optimizer, and compares the
raw outputs of its checkpoints with those of the import. `map` has it train one small network of each family
until it knows the images (FOLDER/NAME.pt is taken instead where it is there), evaluates with its `val` and
with ours, and has pycocotools judge the predictions of both. The images are letterboxed before, as PNG, so
that both programs see the same pixels. Writes results/weights_parity.json, besides what weights_parity.py
writes.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from weights_parity import MODELS, PEER_OUTPUTS, TOLERANCE, compared, write

from yolofast.config import YOLOConfig
from yolofast.data_source import dataset_of
from yolofast.images import read_image
from yolofast.load import YOLODataset
from yolofast.models import load_weights
from yolofast.pipeline import evaluate_run
from yolofast.prepare import convert_dataset

TRAINED = ("yolov8n", "yolo11n", "yolo26n")
SIDE, STEPS_SIDE = 320, 64
IMAGES = 8
SETTINGS = {"conf": 0.001, "iou": 0.7, "max_det": 300}
MAP_TOLERANCE = 0.001

PEER_STEPS = (
    PEER_OUTPUTS
    + """
import copy, json, sys
import numpy as np
import torch
from ultralytics import YOLO, __version__

name, folder, side = sys.argv[1], sys.argv[2], int(sys.argv[3])
YOLO(name + ".yaml").train(data=folder + "/set/data.yaml", epochs=1, imgsz=side, batch=4, device="cpu",
    workers=0, plots=False, val=False, project=folder, name="run", exist_ok=True, save_period=1,
    warmup_epochs=0, nbs=4)
images = torch.from_numpy(np.load(folder + "/images.npy")).float() / 255
found = {}
import shutil
for kind, file in (("training", "epoch0"), ("stripped", "last")):
    shutil.copy(f"{folder}/run/weights/{file}.pt", f"{folder}/{kind}.pt")
    whole = torch.load(f"{folder}/{kind}.pt", map_location="cpu", weights_only=False)
    found |= outputs_of((whole.get("ema") or whole["model"]).float().eval(), images, kind)
np.savez(folder + "/outputs.npz", **found)
print("\\n" + json.dumps({"version": __version__}))
"""
)

PEER_TRAIN = """
import sys
from ultralytics import YOLO
name, data, folder, side, epochs = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5])
YOLO(name + ".yaml").train(data=data, epochs=epochs, imgsz=side, batch=8, device="cpu", workers=0,
    plots=False, val=False, project=folder, name="run", exist_ok=True, optimizer="AdamW", lr0=0.002,
    warmup_epochs=1,
    weight_decay=0, mosaic=0, hsv_h=0, hsv_s=0, hsv_v=0, translate=0, scale=0, fliplr=0, erasing=0)
"""

PEER_VAL = """
import json, sys
from ultralytics import YOLO, __version__
weights, data, folder, side, settings = *sys.argv[1:4], int(sys.argv[4]), json.loads(sys.argv[5])
found = YOLO(weights).val(data=data, imgsz=side, rect=False, batch=8, device="cpu", workers=0, plots=False,
    half=False, save_json=True, project=folder, name="val", exist_ok=True, **settings)
print("\\n" + json.dumps({"version": __version__, "map50": found.box.map50, "map50_95": found.box.map}))
"""


def peer(python: str, code: str, *words: object) -> dict[str, Any]:
    """Run code of the peer; what its last line says."""
    done = subprocess.run([python, "-c", code, *map(str, words)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"the peer failed:\n{done.stderr[-2000:]}")
    last = done.stdout.strip().splitlines()[-1] if done.stdout.strip() else ""
    return json.loads(last) if last.startswith("{") else {}


def letterboxed_set(data: Path, out: Path, side: int, count: int) -> Path:
    """data.yaml of the first training images as PNG of side x side, for training and validation."""
    source = dataset_of(YOLOConfig().replace(data=data))
    dataset = YOLODataset(source, "train", imgsz=side)
    for kind in ("images", "labels"):
        (out / kind / "train").mkdir(parents=True)
    for number in range(count):
        sample = dataset[number]
        picture = np.ascontiguousarray(np.asarray(sample.image).transpose(1, 2, 0)[:, :, ::-1])
        cv2.imwrite(str(out / "images" / "train" / f"{number + 1:06}.png"), picture)
        rows = np.asarray(sample.labels, np.float64)
        lines = (f"{int(row[0])} " + " ".join(f"{value:.8f}" for value in row[1:5]) + "\n" for row in rows)
        (out / "labels" / "train" / f"{number + 1:06}.txt").write_text("".join(lines), encoding="utf-8")
    names = dict(enumerate(source.names))
    text = {"path": str(out), "train": "images/train", "val": "images/train", "names": names}
    (out / "data.yaml").write_text(json.dumps(text), encoding="utf-8")
    return out / "data.yaml"


def judged(truth: Path, predictions: list[dict[str, Any]]) -> dict[str, float]:
    """What pycocotools says of predictions."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    if not predictions:  # which pycocotools does not take
        return {"map50_95": 0.0, "map50": 0.0}
    with contextlib.redirect_stdout(io.StringIO()):
        ground = COCO(str(truth))
        run = COCOeval(ground, ground.loadRes(predictions), "bbox")
        run.evaluate()
        run.accumulate()
        run.summarize()
    return {"map50_95": float(run.stats[0]), "map50": float(run.stats[1])}


def compare_steps(python: str, data: Path, models: list[str]) -> int:
    failed = False
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        letterboxed_set(data, root / "set", STEPS_SIDE, 8)
        pixels = np.stack(
            [read_image(path).transpose(2, 0, 1) for path in sorted((root / "set").rglob("*.png"))]
        )
        np.save(root / "images.npy", pixels)
        for name in models:
            said = peer(python, PEER_STEPS, name, root, STEPS_SIDE)
            found = {kind: compared(root, kind)[0] for kind in ("training", "stripped")}
            shutil.rmtree(root / "run")
            failed |= max(found.values()) > TOLERANCE
            print(f"{name}: {found}", flush=True)
            row = {"peer": f"ultralytics {said['version']}", "images": f"8 at {STEPS_SIDE} px", "steps": 2}
            write({name: {**row, "largest_difference": found}}, "after_training_steps")
    return int(failed)


def compare_map(python: str, data: Path, trained: Path, epochs: int, models: list[str]) -> int:
    failed = False
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        yaml = letterboxed_set(data, root / "set", SIDE, IMAGES)
        annotations = convert_dataset(yaml, to="coco", out=root / "coco").root / "annotations"
        (truth,) = annotations.glob("*.json")
        for name in models:
            weights = trained / f"{name}.pt"
            if not weights.exists():
                peer(python, PEER_TRAIN, name, yaml, root, SIDE, epochs)
                trained.mkdir(parents=True, exist_ok=True)
                shutil.copy(root / "run" / "weights" / "last.pt", weights)
            row = compared_map(python, weights, yaml, truth, root)
            write({name: row}, "evaluation")
            gap = max(
                abs(row["peer_judged_by_pycocotools"][key] - row["ours"][key])
                for key in ("map50", "map50_95")
            )
            failed |= gap > MAP_TOLERANCE or row["ours"] != row["ours_judged_by_pycocotools"]
            print(f"{name}: {json.dumps(row)}", flush=True)
    return int(failed)


def compared_map(python: str, weights: Path, yaml: Path, truth: Path, root: Path) -> dict[str, Any]:
    """The figures of one network by both programs, and pycocotools' figures of both predictions."""
    model = load_weights(weights)
    config = YOLOConfig().replace(data=yaml, imgsz=SIDE, batch=8, workers=0, device="cpu")
    ours = evaluate_run(model, config, split="val", save_dir=root / "ours", **SETTINGS)
    own = {"map50": float(ours.metrics.stats[1]), "map50_95": float(ours.metrics.stats[0])}
    judged_ours = judged(truth, json.loads((root / "ours" / "predictions.json").read_text()))
    first = min(entry["id"] for entry in json.loads(truth.read_text())["categories"])
    row: dict[str, Any] = {"images": f"{IMAGES} of training at {SIDE} px, letterboxed before", **SETTINGS}
    kinds = {"": SETTINGS, "_default_head": SETTINGS}
    if model.end_to_end:
        kinds[""] = SETTINGS | {"end2end": True}
        row["head"] = "one-to-one, no NMS (end2end=True); the peer's default is the other head with NMS"
    else:
        del kinds["_default_head"]
    for kind, settings in kinds.items():
        said = peer(python, PEER_VAL, weights, yaml, root, SIDE, json.dumps(settings))
        theirs = json.loads((root / "val" / "predictions.json").read_text())
        for entry in theirs:  # the peer counts classes from 1 and names images by their file
            entry["category_id"] += first - 1
            entry["image_id"] = int(entry["image_id"])
        row[f"peer{kind}"] = {"map50": said["map50"], "map50_95": said["map50_95"]}
        row[f"peer{kind}_judged_by_pycocotools"] = judged(truth, theirs)
        row["version"] = f"ultralytics {said['version']}"
    return {**row, "ours": own, "ours_judged_by_pycocotools": judged_ours}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["steps", "map"])
    parser.add_argument("--peer-python", required=True, help="interpreter of an environment with ultralytics")
    parser.add_argument("--data", type=Path, required=True, help="data.yaml of a dataset in YOLO's layout")
    parser.add_argument("--models", nargs="+", choices=MODELS)
    parser.add_argument("--trained", type=Path, default=Path("runs/parity"), help="folder of NAME.pt")
    parser.add_argument("--epochs", type=int, default=60)
    args = parser.parse_args()
    if args.what == "steps":
        return compare_steps(args.peer_python, args.data, args.models or MODELS)
    return compare_map(args.peer_python, args.data, args.trained, args.epochs, args.models or list(TRAINED))


if __name__ == "__main__":
    sys.exit(main())
