# distutils: language = c++
"""YOLO label parser: a thin, GIL-free call into csrc/core/files/labels.cpp."""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport int8_t, int64_t
from libc.string cimport memcpy
from libcpp.vector cimport vector

import numpy as np

from yolofast.kernels.parsed_labels import TOO_MANY_ERRORS as _TOO_MANY_ERRORS
from yolofast.kernels.parsed_labels import TOO_MANY_ROWS as _TOO_MANY_ROWS
from yolofast.kernels.parsed_labels import LabelError, ParsedLabels, keypoint_shape


cdef extern from "core/files/labels.hpp" namespace "yf" nogil:
    cdef enum class CLabelKind "yf::LabelKind"(int8_t):
        pass

    cdef enum class CLabelErrorCode "yf::LabelErrorCode"(int8_t):
        pass

    cdef struct CLabelError "yf::LabelError":
        int64_t line
        CLabelErrorCode code
        size_t begin
        size_t end

    cdef cppclass CParsedLabels "yf::ParsedLabels":
        vector[int64_t] classes
        vector[double] boxes
        vector[int64_t] lines
        vector[CLabelKind] kinds
        vector[CLabelError] errors
        bint too_many_errors
        bint too_many_rows

    cdef struct CKeypointShape "yf::KeypointShape":
        size_t count
        size_t numbers

    CParsedLabels c_parse "yf::parse_yolo_labels"(
        const char* data, size_t size, CKeypointShape keypoints) except +


ERROR_CODES = ("syntax", "columns", "non-finite", "class", "confidence")
LONGEST_TEXT = 80
cdef size_t MAX_LINE_BYTES = 4 * 80  # a character has at most four bytes


cdef object _array(const void* data, size_t count, object dtype):
    out = np.empty(count, dtype=dtype)
    cdef const unsigned char[::1] view = out.view(np.uint8)
    if count > 0:
        memcpy(<void*> &view[0], data, <size_t> view.shape[0])
    return out


cdef object _errors(const char* text, const vector[CLabelError]& found):
    errors = []
    cdef size_t i, end
    for i in range(found.size()):
        end = min(found[i].end, found[i].begin + MAX_LINE_BYTES)
        line = text[found[i].begin:end].decode("utf-8", "replace")
        errors.append(LabelError(found[i].line, ERROR_CODES[<int> found[i].code], line[:LONGEST_TEXT]))
    return tuple(errors)


def parse_yolo_labels(data, *, keypoints=None):
    """The objects in the text of a YOLO label file.

    A line is `class x y w h` (a box: centre and size, divided by the image's),
    `class x1 y1 x2 y2 x3 y3 ...` (a polygon of three or more points, which becomes the box around
    them; with four points it may be an oriented box, nothing tells the two apart), or a box with
    keypoints behind it, which are left away. Fields are parted by spaces or tabs; lines end with LF,
    CRLF or CR; blank lines and a UTF-8 byte-order mark are skipped; the last line may lack its end. A
    class may be written `2.0`.

    Whether coordinates lie in 0..1 and boxes have an area is not checked: values are as written.

    Args:
        data: contiguous bytes-like object (bytes, bytearray, memoryview, mmap).
        keypoints: (count, 2 for x y or 3 for x y visibility), as a data.yaml's `kpt_shape`: then a line is
            a box or a box with exactly these. Without it a line counts as keypoints where that is certain:
            x y visibility, every visibility 0, 1 or 2, and either the numbers behind the class are odd in
            count or a visibility is 2, so that they are no polygon.

    Returns:
        ParsedLabels. A line that is not an object is left out and listed in `errors` with a code,
        the first that fits of:
        'syntax' (a field is not a number), 'confidence' (6 fields: a prediction, no label), 'columns'
        (another number of fields than those above), 'non-finite' (NaN, infinity, or a number outside
        float64's range), 'class' (negative, fractional or above 2**31 - 1).

    Raises:
        TypeError: `data` is not bytes-like (text must be encoded first).
        ValueError: `keypoints` is not (1 or more, 2 or 3); more than 10,000 lines are no objects; or
            more than 100,000 are.

    The GIL is released while parsing.
    """
    cdef Py_buffer buffer
    cdef CParsedLabels found
    cdef CKeypointShape shape
    shape.count, shape.numbers = keypoint_shape(keypoints)
    PyObject_GetBuffer(data, &buffer, PyBUF_SIMPLE)
    try:
        with nogil:
            found = c_parse(<const char*> buffer.buf, <size_t> buffer.len, shape)
        if found.too_many_errors:
            raise ValueError(_TOO_MANY_ERRORS)
        if found.too_many_rows:
            raise ValueError(_TOO_MANY_ROWS)
        rows = found.classes.size()
        return ParsedLabels(
            classes=_array(found.classes.data(), rows, np.int64),
            boxes=_array(found.boxes.data(), 4 * rows, np.float64).reshape(rows, 4),
            lines=_array(found.lines.data(), rows, np.int64),
            kinds=_array(found.kinds.data(), rows, np.int8),
            errors=_errors(<const char*> buffer.buf, found.errors),
        )
    finally:
        PyBuffer_Release(&buffer)
