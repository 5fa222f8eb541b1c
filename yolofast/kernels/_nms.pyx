# distutils: language = c++
"""NMS: checked, GIL-free calls into csrc/core."""

from libc.stdint cimport int64_t, uint8_t

import numpy as np

from yolofast.kernels.checks import as_boxes


cdef extern from "core/boxes/nms.hpp" namespace "yf" nogil:
    size_t c_nms_f32 "yf::nms"(
        const float* boxes, const float* scores, const int64_t* classes, size_t n, double threshold,
        int64_t* keep) except +
    size_t c_nms_f64 "yf::nms"(
        const double* boxes, const double* scores, const int64_t* classes, size_t n, double threshold,
        int64_t* keep) except +


cdef extern from "core/boxes/soft_nms.hpp" namespace "yf" nogil:
    cdef enum class SoftNmsMethod "yf::SoftNmsMethod"(int):
        pass

    cdef cppclass SoftNmsOptions "yf::SoftNmsOptions":
        SoftNmsMethod method
        double sigma
        double iou_threshold
        double score_threshold

    size_t c_soft_nms_f32 "yf::soft_nms"(
        const float* boxes, const float* scores, const int64_t* classes, size_t n,
        const SoftNmsOptions& options, int64_t* keep, float* new_scores) except +
    size_t c_soft_nms_f64 "yf::soft_nms"(
        const double* boxes, const double* scores, const int64_t* classes, size_t n,
        const SoftNmsOptions& options, int64_t* keep, double* new_scores) except +


cdef extern from "core/boxes/postprocess.hpp" namespace "yf" nogil:
    cdef cppclass PostprocessOptions "yf::PostprocessOptions":
        float conf
        double iou
        size_t max_det
        size_t max_candidates
        bint agnostic
        bint multi_label
        const uint8_t* wanted

    cdef cppclass PostprocessBuffers "yf::PostprocessBuffers":
        pass

    size_t c_postprocess "yf::postprocess"(
        const float* raw, size_t classes, size_t anchors, const PostprocessOptions& options,
        PostprocessBuffers& buffers, float* boxes, float* scores, int64_t* labels) except +


SOFT_NMS_METHODS = ("linear", "gaussian")


def _column(name, values, dtype, count):
    column = np.asarray(values)
    if column.size and np.issubdtype(dtype, np.integer) and not np.issubdtype(column.dtype, np.integer):
        raise TypeError(f"{name} has dtype {column.dtype}; expected whole numbers: convert with .astype(int)")
    column = np.ascontiguousarray(column, dtype=dtype)
    if column.shape != (count,):
        raise ValueError(f"{name} has shape {column.shape}; expected [{count}], one value a box")
    return column


def _threshold(value):
    threshold = float(value)
    if not 0.0 <= threshold <= 1.0:
        raise ValueError(f"iou_threshold is {value}; expected a number from 0 to 1")
    return threshold


ctypedef fused Real:
    float
    double


def _as_real(boxes, scores):
    """Boxes [N, 4] and scores [N] of one dtype: float64 where the boxes are (or longer), else float32."""
    given = np.asarray(boxes).dtype
    dtype = np.float64 if given.kind == "f" and given.itemsize >= 8 else np.float32  # of any byte order
    boxes = as_boxes("boxes", boxes, dtype)
    return boxes, _column("scores", scores, dtype, len(boxes))


cdef object _greedy(
    const Real[:, ::1] boxes, const Real[::1] scores, const int64_t[::1] classes, double threshold
):
    cdef size_t n = <size_t> boxes.shape[0]
    cdef size_t count = 0
    keep = np.empty(n, dtype=np.int64)
    cdef int64_t[::1] out = keep
    cdef const int64_t* labels = NULL
    if n > 0:
        if classes is not None:
            labels = &classes[0]
        with nogil:
            if Real is double:
                count = c_nms_f64(&boxes[0, 0], &scores[0], labels, n, threshold, &out[0])
            else:
                count = c_nms_f32(&boxes[0, 0], &scores[0], labels, n, threshold, &out[0])
    return keep[:count].copy()


cdef object _kept(boxes, scores, classes, double threshold):
    if boxes.dtype == np.float64:
        return _greedy[double](boxes, scores, classes, threshold)
    return _greedy[float](boxes, scores, classes, threshold)


def nms(boxes, scores, iou_threshold):
    """Greedy non-maximum suppression: indices of the kept boxes, best score first.

    Boxes are taken in descending score (lower index first among equal scores); each is kept unless
    its IoU with a box kept before is greater than `iou_threshold`. IoU is computed in the precision of
    `boxes`, float32 or float64, and compared in float64, as torchvision does.

    Args:
        boxes: float32 or float64 [N, 4] xyxy; other dtypes become float32. Degenerate boxes as in
            `box_iou`: they have area 0 and overlap nothing.
        scores: [N], converted to the dtype of the boxes. Boxes whose score is NaN are dropped.
        iou_threshold: from 0 to 1.

    Returns:
        int64 [K]. A box with a NaN coordinate is kept and suppresses nothing; so is one of infinite
        area.

    Raises:
        ValueError: shapes do not fit, or the threshold is out of range.

    The GIL is released while computing.
    """
    boxes, scores = _as_real(boxes, scores)
    return _kept(boxes, scores, None, _threshold(iou_threshold))


def batched_nms(boxes, scores, classes, iou_threshold):
    """Greedy non-maximum suppression within each class; boxes of different classes never suppress each other.

    Boxes are grouped by class by sorting, and their coordinates stay as they are: adding an offset per
    class would round them.

    Args:
        boxes: float32 or float64 [N, 4] xyxy, as in `nms`.
        scores: [N], as in `nms`.
        classes: whole numbers [N], any that fit into int64, negative ones too.
        iou_threshold: from 0 to 1.

    Returns:
        int64 [K], indices of the kept boxes of all classes, best score first, lower index first
        among equals.

    Raises:
        ValueError: shapes do not fit, or the threshold is out of range.
        TypeError: `classes` is not of a whole-number dtype.

    The GIL is released while computing.
    """
    boxes, scores = _as_real(boxes, scores)
    classes = _column("classes", classes, np.int64, len(boxes))
    return _kept(boxes, scores, classes, _threshold(iou_threshold))


cdef object _soften(
    const Real[:, ::1] boxes, const Real[::1] scores, const int64_t[::1] classes, SoftNmsOptions options
):
    cdef size_t n = <size_t> boxes.shape[0]
    cdef size_t count = 0
    keep = np.empty(n, dtype=np.int64)
    new_scores = np.empty(n, dtype=np.float64 if Real is double else np.float32)
    cdef int64_t[::1] kept = keep
    cdef Real[::1] changed = new_scores
    cdef const int64_t* labels = NULL
    if n > 0:
        if classes is not None:
            labels = &classes[0]
        with nogil:
            if Real is double:
                count = c_soft_nms_f64(
                    &boxes[0, 0], &scores[0], labels, n, options, &kept[0], &changed[0])
            else:
                count = c_soft_nms_f32(
                    &boxes[0, 0], &scores[0], labels, n, options, &kept[0], &changed[0])
    return keep[:count].copy(), new_scores[:count].copy()


def soft_nms(
    boxes,
    scores,
    classes=None,
    *,
    method="linear",
    sigma=0.5,
    iou_threshold=0.3,
    score_threshold=0.001,
):
    """Soft-NMS (Bodla et al., ICCV 2017, arXiv:1704.04503): overlapping boxes lose score, none is dropped
    for its overlap alone.

    Of the boxes of a class the best is taken (lower index first among equal scores), and the scores
    of the others are multiplied by a weight: 'linear' 1 - IoU where IoU is greater than
    `iou_threshold`; 'gaussian' exp(-IoU^2 / sigma). Boxes whose score is then below
    `score_threshold` are dropped; the next best is taken, and so on. IoU and scores have the precision of
    `boxes`.

    Args:
        boxes: float32 or float64 [N, 4] xyxy, as in `nms`.
        scores: [N], as in `nms`. Boxes whose score is or becomes NaN (infinity times 0) are dropped.
        classes: whole numbers [N]; boxes of different classes never suppress each other. None: all meet.
        method: 'linear' or 'gaussian'.
        sigma: above 0, of 'gaussian'.
        iou_threshold: from 0 to 1, of 'linear'.
        score_threshold: finite, at least 0.

    Returns:
        (indices int64 [K], new scores [K] of the boxes' dtype), best new score first, lower index first among
        equals.

    Raises:
        ValueError: shapes do not fit, `method` is unknown, or a number is out of range.
        TypeError: `classes` is not of a whole-number dtype.

    The GIL is released while computing.
    """
    cdef SoftNmsOptions options
    if method not in SOFT_NMS_METHODS:
        raise ValueError(f"method is {method!r}; expected one of {', '.join(SOFT_NMS_METHODS)}")
    if not 0.0 < float(sigma) < float("inf"):
        raise ValueError(f"sigma is {sigma}; expected a number above 0")
    if not 0.0 <= float(score_threshold) < float("inf"):
        raise ValueError(f"score_threshold is {score_threshold}; expected a number of at least 0")
    options.method = <SoftNmsMethod> <int> SOFT_NMS_METHODS.index(method)
    options.sigma = sigma
    options.iou_threshold = _threshold(iou_threshold)
    options.score_threshold = score_threshold
    boxes, scores = _as_real(boxes, scores)
    if classes is not None:
        classes = _column("classes", classes, np.int64, len(boxes))
    if boxes.dtype == np.float64:
        return _soften[double](boxes, scores, classes, options)
    return _soften[float](boxes, scores, classes, options)


def postprocess_images(
    const float[:, :, ::1] raw,
    const uint8_t[::1] wanted,
    *,
    float conf,
    double iou,
    size_t room,
    size_t max_candidates,
    bint agnostic,
    bint multi_label,
):
    """What `kernels.postprocess` does to checked arguments: at most `room` detections of each image.

    Args:
        raw: float32 [B, 4 + C, A], none of them 0.
        wanted: uint8 [C], 0 for the classes to drop.
        room: at least 1.

    Returns:
        (boxes float32 [B, room, 4], scores float32 [B, room], classes int64 [B, room], counts int64
        [B]), of which the first counts[i] of image i are set.
    """
    cdef size_t images = <size_t> raw.shape[0]
    cdef size_t classes = <size_t> raw.shape[1] - 4
    cdef size_t anchors = <size_t> raw.shape[2]
    cdef size_t i
    cdef PostprocessBuffers buffers
    cdef PostprocessOptions options
    options.conf = conf
    options.iou = iou
    options.max_det = room
    options.max_candidates = max_candidates
    options.agnostic = agnostic
    options.multi_label = multi_label
    options.wanted = &wanted[0]
    boxes = np.empty((images, room, 4), dtype=np.float32)
    scores = np.empty((images, room), dtype=np.float32)
    labels = np.empty((images, room), dtype=np.int64)
    counts = np.empty(images, dtype=np.int64)
    cdef float[:, :, ::1] out_boxes = boxes
    cdef float[:, ::1] out_scores = scores
    cdef int64_t[:, ::1] out_labels = labels
    cdef int64_t[::1] out_counts = counts
    with nogil:
        for i in range(images):
            out_counts[i] = <int64_t> c_postprocess(
                &raw[i, 0, 0], classes, anchors, options, buffers,
                &out_boxes[i, 0, 0], &out_scores[i, 0], &out_labels[i, 0])
    return boxes, scores, labels, counts
