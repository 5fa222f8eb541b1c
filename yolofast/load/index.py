"""What a loader keeps of every image: path, shape and labels, packed so that a million cost about 100 MB.

One array a fact, with offsets where its length differs; no object an image. Processes that are forked share
it, and native threads read it as it is.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from yolofast.formats.boxes import xyxy_to_xywhn
from yolofast.types import ImageRecord

SINGLE_CLASS_NAMES = ("object",)
"""Class names of a dataset that is taken as one class (`single_cls`)."""


class PackedPaths(Sequence[str]):
    """Paths in one run of bytes: `data` uint8, each NUL-ended, the i-th from `offsets[i]` (int64 [n + 1])."""

    def __init__(self, data: NDArray[np.uint8], offsets: NDArray[np.int64]) -> None:
        self.data, self.offsets = data, offsets

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> str:  # type: ignore[override]
        if not -len(self) <= index < len(self):
            raise IndexError(f"path {index} of {len(self)}")
        index %= len(self)
        return os.fsdecode(self.data[self.offsets[index] : self.offsets[index + 1] - 1].tobytes())

    def __iter__(self) -> Iterator[str]:
        return (self[index] for index in range(len(self)))


class PackedLabels(Sequence[NDArray[np.float32]]):
    """Labels in one array: `rows` float32 [R, 5] class, xywhn; image i has `offsets[i]:offsets[i + 1]`."""

    def __init__(self, rows: NDArray[np.float32], offsets: NDArray[np.int64]) -> None:
        self.rows, self.offsets = rows, offsets

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> NDArray[np.float32]:  # type: ignore[override]
        if not -len(self) <= index < len(self):
            raise IndexError(f"labels {index} of {len(self)}")
        index %= len(self)
        return self.rows[self.offsets[index] : self.offsets[index + 1]]


class ImageIndex:
    """Paths, shapes (int32 [n, 2] height, width) and labels of n images."""

    def __init__(self, records: Iterable[ImageRecord], *, single_cls: bool = False) -> None:
        """Takes in one record after the other. `single_cls` makes every class 0."""
        data, path_offsets, label_offsets = bytearray(), array("q", [0]), array("q", [0])
        shapes, rows = array("i"), array("f")
        for record in records:
            data += os.fsencode(record.path) + b"\0"
            path_offsets.append(len(data))
            shapes.extend((record.height, record.width))
            labels = np.zeros((len(record.boxes), 5), dtype=np.float32)
            labels[:, 0] = 0 if single_cls else record.classes
            labels[:, 1:] = xyxy_to_xywhn(record.boxes, record.width, record.height)
            rows.frombytes(labels.tobytes())
            label_offsets.append(len(rows) // 5)
        self.paths = PackedPaths(np.frombuffer(data, np.uint8), np.frombuffer(path_offsets, np.int64))
        self.shapes: NDArray[np.int32] = np.frombuffer(shapes, np.int32).reshape(-1, 2)
        self.labels = PackedLabels(
            np.frombuffer(rows, np.float32).reshape(-1, 5), np.frombuffer(label_offsets, np.int64)
        )

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def nbytes(self) -> int:
        """Bytes that the index takes."""
        arrays = (self.paths.data, self.paths.offsets, self.shapes, self.labels.rows, self.labels.offsets)
        return sum(a.nbytes for a in arrays)
