# The views of csrc/core that several bindings pass on: declared once.

from libc.stddef cimport ptrdiff_t
from libc.stdint cimport uint8_t


cdef extern from "core/common.hpp" namespace "yf" nogil:
    struct ConstImage:
        const uint8_t* data
        ptrdiff_t stride
        int height
        int width

    struct Image:
        uint8_t* data
        ptrdiff_t stride
        int height
        int width

    struct ConstPlanes:
        const uint8_t* data
        ptrdiff_t plane
        ptrdiff_t stride
        int height
        int width

    struct Planes:
        uint8_t* data
        ptrdiff_t plane
        ptrdiff_t stride
        int height
        int width

cdef extern from "core/render/render.hpp" namespace "yf" nogil:
    struct PlaneView:
        const uint8_t* data
        ptrdiff_t stride
        int height
        int width

    struct PictureView:
        PlaneView y
        PlaneView cb
        PlaneView cr
        int factor_x
        int factor_y
        double* place
