# distutils: language = c++
"""COCO's JSON files as arrays: GIL-free calls into csrc/core/coco/annotations.cpp."""

from libc.stdint cimport int64_t, uint8_t
from libc.string cimport memcpy
from libcpp.string cimport string
from libcpp.vector cimport vector

import numpy as np

from yolofast.kernels.ground_truth import CategoryLists


cdef extern from "core/coco/annotations.hpp" namespace "yf::coco" nogil:
    cdef cppclass Ids:
        vector[int64_t] values
        vector[string] texts

    cdef cppclass CCategoryLists "yf::coco::CategoryLists":
        vector[int64_t] categories
        vector[int64_t] ends
        size_t given

    cdef cppclass GroundTruth:
        Ids images
        CCategoryLists negative
        CCategoryLists not_exhaustive
        vector[int64_t] categories
        vector[string] category_names
        vector[string] frequencies
        vector[int64_t] ids
        Ids image_ids
        vector[int64_t] category_ids
        vector[double] boxes
        vector[double] areas
        vector[uint8_t] crowd

    cdef cppclass Results:
        Ids image_ids
        vector[int64_t] category_ids
        vector[double] boxes
        vector[double] scores

    GroundTruth c_read_ground_truth "yf::coco::read_ground_truth"(const char* data, size_t size) except +
    Results c_read_results "yf::coco::read_results"(
        const char* data, size_t size, size_t start, size_t stop, size_t& reached) except +
    size_t c_likely_entry "yf::coco::likely_entry"(const char* data, size_t size, size_t start)


cdef extern from "core/coco/label_file.hpp" namespace "yf::coco" nogil:
    cdef struct Span:
        size_t begin
        size_t end

    cdef struct UnusualEntry:
        size_t number
        Span span

    cdef cppclass LabelFile:
        vector[int64_t] images
        string file_names
        vector[int64_t] name_ends
        vector[int64_t] sizes
        vector[UnusualEntry] unusual_images
        vector[int64_t] ids
        vector[int64_t] image_ids
        vector[int64_t] category_ids
        vector[double] boxes
        vector[uint8_t] crowd
        vector[UnusualEntry] unusual_annotations
        Span categories
        string missing

    LabelFile c_read_label_file "yf::coco::read_label_file"(const char* data, size_t size) except +


cdef object _array(const void* data, size_t count, object dtype):
    out = np.empty(count, dtype=dtype)
    cdef uint8_t[::1] view = out.view(np.uint8)
    if count > 0:
        with nogil:
            memcpy(&view[0], data, <size_t> view.shape[0])
    return out


cdef object _text(const string& text):
    return text.data()[:text.size()].decode("utf-8", "replace")


cdef object _ids(const Ids& ids):
    """Whole numbers int64 [N], or the texts [N] of a file that names its images."""
    values = _array(ids.values.data(), ids.values.size(), np.int64)
    if ids.texts.size() == 0:
        return values
    cdef size_t i
    texts = [_text(ids.texts[i]) for i in range(ids.texts.size())]
    return np.array(texts, dtype=object)[values]


cdef object _lists(const CCategoryLists& lists):
    return CategoryLists(
        _array(lists.categories.data(), lists.categories.size(), np.int64),
        _array(lists.ends.data(), lists.ends.size(), np.int64),
        int(lists.given),
    )


def read_ground_truth(const uint8_t[::1] data):
    """COCO or LVIS ground truth as arrays: `ground_truth.GroundTruthColumns`.

    Raises:
        ValueError: it is not such a file, with line and column.
    """
    cdef GroundTruth truth
    cdef size_t i
    cdef size_t size = data.shape[0]
    cdef const char* text = <const char*> &data[0] if size > 0 else NULL
    with nogil:
        truth = c_read_ground_truth(text, size)
    return {
        "images": _ids(truth.images),
        "categories": _array(truth.categories.data(), truth.categories.size(), np.int64),
        "names": [_text(truth.category_names[i]) for i in range(truth.category_names.size())],
        "frequencies": [_text(truth.frequencies[i]) for i in range(truth.frequencies.size())],
        "negative": _lists(truth.negative),
        "not_exhaustive": _lists(truth.not_exhaustive),
        "ids": _array(truth.ids.data(), truth.ids.size(), np.int64),
        "image_ids": _ids(truth.image_ids),
        "category_ids": _array(truth.category_ids.data(), truth.category_ids.size(), np.int64),
        "boxes": _array(truth.boxes.data(), truth.boxes.size(), np.float64).reshape(-1, 4),
        "areas": _array(truth.areas.data(), truth.areas.size(), np.float64),
        "crowd": _array(truth.crowd.data(), truth.crowd.size(), np.bool_),
    }


cdef object _unusual(const vector[UnusualEntry]& entries):
    cdef size_t i
    return [(entries[i].number, entries[i].span.begin, entries[i].span.end) for i in range(entries.size())]


def read_label_file(const uint8_t[::1] data):
    """COCO ground truth as a dataset's reader wants it: a dict of columns, and where unusual entries are.

    Keys: `images` int64 [M], `file_names` list of bytes [M], `sizes` int64 [M, 2] width and height, -1 where
    the file says none; `ids`, `image_ids`, `category_ids` int64 [N], `boxes` float64 [N, 4] left, top, width,
    height, `crowd` bool [N]; `unusual_images` and `unusual_annotations`: lists of (number in its list, begin,
    end) of entries that are not as usual, whose columns are zeros; `categories`: (begin, end) of that value,
    equal where there is none; `missing`: 'images' or 'annotations' where that is no list of objects, or ''.

    Raises:
        ValueError: it is no JSON, with line and column.
    """
    cdef LabelFile found
    cdef size_t size = data.shape[0]
    cdef const char* text = <const char*> &data[0] if size > 0 else NULL
    with nogil:
        found = c_read_label_file(text, size)
    names, begin = [], 0
    cdef bytes joined = found.file_names
    cdef size_t i
    for i in range(found.name_ends.size()):
        names.append(joined[begin:found.name_ends[i]])
        begin = found.name_ends[i]
    return {
        "images": _array(found.images.data(), found.images.size(), np.int64),
        "file_names": names,
        "sizes": _array(found.sizes.data(), found.sizes.size(), np.int64).reshape(-1, 2),
        "unusual_images": _unusual(found.unusual_images),
        "ids": _array(found.ids.data(), found.ids.size(), np.int64),
        "image_ids": _array(found.image_ids.data(), found.image_ids.size(), np.int64),
        "category_ids": _array(found.category_ids.data(), found.category_ids.size(), np.int64),
        "boxes": _array(found.boxes.data(), found.boxes.size(), np.float64).reshape(-1, 4),
        "crowd": _array(found.crowd.data(), found.crowd.size(), np.bool_),
        "unusual_annotations": _unusual(found.unusual_annotations),
        "categories": (found.categories.begin, found.categories.end),
        "missing": found.missing.decode("ascii"),
    }


def likely_entry(const uint8_t[::1] data, size_t start):
    """Where the first result behind `start` seems to begin, or the size."""
    cdef size_t size = data.shape[0]
    if start >= size:
        return size
    cdef size_t begin
    cdef const char* text = <const char*> &data[0]
    with nogil:
        begin = c_likely_entry(text, size, start)
    return begin


def read_results(const uint8_t[::1] data, size_t start, size_t stop):
    """COCO results that begin from `start` on, before `stop`: places of entries, or 0 and the size.

    Returns:
        (image ids, category ids int64 [N], boxes float64 [N, 4], scores float64 [N], the place of the
        first result that was not read, or the size).

    Raises:
        ValueError: it is not a list of such results, with line and column.
    """
    cdef Results results
    cdef size_t size = data.shape[0]
    cdef size_t reached = 0
    cdef const char* text = <const char*> &data[0] if size > 0 else NULL
    if start > size:
        raise ValueError(f"start is {start}; expected at most {size}")
    with nogil:
        results = c_read_results(text, size, start, stop, reached)
    return (
        _ids(results.image_ids),
        _array(results.category_ids.data(), results.category_ids.size(), np.int64),
        _array(results.boxes.data(), results.boxes.size(), np.float64).reshape(-1, 4),
        _array(results.scores.data(), results.scores.size(), np.float64),
        int(reached),
    )
