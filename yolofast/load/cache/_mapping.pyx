# distutils: language = c++
"""Files mapped for reading that may be cut short meanwhile, and checksums: csrc/core/pictures."""

import os

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport uint8_t, uint32_t, uint64_t, uintptr_t
from libcpp cimport bool as cbool
cimport cython


cdef extern from "core/pictures/checksum.hpp" namespace "yf" nogil:
    uint64_t _checksum "yf::checksum"(const uint8_t* data, size_t size)

cdef extern from "core/pictures/guarded_mapping.hpp" namespace "yf" nogil:
    cppclass AtomicBool "std::atomic<bool>":
        cbool load()

    cppclass AtomicCount "std::atomic<std::uint32_t>":
        uint32_t load()

    struct MappingState:
        AtomicBool lost
        AtomicCount damaged

    cppclass CGuardedMapping "yf::GuardedMapping":
        int map(int descriptor, size_t size)
        @staticmethod
        int protect()
        const uint8_t* data()
        MappingState* state()


def checksum(data):
    """The 64-bit checksum of C-contiguous bytes, a multiple of 64, as the engine takes it of planes."""
    cdef Py_buffer view
    cdef uint64_t result
    PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
    try:
        if view.len % 64:
            raise ValueError(f"data has {view.len} bytes; expected a multiple of 64")
        with nogil:
            result = _checksum(<const uint8_t*>view.buf, view.len)
    finally:
        PyBuffer_Release(&view)
    return result


@cython.auto_pickle(False)
cdef class GuardedMapping:
    """A file mapped for reading; where its bytes cannot be read any more, zeros are read and `lost` is set.

    Without it, reading a mapped file that somebody cut short, or that a disk cannot read, ends the process
    with SIGBUS. The handler of that signal is installed with the first mapping, and again by `protect`. Other
    changes of the file, native code notices after it has read.
    """

    cdef CGuardedMapping mapping

    def __init__(self, int descriptor, size_t size):
        """The first `size` bytes of an open file. Raises `OSError` when they cannot be mapped."""
        if self.mapping.data() != NULL:
            raise ValueError("a GuardedMapping maps one file")
        cdef int error = self.mapping.map(descriptor, size)
        if error:
            raise OSError(error, os.strerror(error))

    @staticmethod
    def protect():
        """Take the signal again if another library took it since, as torch does in its loader processes."""
        cdef int error = CGuardedMapping.protect()
        if error:
            raise OSError(error, os.strerror(error))

    @property
    def address(self):
        """Of the first byte."""
        return <uintptr_t>self.mapping.data()

    @property
    def native(self):
        """Address of the mapping as native code knows it, valid as long as this object lives."""
        return <uintptr_t>&self.mapping

    @property
    def lost(self):
        """Whether the file was found to be another one than was mapped. It may read as zeros since."""
        return self.mapping.state().lost.load()

    @property
    def damaged(self):
        """Pictures whose planes turned out not to be what was written."""
        return self.mapping.state().damaged.load()
