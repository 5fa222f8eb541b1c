# distutils: language = c++
"""Headers of many image files, rows of many label files: GIL-free calls into csrc/core/files."""

from libc.stdint cimport int8_t, int32_t, int64_t, uint8_t
from libc.string cimport memcpy
from libcpp.string cimport string
from libcpp.vector cimport vector

import numpy as np

from yolofast.kernels._labels import ERROR_CODES as _ERROR_CODES
from yolofast.kernels._labels import LONGEST_TEXT as _LONGEST_TEXT
from yolofast.kernels.parsed_labels import LabelError, keypoint_shape


cdef extern from "core/files/file_scan.hpp" namespace "yf" nogil:
    struct PackedPaths:
        const char* data
        size_t size

    struct HeaderColumns:
        int8_t* status
        int32_t* error
        int8_t* format
        int8_t* mode
        int32_t* bits
        int32_t* height
        int32_t* width
        int8_t* orientation
        int64_t* bytes
        uint8_t* complete
        int64_t* pixels
        int64_t* depth

    struct CImageHeader "yf::ImageHeader":
        int8_t orientation
        int64_t pixels
        int64_t depth

    CImageHeader read_image_header(const uint8_t* data, size_t size)

    cdef enum class CLabelKind "yf::LabelKind"(int8_t):
        pass

    cdef enum class CLabelErrorCode "yf::LabelErrorCode"(int8_t):
        pass

    struct BadLine:
        int64_t file
        int64_t line
        CLabelErrorCode code
        size_t begin
        size_t end

    cppclass LabelRows:
        vector[int64_t] classes
        vector[double] boxes
        vector[int64_t] lines
        vector[CLabelKind] kinds
        vector[int64_t] offsets
        vector[int32_t] errors
        vector[BadLine] bad_lines
        string texts

    void c_scan_headers "yf::scan_headers"(PackedPaths paths, const HeaderColumns& columns)
    cdef struct CKeypointShape "yf::KeypointShape":
        size_t count
        size_t numbers

    void c_scan_labels "yf::scan_labels"(
        PackedPaths paths, CKeypointShape keypoints, LabelRows* rows) except +


FINE, UNREADABLE, EMPTY, UNKNOWN_FORMAT, REFUSED, UNUSUAL = range(6)
FORMATS = ("", "jpeg", "png", "bmp", "webp", "tiff")
MODES = ("L", "LA", "RGB", "RGBA", "P", "CMYK")


cdef PackedPaths _packed(bytes paths) except *:
    if paths and not paths.endswith(b"\0"):
        raise ValueError("the last path does not end with a NUL byte; expected each path with one behind it")
    cdef PackedPaths packed
    packed.data = paths
    packed.size = len(paths)
    return packed


cdef object _column(void** address, size_t count, object dtype):
    out = np.empty(count, dtype=dtype)
    cdef uint8_t[::1] view = out.view(np.uint8)
    address[0] = &view[0] if count > 0 else NULL
    return out


cdef object _array(const void* data, size_t count, object dtype):
    cdef void* to
    out = _column(&to, count, dtype)
    if count > 0:
        memcpy(to, data, count * <size_t> out.itemsize)
    return out


cdef object _bad_lines(const LabelRows& rows):
    found = []
    cdef size_t i
    for i in range(rows.bad_lines.size()):
        bad = rows.bad_lines[i]
        text = (rows.texts.data() + bad.begin)[:bad.end - bad.begin].decode("utf-8", "replace")
        found.append((bad.file, LabelError(bad.line, _ERROR_CODES[<int> bad.code], text[:_LONGEST_TEXT])))
    return found


def scan_headers(bytes paths):
    """What image files say about themselves, from a few of their bytes each; nothing is decoded.

    Args:
        paths: the names in the file system's encoding, each with a NUL byte behind it.

    Returns:
        A dict of arrays [N]: `status` int8 (FINE; UNREADABLE: see `error`; EMPTY; UNKNOWN_FORMAT: none of the
        formats; REFUSED: a JPEG that `decode_jpeg` does not read; UNUSUAL: of `format`, but only decoding can
        tell more), `error` int32 (errno), `format` int8 (index into FORMATS), `mode` int8 (into MODES),
        `bits` int32 per sample, `height`, `width` int32 of the upright picture, `orientation` int8 (EXIF's,
        or a TIFF's own), `bytes` int64 (the file's size), `complete` bool; `pixels` int64 that a decoder may
        have to hold (of the picture, or of a larger tile; 0 where the file does not state them) and `depth`
        int64 bits of a stored pixel. All count where `status` is FINE, `orientation`, `bytes`, `pixels` and
        `depth` also where it is UNUSUAL.

    Raises:
        ValueError: the last path has no NUL behind it.

    Only regular files are read (EISDIR for a folder, EINVAL for others). The GIL is released.
    """
    cdef PackedPaths packed = _packed(paths)
    cdef HeaderColumns columns
    cdef size_t count = paths.count(b"\0")
    found = {
        "status": _column(<void**> &columns.status, count, np.int8),
        "error": _column(<void**> &columns.error, count, np.int32),
        "format": _column(<void**> &columns.format, count, np.int8),
        "mode": _column(<void**> &columns.mode, count, np.int8),
        "bits": _column(<void**> &columns.bits, count, np.int32),
        "height": _column(<void**> &columns.height, count, np.int32),
        "width": _column(<void**> &columns.width, count, np.int32),
        "orientation": _column(<void**> &columns.orientation, count, np.int8),
        "bytes": _column(<void**> &columns.bytes, count, np.int64),
        "complete": _column(<void**> &columns.complete, count, np.bool_),
        "pixels": _column(<void**> &columns.pixels, count, np.int64),
        "depth": _column(<void**> &columns.depth, count, np.int64),
    }
    with nogil:
        c_scan_headers(packed, columns)
    return found


def image_claims(const uint8_t[::1] data not None):
    """What `scan_headers` finds in a file with this content: (orientation, pixels, depth).

    An orientation of 1 and no pixels where it finds none.
    """
    if not len(data):
        return 1, 0, 0
    header = read_image_header(&data[0], len(data))
    return header.orientation, header.pixels, header.depth


def scan_labels(bytes paths, keypoints=None):
    """The rows of many YOLO label files, each read as `parse_yolo_labels` reads its text.

    Args:
        paths: the names in the file system's encoding, each with a NUL byte behind it. An empty name is
            no file: it has no rows and is no error.
        keypoints: as `parse_yolo_labels` takes it.

    Returns:
        (arrays, bad lines). Arrays, a dict: `classes` int64 [R], `boxes` float64 [R, 4] xywhn, `lines`
        int64 [R], `kinds` int8 [R]; `offsets` int64 [N + 1]: file i has the rows from offsets[i] to
        offsets[i + 1]; `errno` int32 [N], 0 = read, EFBIG for a file above 64 MB. Bad lines, in order:
        (index of the file, LabelError).

    Raises:
        ValueError: the last path has no NUL behind it.

    Only regular files are read (EISDIR for a folder, EINVAL for others). The GIL is released.
    """
    cdef PackedPaths packed = _packed(paths)
    cdef LabelRows rows
    cdef CKeypointShape shape
    shape.count, shape.numbers = keypoint_shape(keypoints)
    with nogil:
        c_scan_labels(packed, shape, &rows)
    cdef size_t count = rows.classes.size()
    arrays = {
        "classes": _array(rows.classes.data(), count, np.int64),
        "boxes": _array(rows.boxes.data(), 4 * count, np.float64).reshape(-1, 4),
        "lines": _array(rows.lines.data(), count, np.int64),
        "kinds": _array(rows.kinds.data(), count, np.int8),
        "offsets": _array(rows.offsets.data(), rows.offsets.size(), np.int64),
        "errno": _array(rows.errors.data(), rows.errors.size(), np.int32),
    }
    return arrays, _bad_lines(rows)
