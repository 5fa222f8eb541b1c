# distutils: language = c++
"""Image kernels: checked, GIL-free calls into csrc/core/image/image.cpp. Defined by reference/image.py."""

from libc.stdint cimport uint8_t
cimport numpy as cnp

from yolofast.kernels._core cimport MAX_MATRIX, MAX_SIDE, ConstImage, ConstPlanes, Image, Planes

import math

import numpy as np

from yolofast.kernels.placements import placement, target_size
from yolofast.kernels.reduced_image import reduced_alike

cnp.import_array()


cdef extern from "core/image/image.hpp" namespace "yf" nogil:
    struct Window:
        double x0
        double y0
        double x1
        double y1

    void letterbox_packed(
        ConstImage src, Image dst, int inner_h, int inner_w, int pad_y, int pad_x, uint8_t fill) except +
    void letterbox_planar(
        ConstImage src, Planes dst, int inner_h, int inner_w, int pad_y, int pad_x, uint8_t fill) except +
    void c_warp_affine "yf::warp_affine"(
        ConstImage src, const double* matrix, Window window, Planes dst) except +
    void c_flip "yf::flip"(ConstImage src, Image dst, int channels, bint horizontal, bint vertical)
    void c_color_matrix "yf::color_matrix"(ConstPlanes src, const float* matrix, Planes dst)
    void c_hsv_jitter "yf::hsv_jitter"(ConstImage src, float h, float s, float v, Image dst)


MAX_COLOR_GAIN = 256.0
MAX_COLOR_OFFSET = 65536.0


def _describe(array):
    return f"{array.dtype} {list(array.shape)}" if isinstance(array, np.ndarray) else type(array).__name__


def _sides(name, height, width):
    if not (0 < height <= MAX_SIDE and 0 < width <= MAX_SIDE):
        raise ValueError(f"{name} is {height} x {width}; expected sides from 1 to {MAX_SIDE} pixels")


def _source(name, image, str form):
    """`image` as a uint8 array of `form` ("[H, W, 3]", "[H, W, C]" or "[3, H, W]"), copied only when its
    pixels are not packed within each row."""
    if not isinstance(image, np.ndarray):
        raise TypeError(f"{name} is {_describe(image)}; expected a uint8 array {form}")
    if image.dtype != np.uint8:
        raise TypeError(f"{name} is {_describe(image)}; expected uint8 {form}: scale and round it first")
    planar = form == "[3, H, W]"
    if image.ndim != 3 or (planar and image.shape[0] != 3) or (form == "[H, W, 3]" and image.shape[2] != 3):
        raise ValueError(f"{name} is {_describe(image)}; expected {form}")
    if planar:
        _sides(name, image.shape[1], image.shape[2])
        packed = image.strides[2] == 1
    else:
        _sides(name, image.shape[0], image.shape[1])
        if image.shape[2] == 0:
            raise ValueError(f"{name} is {_describe(image)}; expected at least one channel")
        packed = image.strides[2] == 1 and image.strides[1] == image.shape[2]
    return image if packed else np.ascontiguousarray(image)


def _target(out, shape, planar, source=None, in_place=False):
    """`out` checked (or a fresh array) for a result of `shape`; it may share no memory with `source`
    but, with `in_place`, may be the very same array."""
    if out is None:
        return np.empty(shape, np.uint8)
    if not isinstance(out, np.ndarray) or out.dtype != np.uint8 or out.shape != tuple(shape):
        raise ValueError(f"out is {_describe(out)}; expected uint8 {list(shape)}")
    if not out.flags.writeable:
        raise ValueError("out is read-only; expected an array that can be written")
    strides = out.strides
    if planar:
        row, packed, rows = shape[2], shape[2] == 1 or strides[2] == 1, strides[1]
        apart = shape[0] == 1 or abs(strides[0]) >= (shape[1] - 1) * abs(rows) + row
    else:
        inner = (shape[1] == 1 or strides[1] == shape[2]) and (shape[2] == 1 or strides[2] == 1)
        row, packed, rows = shape[1] * shape[2], inner, strides[0]
        apart = True
    height = shape[1] if planar else shape[0]
    if not packed or not apart or (height > 1 and abs(rows) < row):
        raise ValueError(f"out has strides {strides}; expected pixels packed within each row, rows apart")
    if source is not None and np.may_share_memory(source, out):
        if not in_place:
            raise ValueError("out shares memory with the source; pass an array of its own")
        same = source.__array_interface__["data"][0] == out.__array_interface__["data"][0]
        if not same or source.strides != out.strides:
            raise ValueError("out overlaps the source; pass the same array, or one of its own")
    return out


cdef ConstImage _const_image(cnp.ndarray array):
    cdef ConstImage image
    image.data = <const uint8_t*>cnp.PyArray_DATA(array)
    image.stride = array.strides[0]
    image.height = array.shape[0]
    image.width = array.shape[1]
    return image


cdef Image _image(cnp.ndarray array):
    cdef Image image
    image.data = <uint8_t*>cnp.PyArray_DATA(array)
    image.stride = array.strides[0]
    image.height = array.shape[0]
    image.width = array.shape[1]
    return image


cdef ConstPlanes _const_planes(cnp.ndarray array):
    cdef ConstPlanes planes
    planes.data = <const uint8_t*>cnp.PyArray_DATA(array)
    planes.plane = array.strides[0]
    planes.stride = array.strides[1]
    planes.height = array.shape[1]
    planes.width = array.shape[2]
    return planes


cdef Planes _planes(cnp.ndarray array):
    cdef Planes planes
    planes.data = <uint8_t*>cnp.PyArray_DATA(array)
    planes.plane = array.strides[0]
    planes.stride = array.strides[1]
    planes.height = array.shape[1]
    planes.width = array.shape[2]
    return planes


def _numbers(name, values, shape):
    matrix = np.ascontiguousarray(values, dtype=np.float64)
    if matrix.shape != shape:
        raise ValueError(f"{name} has shape {list(matrix.shape)}; expected {list(shape)}")
    if not np.isfinite(matrix).all():
        raise ValueError(f"{name} holds NaN or infinity; expected finite numbers")
    return matrix


def letterbox(image, size, *, fill=114, layout="hwc", source=None, out=None):
    """Resize to fit inside `size` with the aspect ratio kept, centred, with `fill` around.

    Placement is `Letterbox.fit`. Bilinear at pixel centres with clamped edges (the convention of OpenCV's
    INTER_LINEAR): target pixel x of the inner picture samples the source at `(x + 0.5) * W / inner_w - 0.5`.

    Args:
        image: uint8 [H, W, 3].
        size: side of a square target, or (height, width), in pixels.
        fill: value around the picture, 0..255.
        layout: "hwc" for a [h, w, 3] result, "chw" for [3, h, w].
        source: (height, width) of the whole upright picture when `image` is a reduced version of it: the
            placement is then that of the whole picture. None: what `image` says (`ReducedImage.whole`, after
            `decode_jpeg(data, min_size=...)`), or it is the whole picture.
        out: uint8 array of the result's shape to fill; it may not share memory with `image`.

    Returns:
        (uint8 [h, w, 3] or [3, h, w], `Letterbox`).

    Raises:
        ValueError: an empty image or size, a wrong shape, fill, layout or `out`, a `source` of another aspect
            ratio.
        TypeError: `image` is not a uint8 array.
    """
    whole = getattr(image, "whole", None) if source is None else source
    image = _source("image", image, "[H, W, 3]")
    target = target_size(size)
    _sides("size", *target)
    if not 0 <= fill <= 255:
        raise ValueError(f"fill is {fill}; expected 0..255")
    if layout not in ("hwc", "chw"):
        raise ValueError(f"layout is {layout!r}; expected 'hwc' or 'chw'")
    placed = placement("an image", (image.shape[0], image.shape[1]), target, whole)
    cdef bint planar = layout == "chw"
    result = _target(out, (3, *target) if planar else (*target, 3), planar, image)
    cdef int inner_h, inner_w, pad_y = int(placed.pad_y), pad_x = int(placed.pad_x)
    inner_h, inner_w = placed.inner
    cdef uint8_t value = int(fill)
    cdef ConstImage src = _const_image(image)
    cdef Image packed
    cdef Planes planes
    if planar:
        planes = _planes(result)
        with nogil:
            letterbox_planar(src, planes, inner_h, inner_w, pad_y, pad_x, value)
    else:
        packed = _image(result)
        with nogil:
            letterbox_packed(src, packed, inner_h, inner_w, pad_y, pad_x, value)
    return result, placed


def warp_affine(image, matrix, out, *, window=None):
    """Draw one affine tile: the part of `out` that `matrix` takes into `window` of the source.

    For each target pixel (x, y), the source point is `matrix @ (x + 0.5, y + 0.5, 1)` in pixel-edge
    coordinates. Where it lies in the window, the bilinear sample at pixel centres (point minus 0.5, clamped
    to the image) is written; other pixels of `out` keep their values. So the tiles of a mosaic are drawn one
    by one into the same target, and each pixel is written once.

    Args:
        image: uint8 [H, W, 3].
        matrix: [2, 3], target to source pixels, finite, entries up to 1e12 in magnitude. It may be singular.
        out: uint8 [3, H2, W2], written in place; it may not share memory with `image`.
        window: (x0, y0, x1, y1) in source pixels, half-open; None = the whole image.

    Returns:
        `out`.

    Raises:
        ValueError: an empty image or `out`, wrong shapes, a matrix or window that is not finite or too large.
        TypeError: `image` is not a uint8 array, or `out` no array.
    """
    image = _source("image", image, "[H, W, 3]")
    if not isinstance(out, np.ndarray):
        raise TypeError(f"out is {_describe(out)}; expected a uint8 array [3, H, W]")
    if out.ndim != 3 or out.shape[0] != 3:
        raise ValueError(f"out is {_describe(out)}; expected uint8 [3, H, W]")
    _sides("out", out.shape[1], out.shape[2])
    out = _target(out, out.shape, True, image)
    numbers = _numbers("matrix", matrix, (2, 3))
    largest = np.abs(numbers).max()
    if largest > MAX_MATRIX:
        raise ValueError(f"matrix has an entry of {largest:g}; expected magnitudes up to {MAX_MATRIX:g}")
    edges = _numbers("window", (0, 0, image.shape[1], image.shape[0]) if window is None else window, (4,))
    if np.abs(edges).max() > MAX_SIDE:
        raise ValueError(f"window is {list(edges)}; expected edges up to {MAX_SIDE} in magnitude")
    cdef Window area = Window(edges[0], edges[1], edges[2], edges[3])
    cdef ConstImage src = _const_image(image)
    cdef Planes dst = _planes(out)
    cdef const double* values = <const double*>cnp.PyArray_DATA(<cnp.ndarray>numbers)
    with nogil:
        c_warp_affine(src, values, area, dst)
    return out


def flip(image, *, horizontal=False, vertical=False, out=None):
    """Mirror an image left-right and/or upside down.

    Args:
        image: uint8 [H, W, C], any number of channels.
        horizontal: swap left and right.
        vertical: swap top and bottom.
        out: uint8 [H, W, C] to fill; it may not share memory with `image`.

    Returns:
        uint8 [H, W, C]: always a copy, also when neither flip is asked for.

    Raises:
        ValueError: an empty image, a wrong shape or `out`.
        TypeError: `image` is not a uint8 array.
    """
    given = image
    image = _source("image", image, "[H, W, C]")
    result = _target(out, image.shape, False, image)
    cdef ConstImage src = _const_image(image)
    cdef Image dst = _image(result)
    cdef int channels = image.shape[2]
    cdef bint left_right = horizontal, top_bottom = vertical
    with nogil:
        c_flip(src, dst, channels, left_right, top_bottom)
    return reduced_alike(given, result) if out is None else result


def color_matrix(image, matrix, out=None):
    """One affine map of colours: `clip(round(matrix[:, :3] @ rgb + matrix[:, 3]), 0, 255)`.

    Args:
        image: uint8 [3, H, W].
        matrix: [3, 4], finite; gains up to 256 and offsets up to 65536 in magnitude.
        out: uint8 [3, H, W] to fill; `image` itself for in place.

    Returns:
        uint8 [3, H, W].

    Raises:
        ValueError: an empty image, wrong shapes, a matrix out of range, an `out` that overlaps `image`.
        TypeError: `image` is not a uint8 array.
    """
    given = image
    image = _source("image", image, "[3, H, W]")
    result = _target(out, image.shape, True, given, in_place=True)
    numbers = _numbers("matrix", matrix, (3, 4))
    if np.abs(numbers[:, :3]).max() > MAX_COLOR_GAIN or np.abs(numbers[:, 3]).max() > MAX_COLOR_OFFSET:
        raise ValueError(
            f"matrix is out of range; expected gains up to {MAX_COLOR_GAIN:g} and offsets up to "
            f"{MAX_COLOR_OFFSET:g} in magnitude (levels are 0..255)"
        )
    single = np.ascontiguousarray(numbers, dtype=np.float32)
    cdef ConstPlanes src = _const_planes(image)
    cdef Planes dst = _planes(result)
    cdef const float* values = <const float*>cnp.PyArray_DATA(<cnp.ndarray>single)
    with nogil:
        c_color_matrix(src, values, dst)
    return result


def hsv_jitter(image, h, s, v, out=None):
    """Shift hue and scale saturation and value, the classic colour jitter.

    In HSV (A. R. Smith, "Color gamut transform pairs", SIGGRAPH 1978), on channels of 0..1: hue becomes
    `(hue + h) mod 1` turn, saturation `min(saturation * s, 1)`, value `min(value * v, 1)`.

    Args:
        image: uint8 [H, W, 3] RGB.
        h: hue shift in turns of the full circle.
        s, v: gains, from 0.
        out: uint8 [H, W, 3] to fill; `image` itself for in place.

    Returns:
        uint8 [H, W, 3] RGB.

    Raises:
        ValueError: an empty image, wrong shapes, a gain that is negative or not finite, an `out` that
            overlaps `image` in part.
        TypeError: `image` is not a uint8 array.
    """
    given = image
    image = _source("image", image, "[H, W, 3]")
    result = _target(out, image.shape, False, given, in_place=True)
    if not (math.isfinite(h) and math.isfinite(s) and math.isfinite(v) and s >= 0 and v >= 0):
        raise ValueError(f"h, s, v are {h}, {s}, {v}; expected finite numbers, s and v from 0")
    cdef ConstImage src = _const_image(image)
    cdef Image dst = _image(result)
    # A gain of 256 already saturates every level above 0, so larger ones mean the same.
    cdef float turns = h - math.floor(h), gain_s = min(s, 256.0), gain_v = min(v, 256.0)
    with nogil:
        c_hsv_jitter(src, turns, gain_s, gain_v, dst)
    return reduced_alike(given, result) if out is None else result
