# distutils: language = c++
"""Box IoU: checked, GIL-free calls into csrc/core."""

import numpy as np

from yolofast.kernels.checks import as_boxes


cdef extern from "core/boxes/boxes.hpp" namespace "yf" nogil:
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


IOU_KINDS = ("iou", "giou", "diou", "ciou")


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
    a = as_boxes("a", a, dtype)
    b = as_boxes("b", b, dtype)
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
