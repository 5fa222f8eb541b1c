"""The drop-in kernels: numpy in, numpy out, no torch (but `letterbox_batch`, for tensors).

Each name is imported from its module when it is first used (PEP 562), so `import yolofast.kernels` is quick
and brings in neither torch nor cv2 nor numba.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from yolofast.lazy_names import lazy_names

if TYPE_CHECKING:
    from ._box_transforms import (
        clip_boxes,
        ltwh_to_xyxy,
        transform_boxes,
        visible_boxes,
        xywh_to_xyxy,
        xywhn_to_xyxy,
        xyxy_to_ltwh,
        xyxy_to_xywh,
        xyxy_to_xywhn,
    )
    from ._boxes import box_iou
    from ._image import color_matrix, flip, hsv_jitter, letterbox, warp_affine
    from ._jpeg import decode_jpeg, decode_jpeg_batch, jpeg_info, rewrite_jpeg
    from ._labels import parse_yolo_labels
    from ._nms import batched_nms, nms, soft_nms
    from ._render import render
    from ._render_labels import render_labels
    from .jpeg_letterbox import decode_letterbox
    from .matching import match_detections
    from .postprocess import postprocess
    from .torch_letterbox import letterbox_batch as letterbox_batch

__all__ = [
    "batched_nms",
    "box_iou",
    "clip_boxes",
    "color_matrix",
    "decode_jpeg",
    "decode_jpeg_batch",
    "decode_letterbox",
    "flip",
    "hsv_jitter",
    "jpeg_info",
    "letterbox",
    "ltwh_to_xyxy",
    "match_detections",
    "nms",
    "parse_yolo_labels",
    "postprocess",
    "render",
    "render_labels",
    "rewrite_jpeg",
    "soft_nms",
    "transform_boxes",
    "visible_boxes",
    "warp_affine",
    "xywh_to_xyxy",
    "xywhn_to_xyxy",
    "xyxy_to_ltwh",
    "xyxy_to_xywh",
    "xyxy_to_xywhn",
]

_HOMES = {
    "_box_transforms": (
        "clip_boxes",
        "ltwh_to_xyxy",
        "transform_boxes",
        "visible_boxes",
        "xywh_to_xyxy",
        "xywhn_to_xyxy",
        "xyxy_to_ltwh",
        "xyxy_to_xywh",
        "xyxy_to_xywhn",
    ),
    "_boxes": ("box_iou",),
    "_image": ("color_matrix", "flip", "hsv_jitter", "letterbox", "warp_affine"),
    "_jpeg": ("decode_jpeg", "decode_jpeg_batch", "jpeg_info", "rewrite_jpeg"),
    "_labels": ("parse_yolo_labels",),
    "_nms": ("batched_nms", "nms", "soft_nms"),
    "_render": ("render",),
    "_render_labels": ("render_labels",),
    "jpeg_letterbox": ("decode_letterbox",),
    "matching": ("match_detections",),
    "postprocess": ("postprocess",),
    "torch_letterbox": ("letterbox_batch",),  # tensors in and out: not in __all__, which needs no torch
}
__getattr__, __dir__ = lazy_names(__name__, _HOMES)
