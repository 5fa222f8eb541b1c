"""Compares imported networks with the originals: the raw outputs of every head, and numbers of parameters.

    python benchmarks/weights_parity.py --peer-python PEER/bin/python --images FOLDER [--models yolov8n ...]
    python benchmarks/weights_parity.py --peer-python PEER/bin/python --record tests/models/data

The peer (Ultralytics) runs in its own environment and writes a checkpoint, which is imported here. Weights
and statistics of the batch norms are numbers made from the names of the tensors (`support.foreign_values`),
so networks that differ in a block, an activation or a name differ in their output. Needs no trained weights.
`--record` writes the small files of expected outputs that the tests use.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from folders import REPOSITORY, RESULTS

from yolofast.bench.figures import machine
from yolofast.images import read_image
from yolofast.kernels import letterbox
from yolofast.models import load_weights

sys.path.insert(0, str(REPOSITORY / "tests"))
from support.foreign_values import foreign_value

MODELS = [f"{family}{size}" for family in ("yolov8", "yolo11", "yolo26") for size in "nsmlx"]
TOLERANCE = 1e-5
RECORDED_SIDE = 64

PEER_OUTPUTS = """
def outputs_of(network, images, kind):
    torch.set_num_threads(1)
    with torch.no_grad():
        outputs = network(images)[1]
    heads = [outputs["one2many"], outputs["one2one"]] if "one2many" in outputs else [outputs]
    return {f"{kind}/{number}/{part}": head[part].numpy()
            for number, head in enumerate(heads) for part in ("boxes", "scores")}
"""
"""For the peer's interpreter: the raw outputs of all heads by name, as `compared` reads them."""

PEER = (
    PEER_OUTPUTS
    + """
import copy, json, sys
import numpy as np
import torch
from ultralytics import YOLO, __version__
sys.path.insert(0, sys.argv[3])
from support.foreign_values import foreign_value

name, folder = sys.argv[1], sys.argv[2]
model = YOLO(name + ".yaml").model
shapes = {}
with torch.no_grad():
    for key, tensor in model.state_dict().items():
        shapes[key] = list(tensor.shape)
        tensor.copy_(torch.from_numpy(foreign_value(key, tuple(tensor.shape))))
parameters = sum(p.numel() for p in model.parameters())
images = torch.from_numpy(np.load(folder + "/images.npy")).float() / 255
found = {}
for precision in ("float32", "float16"):
    used = copy.deepcopy(model)
    if precision == "float16":
        used = used.half()
    torch.save({"model": used, "ema": None, "version": __version__}, f"{folder}/{precision}.pt")
    found |= outputs_of(used.float().eval(), images, precision)
np.savez(folder + "/outputs.npz", **found)
print("\\n" + json.dumps({"parameters": parameters, "version": __version__, "shapes": shapes}))
"""
)


def run_peer(python: str, name: str, folder: Path) -> dict[str, Any]:
    """The peer's checkpoints and outputs in `folder`, and what it says of itself."""
    done = subprocess.run(
        [python, "-c", PEER, name, str(folder), str(REPOSITORY / "tests")],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{name}: the peer failed:\n{done.stderr[-2000:]}")
    said: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return said


def compared(folder: Path, precision: str) -> tuple[float, int]:
    """The largest difference of any logit of any head, and the number of our parameters."""
    model = load_weights(folder / f"{precision}.pt")
    images = torch.from_numpy(np.load(folder / "images.npy")).float() / 255
    torch.set_num_threads(1)  # as the peer: more threads add in another order, 2e-5 apart after training
    with torch.no_grad():
        outputs = model.training_maps(images)
    largest = 0.0
    with np.load(folder / "outputs.npz") as expected:
        for number, head in enumerate(outputs):
            for part, ours in (("boxes", head.box_logits), ("scores", head.class_logits)):
                difference = np.abs(ours.numpy() - expected[f"{precision}/{number}/{part}"])
                largest = max(largest, float(difference.max()))
    return largest, sum(p.numel() for p in model.parameters())


def letterboxed(folder: Path, count: int, side: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """uint8 [count, 3, side, side]: the first images of a folder."""
    paths = sorted(folder.rglob("*.jpg"))[:count]
    if len(paths) < count:
        raise SystemExit(f"{folder}: {len(paths)} JPEG images, expected {count}")
    return np.stack([letterbox(read_image(path), (side, side))[0].transpose(2, 0, 1) for path in paths])


def write(rows: dict[str, Any], part: str | None = None) -> None:
    """Put the rows of some networks into the results, or into a part of them, beside all others."""
    path = RESULTS / "weights_parity.json"
    document = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    place = document if part is None else document.setdefault(part, {})
    place |= {"machine": machine(), "networks": dict(sorted((place.get("networks", {}) | rows).items()))}
    document["tolerance"] = TOLERANCE
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def compare(python: str, images: Path, side: int, models: list[str]) -> int:
    """Write results/weights_parity.json; exit code 1 where a network differs."""
    pixels, failed = letterboxed(images, 8, side), False
    for name in models:
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            np.save(folder / "images.npy", pixels)
            said = run_peer(python, name, folder)
            full, parameters = compared(folder, "float32")
            half, _ = compared(folder, "float16")
        constants = said["parameters"] - parameters
        row = {
            "peer": f"ultralytics {said['version']}",
            "images": f"8 at {side} px",
            "largest_difference": {"float32": full, "float16_file": half},
            "parameters": {"ours": parameters, "peer": said["parameters"], "constants_of_peer": constants},
        }
        failed |= max(full, half) > TOLERANCE or constants not in (0, 16)
        print(f"{name}: {full:.1e} {half:.1e}, {parameters:,} parameters (+{constants})", flush=True)
        write({name: row})
    return int(failed)


def record(python: str, folder: Path) -> None:
    """Write the outputs of the smallest network of each family for an image made of numbers."""
    folder.mkdir(parents=True, exist_ok=True)
    pixels = (foreign_value("image", (1, 3, RECORDED_SIDE, RECORDED_SIDE)) * 255).astype(np.uint8)
    for name in ("yolov8n", "yolo11n", "yolo26n"):
        with tempfile.TemporaryDirectory() as temporary:
            np.save(Path(temporary) / "images.npy", pixels)
            said = run_peer(python, name, Path(temporary))
            with np.load(Path(temporary) / "outputs.npz") as outputs:
                kept = {key: outputs[key] for key in outputs.files if key.startswith("float32/")}
        np.savez_compressed(folder / f"{name}.npz", shapes=np.array(json.dumps(said["shapes"])), **kept)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peer-python", required=True, help="interpreter of an environment with ultralytics")
    parser.add_argument("--images", type=Path, help="folder with at least 8 JPEG images")
    parser.add_argument("--imgsz", type=int, default=320)
    parser.add_argument("--models", nargs="+", default=MODELS, choices=MODELS)
    parser.add_argument("--record", type=Path, help="write the files of the tests to this folder instead")
    args = parser.parse_args()
    if args.record is not None:
        record(args.peer_python, args.record)
        return 0
    if args.images is None:
        parser.error("--images is missing")
    return compare(args.peer_python, args.images, args.imgsz, args.models)


if __name__ == "__main__":
    sys.exit(main())
