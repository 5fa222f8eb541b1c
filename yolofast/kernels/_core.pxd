# What several bindings take from csrc/core, declared once: limits and views.

from libc.stddef cimport ptrdiff_t
from libc.stdint cimport int64_t, uint8_t


cdef extern from "core/limits.hpp" namespace "yf" nogil:
    const int64_t MAX_SIDE "yf::kMaxSide"
    const int64_t MAX_PLANE_BYTES "yf::kMaxPlaneBytes"
    const double MAX_MATRIX "yf::kMaxMatrix"
    const double MAX_GAIN "yf::kMaxGain"
    const double MAX_LEVEL "yf::kMaxLevel"
    const int64_t MAX_PIXELS "yf::kMaxPixels"

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

cdef extern from "core/render/render.hpp" namespace "yf" nogil:
    struct Span:
        int begin
        int end

    struct Rectangle:
        Span columns
        Span rows
