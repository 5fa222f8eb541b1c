"""The definition of the box and label kernels in plain numpy: slow, short, and meant to be read."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from yolofast.kernels.parsed_labels import (
    BOX,
    KEYPOINTS,
    MAX_LABEL_ERRORS,
    POLYGON,
    QUAD,
    TOO_MANY_ERRORS,
    TOO_MANY_ROWS,
    LabelError,
    ParsedLabels,
)
from yolofast.limits import MAX_BOXES


def box_iou(
    a: NDArray[Any], b: NDArray[Any], *, kind: str = "iou", elementwise: bool = False
) -> NDArray[Any]:
    """See `yolofast.kernels.box_iou`; both arguments of one float dtype, which the result has."""
    a, b = a.copy(), b.copy()
    for boxes in (a, b):
        boxes[:, 2:] = np.maximum(boxes[:, :2], boxes[:, 2:])  # a backward side has length 0; keeps NaN
    if not elementwise:
        a, b = a[:, None], b[None]
    with np.errstate(all="ignore"):
        size_a, size_b = a[..., 2:] - a[..., :2], b[..., 2:] - b[..., :2]
        overlap = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
        inter = np.maximum(overlap, 0).prod(axis=-1)
        union = size_a.prod(axis=-1) + size_b.prod(axis=-1) - inter
        value: NDArray[Any] = np.where(union > 0, inter / union, 0).astype(a.dtype)
        hull = np.maximum(a[..., 2:], b[..., 2:]) - np.minimum(a[..., :2], b[..., :2])
        if kind == "giou":
            area = hull.prod(axis=-1)
            value -= np.where(area > 0, (area - union) / area, 0).astype(a.dtype)
        elif kind in ("diou", "ciou"):
            centres = (a[..., :2] + a[..., 2:]) / 2 - (b[..., :2] + b[..., 2:]) / 2
            diagonal = (hull**2).sum(axis=-1)
            iou = value
            value = iou - np.where(diagonal > 0, (centres**2).sum(axis=-1) / diagonal, 0).astype(a.dtype)
            if kind == "ciou":
                angle_a = np.arctan2(size_a[..., 0], size_a[..., 1])
                angle_b = np.arctan2(size_b[..., 0], size_b[..., 1])
                v = (4 / np.pi**2) * (angle_b - angle_a) ** 2
                weight = 1 - iou + v
                value = value - np.where(weight > 0, v * v / weight, 0).astype(a.dtype)
    value[np.isnan(value) | np.isnan(a).any(axis=-1) | np.isnan(b).any(axis=-1)] = 0
    return value


def _number(field: str) -> float:
    """A plain decimal number; Python's float() would also take '1_000' and other digits than 0-9."""
    if "_" in field or not field.isascii():
        raise ValueError(field)
    value = float(field)
    tiny = value == 0 and any(c in "123456789" for c in field.lower().split("e")[0])
    return math.nan if tiny else value


def _kind(values: list[float], keypoints: tuple[int, int] | None) -> int | None:
    """The kind of a row of numbers, None when it is none."""
    fields = len(values)
    if fields == 5:
        return BOX
    if keypoints is not None:
        return KEYPOINTS if fields == 5 + keypoints[0] * keypoints[1] else None
    if fields >= 8 and (fields - 5) % 3 == 0:
        seen = values[7::3]
        if all(value in (0, 1, 2) for value in seen) and (fields % 2 == 0 or 2 in seen):
            return KEYPOINTS
    if fields < 7 or fields % 2 == 0:
        return None
    return QUAD if fields == 9 else POLYGON


def _objects(text: str, keypoints: tuple[int, int] | None) -> tuple[str, int, list[float]]:
    """(error code or '', kind, class and box) of one line."""
    try:
        values = [_number(field) for field in text.split()]
    except ValueError:
        return "syntax", BOX, []
    kind = _kind(values, keypoints)
    if kind is None:
        return "confidence" if len(values) == 6 else "columns", BOX, []
    if not all(map(math.isfinite, values)):
        return "non-finite", BOX, []
    if values[0] < 0 or values[0] > 2**31 - 1 or values[0] != math.floor(values[0]):
        return "class", BOX, []
    if kind in (BOX, KEYPOINTS):
        return "", kind, values[:5]
    xs, ys = values[1::2], values[2::2]
    box = [(min(xs) + max(xs)) / 2, (min(ys) + max(ys)) / 2, max(xs) - min(xs), max(ys) - min(ys)]
    return ("" if all(map(math.isfinite, box)) else "non-finite"), kind, [values[0], *box]


def parse_yolo_labels(data: bytes, *, keypoints: tuple[int, int] | None = None) -> ParsedLabels:
    """See `yolofast.kernels.parse_yolo_labels`."""
    rows, lines, kinds, errors = [], [], [], []
    # latin-1 keeps every byte one character, so no byte can become a blank or a line end.
    text = data.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").replace(b"\r", b"\n").decode("latin-1")
    for number, raw in enumerate(text.split("\n"), start=1):
        line = raw.strip(" \t\v\f")
        if not line:
            continue
        # Only these four part fields; a control character such as 0x1c is part of one.
        fields = line.replace("\t", " ").replace("\v", " ").replace("\f", " ").split(" ")
        plain = all(c.isprintable() for field in fields for c in field)
        code, kind, values = _objects(" ".join(fields), keypoints) if plain else ("syntax", BOX, [])
        if code:
            shown = line.encode("latin-1").decode("utf-8", "replace")[:80]
            errors.append(LabelError(number, code, shown))
            if len(errors) > MAX_LABEL_ERRORS:
                raise ValueError(TOO_MANY_ERRORS)
        else:
            rows.append(values)
            lines.append(number)
            kinds.append(kind)
            if len(lines) > MAX_BOXES:
                raise ValueError(TOO_MANY_ROWS)
    table = np.array(rows, dtype=np.float64).reshape(-1, 5)
    return ParsedLabels(
        table[:, 0].astype(np.int64),
        table[:, 1:].copy(),
        np.array(lines, dtype=np.int64),
        np.array(kinds, dtype=np.int8),
        tuple(errors),
    )


def xywhn_to_xyxy(boxes: NDArray[Any], width: float, height: float) -> NDArray[Any]:
    """See `yolofast.kernels.xywhn_to_xyxy`."""
    centre, half = boxes[:, :2].astype(np.float64), boxes[:, 2:].astype(np.float64) / 2
    out = np.concatenate([centre - half, centre + half], axis=1) * [width, height, width, height]
    return out.astype(boxes.dtype)


def xyxy_to_xywhn(boxes: NDArray[Any], width: float, height: float) -> NDArray[Any]:
    """See `yolofast.kernels.xyxy_to_xywhn`."""
    low, high = boxes[:, :2].astype(np.float64), boxes[:, 2:].astype(np.float64)
    out = np.concatenate([(low + high) / 2, high - low], axis=1) / [width, height, width, height]
    return out.astype(boxes.dtype)


def transform_boxes(
    boxes: NDArray[Any], matrix: ArrayLike, clip: tuple[float, float] | None = None
) -> NDArray[Any]:
    """See `yolofast.kernels.transform_boxes`."""
    transform = np.eye(3)
    given = np.asarray(matrix, dtype=np.float64)
    transform[: len(given)] = given
    x, y = boxes[:, [0, 2, 0, 2]].astype(np.float64), boxes[:, [1, 1, 3, 3]].astype(np.float64)
    with np.errstate(all="ignore"):
        u, v, w = (row[0] * x + row[1] * y + row[2] for row in transform)
        u, v = u / w, v / w
    out = np.stack([u.min(axis=1), v.min(axis=1), u.max(axis=1), v.max(axis=1)], axis=1)
    out[~((w > 0) & ~np.isnan(u) & ~np.isnan(v)).all(axis=1)] = np.nan
    if clip is not None:
        out = np.clip(out, 0, [*clip, *clip])
    return out.astype(boxes.dtype)


def visible_boxes(
    before: NDArray[Any],
    after: NDArray[Any],
    *,
    min_side: float = 2.0,
    min_area: float = 0.1,
    max_aspect: float = 100.0,
) -> NDArray[np.bool_]:
    """See `yolofast.kernels.visible_boxes`."""
    full = (before[:, 2:] - before[:, :2].astype(np.float64)).prod(axis=1)
    side = after[:, 2:] - after[:, :2].astype(np.float64)
    mask: NDArray[np.bool_] = (
        (side > min_side).all(axis=1)
        & (side.prod(axis=1) > min_area * full)
        & (side.max(axis=1) < max_aspect * side.min(axis=1))
    )
    return mask
