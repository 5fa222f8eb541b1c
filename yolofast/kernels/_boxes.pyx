# distutils: language = c++
"""Box IoU and non-maximum suppression: checked, GIL-free calls into csrc/core."""

from libc.stdint cimport int64_t

import numpy as np


cdef extern from "boxes.hpp" namespace "yf" nogil:
    cdef enum class IouKind "yf::IouKind"(int):
        pass

    void c_box_iou_f32 "yf::box_iou"(
        const float* a, size_t n, const float* b, size_t m, IouKind kind, float* out) except +
    void c_box_iou_f64 "yf::box_iou"(
        const double* a, size_t n, const double* b, size_t m, IouKind kind, double* out) except +
    void c_elementwise_f32 "yf::box_iou_elementwise"(
        const float* a, const float* b, size_t n, IouKind kind, float* out)
    void c_elementwise_f64 "yf::box_iou_elementwise"(
        const double* a, const double* b, size_t n, IouKind kind, double* out)


cdef extern from "nms.hpp" namespace "yf" nogil:
    size_t c_nms "yf::nms"(
        const float* boxes, const float* scores, const int64_t* classes, size_t n, double threshold,
        int64_t* keep) except +


IOU_KINDS = ("iou", "giou", "diou", "ciou")


def _boxes(name, values, dtype):
    boxes = np.ascontiguousarray(values, dtype=dtype)
    if boxes.size == 0 and boxes.ndim < 2:
        boxes = boxes.reshape(0, 4)
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ValueError(f"{name} has shape {np.shape(values)}; expected [N, 4] (x1, y1, x2, y2)")
    return boxes


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


def box_iou(a, b, *, kind="iou", elementwise=False):
    """Intersection over union, or a relative of it, of every box of `a` with every box of `b`, or row by row.

    Args:
        a: boxes [N, 4] xyxy. float32 and float64 are computed in their own precision; when either
            argument is float64, both are; anything else becomes float32.
        b: boxes [M, 4] xyxy.
        kind: 'iou'; 'giou' (Rezatofighi et al., CVPR 2019, arXiv:1902.09630) = IoU - (C - U) / C,
            with U the union and C the area of the smallest enclosing box; 'diou' (Zheng et al.,
            AAAI 2020, arXiv:1911.08287) = IoU - d2 / c2, with d the distance of the centres and c
            the diagonal of the enclosing box; 'ciou' (same paper) = DIoU - alpha * v, with
            v = 4 / pi^2 * (atan(w_b / h_b) - atan(w_a / h_a))^2 and alpha = v / (1 - IoU + v).
        elementwise: only a[i] with b[i]; `a` and `b` then have as many boxes.

    Returns:
        float32 or float64 [N, M]; [N] when `elementwise`.

    Degenerate boxes: a side that runs backwards (x2 < x1) counts as zero length at x1, so an
    inverted box has area 0. The IoU of two boxes without area is 0; a term with a zero denominator
    is 0; atan(0 / 0) is 0. A pair with a NaN coordinate gives 0 for every kind, and so does a pair
    whose value is not a number for another reason (infinite sides).

    Raises:
        ValueError: a shape is not [N, 4], `kind` is unknown, or the lengths differ when `elementwise`.
        TypeError: the boxes are not real numbers.

    The GIL is released while computing.
    """
    if kind not in IOU_KINDS:
        raise ValueError(f"kind is {kind!r}; expected one of {', '.join(IOU_KINDS)}")
    cdef IouKind which = <IouKind> <int> IOU_KINDS.index(kind)
    a = np.asarray(a)
    b = np.asarray(b)
    for name, boxes in (("a", a), ("b", b)):
        if boxes.dtype.kind not in "biuf":
            raise TypeError(f"{name} has dtype {boxes.dtype}; expected real numbers, best float32 or float64")
    dtype = np.float64 if np.float64 in (a.dtype, b.dtype) else np.float32
    a = _boxes("a", a, dtype)
    b = _boxes("b", b, dtype)
    if elementwise:
        if len(a) != len(b):
            raise ValueError(f"a has {len(a)} boxes and b has {len(b)}; expected as many when elementwise")
        out = np.empty(len(a), dtype=dtype)
        if out.size:
            if dtype == np.float64:
                _elementwise_f64(a, b, which, out)
            else:
                _elementwise_f32(a, b, which, out)
        return out
    out = np.empty((len(a), len(b)), dtype=dtype)
    if out.size:
        if dtype == np.float64:
            _iou_f64(a, b, which, out)
        else:
            _iou_f32(a, b, which, out)
    return out


cdef _elementwise_f32(const float[:, ::1] a, const float[:, ::1] b, IouKind kind, float[::1] out):
    with nogil:
        c_elementwise_f32(&a[0, 0], &b[0, 0], <size_t> a.shape[0], kind, &out[0])


cdef _elementwise_f64(const double[:, ::1] a, const double[:, ::1] b, IouKind kind, double[::1] out):
    with nogil:
        c_elementwise_f64(&a[0, 0], &b[0, 0], <size_t> a.shape[0], kind, &out[0])


cdef _iou_f32(const float[:, ::1] a, const float[:, ::1] b, IouKind kind, float[:, ::1] out):
    with nogil:
        c_box_iou_f32(&a[0, 0], <size_t> a.shape[0], &b[0, 0], <size_t> b.shape[0], kind, &out[0, 0])


cdef _iou_f64(const double[:, ::1] a, const double[:, ::1] b, IouKind kind, double[:, ::1] out):
    with nogil:
        c_box_iou_f64(&a[0, 0], <size_t> a.shape[0], &b[0, 0], <size_t> b.shape[0], kind, &out[0, 0])


cdef object _suppress(
    const float[:, ::1] boxes, const float[::1] scores, const int64_t[::1] classes, double threshold
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
            count = c_nms(&boxes[0, 0], &scores[0], labels, n, threshold, &out[0])
    return keep[:count].copy()


def nms(boxes, scores, iou_threshold):
    """Greedy non-maximum suppression: indices of the kept boxes, best score first.

    Boxes are taken in descending score (lower index first among equal scores); each is kept unless
    its IoU with a box kept before is greater than `iou_threshold`. IoU is computed in float32 and
    compared in float64, as torchvision does.

    Args:
        boxes: float32 [N, 4] xyxy (other dtypes are converted). Degenerate boxes as in `box_iou`:
            they have area 0 and overlap nothing.
        scores: float32 [N]. Boxes whose score is NaN are dropped.
        iou_threshold: from 0 to 1.

    Returns:
        int64 [K]. A box with a NaN coordinate is kept and suppresses nothing.

    Raises:
        ValueError: shapes do not fit, or the threshold is out of range.

    The GIL is released while computing.
    """
    boxes = _boxes("boxes", boxes, np.float32)
    scores = _column("scores", scores, np.float32, len(boxes))
    return _suppress(boxes, scores, None, _threshold(iou_threshold))


def batched_nms(boxes, scores, classes, iou_threshold):
    """Greedy non-maximum suppression within each class; boxes of different classes never meet.

    Boxes are grouped by class by sorting, and their coordinates are left alone: adding an offset per
    class would round them.

    Args:
        boxes: float32 [N, 4] xyxy, as in `nms`.
        scores: float32 [N], as in `nms`.
        classes: whole numbers [N].
        iou_threshold: from 0 to 1.

    Returns:
        int64 [K], indices of the kept boxes of all classes, best score first, lower index first
        among equals.

    Raises:
        ValueError: shapes do not fit, or the threshold is out of range.
        TypeError: `classes` is not of a whole-number dtype.

    The GIL is released while computing.
    """
    boxes = _boxes("boxes", boxes, np.float32)
    scores = _column("scores", scores, np.float32, len(boxes))
    classes = _column("classes", classes, np.int64, len(boxes))
    return _suppress(boxes, scores, classes, _threshold(iou_threshold))
