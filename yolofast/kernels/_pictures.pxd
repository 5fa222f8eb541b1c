# What other bindings take from _pictures.pyx and from csrc/core/pictures/packed_pictures.hpp.

from libc.stdint cimport int64_t, uint8_t

from yolofast.kernels._core cimport PictureView


cdef extern from "core/pictures/packed_pictures.hpp" namespace "yf" nogil:
    const int PICTURE_COLUMNS "yf::kPictureColumns"
    const int PLACE_VALUES "yf::kPlaceValues"

    struct PlaneSides:
        pass

    PlaneSides sides_of(const PictureView& picture)
    size_t lay_out_picture(const PlaneSides& sides, size_t row_align, int64_t* row)
    void move_picture(int64_t* row, size_t begin)
    void copy_picture(const PictureView& picture, const int64_t* row, uint8_t* memory)


cdef numbers(name, values, shape, limit=*)
cdef PictureView picture_view(name, picture) except *
