# distutils: language = c++
"""JPEG decode: checked, GIL-free calls into csrc/core/jpeg.cpp."""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stddef cimport ptrdiff_t
from libc.stdint cimport int64_t, uint8_t
cimport cython
cimport numpy as cnp

import numpy as np

from yolofast.errors import ImageError
from yolofast.types import JpegInfo, Ycc

cnp.import_array()


cdef extern from "jpeg.hpp" namespace "yf" nogil:
    cdef enum class JpegError(int):
        none
        not_jpeg
        truncated
        corrupt
        unsupported
        too_large
        out_of_memory
        changed

    cdef enum class JpegLayout(int):
        rgb
        bgr
        gray
        ycc

    cdef enum class Subsampling(int):
        pass

    struct JpegStatus:
        JpegError error
        char* reason

    struct JpegHeader:
        int width
        int height
        int components
        int orientation
        Subsampling subsampling
        bint progressive

    struct JpegRequest:
        JpegLayout layout
        int min_height
        int min_width
        bint orient
        bint salvage
        int64_t max_pixels

    struct JpegPlan:
        int channels
        int outputs
        int* height
        int* width
        Subsampling subsampling

    struct JpegOutput:
        uint8_t* data
        ptrdiff_t stride

    JpegStatus plan_jpeg(const uint8_t* data, size_t size, const JpegRequest& request, JpegPlan* plan)
    JpegStatus c_decode_jpeg "yf::decode_jpeg"(
        const uint8_t* data, size_t size, const JpegRequest& request, const JpegPlan& plan,
        const JpegOutput* outputs)

cdef extern from "jpeg_header.hpp" namespace "yf" nogil:
    JpegStatus parse_jpeg_header(const uint8_t* data, size_t size, JpegHeader* header)


cdef int64_t MOST_PIXELS = 2**62
LAYOUTS = {"rgb": 0, "bgr": 1, "gray": 2, "ycc": 3}
SUBSAMPLINGS = ("444", "422", "420", "440", "411", "gray", "other")
MAX_SIDE = 65535  # a JPEG's own limit

_ADVICE = {
    <int>JpegError.not_jpeg: "expected the bytes of a JPEG file",
    <int>JpegError.truncated: "the file is incomplete: get it again, or take what is left with salvage=True",
    <int>JpegError.corrupt: "the file is damaged: get it again, or pass salvage=True to take what is left",
    <int>JpegError.unsupported: "save it again as an ordinary 8-bit baseline or progressive JPEG",
    <int>JpegError.too_large: "raise max_pixels if the picture is meant to be that large",
    <int>JpegError.changed: "do not write to the buffer while it is being decoded",
}


cdef _raise(JpegStatus status):
    reason = status.reason.decode("ascii", "replace")
    if status.error == JpegError.out_of_memory:
        raise MemoryError(f"cannot decode JPEG: {reason}")
    word = "truncated: " if status.error == JpegError.truncated else ""
    raise ImageError(f"cannot decode JPEG: {word}{reason}; {_ADVICE[<int>status.error]}")


@cython.auto_pickle(False)
cdef class _Bytes:
    """Holds a bytes-like object's buffer while it is read, whatever happens."""

    cdef Py_buffer view
    cdef bint held

    def __cinit__(self, data):
        if isinstance(data, np.ndarray) and data.dtype != np.uint8:
            raise TypeError(f"data is an array of {data.dtype}; expected the file's bytes as uint8")
        try:
            PyObject_GetBuffer(data, &self.view, PyBUF_SIMPLE)
        except TypeError:
            raise TypeError(
                f"data is {type(data).__name__}; expected bytes, a memoryview or a uint8 array"
            ) from None
        except (BufferError, ValueError):
            raise ValueError("data is not contiguous; pass np.ascontiguousarray(data)") from None
        self.held = True

    def __dealloc__(self):
        if self.held:
            PyBuffer_Release(&self.view)


def _min_size(min_size):
    if min_size is None:
        return 0, 0
    sides = min_size if isinstance(min_size, (tuple, list)) else (min_size, min_size)
    if len(sides) != 2 or any(not isinstance(s, (int, np.integer)) or s < 1 for s in sides):
        raise ValueError(f"min_size is {min_size!r}; expected a side in pixels, (height, width), or None")
    return tuple(min(int(s), MAX_SIDE) for s in sides)


cdef _target(name, array, tuple shape, JpegOutput* output):
    """Point `output` at `array`, or at a fresh array of `shape` when it is None; returns the array."""
    if array is None:
        array = np.empty(shape, np.uint8)
    elif not isinstance(array, np.ndarray) or array.dtype != np.uint8 or array.shape != shape:
        got = f"{array.dtype} {array.shape}" if isinstance(array, np.ndarray) else type(array).__name__
        raise ValueError(f"{name} is {got}; expected a uint8 array of shape {shape}")
    elif not array.flags.writeable:
        raise ValueError(f"{name} is read-only; expected an array that can be written")
    cdef ptrdiff_t row = shape[1] * (shape[2] if len(shape) == 3 else 1)
    wanted = (shape[2], 1) if len(shape) == 3 else (1,)
    packed = all(n == 1 or s == w for n, s, w in zip(shape[1:], array.strides[1:], wanted))
    if not packed or (shape[0] > 1 and abs(array.strides[0]) < row):
        raise ValueError(f"{name} has strides {array.strides}; expected pixels packed within each row")
    output.data = <uint8_t*>cnp.PyArray_DATA(<cnp.ndarray>array)
    output.stride = array.strides[0]
    return array


def _check_apart(arrays):
    """Refuse an `out` that shares memory with the file's bytes or between its own planes."""
    for i, one in enumerate(arrays):
        for other in arrays[i + 1:]:
            if np.may_share_memory(one, other):
                raise ValueError("out shares memory with data or between its planes; pass arrays of its own")


def decode_jpeg(
    data, *, layout="rgb", min_size=None, orient=True, salvage=False, max_pixels=2**28, out=None
):
    """Decode a JPEG to packed pixels or to its own planes.

    Pixels are those of libjpeg-turbo with its defaults (accurate integer inverse DCT, smooth chroma
    upsampling), as Pillow gives them. CMYK and YCCK files are taken as Adobe writes them (inverted) and
    become RGB by `channel * K / 255`. The GIL is released while decoding.

    Args:
        data: the file's bytes: bytes, bytearray, memoryview or contiguous uint8 array.
        layout: "rgb" or "bgr" (uint8 [H, W, 3]), "gray" (uint8 [H, W]: the luma plane), or "ycc" (`Ycc`
            planes straight from the inverse DCT, cropped to their true size). Files that do not hold YCbCr in
            a usual subsampling (RGB, CMYK, odd factors) give 4:4:4 planes for "ycc", converted by the BT.601
            formula of JFIF.
        min_size: a side, or (height, width), in pixels of the upright picture (of the stored one without
            `orient`): decode at the smallest M/8 of full size (M = 1..8) that is at least this large on both
            sides; full size where the picture is smaller. Reduced 4:2:0 files come out as 4:4:4 planes,
            because libjpeg then reduces chroma less than luma.
        orient: turn "rgb", "bgr" and "gray" upright by the EXIF orientation. Planes are always as stored.
        salvage: return what can be decoded of damaged or incomplete data instead of raising.
        max_pixels: refuse larger pictures (stored width x height) before any memory is taken.
        out: array to fill ("ycc": a `Ycc` of arrays): uint8, the exact shape, pixels packed within each row.

    Returns:
        uint8 [H, W, 3], uint8 [H, W] or `Ycc`; `out` itself where it was given.

    Raises:
        ImageError: not a JPEG, incomplete, damaged, 12-bit, lossless, over `max_pixels`, over 500 scans.
        ValueError, TypeError: wrong arguments.
    """
    if not isinstance(layout, str) or layout not in LAYOUTS:
        raise ValueError(f"layout is {layout!r}; expected one of {', '.join(LAYOUTS)}")
    cdef JpegRequest request
    request.layout = <JpegLayout><int>LAYOUTS[layout]
    request.min_height, request.min_width = _min_size(min_size)
    request.orient = orient
    request.salvage = salvage
    if not 0 < max_pixels <= MOST_PIXELS:
        raise ValueError(f"max_pixels is {max_pixels}; expected 1..{MOST_PIXELS}")
    request.max_pixels = max_pixels
    cdef _Bytes source = _Bytes(data)
    cdef const uint8_t* bytes_ = <const uint8_t*>source.view.buf
    cdef size_t size = source.view.len
    cdef JpegStatus status
    cdef JpegPlan plan
    with nogil:
        status = plan_jpeg(bytes_, size, request, &plan)
    if status.error != JpegError.none:
        _raise(status)

    cdef JpegOutput outputs[3]
    cdef int i
    subsampling = SUBSAMPLINGS[<int>plan.subsampling]
    if layout == "ycc":
        if out is not None and not isinstance(out, Ycc):
            raise ValueError(f"out is {type(out).__name__}; expected a Ycc of uint8 planes for layout='ycc'")
        if out is not None and out.subsampling != subsampling:
            raise ValueError(f"out has subsampling {out.subsampling}; this picture decodes to {subsampling}")
        given = (None, None, None) if out is None else (out.y, out.cb, out.cr)
        planes = [None, None, None]
        for i in range(plan.outputs):
            if out is not None and given[i] is None:
                raise ValueError(f"out has no plane {('y', 'cb', 'cr')[i]}; expected a uint8 array")
            shape = (plan.height[i], plan.width[i])
            planes[i] = _target(f"out.{('y', 'cb', 'cr')[i]}", given[i], shape, &outputs[i])
        result = Ycc(planes[0], planes[1], planes[2], subsampling) if out is None else out
    else:
        shape = (plan.height[0], plan.width[0]) + ((3,) if plan.channels == 3 else ())
        planes = [_target("out", out, shape, &outputs[0])]
        result = planes[0]
    if out is not None:
        _check_apart([np.frombuffer(data, np.uint8), *(plane for plane in planes if plane is not None)])
    with nogil:
        status = c_decode_jpeg(bytes_, size, request, plan, outputs)
    if status.error != JpegError.none:
        _raise(status)
    return result


def jpeg_info(data):
    """What a JPEG's header says, without decoding.

    Args:
        data: the file's bytes, or only its first ones: 64 KB are enough for nearly every file.

    Returns:
        `JpegInfo`: stored width and height, components, subsampling, progressive, EXIF orientation.

    Raises:
        ImageError: not a JPEG, a kind that `decode_jpeg` cannot read, or the frame header is not in `data`.
        ValueError, TypeError: wrong arguments.
    """
    cdef _Bytes source = _Bytes(data)
    cdef JpegHeader header
    cdef JpegStatus status
    with nogil:
        status = parse_jpeg_header(<const uint8_t*>source.view.buf, source.view.len, &header)
    if status.error != JpegError.none:
        _raise(status)
    return JpegInfo(
        width=header.width,
        height=header.height,
        components=header.components,
        subsampling=SUBSAMPLINGS[<int>header.subsampling],
        progressive=bool(header.progressive),
        orientation=header.orientation,
    )
