"""Many YOLO label files read at once: their rows as columns, one native call some hundred files."""

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
from yolofast.kernels.parsed_labels import TOO_MANY_ERRORS, LabelError


@dataclass(frozen=True, slots=True)
class LabelScan:
    """The rows of N label files, one file behind another, as `parse_yolo_labels` reads each.

    `classes` int64 [R]; `boxes` float64 [R, 4] xywhn as written; `lines` int64 [R], from 1; `kinds` int8 [R];
    `offsets` int64 [N + 1]: file i has the rows from `offsets[i]` to `offsets[i + 1]`; `errno` int32 [N]: 0
    where the file was read (or there was none to read); `bad_lines`: (index of the file, what is wrong), in
    order.
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
        """Where the rows of a file are."""
        return slice(int(self.offsets[file]), int(self.offsets[file + 1]))

    def reason(self, file: int) -> str:
        """Why a file could not be read, in the system's words; empty where it was."""
        number = int(self.errno[file])
        if number == errno.EBADMSG:
            return TOO_MANY_ERRORS
        return os.strerror(number) if number else ""


def scan_label_files(
    paths: Sequence[Path | str | None], *, keypoints: tuple[int, int] | None = None
) -> LabelScan:
    """The rows of many YOLO label files, in one native call; None stands for no label file and has no rows.

    `keypoints` as `parse_yolo_labels` takes it. A file that cannot be read gives its errno instead (EISDIR
    for a folder, EINVAL for what is no regular file, EFBIG above 64 MB,
    EBADMSG with more than 10,000 bad lines); nothing is raised for it. The GIL is
    released: several threads may share a long list.
    """
    columns, bad_lines = scan_labels(pack_paths(paths), keypoints)
    return LabelScan(**columns, bad_lines=bad_lines)
