"""From the raw output of a detection head to detections, on the device that holds it.

A raw output of [32, 84, 8400] is 90 MB; the detections in it are a few hundred kB.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

from yolofast.errors import MissingExtraError
from yolofast.kernels import postprocess
from yolofast.types import Detections

if TYPE_CHECKING:
    from torch import Tensor

log = logging.getLogger(__name__)


def find_detections(
    raw: Tensor, *, conf: float, iou: float, max_det: int, classes: Sequence[int] | None = None
) -> list[Detections]:
    """`yolofast.kernels.postprocess` of a raw output [B, 4 + C, A] of any float dtype.

    On a CUDA device the operator of the same name runs there, with the same result. If yolofast was built
    without it, and on other devices, the raw output is copied to the CPU.
    """
    head = raw.detach().float()
    if head.is_cuda and _has_cuda_operators():
        import torch

        kept = None if classes is None else list(classes)
        found = torch.ops.yolofast.postprocess(head, conf=conf, iou=iou, max_det=max_det, classes=kept)
        return unpadded(*found)
    return postprocess(head.cpu().numpy(), conf=conf, iou=iou, max_det=max_det, classes=classes)


def unpadded(boxes: Tensor, scores: Tensor, classes: Tensor, counts: Tensor) -> list[Detections]:
    """The output of `torch.ops.yolofast.postprocess` without its padding; waits for the device."""
    kept = counts.tolist()
    longest = max(kept, default=0)
    columns = [column[:, :longest].cpu().numpy() for column in (boxes, scores, classes)]
    # Copies: the detections of one image must not keep the whole batch's memory alive.
    return [Detections(*(column[i, :n].copy() for column in columns)) for i, n in enumerate(kept)]


@cache
def _has_cuda_operators() -> bool:
    try:
        from yolofast.kernels import torch_ops
    except MissingExtraError as error:
        reason: str | None = str(error)
    else:
        reason = torch_ops.why_no_cuda()
    if reason is not None:
        log.warning("NMS runs on the CPU: %s.", reason.rstrip("."))
    return reason is None
