"""Which boxes are valid: one set of rules for every format.

A row that breaks a rule is dropped and reported with its reason; its image and its other rows stay.
Readers convert their boxes to pixels first, so a label means the same whatever format it came from.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from yolofast.types import Finding, Severity

FRAME_TOLERANCE = 0.01
"""A box that reaches at most this share of the image side beyond the edge is clipped, any other dropped."""
ROUNDING_PX = 0.05
"""Clipping of at most this many pixels is rounding in the source file and is not reported."""


@dataclass(frozen=True, slots=True)
class CheckedBoxes:
    """The boxes of N images that passed the rules, and findings about the others.

    Image i has rows `offsets[i]` to `offsets[i + 1]` of `boxes` float64 [K, 4] xyxy pixels inside the image,
    `classes` int64 [K] and `lines` int64 [K]; `offsets` int64 [N + 1]. `dropped` maps an image to one finding
    per dropped row (their codes start with `box-`); `notes` maps an image to its clipped and swapped boxes.
    """

    offsets: NDArray[np.int64]
    boxes: NDArray[np.float64]
    classes: NDArray[np.int64]
    lines: NDArray[np.int64]
    dropped: dict[int, list[Finding]]
    notes: dict[int, list[Finding]]


def xywh_to_xyxy(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Boxes [N, 4] from centre x, y, width, height to xyxy, in the same unit."""
    with np.errstate(over="ignore", invalid="ignore"):  # the rules drop boxes that overflow
        half = boxes[:, 2:] / 2
        return np.hstack([boxes[:, :2] - half, boxes[:, :2] + half])


def xyxy_to_xywhn(boxes: NDArray[np.float64], size: ArrayLike) -> NDArray[np.float64]:
    """Boxes [N, 4] from xyxy pixels to centre x, y, width, height, normalised by the image size.

    `size` is the (width, height) of the image, or [N, 2] with one per box.
    """
    size = np.asarray(size, dtype=np.float64)
    return np.hstack([(boxes[:, :2] + boxes[:, 2:]) / 2 / size, (boxes[:, 2:] - boxes[:, :2]) / size])


@dataclass(slots=True)
class SharesCheck:
    """Whether boxes that should be in pixels are divided by the sides of their images, told array by array.

    They are shares when all lie between 0 and 1, within the tolerance of the rules, and not all coordinates
    are whole numbers: `0, 0, 1, 1` may be a box of one pixel.
    """

    within_1: bool = True
    """False once a box shows that they are pixels: nothing that follows changes that."""
    fractions: bool = False

    def add(self, boxes: ArrayLike) -> None:
        """Add xyxy boxes [N, 4]; values that are not finite show nothing."""
        boxes = np.asarray(boxes, dtype=np.float64).reshape(-1, 4)
        whole = boxes[np.isfinite(boxes).all(axis=1)]
        self.within_1 &= bool(((whole >= -FRAME_TOLERANCE) & (whole <= 1 + FRAME_TOLERANCE)).all())
        finite = boxes[np.isfinite(boxes)]
        self.fractions |= bool((finite != np.round(finite)).any())

    @property
    def are_shares(self) -> bool:
        """Whether all boxes so far are shares."""
        return self.within_1 and self.fractions


def are_shares(boxes: Iterable[NDArray[np.float64]]) -> bool:
    """Whether all xyxy boxes, in arrays [N, 4], are shares: see `SharesCheck`."""
    check = SharesCheck()
    for some in boxes:
        check.add(some)
        if not check.within_1:
            return False
    return check.are_shares


def normalised_finding(path: Path) -> Finding:
    """What is said about the dataset, or the label file, at `path` whose boxes `are_shares`."""
    message = (
        "all coordinates are between 0 and 1: they are taken as shares of the image's sides, not as pixels"
    )
    return Finding("warning", "boxes-normalised", message, str(path))


def rows_numbered_by(file: str | Path) -> str:
    """What the `lines` of a record from `file` count: annotations of a JSON file, else lines of the file."""
    return "annotation" if str(file).lower().endswith(".json") else "line"


def row_finding(
    severity: Severity, code: str, message: str, file: str | Path, line: int, numbered: str = "line"
) -> Finding:
    """A finding about one label row.

    `line` is a line of the file, or the number of an 'annotation' or whatever `numbered` names: such a
    number goes into the message, because an editor cannot jump to it.
    """
    if numbered == "line":
        return Finding(severity, code, message, str(file), line)
    return Finding(severity, code, f"{numbered} {line}: {message}", str(file))


def is_rejection(severity: str, code: str) -> bool:
    """Whether a finding stands for a label row that is wrong.

    Rows of missing images, repeats, crowds, and what a user asked to drop are not.
    """
    return severity == "error" and code.startswith("box-") and code != "box-no-image"


def rows_without_image(
    lines: Sequence[int] | NDArray[np.int64], why: str, file: str | Path, numbered: str = "line"
) -> tuple[Finding, ...]:
    """One finding (`box-no-image`) per row whose image cannot be used."""
    return tuple(row_finding("error", "box-no-image", why, file, int(i), numbered) for i in lines)


def _format_box(box: NDArray[np.float64]) -> str:
    return "({:.6g}, {:.6g}, {:.6g}, {:.6g})".format(*box)


_MIX = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x27D4EB2F165667C5], np.uint64)


def _repeats(
    boxes: NDArray[np.float64], classes: NDArray[np.int64], images: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """bool [N], True for each row that equals an earlier one in image, class and box."""
    bits = np.ascontiguousarray(boxes + 0.0).view(np.uint64)  # -0.0 becomes 0.0
    hashes = (bits ^ (bits >> np.uint64(29))) @ _MIX + classes.view(np.uint64) * _MIX[0]
    hashes ^= images.view(np.uint64) * _MIX[1]
    repeated = np.zeros(len(boxes), dtype=np.bool_)
    ordered = np.sort(hashes)
    if not (ordered[1:] == ordered[:-1]).any():
        return repeated
    seen: set[tuple[int, int, bytes]] = set()
    for i, row in enumerate(bits):
        key = (int(images[i]), int(classes[i]), row.tobytes())
        repeated[i] = key in seen
        seen.add(key)
    return repeated


def apply_box_rules(
    boxes: NDArray[np.float64],
    classes: NDArray[np.int64],
    lines: NDArray[np.int64],
    counts: Sequence[int] | NDArray[np.int64],
    sizes: NDArray[np.int64],
    files: Sequence[str | Path],
    *,
    num_classes: int,
) -> CheckedBoxes:
    """Keep the valid label rows of several images, clip boxes that barely leave the image, drop the rest.

    Corners that are swapped (the box was drawn from right to left, or upwards) are put right.

    `boxes` float64 [N, 4] xyxy pixels, `classes` int64 [N], `lines` int64 [N] the position of each row in its
    file (a line, or the id of an annotation). The first `counts[0]` rows belong to the first image, whose
    width and height are `sizes[0]` (int64 [I, 2]) and whose rows come from `files[0]`; and so on. Rules are
    checked in this order; a row is dropped when a number is NaN or infinite (`box-nan`); its class is not in
    0..num_classes-1 (`box-class`); it reaches more than 1 % of the image side beyond an edge (`box-outside`);
    no area is left (`box-empty`); or it repeats an earlier row of its image (`box-duplicate`).
    """
    images = np.repeat(np.arange(len(counts)), counts)
    size = sizes.astype(np.float64)[images]
    with np.errstate(over="ignore", invalid="ignore"):
        low = np.minimum(boxes[:, :2], boxes[:, 2:])
        high = np.maximum(boxes[:, :2], boxes[:, 2:])
        beyond = np.maximum(np.maximum(-low, high - size), 0.0)  # [N, 2] pixels
        outside: NDArray[np.bool_] = np.logical_or.reduce(beyond > size * FRAME_TOLERANCE, axis=1)
        swapped: NDArray[np.bool_] = np.logical_or.reduce(boxes[:, 2:] < boxes[:, :2], axis=1)
    finite: NDArray[np.bool_] = np.logical_and.reduce(np.isfinite(boxes), axis=1)
    wrong_class: NDArray[np.bool_] = (classes < 0) | (classes >= num_classes)
    ordered = np.hstack([low, high]) if swapped.any() else boxes
    clipped = np.clip(ordered, 0.0, np.hstack([size, size]))
    empty: NDArray[np.bool_] = ~np.logical_and.reduce(clipped[:, 2:] > clipped[:, :2], axis=1)
    keep = finite & ~wrong_class & ~outside & ~empty
    keep[np.flatnonzero(keep)[_repeats(ordered[keep], classes[keep], images[keep])]] = False

    def explain(i: int) -> tuple[Severity, str, str]:
        box = _format_box(boxes[i])
        if not finite[i]:
            return "error", "box-nan", f"box {box}: got NaN or infinity, expected numbers"
        if wrong_class[i]:
            return "error", "box-class", f"class id {classes[i]}: expected 0 to {num_classes - 1}"
        if outside[i]:
            (x, y), (width, height) = beyond[i], sizes[images[i]]
            return (
                "error",
                "box-outside",
                f"box {box}: reaches {x:.4g} px in x and {y:.4g} px in y beyond the {width}x{height} image, "
                "more than 1 %",
            )
        if empty[i]:
            return "error", "box-empty", f"box {box}: no area"
        return "warning", "box-duplicate", f"box {box} of class {classes[i]}: an exact repeat"

    def source(i: int) -> tuple[str | Path, int, str]:
        file = files[images[i]]
        return file, int(lines[i]), rows_numbered_by(file)

    dropped: dict[int, list[Finding]] = {}
    for i in np.flatnonzero(~keep).tolist():
        dropped.setdefault(int(images[i]), []).append(row_finding(*explain(i), *source(i)))
    notes: dict[int, list[Finding]] = {}
    for i in np.flatnonzero(keep & swapped).tolist():
        message = f"box {_format_box(boxes[i])}: swapped corners (a negative width or height) are put right"
        notes.setdefault(int(images[i]), []).append(
            row_finding("warning", "box-swapped", message, *source(i))
        )
    for i in np.flatnonzero(keep & (beyond > ROUNDING_PX).any(axis=1)).tolist():
        width, height = sizes[images[i]]
        message = f"box {_format_box(boxes[i])}: clipped to the {width}x{height} image"
        notes.setdefault(int(images[i]), []).append(row_finding("info", "box-clipped", message, *source(i)))
    kept = np.bincount(images[keep], minlength=len(counts))
    offsets = np.concatenate([[0], np.cumsum(kept)])
    return CheckedBoxes(offsets, clipped[keep], classes[keep], lines[keep], dropped, notes)
