"""`postprocess` of a whole batch on the device, compared with torchvision's batched_nms image by image."""

from __future__ import annotations

from typing import Any

import torch

from gpu.device_times import compare_on_device, floor, waits

CONF, IOU, MAX_DET, MAX_CANDIDATES = 0.001, 0.7, 300, 30000


def predictions(images: int, classes: int, anchors: int, device: torch.device, seed: int = 0) -> torch.Tensor:
    """Raw predictions [B, 4 + C, A] like a trained network's: objects with many boxes around each, and a
    long tail of low scores."""
    draw = torch.Generator().manual_seed(seed)
    objects = 12
    centre = torch.rand(images, 2, objects, generator=draw) * 640
    size = torch.rand(images, 2, objects, generator=draw).pow(2) * 300 + 8
    label = torch.randint(classes, (images, objects), generator=draw)
    near = torch.randint(objects, (images, anchors), generator=draw)
    pick = near[:, None].expand(-1, 2, -1)
    boxes = torch.cat([centre.gather(2, pick), size.gather(2, pick)], 1)
    boxes = boxes * (1 + 0.15 * torch.randn(boxes.shape, generator=draw))
    boxes[:, 2:].clamp_(min=2)
    scores = torch.rand(images, classes, anchors, generator=draw).pow(12) * 0.02
    strength = torch.rand(images, anchors, generator=draw).pow(6)
    scores.scatter_(1, label.gather(1, near)[:, None], strength[:, None])
    return torch.cat([boxes, scores], 1).to(device)


def by_torchvision(raw: torch.Tensor) -> list[torch.Tensor]:
    """Detections [n, 6] = xyxy, score, class of each image, as it is usually written."""
    from torchvision.ops import batched_nms

    found = []
    for image in raw.transpose(1, 2):
        anchor, label = torch.where(image[:, 4:] > CONF)
        centre, half = image[anchor, :2], image[anchor, 2:4] / 2
        boxes = torch.cat([centre - half, centre + half], 1)
        scores = image[anchor, 4 + label]
        if len(scores) > MAX_CANDIDATES:
            best = scores.argsort(descending=True)[:MAX_CANDIDATES]
            boxes, scores, label = boxes[best], scores[best], label[best]
        keep = batched_nms(boxes, scores, label, IOU)[:MAX_DET]
        found.append(torch.cat([boxes[keep], scores[keep, None], label[keep, None].to(boxes)], 1))
    return found


def run(ops: Any, device: torch.device, bytes_per_s: float, *, images: int, anchors: int) -> dict[str, Any]:
    raw = predictions(images, 80, anchors, device)
    options = {"conf": CONF, "iou": IOU, "max_det": MAX_DET, "max_candidates": MAX_CANDIDATES}

    def ours() -> Any:
        return ops.postprocess(raw, **options)

    peers = {"torchvision batched_nms loop": lambda: by_torchvision(raw)}
    notes: dict[str, Any] = {}
    try:
        theirs = by_torchvision(raw)
    except (ImportError, RuntimeError) as error:  # not installed, or not for this torch
        peers, theirs = {}, []
        notes = {"peer not run": f"{type(error).__name__}: {error}"}
    boxes, scores, _, counts = (value.cpu() for value in ours())
    differing = 0
    for i, other in enumerate(theirs):
        count = int(counts[i])
        same = count == len(other) and torch.allclose(boxes[i, :count], other[:, :4].cpu(), atol=1e-2)
        differing += not (same and torch.allclose(scores[i, :count], other[:, 4].cpu(), atol=1e-6))
    result = compare_on_device(ours, peers, device) | notes
    # torchvision separates classes by offsetting boxes, which rounds them: a few images may differ.
    result |= {"shape": list(raw.shape), "candidates": int((raw[:, 4:] > CONF).sum())}
    result |= {"images_that_differ": differing} | floor(raw.numel() * raw.element_size(), bytes_per_s)
    if device.type == "cuda":
        result["waits_for_the_device"] = waits(ours)
        try:
            result["captured_in_a_graph"] = captured(ops, raw, options)
        except RuntimeError as error:  # the times are valid nevertheless
            result["captured_in_a_graph"] = f"{type(error).__name__}: {error}"
    return result


def captured(ops: Any, raw: torch.Tensor, options: dict[str, Any]) -> bool:
    """Whether a CUDA graph of it returns the right result for other values."""
    static = raw.clone()
    ops.postprocess(static, **options)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        replayed = ops.postprocess(static, **options)
    static.copy_(predictions(*_sizes(raw), raw.device, seed=1))
    graph.replay()
    expected = ops.postprocess(static, **options)
    return all(torch.equal(a, b) for a, b in zip(replayed, expected, strict=True))


def _sizes(raw: torch.Tensor) -> tuple[int, int, int]:
    return raw.shape[0], raw.shape[1] - 4, raw.shape[2]
