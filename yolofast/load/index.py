"""What a loader keeps of every image: path, shape and labels, packed so that a million cost about 100 MB.

One array a fact, with offsets where its length differs; no object an image. Processes that are forked share
it, and native threads read it as it is.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from yolofast.formats.boxes import xyxy_to_xywhn
from yolofast.formats.yolo.split import ReadChunk
from yolofast.types import ImageRecord

_TOGETHER = 1024
"""Images whose labels are worked out at once."""
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
        self._pack(_blocks(records), single_cls)

    @staticmethod
    def of_chunks(chunks: Iterable[ReadChunk], *, single_cls: bool = False) -> ImageIndex:
        """The usable images of chunks."""
        index = ImageIndex.__new__(ImageIndex)
        index._pack(map(_block, chunks), single_cls)
        return index

    def _pack(self, blocks: Iterable[_Block], single_cls: bool) -> None:
        data, path_offsets, label_offsets = bytearray(), array("q", [0]), array("q", [0])
        shapes, rows = array("i"), array("f")
        for block in blocks:
            for path in block.paths:
                data += os.fsencode(path) + b"\0"
                path_offsets.append(len(data))
            label_offsets.frombytes((label_offsets[-1] + np.cumsum(block.counts)).tobytes())
            shapes.frombytes(block.sizes[:, ::-1].astype(np.int32).tobytes())
            labels = np.zeros((len(block.boxes), 5), dtype=np.float32)
            labels[:, 0] = 0 if single_cls else block.classes
            labels[:, 1:] = xyxy_to_xywhn(block.boxes, np.repeat(block.sizes, block.counts, axis=0))
            rows.frombytes(labels.tobytes())
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


class _Block(NamedTuple):
    """Some images: paths [N], sizes int64 [N, 2] width and height, boxes a picture int64 [N], and these boxes
    [R, 4] xyxy pixels with their classes [R], one image's behind the other's."""

    paths: Sequence[str | Path]
    sizes: NDArray[np.int64]
    counts: NDArray[np.int64]
    boxes: NDArray[np.float64]
    classes: NDArray[np.int64]


def _blocks(records: Iterable[ImageRecord]) -> Iterator[_Block]:
    stream = iter(records)
    while taken := list(islice(stream, _TOGETHER)):
        yield _Block(
            [record.path for record in taken],
            np.array([(record.width, record.height) for record in taken], dtype=np.int64),
            np.array([len(record.boxes) for record in taken], dtype=np.int64),
            np.concatenate([record.boxes for record in taken]),
            np.concatenate([record.classes for record in taken]),
        )


def _block(chunk: ReadChunk) -> _Block:
    """The usable images of a chunk; those that are not have no boxes."""
    paths: list[str] = [image for image, good in zip(chunk.images, chunk.usable, strict=True) if good]
    counts = np.diff(chunk.offsets)[chunk.usable]
    return _Block(paths, chunk.sizes[chunk.usable], counts, chunk.boxes, chunk.classes)
