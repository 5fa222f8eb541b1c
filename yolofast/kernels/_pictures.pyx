# distutils: language = c++
"""Pictures between Python and csrc/core: checked views of their planes, and the table of packed ones.

`yolofast.kernels.packed_pictures` is what to use.
"""

from libc.stdint cimport int64_t, uint8_t
from libcpp.vector cimport vector
cimport numpy as cnp

from yolofast.kernels._core cimport MAX_MATRIX, MAX_PLANE_BYTES, MAX_SIDE, PictureView, PlaneView

from enum import IntEnum

import numpy as np

from yolofast.types import SUBSAMPLING_FACTORS as _FACTORS
from yolofast.types import Picture, Ycc

cnp.import_array()


cdef extern from "core/pictures/packed_pictures.hpp" namespace "yf" nogil:
    const size_t kPlaneAlign
    enum:
        kOffsetY
        kOffsetCb
        kOffsetCr
        kStrideY
        kStrideC
        kHeight
        kWidth
        kHeightC
        kWidthC
        kFactorX
        kFactorY

cdef extern from "core/pictures/picture.hpp" namespace "yf" nogil:
    void place_stored(int orientation, double w, double h, double scale, double* place)


PLANE_ALIGN = kPlaneAlign

PictureColumn = IntEnum(
    "PictureColumn",
    {
        "OFFSET_Y": kOffsetY,
        "OFFSET_CB": kOffsetCb,
        "OFFSET_CR": kOffsetCr,
        "STRIDE_Y": kStrideY,
        "STRIDE_C": kStrideC,
        "HEIGHT": kHeight,
        "WIDTH": kWidth,
        "HEIGHT_C": kHeightC,
        "WIDTH_C": kWidthC,
        "FACTOR_X": kFactorX,
        "FACTOR_Y": kFactorY,
    },
    module=__name__,
)


cdef numbers(name, values, shape, limit=MAX_MATRIX):
    """`values` as contiguous float64, of that shape and up to `limit` in magnitude."""
    array = np.ascontiguousarray(values, dtype=np.float64)
    if array.shape != shape:
        raise ValueError(f"{name} has shape {array.shape}; expected {shape}")
    if array.size and not np.abs(array).max() <= limit:  # NaN fails too
        raise ValueError(f"{name} has a value that is not finite or above {limit:g} in magnitude")
    return array


cdef PlaneView _plane_view(name, plane) except *:
    if not isinstance(plane, np.ndarray) or plane.dtype != np.uint8 or plane.ndim != 2 or plane.size == 0:
        got = f"{plane.dtype} {plane.shape}" if isinstance(plane, np.ndarray) else type(plane).__name__
        raise ValueError(f"{name} is {got}; expected uint8 [H, W], not empty")
    if max(plane.shape) > MAX_SIDE:
        raise ValueError(f"{name} is {plane.shape[1]} x {plane.shape[0]}; expected sides up to {MAX_SIDE}")
    if plane.shape[1] > 1 and plane.strides[1] != 1:
        raise ValueError(f"{name} has strides {plane.strides}; expected pixels packed within each row")
    # A broadcast plane has a stride of 0.
    if plane.shape[0] * max(abs(plane.strides[0]), plane.shape[1]) > MAX_PLANE_BYTES:
        raise ValueError(
            f"{name} has more than {MAX_PLANE_BYTES} bytes from end to end; expected a smaller plane"
        )
    cdef PlaneView view
    view.data = <const uint8_t*>cnp.PyArray_DATA(<cnp.ndarray>plane)
    view.stride = plane.strides[0]
    view.height, view.width = plane.shape
    return view


cdef PictureView picture_view(name, picture) except *:
    """The planes of a `Picture` or `Ycc`, checked. They are borrowed: hold `picture` as long as the view."""
    if isinstance(picture, Ycc):
        picture = Picture.of(picture)
    if not isinstance(picture, Picture):
        raise TypeError(f"{name} is {type(picture).__name__}; expected a Picture or Ycc")
    ycc = picture.ycc
    if ycc.subsampling not in _FACTORS:
        known = ", ".join(_FACTORS)
        raise ValueError(f"{name} has subsampling '{ycc.subsampling}'; expected one of {known}")
    cdef PictureView view
    view.factor_x, view.factor_y = _FACTORS[ycc.subsampling]
    view.y = _plane_view(f"{name}.y", ycc.y)
    view.cb.data = view.cr.data = NULL
    if ycc.subsampling != "gray":
        view.cb, view.cr = _plane_view(f"{name}.cb", ycc.cb), _plane_view(f"{name}.cr", ycc.cr)
        wanted = (
            (view.y.height + view.factor_y - 1) // view.factor_y,
            (view.y.width + view.factor_x - 1) // view.factor_x,
        )
        if ycc.cb.shape != wanted or ycc.cr.shape != wanted:
            raise ValueError(
                f"{name} has chroma {ycc.cb.shape} and {ycc.cr.shape}; expected {wanted} for a luma plane of "
                f"{ycc.y.shape} and subsampling {ycc.subsampling}"
            )
    place = numbers(f"{name}.place", picture.place, (2, 3))
    cdef double[:, ::1] values = place
    cdef int i
    for i in range(PLACE_VALUES):
        view.place[i] = values[i // 3, i % 3]
    return view


def pack(pictures, size_t row_align, out):
    """Copy the planes of pictures, whose pixels are packed within each row, to one piece of memory.

    Returns (planes uint8 [N], rows int64 [P, columns], places float64 [P, 2, 3]). See `pack_pictures`.
    """
    cdef vector[PictureView] views
    cdef size_t count = len(pictures), used = 0, size, i
    for number, picture in enumerate(pictures):
        views.push_back(picture_view(f"pictures[{number}]", picture))
    table = np.empty((count, PICTURE_COLUMNS), dtype=np.int64)
    places = np.empty((count, 2, 3))
    cdef int64_t[:, ::1] rows = table
    cdef double[:, :, ::1] numbers_of = places
    cdef int k
    for i in range(count):
        size = lay_out_picture(sides_of(views[i]), row_align, &rows[i, 0])
        move_picture(&rows[i, 0], used)
        used += size
        for k in range(PLACE_VALUES):
            numbers_of[i, k // 3, k % 3] = views[i].place[k]
    planes = _memory(out, used)
    cdef uint8_t* memory = <uint8_t*>cnp.PyArray_DATA(<cnp.ndarray>planes)
    with nogil:
        for i in range(count):
            copy_picture(views[i], &rows[i, 0], memory)
    return planes, table, places


def _memory(out, size):
    """uint8 [size]: the beginning of `out`, or an array of its own."""
    if out is None:
        return np.empty(size, np.uint8)
    if not isinstance(out, np.ndarray):
        raise TypeError(f"out is {type(out).__name__}; expected an array")
    if out.dtype != np.uint8 or out.ndim != 1 or not out.flags.c_contiguous or len(out) < size:
        raise ValueError(
            f"out is {out.dtype} {out.shape}; expected contiguous uint8 [M] with M of at least {size}"
        )
    if not out.flags.writeable:
        raise ValueError("out is read-only; expected an array that can be written")
    return out[:size]


def stored_place(int orientation, double width, double height):
    """`Picture.place`, float64 [2, 3], of stored planes at full size, for EXIF orientation 1..8."""
    if not 1 <= orientation <= 8:
        raise ValueError(f"orientation is {orientation}; expected 1..8")
    place = np.empty((2, 3))
    cdef double[:, ::1] values = place
    place_stored(orientation, width, height, 1.0, &values[0, 0])
    return place
