"""Parses YOLO label files natively: the rows of several hundred files as columns, in one call."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from yolofast.kernels._scan import scan_labels
from yolofast.kernels.packed_paths import pack_paths
from yolofast.kernels.parsed_labels import TOO_MANY_ERRORS, TOO_MANY_ROWS, LabelError


@dataclass(frozen=True, slots=True)
class LabelScan:
    """The rows of N label files, concatenated, each as `parse_yolo_labels` reads it.

    `classes` int64 [R]; `boxes` float64 [R, 4] xywhn as written; `lines` int64 [R], from 1; `kinds` int8 [R];
    `offsets` int64 [N + 1]: file i has rows `offsets[i]` to `offsets[i + 1]`; `errno` int32 [N]: 0 where the
    file was read (or none was given); `bad_lines`: (index of the file, error), in order.
    """

    classes: NDArray[np.int64]
    boxes: NDArray[np.float64]
    lines: NDArray[np.int64]
    kinds: NDArray[np.int8]
    offsets: NDArray[np.int64]
    errno: NDArray[np.int32]
    bad_lines: list[tuple[int, LabelError]]

    def __len__(self) -> int:
        return len(self.errno)

    def rows(self, file: int) -> slice:
        """The slice of the rows of a file."""
        return slice(int(self.offsets[file]), int(self.offsets[file + 1]))

    def reason(self, file: int) -> str:
        """Why a file could not be read, as the system puts it; empty where it was read."""
        number = int(self.errno[file])
        if number == errno.EBADMSG:
            return TOO_MANY_ERRORS
        if number == errno.EOVERFLOW:
            return TOO_MANY_ROWS
        return os.strerror(number) if number else ""


def scan_label_files(
    paths: Sequence[Path | str | None], *, keypoints: tuple[int, int] | None = None
) -> LabelScan:
    """The rows of many YOLO label files, in one native call; None means no label file and gives no rows.

    `keypoints` as in `parse_yolo_labels`. A file that cannot be read gives its errno (EISDIR for a folder,
    EINVAL when it is not a regular file, EFBIG above 64 MB, EBADMSG with more than 10,000 bad lines,
    EOVERFLOW with more than 100,000 rows) instead of an exception. The GIL is released: several threads may
    share a long list.
    """
    columns, bad_lines = scan_labels(pack_paths(paths), keypoints)
    return LabelScan(**columns, bad_lines=bad_lines)
