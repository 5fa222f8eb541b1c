"""What makes a box usable: one set of rules for every format.

A row that breaks a rule is left out and listed with its reason; its image and its other rows
stay. Readers hand over pixel boxes, so that a label means the same wherever it came from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from yolofast.types import Finding, Severity

FRAME_TOLERANCE = 0.01
"""A box may reach this share of the image's side beyond the edge; it is clipped. More is refused."""
ROUNDING_PX = 0.05
"""Clipping up to this many pixels is rounding in the source file and is not reported."""


@dataclass(frozen=True, slots=True)
class RuledBoxes:
    """Boxes that passed the rules and what happened to the others.

    `boxes` float64 [K, 4] xyxy pixels inside the image, `classes` int64 [K], `lines` int64 [K],
    `keep` bool [N] marks them among the rows given. `dropped` has one finding for each row left
    out (all their codes start with `box-`); `notes` tells of boxes that were clipped.
    """

    boxes: NDArray[np.float64]
    classes: NDArray[np.int64]
    lines: NDArray[np.int64]
    keep: NDArray[np.bool_]
    dropped: tuple[Finding, ...]
    notes: tuple[Finding, ...]


def xywh_to_xyxy(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Boxes [N, 4] from centre x, y, width, height to xyxy, in the same unit."""
    with np.errstate(over="ignore", invalid="ignore"):  # the rules refuse what overflows
        half = boxes[:, 2:] / 2
        return np.hstack([boxes[:, :2] - half, boxes[:, :2] + half])


def xyxy_to_xywhn(boxes: NDArray[np.float64], width: int, height: int) -> NDArray[np.float64]:
    """Boxes [N, 4] from xyxy in pixels to centre x, y, width, height in shares of the image."""
    size = np.array([width, height], dtype=np.float64)
    return np.hstack([(boxes[:, :2] + boxes[:, 2:]) / 2 / size, (boxes[:, 2:] - boxes[:, :2]) / size])


def rows_numbered_by(file: Path) -> str:
    """What the `lines` of a record from `file` count: COCO's annotations, or else lines of the file."""
    return "annotation" if file.suffix.lower() == ".json" else "line"


def row_finding(
    severity: Severity, code: str, message: str, file: str | Path, line: int, numbered: str = "line"
) -> Finding:
    """A finding about one label row.

    `line` counts lines of the file, or what `numbered` says instead (such as 'annotation'): then it
    goes into the text, because nobody can open a file at it.
    """
    if numbered == "line":
        return Finding(severity, code, message, str(file), line)
    return Finding(severity, code, f"{numbered} {line}: {message}", str(file))


def rows_without_image(
    lines: Sequence[int] | NDArray[np.int64], why: str, file: str | Path, numbered: str = "line"
) -> tuple[Finding, ...]:
    """One finding (`box-no-image`) for each row whose image cannot be used."""
    return tuple(row_finding("error", "box-no-image", why, file, int(i), numbered) for i in lines)


def _show(box: NDArray[np.float64]) -> str:
    return "({:.6g}, {:.6g}, {:.6g}, {:.6g})".format(*box)


def _repeats(boxes: NDArray[np.float64], classes: NDArray[np.int64]) -> NDArray[np.bool_]:
    """True for each row that equals an earlier one in class and box."""
    rows = np.column_stack([classes.astype(np.float64), boxes]) + 0.0  # -0.0 becomes 0.0
    seen: set[bytes] = set()
    repeated = np.zeros(len(rows), dtype=np.bool_)
    for i, row in enumerate(rows):
        key = row.tobytes()
        repeated[i] = key in seen
        seen.add(key)
    return repeated


def apply_box_rules(
    boxes: NDArray[np.float64],
    classes: NDArray[np.int64],
    lines: NDArray[np.int64],
    *,
    width: int,
    height: int,
    num_classes: int,
    file: str | Path,
    numbered: str = "line",
) -> RuledBoxes:
    """Keep the usable rows of one image's labels, clip what barely leaves the frame, list the rest.

    `boxes` float64 [N, 4] xyxy pixels, `classes` int64 [N], `lines` int64 [N] where each row stands
    in `file` (a line, or what `numbered` says). In this order a row is left out when: a number is
    NaN or infinite (`box-nan`); its class is not in 0..num_classes-1 (`box-class`); it reaches more
    than 1 % of the image's side beyond an edge (`box-outside`); no area is left (`box-empty`); it
    repeats an earlier row exactly (`box-duplicate`).
    """
    with np.errstate(over="ignore", invalid="ignore"):
        low = np.minimum(boxes[:, :2], boxes[:, 2:])
        high = np.maximum(boxes[:, :2], boxes[:, 2:])
        beyond = np.maximum(np.maximum(-low, high - (width, height)), 0.0)  # [N, 2] pixels
        outside: NDArray[np.bool_] = np.logical_or.reduce(
            beyond > np.array([width, height]) * FRAME_TOLERANCE, axis=1
        )
    finite: NDArray[np.bool_] = np.logical_and.reduce(np.isfinite(boxes), axis=1)
    wrong_class: NDArray[np.bool_] = (classes < 0) | (classes >= num_classes)
    clipped = boxes.copy()
    clipped[:, 0::2] = clipped[:, 0::2].clip(0, width)
    clipped[:, 1::2] = clipped[:, 1::2].clip(0, height)
    empty: NDArray[np.bool_] = ~np.logical_and.reduce(clipped[:, 2:] > clipped[:, :2], axis=1)
    keep = finite & ~wrong_class & ~outside & ~empty
    repeated = np.zeros(len(boxes), dtype=np.bool_)
    repeated[keep] = _repeats(boxes[keep], classes[keep])
    keep &= ~repeated

    def explain(i: int) -> tuple[Severity, str, str]:
        box = _show(boxes[i])
        if not finite[i]:
            return "error", "box-nan", f"box {box}: got NaN or infinity, expected numbers"
        if wrong_class[i]:
            return "error", "box-class", f"class id {classes[i]}: expected 0 to {num_classes - 1}"
        if outside[i]:
            x, y = beyond[i]
            return (
                "error",
                "box-outside",
                f"box {box}: reaches {x:.4g} px in x and {y:.4g} px in y beyond the {width}x{height} image, "
                "more than 1 %",
            )
        if empty[i]:
            return "error", "box-empty", f"box {box}: no area"
        return "warning", "box-duplicate", f"box {box} of class {classes[i]}: an exact repeat"

    dropped = []
    for i in np.flatnonzero(~keep).tolist():
        severity, code, message = explain(i)
        dropped.append(row_finding(severity, code, message, file, int(lines[i]), numbered))
    notes = [
        row_finding(
            "info",
            "box-clipped",
            f"box {_show(boxes[i])}: clipped to the {width}x{height} image",
            file,
            int(lines[i]),
            numbered,
        )
        for i in np.flatnonzero(keep & (beyond > ROUNDING_PX).any(axis=1)).tolist()
    ]
    return RuledBoxes(clipped[keep], classes[keep], lines[keep], keep, tuple(dropped), tuple(notes))
