# distutils: language = c++
"""JPEG decode: checked, GIL-free calls into csrc/core/jpeg/."""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stddef cimport ptrdiff_t
from libc.stdint cimport int64_t, uint8_t
from libcpp.vector cimport vector
cimport cython
cimport numpy as cnp

from yolofast.kernels._core cimport MAX_PIXELS

import os
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from yolofast.errors import ImageError
from yolofast.kernels._pictures import stored_place
from yolofast.kernels.reduced_image import reduced_image
from yolofast.types import MAX_RESTART_ROWS, JpegInfo, Ycc

cnp.import_array()


cdef extern from "core/jpeg/jpeg.hpp" namespace "yf" nogil:
    cdef enum class JpegError(int):
        none
        not_jpeg
        truncated
        corrupt
        unsupported
        too_large
        out_of_memory
        changed
        bad_region

    cdef enum class JpegDecoder(int):
        automatic
        turbo

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

    struct Region:
        int x0
        int y0
        int x1
        int y1

    struct JpegRequest:
        JpegLayout layout
        int min_height
        int min_width
        bint orient
        bint salvage
        int64_t max_pixels
        Region region
        JpegDecoder decoder

    struct JpegPlan:
        int scale
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

cdef extern from "core/jpeg/header.hpp" namespace "yf" nogil:
    JpegStatus parse_jpeg_header(const uint8_t* data, size_t size, JpegHeader* header)

cdef extern from "core/jpeg/restart.hpp" namespace "yf" nogil:
    JpegStatus add_restarts(
        const uint8_t* data, size_t size, int restart_rows, int64_t max_pixels, vector[uint8_t]* out)


cdef int64_t MAX_PIXELS_LIMIT = 2**62  # of what `max_pixels` may be
LAYOUTS = {"rgb": 0, "bgr": 1, "gray": 2, "ycc": 3}
SUBSAMPLINGS = ("444", "422", "420", "440", "411", "gray", "other")
MAX_SIDE = 65535  # a JPEG's own limit
DECODERS = {"auto": 0, "turbo": 1}

_ADVICE = {
    <int>JpegError.not_jpeg: "expected the bytes of a JPEG file",
    <int>JpegError.truncated: "the file is incomplete: get it again, or take what is left with salvage=True",
    <int>JpegError.corrupt: "the file is damaged: get it again, or pass salvage=True to take what is left",
    <int>JpegError.unsupported: "save it again as an ordinary 8-bit baseline or progressive JPEG",
    <int>JpegError.too_large: "raise max_pixels if the picture is meant to be that large",
    <int>JpegError.changed: "do not write to the buffer while it is being decoded",
}

_INFO_ADVICE = _ADVICE | {
    <int>JpegError.truncated: "pass more of the file's bytes; if these are all, get the file again",
}

_REWRITE_ADVICE = _ADVICE | {
    <int>JpegError.truncated: "the file is incomplete: get it again",
    <int>JpegError.corrupt: "the file is damaged: get it again",
    <int>JpegError.unsupported: "keep the file as it is",
    <int>JpegError.changed: "do not write to the buffer while it is being rewritten",
}


def jpeg_decoder(decoder=None):
    """The number that native code has for a decoder's name; None is YOLOFAST_JPEG, or "auto" without it."""
    name = decoder if decoder is not None else os.environ.get("YOLOFAST_JPEG") or "auto"
    if not isinstance(name, str) or name not in DECODERS:
        source = "YOLOFAST_JPEG" if decoder is None else "decoder"
        raise ValueError(f"{source} is {name!r}; expected one of {', '.join(DECODERS)}")
    return DECODERS[name]


cdef _raise(JpegStatus status, str doing="decode", dict advice=_ADVICE):
    reason = status.reason.decode("ascii", "replace")
    if status.error == JpegError.bad_region:
        raise ValueError(reason)
    if status.error == JpegError.out_of_memory:
        raise MemoryError(f"cannot {doing} JPEG: {reason}")
    word = "truncated: " if status.error == JpegError.truncated else ""
    raise ImageError(f"cannot {doing} JPEG: {word}{reason}; {advice[<int>status.error]}")


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


cdef Region _region(region) except *:
    cdef Region result = Region(0, 0, 0, 0)
    if region is None:
        return result
    edges = tuple(region) if isinstance(region, (tuple, list)) else ()
    if len(edges) != 4 or any(not isinstance(e, (int, np.integer)) or not 0 <= e <= MAX_SIDE for e in edges):
        raise ValueError(f"region is {region!r}; expected (x0, y0, x1, y1) in whole pixels from 0, or None")
    x0, y0, x1, y1 = edges
    if x0 >= x1 or y0 >= y1:
        raise ValueError(f"region is {region!r}; expected x0 < x1 and y0 < y1")
    return Region(x0, y0, x1, y1)


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
    data,
    *,
    layout="rgb",
    min_size=None,
    region=None,
    orient=True,
    salvage=False,
    max_pixels=MAX_PIXELS,
    decoder=None,
    out=None,
):
    """Decode a JPEG to packed pixels or to its own planes.

    Pixels are those of libjpeg-turbo with its defaults (accurate integer inverse DCT, smooth chroma
    upsampling), as Pillow gives them, bit for bit. Baseline and extended-sequential files in gray or YCbCr
    are decoded by our own decoder, all others, and damaged ones, by libjpeg-turbo. CMYK and YCCK files are
    taken as Adobe writes them (inverted) and become RGB by `channel * K / 255`. The GIL is released while
    decoding.

    Args:
        data: the file's bytes: bytes, bytearray, memoryview or contiguous uint8 array.
        layout: "rgb" or "bgr" (uint8 [H, W, 3]), "gray" (uint8 [H, W]: the luma plane), or "ycc" (`Ycc`
            planes straight from the inverse DCT, cropped to their true size). Files that do not hold YCbCr in
            a usual subsampling (RGB, CMYK, odd factors) give 4:4:4 planes for "ycc", converted by the BT.601
            formula of JFIF.
        min_size: a side, or (height, width), in pixels of the upright picture (of the stored one without
            `orient`): decode at the smallest M/8 of full size (M = 1..8) that is at least this large on both
            sides; full size where the picture is smaller. Reduced 4:2:0 files come out as 4:4:4 planes,
            because libjpeg then reduces chroma less than luma. A result that is no `out` of yours knows the
            size of the whole picture: as `ReducedImage.whole`, and `Ycc.place` and `Ycc.shape`.
        region: (x0, y0, x1, y1), half-open, in pixels of the decoded picture (so after `min_size` and
            `orient`): only that part, as if it were cut from the whole, `[y0:y1, x0:x1]`. Rows below it are
            not read, so damage there is not seen. For "ycc" x0 and y0 have to be multiples of the chroma
            factors; the planes are cut at x0 / factor, and x1 / factor rounded up.
        orient: turn "rgb", "bgr" and "gray" upright by the EXIF orientation. Planes are always as stored, and
            their `place` says how they are turned.
        salvage: return what can be decoded of damaged or incomplete data, with a RuntimeWarning, instead of
            raising. Progressive files some of whose scans are missing count as incomplete: decoders smooth
            what they lack, so their pixels depend on the libjpeg-turbo that was linked.
        max_pixels: refuse larger pictures (stored width x height) before any memory is taken.
        decoder: "auto", or "turbo" for libjpeg-turbo alone; None takes the environment variable
            YOLOFAST_JPEG, and "auto" where it is not set.
        out: array to fill ("ycc": a `Ycc` of arrays): uint8, the exact shape, pixels packed within each row.

    Returns:
        uint8 [H, W, 3], uint8 [H, W] or `Ycc`; `out` itself where it was given.

    Raises:
        ImageError: not a JPEG, incomplete, damaged, 12-bit, lossless, over `max_pixels`; or a file that asks
            for far more than it holds: over 500 scans, scans that read each block over 12 times, over 4096
            segments or 64 MiB in front of the picture, over 250 pixels in a byte of a picture of over 2^26
            pixels.
        ValueError, TypeError: wrong arguments, a region outside the picture.
    """
    result, damage = _decode(
        data, layout, min_size, region, orient, salvage, max_pixels, decoder, out
    )
    _warn_of_damage("", damage)
    return result


def _decode(data, layout, min_size, region, orient, salvage, max_pixels, decoder, out):
    """What `decode_jpeg` returns, and what is wrong with a file that was salvaged, or ""."""
    if not isinstance(layout, str) or layout not in LAYOUTS:
        raise ValueError(f"layout is {layout!r}; expected one of {', '.join(LAYOUTS)}")
    cdef JpegRequest request
    request.layout = <JpegLayout><int>LAYOUTS[layout]
    request.min_height, request.min_width = _min_size(min_size)
    request.orient = orient
    request.salvage = salvage
    if not 0 < max_pixels <= MAX_PIXELS_LIMIT:
        raise ValueError(f"max_pixels is {max_pixels}; expected 1..{MAX_PIXELS_LIMIT}")
    request.max_pixels = max_pixels
    request.region = _region(region)
    request.decoder = <JpegDecoder><int>jpeg_decoder(decoder)
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
    if out is None:
        result = _with_origin(result, bytes_, size, plan.scale, request)
    return result, status.reason.decode("ascii", "replace")


cdef _with_origin(
    result, const uint8_t* data, size_t size, int eighths, const JpegRequest& request
):
    """Decoded planes with their place, a reduced picture with its whole size."""
    cdef JpegHeader header
    is_planes = isinstance(result, Ycc)
    if not is_planes and (eighths == 8 or request.region.x1 > 0):
        return result
    with nogil:
        parse_jpeg_header(data, size, &header)
    orientation = header.orientation if request.orient else 1
    shape = (header.width, header.height) if orientation >= 5 else (header.height, header.width)
    if not is_planes:
        return reduced_image(result, shape)
    place = stored_place(orientation, header.width, header.height) * (eighths / 8.0)
    place[:, 2] -= request.region.x0, request.region.y0
    return Ycc(result.y, result.cb, result.cr, result.subsampling, place, shape)


def _warn_of_damage(str prefix, str reason):
    if reason:
        message = f"{prefix}damaged JPEG: {reason}; what could be decoded was kept"
        warnings.warn(message, RuntimeWarning, stacklevel=2)


def decode_jpeg_batch(
    datas,
    *,
    layout="rgb",
    min_size=None,
    region=None,
    orient=True,
    salvage=False,
    max_pixels=MAX_PIXELS,
    decoder=None,
    errors="raise",
    threads=1,
):
    """Decode several JPEGs, on one thread or more.

    Args:
        datas: the files' bytes, each as `decode_jpeg` takes them.
        errors: "raise" raises the first error that occurs; "return" puts the `ImageError` of a file
            that cannot be decoded instead of its pixels.
        threads: threads that decode, at least 1; the GIL is released while they do.
        layout, min_size, region, orient, salvage, max_pixels, decoder: as for `decode_jpeg`, for all files.

    Returns:
        list of what `decode_jpeg` gives for each of `datas`, in their order.

    Raises:
        ImageError: as `decode_jpeg`; the message begins with the file's position in `datas`.
        ValueError, TypeError: wrong arguments.
    """
    if errors not in ("raise", "return"):
        raise ValueError(f"errors is {errors!r}; expected 'raise' or 'return'")
    if not isinstance(threads, (int, np.integer)) or threads < 1:
        raise ValueError(f"threads is {threads!r}; expected a whole number from 1")

    def decode(position, data):
        try:
            return _decode(data, layout, min_size, region, orient, salvage, max_pixels, decoder, None)
        except ImageError as error:
            named = ImageError(f"datas[{position}]: {error}")
            if errors == "return":
                return named, ""
            raise named from error

    datas = list(datas)
    if threads == 1 or len(datas) < 2:
        decoded = [decode(position, data) for position, data in enumerate(datas)]
    else:
        with ThreadPoolExecutor(min(int(threads), len(datas))) as pool:
            decoded = list(pool.map(decode, range(len(datas)), datas))
    for position, (_, damage) in enumerate(decoded):
        _warn_of_damage(f"datas[{position}]: ", damage)
    return [result for result, _ in decoded]


def jpeg_info(data):
    """What a JPEG's header says, without decoding.

    Args:
        data: the file's bytes, or only its first ones: 64 KB are enough for nearly every file, and where they
            are not, the error says how many bytes to pass at least.

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
        _raise(status, "decode", _INFO_ADVICE)
    return JpegInfo(
        width=header.width,
        height=header.height,
        components=header.components,
        subsampling=SUBSAMPLINGS[<int>header.subsampling],
        progressive=bool(header.progressive),
        orientation=header.orientation,
    )


def rewrite_jpeg(data, *, restart_rows, max_pixels=MAX_PIXELS):
    """Rewrite a JPEG without loss, with restart markers: places at which decoding can begin.

    The result is an ordinary sequential file with Huffman tables made for it, also where the input is
    progressive or arithmetic-coded. It holds the same quantised coefficients, which is checked by reading it
    again, the same quantisation tables, and all APPn and COM segments (EXIF, ICC, JFIF, Adobe) in their
    order, before the picture; so every decoder gives the same pixels for both. Bytes behind the end of the
    picture are not kept. The same input gives the same bytes. The GIL is released.

    Memory: the coefficients twice (12 bytes per pixel in 4:4:4, 6 in 4:2:0), and the output.

    Args:
        data: the file's bytes: bytes, bytearray, memoryview or contiguous uint8 array.
        restart_rows: MCU rows between two restart markers, 1..65535 (an MCU is 8 or 16 pixels high, by the
            subsampling). Fewer where so many rows hold more than 65535 MCUs, which is the format's limit.
        max_pixels: refuse larger pictures (width x height) before any memory is taken.

    Returns:
        bytes: the new file.

    Raises:
        ImageError: what `decode_jpeg` refuses, also where only the end marker is missing; or a file that
            decodes but that no single sequential scan can say alike: components that do not fit into one.
        ValueError, TypeError: wrong arguments.
    """
    if not isinstance(restart_rows, (int, np.integer)) or not 1 <= restart_rows <= MAX_RESTART_ROWS:
        raise ValueError(f"restart_rows is {restart_rows!r}; expected a whole number, 1..{MAX_RESTART_ROWS}")
    if not 0 < max_pixels <= MAX_PIXELS_LIMIT:
        raise ValueError(f"max_pixels is {max_pixels}; expected 1..{MAX_PIXELS_LIMIT}")
    cdef _Bytes source = _Bytes(data)
    cdef int rows = restart_rows
    cdef int64_t most = max_pixels
    cdef vector[uint8_t] out
    cdef JpegStatus status
    with nogil:
        status = add_restarts(<const uint8_t*>source.view.buf, source.view.len, rows, most, &out)
    if status.error != JpegError.none:
        _raise(status, "rewrite", _REWRITE_ADVICE)
    return (<char*>out.data())[:out.size()]
