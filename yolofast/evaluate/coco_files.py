"""`evaluate_coco`: JSON files of COCO or LVIS to box metrics, equal to those of pycocotools or lvis-api."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from yolofast.errors import DataError, DatasetNotFoundError
from yolofast.evaluate.coco_columns import Columns, offsets_of
from yolofast.evaluate.coco_curves import MAX_DETS, checked_threads
from yolofast.evaluate.coco_metrics import CocoMetrics
from yolofast.evaluate.coco_summary import ApMethod
from yolofast.evaluate.lvis import (
    MAX_DETECTIONS,
    best_of_each_image,
    is_federated,
    lvis_results,
    with_federated_rules,
)
from yolofast.kernels import _annotations
from yolofast.kernels.ground_truth import GroundTruthColumns
from yolofast.types import Metrics

log = logging.getLogger(__name__)

_PART_BYTES = 4 << 20
"""Size of the parts in which a large results file is read."""
_MAX_ENTRY_BYTES = 1 << 16
_LOOKBACK_BYTES = 256
"""Bytes before a part that help to tell whether an entry begins there."""
_MAX_TABLE_SIZE = 1 << 22
"""Range of ids up to which a lookup table is used; beyond it, binary search."""

_Read = TypeVar("_Read")


class _Results(NamedTuple):
    image_ids: NDArray[Any]
    category_ids: NDArray[np.int64]
    boxes: NDArray[np.float64]
    scores: NDArray[np.float64]

    def rows(self, kept: NDArray[np.intp]) -> _Results:
        """The results at `kept`."""
        return _Results(self.image_ids[kept], self.category_ids[kept], self.boxes[kept], self.scores[kept])


def evaluate_coco(
    gt_json: str | Path | Mapping[str, Any],
    dt_json: str | Path | Sequence[Mapping[str, Any]],
    *,
    max_dets: Sequence[int] | None = None,
    ap_method: ApMethod = "101-point",
    threads: int | None = None,
) -> Metrics:
    """COCO's box metrics of a results file, equal to pycocotools' to the last bit.

    `metrics.stats` are the twelve values of `COCOeval.stats`, `metrics.eval` the arrays `precision`,
    `recall` and `scores` of `COCOeval.eval`. Images and categories are those of the ground truth, by
    ascending id: results of other categories, and annotations of images or categories that are not listed,
    do not count. Crowds, areas, equal scores and detection limits are treated as in pycocotools, including
    its quirks: an annotation with id 0 is never matched (a warning is logged). There are two exceptions,
    where pycocotools would compute nonsense: a NaN score is an error, and two boxes whose IoU is not a number
    (NaN, infinite or overflowing sides) do not match.

    A ground truth of LVIS, whose images have `neg_category_ids` and `not_exhaustive_category_ids`, is judged
    by its federated rules: of an image only the best 300 detections count, of these only those of categories
    that the image is known to show or not to show, and where objects may be unannotated there are no false
    positives. `metrics.lvis` then holds the thirteen values of lvis-api. An `ignore` key is not read.

    Args:
        gt_json: COCO ground truth, a file or the object that `json.load` returns for it: `images` (id),
            `categories` (id, name), `annotations` (id, image_id, category_id, bbox = left, top, width, height
            in pixels; area, by default width times height; iscrowd, by default 0).
        dt_json: results, a file or a list: image_id, category_id, bbox, score. Image ids are whole numbers
            or strings, the same in both files.
        max_dets: detection limits per class and image, ascending; see `CocoMetrics`. Omitted means (1, 10,
            100), and for LVIS (1, 10, 300); there the last one is for all classes of an image together.
        ap_method: see `CocoMetrics.compute`.
        threads: omitted means one per core; the results do not depend on it.

    Raises:
        DatasetNotFoundError: a file does not exist.
        DataError: a file is not of this format (with line and column, or for an object the number of the
            entry), or a result belongs to an image that the ground truth does not have. Results without
            boxes (masks, keypoints) are not evaluated.
    """
    workers = checked_threads(threads)
    with ThreadPoolExecutor(workers) as pool:
        truth_task = pool.submit(_read, "ground truth", gt_json, _read_truth)
        results = _read("results", dt_json, lambda source: _read_results(source, pool))
        truth = truth_task.result()
        del truth_task
    try:
        federated = is_federated(truth)
    except DataError as error:
        raise DataError(f"{_name('ground truth', gt_json)}: {error}") from None
    if not len(truth["categories"]):
        raise DataError(f"{_name('ground truth', gt_json)}: it has no categories; expected at least one")
    images, categories = np.unique(truth["images"]), np.unique(truth["categories"])
    names = dict(zip(truth["categories"].tolist(), truth["names"], strict=True))
    limits = tuple(max_dets or (*MAX_DETS[:-1], MAX_DETECTIONS if federated else MAX_DETS[-1]))
    metrics = CocoMetrics(
        len(categories),
        [names[c] or str(c) for c in categories.tolist()],
        max_dets=limits,
        threads=workers,
    )
    _check_same_kind(results.image_ids, images, _name("results", dt_json), _name("ground truth", gt_json))
    dt_images = _indices(results.image_ids, images)
    if len(dt_images) and dt_images.min() < 0:
        unknown = results.image_ids.tolist()[np.argmin(dt_images)]
        raise DataError(
            f"{_name('results', dt_json)}: a result has image_id {unknown!r}, which "
            f"{_name('ground truth', gt_json)} does not have. Use files about the same images."
        )
    if np.isnan(results.scores).any():
        entry = int(np.argmax(np.isnan(results.scores)))
        raise DataError(f"{_name('results', dt_json)}: the score of entry {entry} is NaN; expected a number")
    if federated:
        best = best_of_each_image(dt_images, results.scores, limits[-1])
        results, dt_images = results.rows(best), dt_images[best]
    columns = Columns(
        *_detections(results, dt_images, categories, len(images)), *_truths(truth, images, categories)
    )
    frequencies = dict(zip(truth["categories"].tolist(), truth["frequencies"], strict=True))
    if federated:
        columns = with_federated_rules(columns, truth, _indices(truth["images"], images), categories)
    del results, truth, dt_images
    metrics.add_columns(columns)
    del columns
    computed = metrics.compute(ap_method)
    if not federated:
        return computed
    return replace(computed, lvis=lvis_results(computed, [frequencies[c] for c in categories.tolist()]))


def _check_same_kind(found: NDArray[Any], known: NDArray[Any], results: str, truth: str) -> None:
    """Raise `DataError` when image ids are texts in one file and numbers in the other."""
    if not len(found) or not len(known) or (found.dtype == object) == (known.dtype == object):
        return
    kinds = ("texts", "numbers") if found.dtype == object else ("numbers", "texts")
    raise DataError(
        f"{results}: image_id is {found.tolist()[0]!r}, and {truth} has ids such as {known.tolist()[0]!r}: "
        f"{kinds[0]} in the one, {kinds[1]} in the other. Write both as {kinds[1]}."
    )


def _name(what: str, source: object) -> str:
    return str(source) if isinstance(source, str | Path) else f"the {what}"


def _read(what: str, source: object, read: Callable[[object], _Read]) -> _Read:
    try:
        return read(source)
    except FileNotFoundError as error:
        raise DatasetNotFoundError(f"{source}: file not found; expected COCO {what}") from error
    except OSError as error:
        raise DataError(f"{source}: cannot be read ({error.strerror}); expected COCO {what}") from error
    except DataError:
        raise
    except ValueError as error:
        where = _wrong_entry(source) if not isinstance(source, str | Path) else None
        raise DataError(f"{_name(what, source)}: {where or error} (COCO {what})") from error


def _wrong_entry(results: object) -> str | None:
    """What is wrong with the first bad entry of a list of results, by its number; None for others."""
    if isinstance(results, Mapping) or not isinstance(results, Sequence):
        return None
    for number, entry in enumerate(results):
        if not isinstance(entry, Mapping):
            return (
                f"entry {number} is a {type(entry).__name__}; expected a dict with image_id, bbox and others"
            )
        try:
            text = _whole([entry])
            _annotations.read_results(text, 0, len(text))
        except ValueError as error:
            return f"entry {number}: {str(error).partition(': ')[2]}"
    return None


def _whole(source: object) -> NDArray[np.uint8]:
    """The bytes of a file, or of an object written as JSON."""
    if isinstance(source, str | Path):
        return np.fromfile(source, np.uint8)
    return np.frombuffer(json.dumps(source, default=_json_value).encode(), np.uint8)


def _json_value(value: object) -> object:
    """numpy numbers and arrays as JSON values."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise DataError(f"got a {type(value).__name__} among the values; expected what json.load gives")


def _read_truth(source: object) -> GroundTruthColumns:
    if not isinstance(source, str | Path | Mapping):
        raise DataError(
            f"the ground truth: got a {type(source).__name__}; expected a dict with images, categories and "
            "annotations, or a file"
        )
    return _annotations.read_ground_truth(_whole(source))


def _read_results(source: object, pool: ThreadPoolExecutor) -> _Results:
    if isinstance(source, Mapping):
        raise DataError(
            f"the results: got a dict with the keys {', '.join(map(str, source))}; expected a list of dicts "
            "with image_id, category_id, bbox and score, or a file"
        )
    parts = _read_parts(source, pool) if isinstance(source, str | Path) else None
    if parts is None:
        text = _whole(source)
        return _Results(*_annotations.read_results(text, 0, len(text))[:4])
    columns = []
    for column in range(4):
        columns.append(np.concatenate([part[column] for part in parts]))
        for part in parts:  # so that memory never holds two copies of everything
            part[column] = None
    return _Results(*columns)


def _read_parts(path: str | Path, pool: ThreadPoolExecutor) -> list[list[Any]] | None:
    """The columns of a file's parts, read in parallel; None when the file has to be read as a whole.

    Where a part begins is a guess: a bracket that looks like the start of an entry. The guess was right if
    the part before it ends exactly there.
    """
    with Path(path).open("rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        if size < 2 * _PART_BYTES:
            return None
        found = list(
            pool.map(lambda start: _read_part(file.fileno(), start, size), range(0, size, _PART_BYTES))
        )
    offset, parts = 0, []
    for part in found:
        if part is None or part[0] != offset:
            return None
        offset = part[1]
        parts.append(part[2])
    kinds = {part[0].dtype for part in parts}
    return parts if offset == size and len(kinds) == 1 else None


def _read_part(file: int, start: int, size: int) -> tuple[int, int, list[Any]] | None:
    """(offset of the first entry, offset past the last, columns) of the part that begins near `start`."""
    low, high = max(start - _LOOKBACK_BYTES, 0), min(start + _PART_BYTES + _MAX_ENTRY_BYTES, size)
    text = np.empty(high - low, np.uint8)
    filled = 0
    while filled < len(text):
        got = os.preadv(file, [text.data[filled:]], low + filled)
        if not got:
            return None
        filled += got
    first = _annotations.likely_entry(text, start - low) if start else 0
    last = start + _PART_BYTES >= size
    stop = len(text) if last else _annotations.likely_entry(text, start - low + _PART_BYTES)
    if first == len(text) or (stop == len(text) and high < size):
        return None
    try:
        *columns, reached = _annotations.read_results(text, first, stop)
    except ValueError:
        return None  # a wrong guess, or an error in the file, which reading it as a whole will report
    return low + first, low + reached, columns


def _indices(values: NDArray[Any], known: NDArray[Any]) -> NDArray[np.int64]:
    """The index of each value in the sorted array `known`; -1 for values that are not in it."""
    if not len(values) or not len(known) or (values.dtype == object) != (known.dtype == object):
        return np.full(len(values), -1, np.int64)
    if values.dtype != object and known[0] > -_MAX_TABLE_SIZE and known[-1] < _MAX_TABLE_SIZE:
        low = int(known[0])
        table = np.full(int(known[-1]) - low + 2, -1, np.int64)  # the last entry is for all other values
        table[known - low] = np.arange(len(known))
        inside = (values >= low) & (values <= known[-1])
        if inside.all():
            return table.take(values - low)
        return table.take(np.where(inside, values - low, len(table) - 1))
    indices = np.minimum(np.searchsorted(known, values), len(known) - 1)
    return np.where(known[indices] == values, indices, -1)


def _detections(
    results: _Results, images: NDArray[np.int64], categories: NDArray[np.int64], count: int
) -> tuple[NDArray[Any], ...]:
    """Boxes, scores, classes, offsets: the first columns of `Columns`."""
    classes = _indices(results.category_ids, categories).astype(np.int32)
    boxes, scores = results.boxes, results.scores
    known = classes >= 0
    if not known.all():
        images, classes, boxes, scores = images[known], classes[known], boxes[known], scores[known]
    if (images[1:] < images[:-1]).any():
        order = np.argsort(images, kind="stable")
        images, classes, boxes, scores = images[order], classes[order], boxes[order], scores[order]
    return boxes, scores, classes, offsets_of(images, count)


def _truths(
    truth: GroundTruthColumns, image_ids: NDArray[Any], category_ids: NDArray[np.int64]
) -> tuple[NDArray[Any], ...]:
    """Boxes, classes, areas, crowd, counts, offsets: the last columns of `Columns`."""
    images = _indices(truth["image_ids"], image_ids)
    classes = _indices(truth["category_ids"], category_ids).astype(np.int32)
    order = np.argsort(images, kind="stable")
    order = order[(images[order] >= 0) & (classes[order] >= 0)]
    ids = truth["ids"]
    _, first, inverse = np.unique(ids, return_index=True, return_inverse=True)
    if len(first) < len(ids):
        # pycocotools looks annotations up by id: a repeated id counts its last annotation again.
        log.warning(
            "the ground truth has annotations with equal ids; as in pycocotools the last replaces the others"
        )
        last = np.empty(len(first), np.int64)
        last[inverse] = np.arange(len(ids))
        order = last[inverse[order]]
        order = order[np.argsort(images[order], kind="stable")]
        order = order[(images[order] >= 0) & (classes[order] >= 0)]
    counts = ids[order] != 0
    if not counts.all():
        log.warning("the ground truth has an annotation with id 0; as in pycocotools it is never matched")
    boxes = truth["boxes"][order]
    offsets = offsets_of(images[order], len(image_ids))
    return boxes, classes[order], truth["areas"][order], truth["crowd"][order], counts, offsets
