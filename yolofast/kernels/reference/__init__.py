"""What every kernel means, in plain numpy: the oracle that all backends are tested against."""

from yolofast.kernels.reference.boxes import (
    box_iou,
    parse_yolo_labels,
    transform_boxes,
    visible_boxes,
    xywhn_to_xyxy,
    xyxy_to_xywhn,
)
from yolofast.kernels.reference.image import color_matrix, flip, hsv_jitter, letterbox, warp_affine
from yolofast.kernels.reference.labels import render_labels
from yolofast.kernels.reference.metrics import average_precision, coco_iou, match_image
from yolofast.kernels.reference.nms import batched_nms, nms, soft_nms
from yolofast.kernels.reference.postprocess import postprocess
from yolofast.kernels.reference.render import render

__all__ = [
    "average_precision",
    "batched_nms",
    "box_iou",
    "coco_iou",
    "color_matrix",
    "flip",
    "hsv_jitter",
    "letterbox",
    "match_image",
    "nms",
    "parse_yolo_labels",
    "postprocess",
    "render",
    "render_labels",
    "soft_nms",
    "transform_boxes",
    "visible_boxes",
    "warp_affine",
    "xywhn_to_xyxy",
    "xyxy_to_xywhn",
]
