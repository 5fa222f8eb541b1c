# What _engine.pyx takes from csrc/core.

from libc.stddef cimport ptrdiff_t
from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t
from libcpp cimport bool as cbool
from libcpp.memory cimport shared_ptr
from libcpp.vector cimport vector

from yolofast.kernels._core cimport ConstImage, PictureView, Planes, Rectangle, Span


cdef extern from "core/jpeg/jpeg.hpp" namespace "yf" nogil:
    cdef enum class JpegDecoder(int):
        automatic
        turbo

cdef extern from "core/pictures/picture.hpp" namespace "yf" nogil:
    cdef enum class PictureError(int):
        none
        missing
        unreadable
        empty
        not_jpeg
        damaged
        changed
        out_of_memory
        refused

    struct PictureStatus:
        PictureError error
        char* reason

    cppclass Bytes:
        const uint8_t* data()
        size_t size()

    cppclass CPicture "yf::Picture":
        PictureView view

    struct PictureRequest:
        int height
        int width
        int cover
        JpegDecoder decoder

    PictureStatus read_file(const char* path, Bytes& bytes)
    PictureStatus decode_picture(
        const uint8_t* data, size_t size, const PictureRequest& request, CPicture& out)
    void convert_rgb(ConstImage rgb, CPicture& out) except +
    void reduce_picture(
        const PictureView& picture, int cover, int factor_x, int factor_y, CPicture& out) except +
    void compact_picture(const PictureView& picture, int side, CPicture& out) except +

cdef extern from "core/pictures/staging.hpp" namespace "yf" nogil:
    struct Staging:
        uint8_t* memory
        size_t capacity
        int64_t* rows
        double* places
        int64_t* sizes
        size_t used

cdef extern from "core/pictures/hooks.hpp" namespace "yf" nogil:
    ctypedef int64_t (*HookFunction)(
        void* context, int64_t sample, uint8_t* image, int64_t height, int64_t width, float* labels,
        int64_t count, const double* draws) noexcept

    const int64_t HOOK_RAISED "yf::kHookRaised"

    struct Hook:
        HookFunction function
        void* context
        size_t draws

    struct HookOutcome:
        int64_t hook
        int64_t value

    cppclass HookedSamples:
        vector[Hook] hooks
        float* labels
        const int64_t* offsets
        int64_t* kept
        const double* draws
        int64_t classes
        HookOutcome* outcomes

cdef extern from "core/pictures/guarded_mapping.hpp" namespace "yf" nogil:
    cppclass CGuardedMapping "yf::GuardedMapping":
        pass

cdef extern from "core/pictures/engine.hpp" namespace "yf" nogil:
    struct Sources:
        const char* paths
        const int64_t* path_at
        const int32_t* shapes
        int cover
        JpegDecoder decoder
        const uint64_t* cached
        const int32_t* cached_sides
        const double* cached_place
        const uint64_t* checksums
        uint8_t* checked
        const CGuardedMapping* mapping
        int compact_side

    struct Job:
        const int64_t* images
        const int64_t* layers
        const double* matrices
        const double* windows
        size_t tiles
        double mix
        const double* colour
        Rectangle hole
        Planes out

    struct Failure:
        int64_t sample
        int64_t image
        PictureStatus status

    struct StageSeconds:
        double read
        double decode
        double render
        double hooks
        double pack
        double wait

    cppclass JobBatch:
        vector[Job] jobs
        Staging* staging
        HookedSamples* hooked
        size_t remaining
        vector[Failure] failures
        StageSeconds seconds

    cdef enum class Work(int):
        done
        needs_fallback
        stopped

    cppclass Worker:
        int64_t fallback_image
        StageSeconds seconds

    cppclass CEngine "yf::Engine":
        CEngine(const Sources& sources, size_t idle_bytes) except +
        void expect(const int64_t* images, const int64_t* uses, size_t count) except +
        void submit(JobBatch* batch) except +
        Work work(Worker& worker) except +
        Work run(Worker& worker, JobBatch& batch) except +
        void supply(int64_t image, shared_ptr[CPicture] picture, const PictureStatus& status) except +
        void abandon(Worker& worker) except +
        cbool wait(const JobBatch* batch, double seconds) except +
        void reset() except +
        void stop() except +
