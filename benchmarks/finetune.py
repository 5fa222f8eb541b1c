"""Fine-tuning weights of another trainer, against training from scratch with the same budget.

    python benchmarks/finetune.py --data DATA.yaml --peer-python PEER/bin/python [--work FOLDER]

The peer (Ultralytics, in its own environment) trains its yolov8n from random weights and measures its own
mAP. Its checkpoint is imported here and measured as it came; then it is fine-tuned. The two trainers compute
mAP differently, so the peer's detections on the same square images are measured here, too: both must agree.
From scratch the same network is trained here for as many epochs as the fine-tuning has, and for as many as
peer and fine-tuning have together. Writes results/finetune.json and finetune.png. What is in the work folder
already is not run again.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from folders import RESULTS

from yolofast.bench.figures import write_result
from yolofast.bench.process import environment
from yolofast.config import YOLOConfig
from yolofast.evaluate import evaluate_coco
from yolofast.files import write_json
from yolofast.formats.data_yaml import read_data_yaml
from yolofast.load import YOLODataset
from yolofast.models import load_weights, save_weights
from yolofast.pipeline import evaluate_run, train_run
from yolofast.result_pictures import new_figure, save_figure
from yolofast.runs import CONFIG_NAME, resumed_config

MODEL = "yolov8n"
PEER_EPOCHS, EPOCHS = 5, 10
BATCH, PEER_BATCH = 16, 4
"""The peer accumulates batches up to 64 and warms up for at least 100 of them: five epochs of 205 images in
batches of 16 end in the warm-up, with mAP 0. So it gets smaller ones, and a step for each."""
THREADS = 1
TOLERANCE = 0.01
"""Largest difference between the mAP of the peer's detections and of ours, by one metric."""

PEER = """
import csv, json, sys
from pathlib import Path
from ultralytics import YOLO, __version__

data, folder, epochs, imgsz, batch = Path(sys.argv[1]), sys.argv[2], *map(int, sys.argv[3:])
options = dict(data=str(data), imgsz=imgsz, batch=batch, device="cpu", workers=0, plots=False)
model = YOLO("yolov8n.yaml")
model.train(**options, epochs=epochs, nbs=batch, project=folder, name="peer", exist_ok=True, pretrained=False,
            amp=False)
weights = Path(model.trainer.save_dir) / "weights" / "last.pt"
found = YOLO(str(weights)).val(**options, rect=False, save_json=True, project=folder, name="peer_val",
                               exist_ok=True)
with open(Path(model.trainer.save_dir) / "results.csv") as file:
    rows = [{key.strip(): float(value) for key, value in row.items()} for row in csv.DictReader(file)]
curve = [{"epoch": row["epoch"], "map50": row["metrics/mAP50(B)"], "map50_95": row["metrics/mAP50-95(B)"]}
         for row in rows]
result = {"weights": str(weights), "version": __version__, "map50": found.box.map50,
          "map50_95": found.box.map, "curve": curve}
Path(folder, "peer.json").write_text(json.dumps(result))
"""


def peer_result(python: str, data: Path, work: Path, imgsz: int) -> dict[str, Any]:
    """The peer's checkpoint, its own mAP of it, and its curve."""
    found = work / "peer.json"
    if not found.exists():
        absolute = work / "data.yaml"  # the peer resolves a relative `path` by a rule of its own
        write_json(absolute, _absolute_data(data))
        numbers = map(str, (PEER_EPOCHS, imgsz, PEER_BATCH))
        command = [python, "-c", PEER, str(absolute), str(work), *numbers]
        with tempfile.TemporaryDirectory() as home:
            subprocess.run(command, env=environment(Path(home), THREADS), stdout=sys.stderr, check=True)
    return dict(json.loads(found.read_text()))


def _absolute_data(data: Path) -> dict[str, Any]:
    """A data.yaml (JSON is YAML) of the same split with absolute paths."""
    read = read_data_yaml(data.resolve())
    folders = {"train": read.splits["train"], "val": read.splits["valid"]}
    paths = {split: [str(path.resolve()) for path in found] for split, found in folders.items()}
    return paths | {"names": dict(enumerate(read.names))}


def measured_here(predictions: Path, data: Path, work: Path) -> dict[str, float]:
    """The COCO mAP of the peer's detections, a predictions.json whose classes count from 1."""
    split = YOLODataset(data, "val")
    numbers = {Path(path).name: number for number, path in enumerate(split.paths, start=1)}
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, (shape, rows) in enumerate(zip(split.shapes, split.labels, strict=True), start=1):
        height, width = map(int, shape)
        images.append({"id": number, "width": width, "height": height})
        for kind, x, y, w, h in rows.astype(float).tolist():
            box = [(x - w / 2) * width, (y - h / 2) * height, w * width, h * height]
            entry = {"image_id": number, "category_id": int(kind), "bbox": box, "area": box[2] * box[3]}
            annotations.append(entry | {"id": len(annotations) + 1, "iscrowd": 0})
    categories = [{"id": number, "name": name} for number, name in enumerate(split.class_names)]
    truth = {"images": images, "annotations": annotations, "categories": categories}
    found = json.loads(predictions.read_text())
    for entry in found:
        entry |= {"image_id": numbers[entry["file_name"]], "category_id": entry["category_id"] - 1}
    write_json(work / "truth.json", truth)
    write_json(work / "found.json", found)
    stats = evaluate_coco(work / "truth.json", work / "found.json").stats
    return {"map50": float(stats[1]), "map50_95": float(stats[0])}


def curve_of(config: YOLOConfig, work: Path) -> dict[str, Any]:
    """The curve of a run in the work folder, which is trained (to its end) unless it was before."""
    found, folder = work / f"{config.logging.name}.json", work / config.logging.name
    if not found.exists():
        begun = (folder / CONFIG_NAME).exists()
        folder, result = train_run(resumed_config(folder) if begun else config.replace(project=work))
        used = YOLOConfig.from_yaml(folder / CONFIG_NAME).training
        names = ("epoch", "map50", "map50_95", "lr")  # no times: this is no comparison of speed
        rows = [{name: row[name] for name in names} for row in result.training_history]
        best = max(rows, key=lambda row: row["map50_95"])
        write_json(found, {"optimizer": used.optimizer, "lr0": used.lr0, "best": best, "curve": rows})
    return dict(json.loads(found.read_text()))


def plot(peer: dict[str, Any], start: dict[str, float], runs: dict[str, Any], path: Path, title: str) -> None:
    """mAP50-95 and mAP50 over the epochs; the fine-tuning goes on where the peer stopped."""
    figure = new_figure(11.0, 4.5, "Plotting the comparison")
    for number, (name, label) in enumerate((("map50_95", "mAP50-95"), ("map50", "mAP50")), start=1):
        axes = figure.add_subplot(1, 2, number)
        axes.plot(*_points(peer["curve"], name), color="tab:orange", marker="x",
                  label=f"Ultralytics {peer['version']} from scratch, {PEER_EPOCHS} epochs")  # fmt: skip
        for key, colour, marker, text in (
            ("fine-tuned", "tab:blue", "o", f"yolofast, those weights fine-tuned, {EPOCHS} epochs"),
            ("scratch", "tab:red", "s", f"yolofast from scratch, {EPOCHS} epochs"),
            ("scratch, longer", "tab:gray", "^", f"yolofast from scratch, {PEER_EPOCHS + EPOCHS} epochs"),
        ):
            if key not in runs:
                continue
            epochs, values = _points(runs[key]["curve"], name)
            if key == "fine-tuned":
                epochs = [PEER_EPOCHS, *(epoch + PEER_EPOCHS for epoch in epochs)]
                values = [start[name], *values]
            axes.plot(epochs, values, color=colour, marker=marker, markersize=4, label=text)
        axes.set_xlabel("epochs of training, the peer's included")
        axes.set_ylabel(f"{label}, validation split")
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
        if number == 1:
            figure.legend(loc="outside lower center", ncols=2, fontsize=8)
    figure.suptitle(title)
    save_figure(figure, path)


def _points(curve: Sequence[dict[str, float]], name: str) -> tuple[list[float], list[float]]:
    return [row["epoch"] for row in curve], [row[name] for row in curve]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="data.yaml of a prepared dataset")
    parser.add_argument("--peer-python", required=True, help="interpreter that has ultralytics")
    parser.add_argument("--work", type=Path, help="folder of the runs; omitted means a temporary one")
    parser.add_argument("--imgsz", type=int, default=320)
    parser.add_argument("--only-peer", action="store_true", help="train the peer and stop")
    parser.add_argument("--no-longer", action="store_true", help="leave out the longest run")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = (options.work or Path(temporary)).resolve()
        work.mkdir(parents=True, exist_ok=True)
        peer = peer_result(options.peer_python, options.data, work, options.imgsz)
        if not options.only_peer:
            compare(peer, options.data, work, options.imgsz, longer=not options.no_longer)


def compare(peer: dict[str, Any], data: Path, work: Path, imgsz: int, *, longer: bool) -> None:
    """Import, measure, fine-tune and train from scratch; writes the results."""
    imported = work / "imported.safetensors"
    save_weights(load_weights(peer["weights"]), imported, {"imgsz": str(imgsz)})
    base = YOLOConfig().replace(data=data, model=MODEL, imgsz=imgsz, epochs=EPOCHS, batch=BATCH, device="cpu")
    start = {}
    for shape, rect in (("rect", True), ("square", False)):
        figures = evaluate_run(imported, base.replace(rect=rect)).overall_metrics
        start[shape] = {name: figures[name] for name in ("map50", "map50_95")}
    theirs = measured_here(work / "peer_val" / "predictions.json", data, work)
    difference = max(abs(start["square"][name] - theirs[name]) for name in theirs)
    print(f"peer's detections {theirs}, of the import {start}", file=sys.stderr)
    if difference > TOLERANCE:
        sys.exit(f"the import starts {difference:.4f} away from the peer's detections, expected {TOLERANCE}")
    runs = {
        "fine-tuned": curve_of(base.replace(name="finetuned", weights=imported, val_first=True), work),
        "scratch": curve_of(base.replace(name="scratch"), work),
    }
    if longer:
        runs["scratch, longer"] = curve_of(base.replace(name="longer", epochs=PEER_EPOCHS + EPOCHS), work)
    settings = {
        "data": data.resolve().parent.name,
        "model": MODEL,
        "imgsz": imgsz,
        "batch": BATCH,
        "peer_batch": PEER_BATCH,
    }
    peer = {name: value for name, value in peer.items() if name != "weights"}
    entry = settings | {
        "peer": peer,
        "peer_by_our_metric": theirs,
        "imported": start,
        "difference": difference,
        "runs": runs,
    }
    print(write_result(RESULTS / "finetune.json", {"finetune": entry}, ("torch", "numpy", "yolofast")))
    title = f"{settings['data']}: {MODEL} at {imgsz} px, batches of {BATCH} (the peer's: {PEER_BATCH})"
    plot(peer, start["square"], runs, RESULTS / "finetune.png", title)


if __name__ == "__main__":
    main()
