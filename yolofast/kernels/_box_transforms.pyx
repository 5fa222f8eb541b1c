# distutils: language = c++
"""Box formats, clipping, boxes through a matrix, what stays visible: checked calls into csrc/core.

Arithmetic is float64; the result has the dtype of the boxes given: float32 or float64, others become
float64. A number that is not finite stays in its own row. The GIL is released while computing.
"""

from libcpp cimport bool as cbool

import numpy as np


cdef extern from "core/boxes/box_transforms.hpp" namespace "yf" nogil:
    struct Size:
        double width
        double height

    struct VisibilityRule:
        double min_side
        double min_area
        double max_aspect

    void centre_to_corners[T](const T* boxes, size_t n, double width, double height, T* out)
    void corners_to_centre[T](const T* boxes, size_t n, double width, double height, T* out)
    void ltwh_to_corners[T](const T* boxes, size_t n, T* out)
    void corners_to_ltwh[T](const T* boxes, size_t n, T* out)
    void c_clip_boxes "yf::clip_boxes"[T](const T* boxes, size_t n, double width, double height, T* out)
    void c_transform_boxes "yf::transform_boxes"[T](
        const T* boxes, size_t n, const double* matrix, const Size* clip, T* out)
    void c_visible_boxes "yf::visible_boxes"[T](
        const T* before, const T* after, size_t n, const VisibilityRule& rule, cbool* out)


ctypedef fused real:
    float
    double

cdef enum Conversion:
    CENTRE_TO_CORNERS
    CORNERS_TO_CENTRE
    LTWH_TO_CORNERS
    CORNERS_TO_LTWH
    CLIP


def _as_boxes(name, boxes):
    array = np.asarray(boxes)
    if array.dtype not in (np.float32, np.float64):
        if array.dtype.kind not in "biuf":
            raise TypeError(f"{name} has dtype {array.dtype}; expected real numbers, best float32 or float64")
        array = array.astype(np.float64)
    if array.size == 0 and array.ndim < 2:
        array = array.reshape(0, 4)
    if array.ndim != 2 or array.shape[1] != 4:
        raise ValueError(f"{name} has shape {array.shape}; expected [N, 4]")
    return np.ascontiguousarray(array)


def _check_size(width, height):
    if not (width > 0 and height > 0):
        raise ValueError(f"the image size is {width} x {height}; expected positive width and height")


def _output(source, out):
    """(boxes to read, array to write): `out` checked, or made when it is None."""
    if out is None:
        return source, np.empty_like(source)
    if not isinstance(out, np.ndarray) or out.dtype != source.dtype or out.shape != source.shape:
        got = f"{out.dtype} {out.shape}" if isinstance(out, np.ndarray) else type(out).__name__
        raise ValueError(f"out is {got}; expected an array of {source.dtype} {source.shape}")
    if not (out.flags.c_contiguous and out.flags.writeable):
        raise ValueError("out is read-only or not contiguous; expected a writable C-contiguous array")
    # A row may be written over itself, never over a row that is still to be read.
    if out.ctypes.data != source.ctypes.data and np.may_share_memory(source, out):
        source = source.copy()
    return source, out


cdef _run(Conversion which, const real[:, ::1] boxes, double width, double height, real[:, ::1] out):
    cdef size_t n = <size_t> boxes.shape[0]
    if n == 0:
        return
    with nogil:
        if which == CENTRE_TO_CORNERS:
            centre_to_corners(&boxes[0, 0], n, width, height, &out[0, 0])
        elif which == CORNERS_TO_CENTRE:
            corners_to_centre(&boxes[0, 0], n, width, height, &out[0, 0])
        elif which == LTWH_TO_CORNERS:
            ltwh_to_corners(&boxes[0, 0], n, &out[0, 0])
        elif which == CORNERS_TO_LTWH:
            corners_to_ltwh(&boxes[0, 0], n, &out[0, 0])
        else:
            c_clip_boxes(&boxes[0, 0], n, width, height, &out[0, 0])


cdef _converted(Conversion which, boxes, width, height, out):
    _check_size(width, height)
    source, target = _output(_as_boxes("boxes", boxes), out)
    if source.dtype == np.float32:
        _run[float](which, source, width, height, target)
    else:
        _run[double](which, source, width, height, target)
    return target


def xywhn_to_xyxy(boxes, width, height, *, out=None):
    """Boxes [N, 4] from normalised centre, width, height to xyxy pixels of a `width` x `height` image.

    Args:
        boxes: [N, 4] real numbers.
        width: of the image in pixels; `height` likewise.
        out: where to write, C-contiguous, shape and dtype of the result; may be `boxes` itself.

    Returns:
        [N, 4], dtype of `boxes` (others than float32 and float64 become float64); `out` when given.

    Raises:
        ValueError: the boxes are not [N, 4], the size is not positive, or `out` does not fit.
        TypeError: the boxes are not real numbers.
    """
    return _converted(CENTRE_TO_CORNERS, boxes, width, height, out)


def xyxy_to_xywhn(boxes, width, height, *, out=None):
    """Boxes [N, 4] from xyxy pixels of a `width` x `height` image to normalised centre, width, height.

    Arguments, result and errors as in `xywhn_to_xyxy`. An inverted box has a negative width or height.
    """
    return _converted(CORNERS_TO_CENTRE, boxes, width, height, out)


def xywh_to_xyxy(boxes, *, out=None):
    """Boxes [N, 4] from centre x, centre y, width, height to xyxy, both in pixels.

    This is 'cxcywh' of torchvision.ops.box_convert; COCO's boxes are `ltwh_to_xyxy`'s. Arguments, result
    and errors as in `xywhn_to_xyxy`.
    """
    return _converted(CENTRE_TO_CORNERS, boxes, 1, 1, out)


def xyxy_to_xywh(boxes, *, out=None):
    """Boxes [N, 4] from xyxy to centre x, centre y, width, height, in pixels: `xywh_to_xyxy` backwards."""
    return _converted(CORNERS_TO_CENTRE, boxes, 1, 1, out)


def ltwh_to_xyxy(boxes, *, out=None):
    """Boxes [N, 4] from left, top, width, height (COCO) to xyxy, both in pixels.

    This is 'xywh' of torchvision.ops.box_convert. Arguments, result and errors as in `xywhn_to_xyxy`.
    """
    return _converted(LTWH_TO_CORNERS, boxes, 1, 1, out)


def xyxy_to_ltwh(boxes, *, out=None):
    """Boxes [N, 4] from xyxy to left, top, width, height (COCO), in pixels: `ltwh_to_xyxy` backwards."""
    return _converted(CORNERS_TO_LTWH, boxes, 1, 1, out)


def clip_boxes(boxes, width, height, *, out=None):
    """Boxes [N, 4] xyxy cut to [0, width] x [0, height].

    A box that lies outside becomes one without area on the border. An infinite coordinate comes to the
    border, NaN stays NaN. Arguments, result and errors as in `xywhn_to_xyxy`.
    """
    return _converted(CLIP, boxes, width, height, out)


cdef _transform(const real[:, ::1] boxes, const double[:, ::1] matrix, object clip, real[:, ::1] out):
    cdef size_t n = <size_t> boxes.shape[0]
    cdef Size size
    cdef const Size* limit = NULL
    if clip is not None:
        size.width, size.height = clip
        limit = &size
    if n > 0:
        with nogil:
            c_transform_boxes(&boxes[0, 0], n, &matrix[0, 0], limit, &out[0, 0])


def transform_boxes(boxes, matrix, clip=None, *, out=None):
    """The axis-aligned boxes around the four transformed corners of each box.

    To drop what the target no longer shows, clip apart from transforming and ask `visible_boxes`, which
    needs the boxes before and after:

        full = transform_boxes(boxes, matrix)
        shown = clip_boxes(full, width, height)
        keep = visible_boxes(full, shown)

    Args:
        boxes: float32 or float64 [N, 4] xyxy, source pixels on pixel edges.
        matrix: [3, 3] (perspective allowed) or [2, 3] (affine), from source to target coordinates.
        clip: (width, height) of the target to clip to, or None.
        out: as in `xywhn_to_xyxy`.

    Returns:
        [N, 4] xyxy in target pixels, dtype of `boxes`. Inverted boxes come out upright. A box with a
        corner at or behind the horizon of a perspective matrix has no such box, and neither has one with
        a coordinate that is NaN or infinite: its row is NaN, and `visible_boxes` drops it.

    Raises:
        ValueError: a shape does not fit, `clip` is not positive, or `out` does not fit.
        TypeError: the boxes are not real numbers.
    """
    transform = np.array(matrix, dtype=np.float64, order="C")
    if transform.shape == (2, 3):
        transform = np.concatenate([transform, [[0.0, 0.0, 1.0]]])
    if transform.shape != (3, 3):
        raise ValueError(f"matrix has shape {transform.shape}; expected [3, 3] or [2, 3]")
    if clip is not None:
        _check_size(*clip)
    source, target = _output(_as_boxes("boxes", boxes), out)
    if source.dtype == np.float32:
        _transform[float](source, transform, clip, target)
    else:
        _transform[double](source, transform, clip, target)
    return target


cdef _visible(const real[:, ::1] before, const real[:, ::1] after, VisibilityRule rule, cbool[::1] out):
    cdef size_t n = <size_t> before.shape[0]
    if n > 0:
        with nogil:
            c_visible_boxes(&before[0, 0], &after[0, 0], n, rule, &out[0])


def visible_boxes(before, after, *, min_side=2.0, min_area=0.1, max_aspect=100.0):
    """Which boxes are still worth learning from after augmentation.

    The candidate rule of the YOLO family: both clipped sides longer than `min_side` pixels, clipped
    area more than `min_area` of the unclipped area, and longer side less than `max_aspect` times the
    shorter.

    Args:
        before: [N, 4] xyxy, transformed but not clipped.
        after: [N, 4] xyxy, the same boxes clipped to the target image (`clip_boxes`).

    Returns:
        bool [N]. False for inverted boxes and for boxes with a NaN coordinate.

    Raises:
        ValueError: the shapes are not [N, 4] or differ.
        TypeError: the boxes are not real numbers.
    """
    full = _as_boxes("before", before)
    shown = _as_boxes("after", after)
    if full.shape != shown.shape:
        raise ValueError(f"before has {len(full)} boxes and after has {len(shown)}; expected the same boxes")
    cdef VisibilityRule rule
    rule.min_side, rule.min_area, rule.max_aspect = min_side, min_area, max_aspect
    out = np.empty(len(full), dtype=np.bool_)
    if full.dtype == np.float32 and shown.dtype == np.float32:
        _visible[float](full, shown, rule, out)
    else:
        _visible[double](full.astype(np.float64, copy=False), shown.astype(np.float64, copy=False), rule, out)
    return out
