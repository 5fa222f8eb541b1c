"""A detection head's output to detections, on the device where it lies: a head of [32, 84, 8400] is 90 MB,
what is left of it a few hundred kB."""

from __future__ import annotations

import logging
from functools import cache
from typing import TYPE_CHECKING

from yolofast.errors import MissingExtraError
from yolofast.kernels import postprocess
from yolofast.types import Detections

if TYPE_CHECKING:
    from torch import Tensor

log = logging.getLogger(__name__)


def find_detections(raw: Tensor, *, conf: float, iou: float, max_det: int) -> list[Detections]:
    """`yolofast.kernels.postprocess` of a head [B, 4 + C, A] of any float dtype; float32 detections.

    The result is the same for a head on the CPU and on a CUDA device, where the operator of the same name
    works. Where yolofast was built without that, and for other devices, the head is copied to the CPU.
    """
    head = raw.detach().float()
    if head.is_cuda and _has_cuda_operators():
        import torch

        found = torch.ops.yolofast.postprocess(head, conf=conf, iou=iou, max_det=max_det)
        return unpadded(*found)
    return postprocess(head.cpu().numpy(), conf=conf, iou=iou, max_det=max_det)


def unpadded(boxes: Tensor, scores: Tensor, classes: Tensor, counts: Tensor) -> list[Detections]:
    """What `torch.ops.yolofast.postprocess` gives, without its padding; waits for the device."""
    kept = counts.tolist()
    longest = max(kept, default=0)
    columns = [column[:, :longest].cpu().numpy() for column in (boxes, scores, classes)]
    # Copies: an image's detections must not hold the whole batch's.
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
        log.warning("Boxes are suppressed on the CPU: %s.", reason.rstrip("."))
    return reason is None
