"""What a loader keeps of every image: path, shape and labels, packed so that a million take about 100 MB.

One array per property, with offsets where lengths differ, and no Python object per image: forked processes
share it, and native threads read it in place.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from yolofast.formats.boxes import xyxy_to_xywhn
from yolofast.formats.yolo.split import ReadChunk
from yolofast.kernels import render_labels
from yolofast.kernels.packed_paths import PackedPaths, pack_paths, path_ends
from yolofast.types import BatchPlan, ImageRecord

_CHUNK = 1024
"""Records packed at once."""
SINGLE_CLASS_NAMES = ("object",)
"""Class names of a dataset whose classes are merged into one (`single_cls`)."""


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


class PackedIndex:
    """Paths, shapes (int32 [n, 2] height, width of the upright image) and labels of n images."""

    def __init__(self, records: Iterable[ImageRecord], *, single_cls: bool = False) -> None:
        """Packs one record after the other. `single_cls` makes every class 0."""
        self._pack(_pack_records(records), single_cls)

    @staticmethod
    def of_chunks(
        chunks: Iterable[ReadChunk], *, single_cls: bool = False, classes: Sequence[int] | None = None
    ) -> PackedIndex:
        """The usable images of chunks, with their boxes of `classes` (numbers; None means all)."""
        index = PackedIndex.__new__(PackedIndex)
        images = map(_usable_images, chunks)
        kept = images if classes is None else (_with_classes(each, classes) for each in images)
        index._pack(kept, single_cls)
        return index

    def _pack(self, chunks: Iterable[_Images], single_cls: bool) -> None:
        data, path_offsets, label_offsets = bytearray(), array("q", [0]), array("q", [0])
        shapes, rows = array("i"), array("f")
        for chunk in chunks:
            packed = pack_paths(chunk.paths)
            path_offsets.frombytes((len(data) + path_ends(packed)).tobytes())
            data += packed
            label_offsets.frombytes((label_offsets[-1] + np.cumsum(chunk.counts)).tobytes())
            shapes.frombytes(chunk.sizes[:, ::-1].astype(np.int32).tobytes())
            labels = np.zeros((len(chunk.boxes), 5), dtype=np.float32)
            labels[:, 0] = 0 if single_cls else chunk.classes
            labels[:, 1:] = xyxy_to_xywhn(chunk.boxes, np.repeat(chunk.sizes, chunk.counts, axis=0))
            rows.frombytes(labels.tobytes())
        self.paths = PackedPaths(np.frombuffer(data, np.uint8), np.frombuffer(path_offsets, np.int64))
        self.shapes: NDArray[np.int32] = np.frombuffer(shapes, np.int32).reshape(-1, 2)
        self.labels = PackedLabels(
            np.frombuffer(rows, np.float32).reshape(-1, 5), np.frombuffer(label_offsets, np.int64)
        )

    def __len__(self) -> int:
        return len(self.paths)

    def subset(self, images: NDArray[np.int64]) -> PackedIndex:
        """The images of these numbers, int64 [m], in this order."""
        kept = PackedIndex.__new__(PackedIndex)
        packed = pack_paths([self.paths[i] for i in images.tolist()])
        ends = np.concatenate((np.zeros(1, np.int64), path_ends(packed)))
        kept.paths = PackedPaths(np.frombuffer(packed, np.uint8), ends)
        kept.shapes = self.shapes[images]
        first, counts = self.labels.offsets[images], np.diff(self.labels.offsets)[images]
        offsets = np.concatenate((np.zeros(1, np.int64), np.cumsum(counts)))
        rows = np.arange(offsets[-1]) + np.repeat(first - offsets[:-1], counts)
        kept.labels = PackedLabels(self.labels.rows[rows], offsets)
        return kept

    @property
    def nbytes(self) -> int:
        """Bytes of its arrays."""
        arrays = (self.paths.data, self.paths.offsets, self.shapes, self.labels.rows, self.labels.offsets)
        return sum(a.nbytes for a in arrays)

    def targets(self, plan: BatchPlan, *, filtered: bool) -> NDArray[np.float32]:
        """Labels of a plan's samples, float32 [N, 6] sample, class, xywhn; see `kernels.render_labels`."""
        return render_labels(plan, self.labels.rows, self.labels.offsets, self.shapes, filtered=filtered)


class _Images(NamedTuple):
    """N images: paths [N]; sizes int64 [N, 2], width and height; boxes per image int64 [N]; all boxes in the
    images' order, float64 [R, 4] xyxy pixels, with their classes int64 [R]."""

    paths: Sequence[str | Path]
    sizes: NDArray[np.int64]
    counts: NDArray[np.int64]
    boxes: NDArray[np.float64]
    classes: NDArray[np.int64]


def _pack_records(records: Iterable[ImageRecord]) -> Iterator[_Images]:
    stream = iter(records)
    while taken := list(islice(stream, _CHUNK)):
        yield _Images(
            [record.path for record in taken],
            np.array([(record.width, record.height) for record in taken], dtype=np.int64),
            np.array([len(record.boxes) for record in taken], dtype=np.int64),
            np.concatenate([record.boxes for record in taken]),
            np.concatenate([record.classes for record in taken]),
        )


def _usable_images(chunk: ReadChunk) -> _Images:
    """The usable images of a chunk; those left out have no boxes."""
    paths: list[str] = [image for image, good in zip(chunk.images, chunk.usable, strict=True) if good]
    counts = np.diff(chunk.offsets)[chunk.usable]
    return _Images(paths, chunk.sizes[chunk.usable], counts, chunk.boxes, chunk.classes)


def _with_classes(images: _Images, classes: Sequence[int]) -> _Images:
    """The same images without the boxes of other classes."""
    kept = np.isin(images.classes, classes)
    number = np.repeat(np.arange(len(images.counts)), images.counts)
    counts = np.bincount(number[kept], minlength=len(images.counts))
    return images._replace(counts=counts, boxes=images.boxes[kept], classes=images.classes[kept])
