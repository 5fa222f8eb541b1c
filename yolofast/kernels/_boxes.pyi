from typing import Any, Literal

from numpy.typing import ArrayLike, NDArray

IOU_KINDS: tuple[str, ...]

def box_iou(
    a: ArrayLike,
    b: ArrayLike,
    *,
    kind: Literal["iou", "giou", "diou", "ciou"] = "iou",
    elementwise: bool = False,
) -> NDArray[Any]: ...
