"""Many YOLO label files read at once: their rows as columns, one native call some hundred files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from yolofast.kernels._scan import scan_labels
from yolofast.kernels.file_chunks import CHUNK, map_chunks, pack_paths
from yolofast.kernels.parsed_labels import LabelError

Columns = tuple[dict[str, NDArray[Any]], list[tuple[int, LabelError]]]


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
        return os.strerror(int(self.errno[file])) if self.errno[file] else ""


def scan_label_files(
    paths: Sequence[Path | str | None],
    *,
    keypoints: tuple[int, int] | None = None,
    threads: int | None = None,
) -> LabelScan:
    """The rows of many YOLO label files; None stands for no label file and gives no rows.

    A file that cannot be read gives its errno instead (EISDIR for a folder, EINVAL for what is no regular
    file, EFBIG above 64 MB); nothing is raised for it. `keypoints` as for `parse_yolo_labels`. Runs on at
    most `threads` threads, None: one a core.

    Raises:
        ValueError: `threads` is below 1.
    """
    return _join(list(map_chunks(partial(_scan_chunk, keypoints), paths, threads)))


def _scan_chunk(keypoints: tuple[int, int] | None, paths: Sequence[str | Path | None]) -> Columns:
    return scan_labels(pack_paths(paths), keypoints=keypoints)


def _join(chunks: list[Columns]) -> LabelScan:
    """One scan of all chunks. Each column of theirs is let go when it is joined."""
    if not chunks:
        chunks = [scan_labels(b"")]
    columns = [arrays for arrays, _ in chunks]
    first_rows = np.cumsum([0, *(arrays["offsets"][-1] for arrays in columns)])
    starts = [arrays.pop("offsets")[:-1] + first for arrays, first in zip(columns, first_rows, strict=False)]
    bad_lines = [(CHUNK * i + file, error) for i, (_, bad) in enumerate(chunks) for file, error in bad]

    def join(name: str) -> NDArray[Any]:
        return np.concatenate([arrays.pop(name) for arrays in columns])

    return LabelScan(
        classes=join("classes"),
        boxes=join("boxes"),
        lines=join("lines"),
        kinds=join("kinds"),
        offsets=np.concatenate([*starts, first_rows[-1:]]),
        errno=join("errno"),
        bad_lines=bad_lines,
    )
