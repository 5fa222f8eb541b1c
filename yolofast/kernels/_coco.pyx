# distutils: language = c++
"""COCO evaluation: checked, GIL-free calls into csrc/core/coco. `matching` and `evaluate` build on it."""

from libc.stdint cimport int32_t, int64_t, uint8_t
from libcpp.vector cimport vector

cimport cython

import numpy as np


cdef extern from "core/coco/match.hpp" namespace "yf::coco" nogil:
    cdef const int kMaxThresholds
    cdef const int kMaxAreas

    struct Judged:
        double score

    struct CDetections "yf::coco::Detections":
        const double* boxes
        const double* scores
        const int32_t* labels

    struct Truths:
        const double* boxes
        const int32_t* labels
        const double* areas
        const uint8_t* crowd
        const uint8_t* counts

    struct Rules:
        const double* thresholds
        int threshold_count
        const double* areas
        int area_count
        size_t max_det
        int32_t labels

    void c_match_images "yf::coco::match_images"(
        const CDetections& detections, const int64_t* detection_offsets, const Truths& truths,
        const int64_t* truth_offsets, size_t images, const Rules& rules, Judged* out, int64_t* out_offsets,
        int64_t* positives, int64_t* images_with) except +

    size_t c_match_image "yf::coco::match_image"(
        const CDetections& detections, const uint8_t* detection_ignored, size_t n, const Truths& truths,
        const uint8_t* truth_ignored, size_t m, const double* thresholds, size_t threshold_count,
        size_t max_det, int64_t* order, int64_t* found, uint8_t* ignored) except +


cdef extern from *:
    """
    #include <span>
    #include <vector>
    #include "core/coco/ranking.hpp"
    using JudgedParts = std::vector<std::span<const yf::coco::Judged>>;
    static void add_part(JudgedParts& parts, const void* data, std::size_t count) {
        parts.emplace_back(static_cast<const yf::coco::Judged*>(data), count);
    }
    """
    cdef cppclass JudgedParts:
        pass

    void add_part(JudgedParts& parts, const void* data, size_t count) except +


cdef extern from "core/coco/ranking.hpp" namespace "yf::coco" nogil:
    cdef cppclass CRanking "yf::coco::Ranking":
        CRanking(const JudgedParts& parts, int32_t labels) except +
        void sort(int32_t first, int32_t last) except +
        const vector[size_t]& starts()


cdef extern from "core/coco/accumulate.hpp" namespace "yf::coco" nogil:
    struct Axes:
        int thresholds
        int areas
        int max_dets
        size_t recalls
        const double* recall_points
        const int64_t* max_det_limits
        const int64_t* positives

    void c_accumulate "yf::coco::accumulate"(
        const CRanking& ranking, const Axes& axes, int32_t first, int32_t last, double* precision,
        double* scores, double* recall, double* area_under_curve) except +


cdef extern from "core/coco/confidence.hpp" namespace "yf::coco" nogil:
    void c_count_above "yf::coco::count_above"(
        const CRanking& ranking, const double* confidences, size_t count, int64_t* right, int64_t* total)
    double c_best_confidence "yf::coco::best_confidence"(
        const CRanking& ranking, const int64_t* positives, const double* confidences, size_t count,
        const int64_t* right, const int64_t* total) except +


MAX_THRESHOLDS = kMaxThresholds
MAX_AREAS = kMaxAreas

JUDGED = np.dtype(
    [
        ("score", np.float64),
        ("label", np.int32),
        ("rank", np.uint32),
        ("right", np.uint16, (kMaxAreas,)),
        ("ignored", np.uint16, (kMaxAreas,)),
    ]
)
"""A judged detection; bit t of the flags [area range] belongs to IoU threshold t."""

if JUDGED.itemsize != sizeof(Judged):
    raise ImportError(f"a judged detection has {sizeof(Judged)} bytes in C++ and {JUDGED.itemsize} here")


def _typed(name, values, dtype, shape):
    """`values` as a contiguous array of `dtype` and `shape`; a length of None is any."""
    array = np.ascontiguousarray(values, dtype=dtype)
    fits = [w is None or w == g for w, g in zip(shape, array.shape, strict=False)]
    if array.ndim != len(shape) or not all(fits):
        wanted = ", ".join("N" if w is None else str(w) for w in shape)
        raise ValueError(f"{name} has shape {array.shape}; expected [{wanted}]")
    return array


def _offsets(name, values, rows):
    """A private copy of int64 [images + 1] that rises from 0 to `rows`."""
    offsets = np.array(values, dtype=np.int64)
    rising = offsets.ndim == 1 and len(offsets) and (np.diff(offsets) >= 0).all()
    if not rising or offsets[0] != 0 or offsets[len(offsets) - 1] != rows:
        raise ValueError(f"{name} are {offsets}; expected numbers that rise from 0 to {rows}")
    return offsets


cdef const double* _doubles(const double[::1] values):
    return &values[0] if values.shape[0] > 0 else NULL


cdef const int32_t* _labels(const int32_t[::1] values):
    return &values[0] if values.shape[0] > 0 else NULL


cdef const uint8_t* _bytes(const uint8_t[::1] values):
    return &values[0] if values.shape[0] > 0 else NULL


def match_images(
    dt_boxes, dt_scores, dt_classes, dt_offsets,
    gt_boxes, gt_classes, gt_areas, gt_crowd, gt_counts, gt_offsets,
    *, thresholds, areas, max_det, num_classes,
):
    """Judge the detections of many images; see csrc/core/coco/match.hpp.

    Boxes are float64 [N, 4] left, top, width, height; classes int32; `gt_areas` float64; crowd and counts
    bool. Rows `offsets[i]` to `offsets[i + 1]` belong to image i.

    Returns:
        (judged [K] of dtype JUDGED, their offsets int64 [images + 1], positives int64
        [num_classes, areas], images with such a positive in the first area range int64 [num_classes]).

    Raises:
        ValueError: a shape does not fit, a class is out of range or a score is NaN.

    The GIL is released while matching.
    """
    boxes = _typed("dt_boxes", dt_boxes, np.float64, (None, 4))
    n = len(boxes)
    scores = _typed("dt_scores", dt_scores, np.float64, (n,))
    labels = _typed("dt_classes", dt_classes, np.int32, (n,))
    truths = _typed("gt_boxes", gt_boxes, np.float64, (None, 4))
    m = len(truths)
    truth_labels = _typed("gt_classes", gt_classes, np.int32, (m,))
    truth_areas = _typed("gt_areas", gt_areas, np.float64, (m,))
    crowd = _typed("gt_crowd", gt_crowd, np.bool_, (m,)).view(np.uint8)
    counts = _typed("gt_counts", gt_counts, np.bool_, (m,)).view(np.uint8)
    starts = _offsets("dt_offsets", dt_offsets, n)
    truth_starts = _offsets("gt_offsets", gt_offsets, m)
    if len(starts) != len(truth_starts):
        raise ValueError(f"got {len(starts)} offsets of detections and {len(truth_starts)} of truths")
    levels = np.array(thresholds, dtype=np.float64)
    ranges = np.array(areas, dtype=np.float64)
    if levels.ndim != 1 or not 1 <= len(levels) <= MAX_THRESHOLDS:
        raise ValueError(f"thresholds have shape {levels.shape}; expected [T], T from 1 to {MAX_THRESHOLDS}")
    if ranges.ndim != 2 or ranges.shape[1] != 2 or not 1 <= len(ranges) <= MAX_AREAS:
        raise ValueError(f"areas have shape {ranges.shape}; expected [A, 2] with A from 1 to {MAX_AREAS}")
    if not 1 <= num_classes <= 2**31 - 1 or max_det < 0:
        raise ValueError(f"num_classes is {num_classes} and max_det {max_det}; expected at least 1 and 0")

    judged = np.empty(n, JUDGED)
    out_offsets = np.empty(len(starts), np.int64)
    positives = np.zeros((num_classes, len(ranges)), np.int64)
    images_with = np.zeros(num_classes, np.int64)
    cdef CDetections detections
    detections.boxes = _doubles(boxes.reshape(-1))
    detections.scores = _doubles(scores)
    detections.labels = _labels(labels)
    cdef Truths truth
    truth.boxes = _doubles(truths.reshape(-1))
    truth.labels = _labels(truth_labels)
    truth.areas = _doubles(truth_areas)
    truth.crowd = _bytes(crowd)
    truth.counts = _bytes(counts)
    cdef Rules rules
    rules.thresholds = _doubles(levels)
    rules.threshold_count = <int> len(levels)
    rules.areas = _doubles(ranges.reshape(-1))
    rules.area_count = <int> len(ranges)
    rules.max_det = max_det
    rules.labels = num_classes
    cdef size_t images = len(starts) - 1
    cdef const int64_t[::1] starts_view = starts
    cdef const int64_t[::1] truth_starts_view = truth_starts
    cdef int64_t[::1] out_view = out_offsets
    cdef int64_t[:, ::1] positives_view = positives
    cdef int64_t[::1] with_view = images_with
    cdef uint8_t[::1] judged_view = judged.view(np.uint8)
    cdef Judged* out = <Judged*> &judged_view[0] if n else NULL
    with nogil:
        c_match_images(
            detections, &starts_view[0], truth, &truth_starts_view[0], images, rules, out, &out_view[0],
            &positives_view[0, 0], &with_view[0])
    kept = int(out_offsets[images])
    return (judged if kept == n else judged[:kept].copy()), out_offsets, positives, images_with


def match_image(
    dt_boxes, dt_scores, dt_classes, dt_ignore, gt_boxes, gt_classes, gt_crowd, gt_ignore,
    *, thresholds, max_det,
):
    """Match one image and say who took whom; arrays as in `match_images`, `ignore` bool.

    Returns:
        (rows of the detections that count int64 [K], ground truth of each or -1 int64 [T, K], whether it
        counts as nothing bool [T, K]).
    """
    boxes = _typed("dt_boxes", dt_boxes, np.float64, (None, 4))
    cdef size_t n = len(boxes)
    scores = _typed("dt_scores", dt_scores, np.float64, (n,))
    labels = _typed("dt_classes", dt_classes, np.int32, (n,))
    skip = _typed("dt_ignore", dt_ignore, np.bool_, (n,)).view(np.uint8)
    truths = _typed("gt_boxes", gt_boxes, np.float64, (None, 4))
    cdef size_t m = len(truths)
    truth_labels = _typed("gt_classes", gt_classes, np.int32, (m,))
    crowd = _typed("gt_crowd", gt_crowd, np.bool_, (m,)).view(np.uint8)
    truth_skip = _typed("gt_ignore", gt_ignore, np.bool_, (m,)).view(np.uint8)
    levels = _typed("thresholds", thresholds, np.float64, (None,))
    cdef size_t t = len(levels)
    order = np.empty(n, np.int64)
    found = np.empty((t, n), np.int64)
    ignored = np.empty((t, n), np.bool_)
    cdef size_t limit = max_det
    cdef size_t kept = 0
    cdef CDetections detections
    detections.boxes = _doubles(boxes.reshape(-1))
    detections.scores = _doubles(scores)
    detections.labels = _labels(labels)
    cdef Truths truth
    truth.boxes = _doubles(truths.reshape(-1))
    truth.labels = _labels(truth_labels)
    truth.areas = NULL
    truth.crowd = _bytes(crowd)
    truth.counts = NULL
    cdef const uint8_t* skip_data = _bytes(skip)
    cdef const uint8_t* truth_skip_data = _bytes(truth_skip)
    cdef const double* levels_data = _doubles(levels)
    cdef int64_t[::1] order_view = order
    cdef int64_t[:, ::1] found_view = found
    cdef uint8_t[:, ::1] ignored_view = ignored.view(np.uint8)
    if n > 0 and t > 0:
        with nogil:
            kept = c_match_image(
                detections, skip_data, n, truth, truth_skip_data, m, levels_data, t, limit, &order_view[0],
                &found_view[0, 0], &ignored_view[0, 0])
    return order[:kept].copy(), found[:, :kept].copy(), ignored[:, :kept].copy()


@cython.final
@cython.auto_pickle(False)
cdef class Ranking:
    """Judged detections by class; `parts` are arrays of JUDGED in the order of images.

    `sort` has to be called for every class before anything else is asked.
    """

    cdef CRanking* ranking
    cdef readonly int num_classes

    def __cinit__(self, parts, int num_classes):
        cdef JudgedParts spans
        cdef const uint8_t[::1] view
        self.num_classes = num_classes
        parts = list(parts)  # they have to live until they have been copied
        for part in parts:
            if part.dtype != JUDGED or part.ndim != 1 or not part.flags.c_contiguous:
                raise ValueError(f"a part has dtype {part.dtype}; expected contiguous judged detections")
            if len(part):
                view = part.view(np.uint8)
                add_part(spans, &view[0], len(part))
        with nogil:
            self.ranking = new CRanking(spans, num_classes)

    def __dealloc__(self):
        del self.ranking

    def starts(self):
        """Where the detections of each class begin, int64 [classes + 1]."""
        cdef size_t i
        return np.array([self.ranking.starts()[i] for i in range(self.ranking.starts().size())], np.int64)

    def sort(self, int first, int last):
        """Put the classes `first` to `last` in descending score; once each. The GIL is released."""
        self._check_classes(first, last)
        with nogil:
            self.ranking.sort(first, last)

    def _check_classes(self, first, last):
        if not 0 <= first <= last <= self.num_classes:
            raise ValueError(f"classes {first} to {last} of {self.num_classes}")

    def accumulate(self, positives, recall_points, max_dets, int thresholds, out, int first, int last):
        """Classes `first` to `last` of (precision, scores, recall, area), arrays to fill.

        `positives` is int64 [classes, areas]. precision and scores are float64 [areas, max_dets, classes,
        thresholds, recalls], recall and area the same without the last axis. The GIL is released.
        """
        counts = _typed("positives", positives, np.int64, (self.num_classes, None))
        points = _typed("recall_points", recall_points, np.float64, (None,))
        limits = _typed("max_dets", max_dets, np.int64, (None,))
        self._check_classes(first, last)
        if not 1 <= thresholds <= MAX_THRESHOLDS or not 1 <= counts.shape[1] <= MAX_AREAS:
            raise ValueError(f"{thresholds} thresholds and {counts.shape[1]} area ranges are too many")
        if (np.diff(points) < 0).any() or not len(points) or not len(limits):
            raise ValueError("expected recall points in rising order and limits of detections, one at least")
        shape = (counts.shape[1], len(limits), self.num_classes, thresholds)
        cdef double[:, :, :, :, ::1] precision = out[0]
        cdef double[:, :, :, :, ::1] scores = out[1]
        cdef double[:, :, :, ::1] recall = out[2]
        cdef double[:, :, :, ::1] area = out[3]
        curves = (*shape, len(points))
        for array, wanted in zip(out, (curves, curves, shape, shape), strict=True):
            if array.shape != wanted:
                raise ValueError(f"an output has shape {array.shape}; expected {wanted}")
        cdef const int64_t[:, ::1] counts_view = counts
        cdef const int64_t[::1] limits_view = limits
        cdef Axes axes
        axes.thresholds = thresholds
        axes.areas = <int> counts.shape[1]
        axes.max_dets = <int> len(limits)
        axes.recalls = len(points)
        axes.recall_points = _doubles(points)
        axes.max_det_limits = &limits_view[0]
        axes.positives = &counts_view[0, 0]
        with nogil:
            c_accumulate(
                self.ranking[0], axes, first, last, &precision[0, 0, 0, 0, 0], &scores[0, 0, 0, 0, 0],
                &recall[0, 0, 0, 0], &area[0, 0, 0, 0])

    def count_above(self, confidences):
        """(right, counted) int64 [classes, N] with a score of at least each of `confidences` (falling)."""
        levels = _typed("confidences", confidences, np.float64, (None,))
        right = np.zeros((self.num_classes, len(levels)), np.int64)
        total = np.zeros((self.num_classes, len(levels)), np.int64)
        cdef const double* data = _doubles(levels)
        cdef size_t count = len(levels)
        cdef int64_t[:, ::1] right_view = right
        cdef int64_t[:, ::1] total_view = total
        if count > 0:
            with nogil:
                c_count_above(self.ranking[0], data, count, &right_view[0, 0], &total_view[0, 0])
        return right, total

    def best_confidence(self, positives, confidences, right, counted):
        """The score with the best mean F1 over classes, 0 when nothing was found.

        `positives` is int64 [classes]; `right` and `counted` are what `count_above(confidences)` gave.
        """
        truths = _typed("positives", positives, np.int64, (self.num_classes,))
        levels = _typed("confidences", confidences, np.float64, (None,))
        hits = _typed("right", right, np.int64, (self.num_classes, len(levels)))
        totals = _typed("counted", counted, np.int64, (self.num_classes, len(levels)))
        if not len(levels):
            raise ValueError("expected at least one confidence")
        cdef const int64_t[::1] truths_view = truths
        cdef const int64_t[:, ::1] hits_view = hits
        cdef const int64_t[:, ::1] totals_view = totals
        cdef const double* data = _doubles(levels)
        cdef size_t count = len(levels)
        cdef double confidence
        with nogil:
            confidence = c_best_confidence(
                self.ranking[0], &truths_view[0], data, count, &hits_view[0, 0], &totals_view[0, 0])
        return confidence
