# distutils: language = c++
"""Labels of a plan: every box through its tile's matrix, in one checked, GIL-free call into csrc/core.

Defined by reference/labels.py.
"""

from libc.stdint cimport int32_t, int64_t
from libcpp.vector cimport vector
cimport numpy as cnp

import numpy as np

from yolofast.kernels.checks import checked_holes

cnp.import_array()


cdef extern from "core/boxes/render_labels.hpp" namespace "yf" nogil:
    struct Size:
        double width
        double height

    struct VisibilityRule:
        double min_side
        double min_area
        double max_aspect

    struct LabelTile:
        int64_t sample
        const float* rows
        size_t count
        Size image
        const double* forward
        const double* window
        const double* frame
        const double* hole

    size_t c_render_labels "yf::render_labels"(
        const LabelTile* tiles, size_t count, const Size& size, const VisibilityRule* rule, float* out)


def _array(name, values, dtype, shape):
    array = np.ascontiguousarray(values, dtype=dtype)
    if array.shape != shape:
        raise ValueError(f"{name} has shape {array.shape}; expected {shape}")
    return array


def render_labels(
    plan,
    rows,
    offsets,
    shapes,
    *,
    bint filtered,
    double min_side=2.0,
    double min_area=0.1,
    double max_aspect=100.0,
):
    """The targets of a plan's samples.

    Boxes are clipped to their tile's window, moved by its matrix (the axis-aligned box around the four
    corners), and clipped to the output. A box with a number that is NaN, or with a corner at or behind the
    horizon of a perspective, is dropped. In a sample with a hole, boxes of layer 2 are clipped to it; any
    other box becomes the smallest around what the hole leaves of it, and is dropped when that is nothing.
    Arithmetic is float64, rounded once.

    Args:
        plan: a `BatchPlan`, whose tiles name the images.
        rows: float32 [R, 5], class and xywhn of the boxes of all images, image after image.
        offsets: int64 [n + 1]; the boxes of image i are `rows[offsets[i] : offsets[i + 1]]`.
        shapes: int32 [n, 2], (height, width) of every image, upright.
        filtered: also drop what is not worth learning from (training): what `visible_boxes` says of the
            moved box and its part that shows, with its `min_side`, `min_area` and `max_aspect`.

    Returns:
        float32 [N, 6]: sample, class, xywhn of the output; by sample, then tile, then row.

    Raises:
        ValueError: a shape does not fit, the plan's size is not positive, or a tile's sample, image or label
            rows are none of those given.
    """
    cdef Size size
    size.height, size.width = plan.size
    if not (size.width > 0 and size.height > 0):
        raise ValueError(f"plan.size is {plan.size}; expected positive sides")
    tiles, samples = len(plan.tile_image), len(plan.images)
    cdef const float[:, ::1] row = _array("rows", rows, np.float32, (len(rows), 5))
    cdef const int32_t[:, ::1] shape = _array("shapes", shapes, np.int32, (len(shapes), 2))
    cdef const int64_t[::1] offset = _array("offsets", offsets, np.int64, (len(shapes) + 1,))
    cdef const int64_t[::1] sample = _array("plan.tile_sample", plan.tile_sample, np.int64, (tiles,))
    cdef const int64_t[::1] image = _array("plan.tile_image", plan.tile_image, np.int64, (tiles,))
    matrices = _array("plan.tile_forward", plan.tile_forward, np.float64, (tiles, 3, 3))
    cdef const double[:, :, ::1] forward = matrices
    cdef const double[:, ::1] window = _array("plan.tile_window", plan.tile_window, np.float64, (tiles, 4))
    whole = np.array([0, 0, size.width, size.height], np.float64)
    cdef const double[::1] frame = whole
    cdef const int64_t[::1] layer = _array("plan.tile_layer", plan.tile_layer, np.int64, (tiles,))
    cdef const double[:, ::1] hole = checked_holes(plan, sample, layer).astype(np.float64)
    cdef VisibilityRule rule
    rule.min_side, rule.min_area, rule.max_aspect = min_side, min_area, max_aspect
    # What native code indexes by is read once and checked here: another thread may write to the arrays.
    cdef vector[LabelTile] known
    cdef LabelTile tile
    cdef int64_t t, i, begin, end, room = 0
    cdef int64_t count = tiles, batch = samples, images = len(shapes), labels = len(rows)
    known.reserve(count)
    for t in range(count):
        i, tile.sample = image[t], sample[t]
        if not (0 <= i < images and 0 <= tile.sample < batch):
            raise ValueError(
                f"tile {t} is of sample {tile.sample} and image {i}; expected one of {batch} samples and one "
                f"of {images} images"
            )
        begin, end = offset[i], offset[i + 1]
        if not 0 <= begin <= end <= labels:
            raise ValueError(
                f"offsets[{i}:{i + 2}] are {begin} and {end}; expected ascending numbers in 0..{labels}"
            )
        if begin == end:
            continue
        tile.rows, tile.count = &row[begin, 0], end - begin
        tile.image.height, tile.image.width = shape[i, 0], shape[i, 1]
        tile.forward, tile.window = &forward[t, 0, 0], &window[t, 0]
        tile.frame = &frame[0]
        tile.hole = NULL
        if layer[t] == 2:
            tile.frame = &hole[tile.sample, 0]
        elif hole[tile.sample, 0] < hole[tile.sample, 2] and hole[tile.sample, 1] < hole[tile.sample, 3]:
            tile.hole = &hole[tile.sample, 0]
        known.push_back(tile)
        room += end - begin
    out = np.empty((room, 6), np.float32)
    cdef float* target = <float*>cnp.PyArray_DATA(out)
    cdef size_t kept
    with nogil:
        kept = c_render_labels(known.data(), known.size(), size, &rule if filtered else NULL, target)
    return out[:kept].copy()
