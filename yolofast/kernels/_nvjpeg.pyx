# distutils: language = c++
"""nvJPEG's decoder: checked, GIL-free calls into csrc/nvjpeg/nvjpeg.hpp. Knows addresses, not tensors.

`yolofast.kernels.torch_nvjpeg` is what to use; it finds the library and gives memory and a stream.
"""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport int32_t, int64_t, uint8_t, uintptr_t
from libc.string cimport memcpy
from libcpp cimport bool as cbool
from libcpp.memory cimport shared_ptr, unique_ptr
from libcpp.string cimport string
from libcpp.utility cimport move
from libcpp.vector cimport vector
from posix.unistd cimport getpid, pid_t
cimport cython
cimport numpy as cnp

from yolofast.kernels._pictures cimport PICTURE_COLUMNS

import os

import numpy as np

from yolofast.kernels.packed_pictures import PackedPictures, PictureColumn

cnp.import_array()


cdef extern from "nvjpeg/nvjpeg.hpp" namespace "yf::nvjpeg" nogil:
    cppclass Library:
        string path
        int major
        int minor
        cbool is_on_host

    shared_ptr[const Library] load(
        const vector[string]& libraries, const vector[string]& drivers, string& reason) except +

    struct Source:
        const char* path
        const uint8_t* data
        size_t size

    cppclass CDecoder "yf::nvjpeg::Decoder":
        @staticmethod
        unique_ptr[CDecoder] create(shared_ptr[const Library] library, int threads, string& reason) except +
        cbool has_hardware()
        void prepare(const Source* sources, size_t count, const int32_t* shapes) except +
        size_t bytes()
        const vector[int64_t]& rows()
        const vector[double]& places()
        const vector[string]& reasons()
        int decode(uint8_t* planes, void* stream) except +


@cython.auto_pickle(False)
cdef class Nvjpeg:
    """A library that was found, and the CUDA driver.

    `libraries` and `drivers` are paths, or names for the system's search, tried in turn. Raises OSError with
    the reason when there is none that is whole and new enough.
    """

    cdef shared_ptr[const Library] library
    cdef readonly str path
    cdef readonly tuple version
    cdef readonly bint is_on_host

    def __init__(self, libraries, drivers):
        cdef vector[string] paths = [os.fsencode(path) for path in libraries]
        cdef vector[string] driver_paths = [os.fsencode(path) for path in drivers]
        cdef string reason
        self.library = load(paths, driver_paths, reason)
        if self.library.get() == NULL:
            raise OSError(reason.decode("utf-8", "replace"))
        self.path = os.fsdecode(self.library.get().path)
        self.version = (self.library.get().major, self.library.get().minor)
        self.is_on_host = self.library.get().is_on_host


@cython.auto_pickle(False)
cdef class Decoder:
    """See csrc/nvjpeg/nvjpeg.hpp. The device's context has to be current in the thread that makes it.

    `prepared` is how many bytes the planes take of what was prepared last; None where that failed.

    Raises OSError when nvJPEG does not work on the device.
    """

    cdef unique_ptr[CDecoder] decoder
    cdef pid_t pid
    cdef readonly object prepared

    def __init__(self, Nvjpeg library, int threads):
        cdef string reason
        self.pid = getpid()
        self.decoder = move(CDecoder.create(library.library, threads, reason))
        if self.decoder.get() == NULL:
            raise OSError(reason.decode("utf-8", "replace"))

    def __dealloc__(self):
        if self.pid != getpid():  # a forked process cannot use its parent's device, not even to give it back
            self.decoder.release()

    @property
    def has_hardware(self):
        """Whether the card's own JPEG engine is used."""
        return self.decoder.get().has_hardware()

    def prepare(self, files, shapes=None):
        """Read and check files; bytes that their planes take.

        files    each is bytes-like and contiguous, or a str or os.PathLike that names the file
        shapes   int32 [n, 2], height and width of the upright pictures that are expected, or None
        """
        self.prepared = None  # until all has gone well
        cdef size_t count = len(files), i
        cdef vector[Source] sources
        cdef vector[Py_buffer] views
        cdef Py_buffer view
        cdef const int32_t* expected = NULL
        names = []
        if shapes is not None:
            shapes = np.ascontiguousarray(shapes, dtype=np.int32)
            if shapes.shape != (count, 2):
                raise ValueError(f"shapes has shape {shapes.shape}; expected ({count}, 2)")
            expected = <const int32_t*>cnp.PyArray_DATA(<cnp.ndarray>shapes)
        try:
            for file in files:
                if isinstance(file, (str, os.PathLike)):
                    name = os.fsencode(file)
                    if b"\0" in name:
                        raise ValueError(f"{file!r}: no file has a NUL in its name")
                    names.append(name)
                    sources.push_back(Source(<const char*>name, NULL, 0))
                else:
                    PyObject_GetBuffer(file, &view, PyBUF_SIMPLE)
                    views.push_back(view)
                    sources.push_back(Source(NULL, <const uint8_t*>view.buf, view.len))
            with nogil:
                self.decoder.get().prepare(sources.data(), count, expected)
        finally:
            for i in range(views.size()):
                PyBuffer_Release(&views[i])
        self.prepared = self.decoder.get().bytes()
        return self.prepared

    def decode(self, uintptr_t address, size_t capacity, uintptr_t stream):
        """Decode what was prepared to memory at an address, on a stream; all is done when this returns."""
        if self.prepared is None or capacity < self.prepared:
            raise ValueError(f"capacity is {capacity} bytes; what was prepared takes {self.prepared}")
        cdef int error
        with nogil:
            error = self.decoder.get().decode(<uint8_t*>address, <void*>stream)
        if error != 0:
            raise RuntimeError(f"nvJPEG: the CUDA driver reports error {error}; the device's work is lost")

    def packed(self, planes):
        """`PackedPictures` of what was prepared, or decoded to `planes`; a refused file is missing."""
        cdef const vector[int64_t]* rows = &self.decoder.get().rows()
        cdef const vector[double]* places = &self.decoder.get().places()
        packed = PackedPictures.missing(planes, rows.size() // PICTURE_COLUMNS)
        if rows.size() > 0:
            memcpy(cnp.PyArray_DATA(<cnp.ndarray>packed.pictures), rows.data(), rows.size() * sizeof(int64_t))
            memcpy(
                cnp.PyArray_DATA(<cnp.ndarray>packed.places), places.data(), places.size() * sizeof(double))
        # The planes are of full size, and swapped where x upright does not run along x stored.
        stored = packed.pictures[:, [PictureColumn.HEIGHT, PictureColumn.WIDTH]]
        is_upright = packed.places[:, :1, 0] != 0
        packed.shapes[:] = np.where(is_upright, stored, stored[:, ::-1])
        return packed

    def refused(self):
        """(position, reason) of each file that another decoder has to decode."""
        reasons = self.decoder.get().reasons()
        return [(i, reason.decode("utf-8", "replace")) for i, reason in enumerate(reasons) if reason]
