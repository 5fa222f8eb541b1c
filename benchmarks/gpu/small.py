"""Every kernel of csrc/cuda once with small inputs, for compute-sanitizer. --dry-run: without a GPU."""

from __future__ import annotations

import argparse

import numpy as np
import torch

import yolofast.kernels.torch_ops  # noqa: F401  (registers)
from gpu.postprocess import predictions
from gpu.render import DTYPES, mosaics, rendering
from yolofast.bench.kernels import planes
from yolofast.config import AugmentConfig
from yolofast.kernels.torch_letterbox import letterbox_batch


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dry-run", action="store_true")
    device = torch.device("cpu" if parser.parse_args().dry_run else "cuda")
    ops = torch.ops.yolofast
    rng = np.random.default_rng(0)

    corner = rng.uniform(0, 300, (9000, 2))
    boxes = torch.from_numpy(np.hstack([corner, corner + rng.uniform(0, 60, (9000, 2))])).float().to(device)
    scores, classes = torch.rand(9000, device=device), torch.randint(3, (9000,), device=device)
    for kind in ("iou", "giou", "diou", "ciou"):
        ops.box_iou(boxes[:300], boxes[:200], kind=kind)
        ops.box_iou(boxes[:300].double(), boxes[:300].double(), kind=kind, elementwise=True)
    matrix = torch.tensor([[0.9, 0.1, 3.0], [-0.1, 0.9, 5.0], [0.0001, 0.0, 1.0]], device=device)
    ops.transform_boxes(boxes, matrix, [300, 300])
    ops.transform_boxes(boxes.double(), matrix[:2].double())
    ops.nms(boxes[:3000], scores[:3000], 0.5)
    ops.batched_nms(boxes, scores, classes, 0.5)

    raw = predictions(2, 5, 900, device)
    for multi_label in (True, False):
        for max_candidates in (30000, 40):
            found = ops.postprocess(raw, multi_label=multi_label, max_candidates=max_candidates, max_det=50)
    truth = boxes[:40].reshape(2, 20, 4)
    counts = torch.full((2,), 20, device=device)
    ops.match_detections(*found, truth, classes[:40].reshape(2, 20), counts, [0.5, 0.75])

    pictures = planes()[:4]
    general = AugmentConfig(degrees=10, shear=2, perspective=0.0005, mixup=1.0)
    for augment in (AugmentConfig(), general):
        for dtype in DTYPES.values():
            out = torch.empty((4, 3, 97, 97), dtype=dtype, device=device)
            rendering(mosaics(pictures, 97, augment), pictures, out)[0]()
    frames = [torch.randint(256, (h, w, 3), dtype=torch.uint8, device=device) for h, w in ((50, 71), (9, 4))]
    for dtype in DTYPES.values():
        letterbox_batch(frames, 64, dtype=dtype)
    if device.type == "cuda":
        torch.cuda.synchronize()
    print("done")


if __name__ == "__main__":
    main()
