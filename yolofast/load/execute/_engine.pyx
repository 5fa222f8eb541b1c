# distutils: language = c++
"""The loader's engine: checked calls into csrc/core/pictures/engine.cpp, and pictures from files.

`Engine` holds every array that native code reads for as long as it may read it. Threads belong to the caller:
each runs `Engine.work`, which releases the GIL and returns only for images that Python has to decode.
"""

import os
import time

from libc.stddef cimport ptrdiff_t
from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t, uintptr_t
from libc.string cimport memcpy
from libcpp cimport bool as cbool
from libcpp.memory cimport make_shared, shared_ptr, unique_ptr
cimport cython
cimport numpy as cnp

from yolofast.kernels._core cimport MAX_PIXELS, ConstImage, PictureView, Planes, PlaneView

import numpy as np

from yolofast.errors import ImageError, YolofastError, without_location
from yolofast.images import decode_other
from yolofast.kernels._jpeg import jpeg_decoder
from yolofast.kernels._render import checked_plan
from yolofast.kernels.packed_pictures import PackedPictures
from yolofast.pixel_budget import IN_FLIGHT
from yolofast.types import SUBSAMPLING_FACTORS as _FACTORS
from yolofast.types import Picture, Ycc

cnp.import_array()


cdef extern from *:
    """
    static yf::PictureStatus make_status(int error, const char* reason) {
        yf::PictureStatus status{static_cast<yf::PictureError>(error), {}};
        std::snprintf(status.reason, sizeof status.reason, "%s", reason);
        return status;
    }
    """
    PictureStatus make_status(int error, const char* reason) nogil

_SUBSAMPLINGS = {factors: name for name, factors in _FACTORS.items() if name != "gray"}
_ADVICE = {
    <int>PictureError.missing: "expected an image; was it moved since it was indexed?",
    <int>PictureError.unreadable: "check its permissions",
    <int>PictureError.empty: "get it again or remove it",
    <int>PictureError.damaged: "get it again or remove it",
    <int>PictureError.changed: "prepare or index the dataset again",
}


cdef str _explain(PictureStatus status):
    reason = status.reason.decode("utf-8", "replace")
    advice = _ADVICE.get(<int>status.error)
    return f"{reason}; {advice}" if advice else reason


cdef ConstImage _rgb_view(cnp.ndarray rgb):
    cdef ConstImage view
    view.data = <const uint8_t*>cnp.PyArray_DATA(rgb)
    view.stride = rgb.strides[0]
    view.height, view.width = rgb.shape[0], rgb.shape[1]
    return view


cdef _decode_fallback(path, shape, int decode_side, CPicture* out):
    """Decode a non-JPEG image through OpenCV, at most `decode_side` long; raises ImageError."""
    cdef int64_t pixels = shape[0] * shape[1]
    if pixels > MAX_PIXELS:
        raise ImageError(
            f"{path}: {pixels:,} pixels, over the loader's limit of {MAX_PIXELS:,}; "
            "yolofast prepare --max-side makes it smaller"
        )
    with IN_FLIGHT.reserve(pixels):
        _decode_other_format(path, shape, decode_side, out)


cdef _decode_other_format(path, shape, int decode_side, CPicture* out):
    rgb = np.ascontiguousarray(decode_other(path))
    if rgb.shape[:2] != tuple(shape):
        raise ImageError(
            f"{path}: got {rgb.shape[1]} x {rgb.shape[0]} pixels, expected {shape[1]} x {shape[0]} as when "
            "it was indexed; prepare or index the dataset again"
        )
    cdef ConstImage view = _rgb_view(rgb)
    cdef CPicture full
    cdef cbool small = max(shape) <= decode_side
    with nogil:
        if small:
            convert_rgb(view, out[0])
        else:
            convert_rgb(view, full)
            reduce_picture(full.view, decode_side, 1, 1, out[0])


cdef _plane_array(PlaneView plane):
    array = np.empty((plane.height, plane.width), np.uint8)
    cdef uint8_t[:, ::1] rows = array
    cdef int y
    for y in range(plane.height):
        memcpy(&rows[y, 0], plane.data + y * plane.stride, plane.width)
    return array


cdef _to_python(const CPicture& picture, shape):
    cdef PictureView view = picture.view
    place = np.empty((2, 3))
    cdef double[:, ::1] values = place
    cdef int i
    for i in range(6):
        values[i // 3, i % 3] = view.place[i]
    y = _plane_array(view.y)
    if view.cb.data == NULL:
        return Picture(Ycc(y, None, None, "gray"), place, tuple(shape))
    subsampling = _SUBSAMPLINGS[view.factor_x, view.factor_y]
    ycc = Ycc(y, _plane_array(view.cb), _plane_array(view.cr), subsampling)
    return Picture(ycc, place, tuple(shape))


def load_picture(path, shape, int decode_side, *, bint compact=False):
    """The planes of an image file, no larger than needed. The GIL is released for JPEGs.

    Args:
        path: the file.
        shape: (height, width) of the upright picture, as indexed.
        decode_side: the longer side needed, in pixels. A JPEG is decoded at the smallest DCT scale M/8 that
            covers it.
        compact: reduce further by averaging, so that the longer side of the luma plane is at most
            `decode_side` and chroma is subsampled (4:2:0) as in most JPEGs: half the memory of RGB, whatever
            the file.

    Returns:
        `Picture`.

    Raises:
        ImageError: missing, empty, damaged, not an image, or of another shape; names the path and the reason.
    """
    if decode_side < 1:
        raise ValueError(f"decode_side is {decode_side}; expected at least 1 pixel")
    name = os.fsencode(path)
    if b"\0" in name:
        raise ImageError(f"{path!r}: file names cannot contain NUL; pass the path of an image")
    cdef const char* raw = name
    cdef Bytes data
    cdef CPicture picture, reduced
    cdef PictureRequest request = PictureRequest(
        shape[0], shape[1], decode_side, <JpegDecoder><int>jpeg_decoder()
    )
    cdef PictureStatus status
    with nogil:
        status = read_file(raw, data)
        if status.error == PictureError.none:
            status = decode_picture(data.data(), data.size(), request, picture)
    if status.error == PictureError.not_jpeg:
        _decode_fallback(path, shape, decode_side, &picture)
    elif status.error == PictureError.out_of_memory:
        raise MemoryError(f"{path}: out of memory while decoding this image")
    elif status.error != PictureError.none:
        raise ImageError(f"{path}: {_explain(status)}")
    if not compact:
        return _to_python(picture, shape)
    with nogil:
        compact_picture(picture.view, decode_side, reduced)
    return _to_python(reduced, shape)


@cython.auto_pickle(False)
cdef class Jobs:
    """Jobs in the engine, with all arrays that native code reads for them."""

    cdef JobBatch batch
    cdef object keep
    cdef readonly object images

    def failures(self):
        """(sample, image, reason) of each tile whose image cannot be read; its sample was not rendered.

        Where pictures are packed, (index, image, reason) of each that cannot be read.

        Raises MemoryError when memory ran out: a substitute image would not help.
        """
        for f in self.batch.failures:
            if f.status.error == PictureError.out_of_memory:
                raise MemoryError("out of memory while loading an image; free some, or use fewer threads")
        return [(f.sample, f.image, _explain(f.status)) for f in self.batch.failures]

    def seconds(self):
        """Seconds that threads spent on these jobs, by stage."""
        cdef StageSeconds spent = self.batch.seconds
        stages = {"read": spent.read, "decode": spent.decode, "wait": spent.wait}
        if self.batch.staging != NULL:
            return stages | {"pack": spent.pack}
        stages["render"] = spent.render
        return stages | {"hooks": spent.hooks} if self.batch.hooked != NULL else stages


cdef int64_t _call_python(
    void* context, int64_t sample, uint8_t* image, int64_t height, int64_t width, float* labels,
    int64_t count, const double* draws
) noexcept with gil:
    """A hook that is not compiled: `context` is a `PythonCall`, which has the arrays as Python sees them."""
    call = <object>context
    try:
        return call(sample, count)
    except BaseException as error:  # Ctrl-C too, which may come before the hook's first line
        call.exceptions[sample] = error
        return HOOK_RAISED


@cython.auto_pickle(False)
cdef class RenderJobs(Jobs):
    """The samples of one plan, to be rendered; `images` are those of its tiles."""

    cdef HookedSamples native
    cdef readonly object plan
    cdef readonly object out
    cdef readonly object hooked

    def __init__(self, plan, out, hooked=None):
        """
        out     uint8 [B, 3, H, W], C-contiguous
        hooked  `hooked.HookedLabels` of the samples: hooks that run on each as soon as it is rendered
        """
        matrix, window, sample, layer, mix, colour, hole = checked_plan(plan)
        height, width = plan.size
        shape = (len(plan), 3, height, width)
        usable = out.dtype == np.uint8 and out.flags.c_contiguous and out.flags.writeable
        if not usable or out.shape != shape:
            raise ValueError(f"out is {out.dtype} {out.shape}; expected C-contiguous uint8 {shape}")
        image = np.ascontiguousarray(plan.tile_image, dtype=np.int64)
        self.keep = matrix, window, layer, colour
        self.plan, self.out, self.images = plan, out, image
        cdef const double* matrices = <const double*>cnp.PyArray_DATA(matrix)
        cdef const double* windows = <const double*>cnp.PyArray_DATA(window)
        cdef const double* colours = <const double*>cnp.PyArray_DATA(colour)
        cdef const int64_t* layers = <const int64_t*>cnp.PyArray_DATA(layer)
        cdef const int64_t* images = <const int64_t*>cnp.PyArray_DATA(image)
        cdef const int64_t[::1] samples = sample
        cdef const double[::1] mixes = mix
        cdef const int64_t[:, ::1] holes = hole
        cdef Planes dst = Planes(
            <uint8_t*>cnp.PyArray_DATA(out), height * <ptrdiff_t>width, width, height, width)
        cdef size_t begin = 0, end = 0, count = len(sample)
        cdef int64_t row
        for row in range(len(plan)):
            while end < count and samples[end] == row:
                end += 1
            self.batch.jobs.push_back(Job(
                images + begin, layers + begin, matrices + 9 * begin, windows + 4 * begin, end - begin,
                mixes[row], colours + 12 * row,
                Rectangle(Span(holes[row, 0], holes[row, 2]), Span(holes[row, 1], holes[row, 3])), dst))
            begin = end
            dst.data += 3 * dst.plane
        self.batch.remaining = self.batch.jobs.size()
        self.hooked = hooked
        if hooked is not None:
            self._take_hooks(hooked)

    cdef _take_hooks(self, hooked):
        cdef size_t count = len(self.plan)
        columns = sum(hook.draws for hook in hooked.hooks)
        arrays = (
            ("labels", hooked.labels, np.float32, (len(hooked.labels), 5)),
            ("offsets", hooked.offsets, np.int64, (count + 1,)),
            ("kept", hooked.kept, np.int64, (count,)),
            ("draws", hooked.draws, np.float64, (count, columns)),
            ("outcomes", hooked.outcomes, np.int64, (count, 3)),
        )
        for name, array, dtype, shape in arrays:
            if array.dtype != dtype or array.shape != shape or not array.flags.c_contiguous:
                raise ValueError(
                    f"{name} is {array.dtype} {array.shape}; expected C-contiguous {np.dtype(dtype)} {shape}"
                )
        offsets = hooked.offsets
        if offsets[0] != 0 or offsets[count] != len(hooked.labels) or (np.diff(offsets) != hooked.kept).any():
            raise ValueError("offsets and kept disagree about how many labels there are")
        calls = hooked.python_calls(self.out)
        self.keep = *self.keep, *(array for _, array, _, _ in arrays), calls
        self.native.labels = <float*>cnp.PyArray_DATA(hooked.labels)
        self.native.offsets = <const int64_t*>cnp.PyArray_DATA(offsets)
        self.native.kept = <int64_t*>cnp.PyArray_DATA(hooked.kept)
        self.native.draws = <const double*>cnp.PyArray_DATA(hooked.draws)
        self.native.classes = hooked.classes
        self.native.outcomes = <HookOutcome*>cnp.PyArray_DATA(hooked.outcomes)
        cdef Hook hook
        for each, call in zip(hooked.hooks, calls):
            hook.draws = each.draws
            hook.function, hook.context = _call_python, <void*>call
            if call is None:
                hook.function, hook.context = <HookFunction><uintptr_t>each.address, NULL
            self.native.hooks.push_back(hook)
        self.batch.hooked = &self.native


@cython.auto_pickle(False)
cdef class PackJobs(Jobs):
    """Pictures to be packed into one piece of memory, in any order, as many as fit.

    `packed` is the `PackedPictures` over that memory, rows of planes without gaps; a picture that failed or
    did not fit is missing. `sizes` int64 [n]: bytes that the picture takes, even if it did not fit; 0 if it
    failed.
    """

    cdef Staging staging
    cdef readonly object packed
    cdef readonly object sizes

    def __init__(self, images, memory):
        """`images` int64 [n]; `memory` uint8 [N], C-contiguous, belongs to the jobs until they are done."""
        usable = memory.dtype == np.uint8 and memory.flags.c_contiguous and memory.flags.writeable
        if not usable or memory.ndim != 1:
            raise ValueError(f"memory is {memory.dtype} {memory.shape}; expected C-contiguous uint8 [N]")
        self.images = np.array(images, dtype=np.int64, ndmin=1)
        count = len(self.images)
        self.packed = PackedPictures.missing(memory, count)
        self.sizes = np.zeros(count, dtype=np.int64)
        self.staging.memory = <uint8_t*>cnp.PyArray_DATA(memory)
        self.staging.capacity = len(memory)
        self.staging.rows = <int64_t*>cnp.PyArray_DATA(self.packed.pictures)
        self.staging.places = <double*>cnp.PyArray_DATA(self.packed.places)
        self.staging.sizes = <int64_t*>cnp.PyArray_DATA(self.sizes)
        self.staging.used = 0
        self.batch.staging = &self.staging
        cdef const int64_t* image = <const int64_t*>cnp.PyArray_DATA(self.images)
        cdef Job job
        job.layers = NULL
        job.matrices = job.windows = job.colour = NULL
        job.tiles = 1
        cdef int64_t i
        for i in range(count):
            job.images = image + i
            self.batch.jobs.push_back(job)
        self.batch.remaining = count

    @property
    def used(self):
        """Bytes of the memory that are taken, from its beginning."""
        return self.staging.used


@cython.auto_pickle(False)
cdef class Engine:
    """Decodes pictures and renders or packs them. Safe to use from any number of threads of one process."""

    cdef unique_ptr[CEngine] engine
    cdef object keep
    cdef object guard
    cdef object paths
    cdef object shapes
    cdef int decode_side
    cdef int compact_side
    cdef set jobs
    cdef object pid

    def __cinit__(self):
        self.pid = os.getpid()

    def __dealloc__(self):
        if self.engine.get() != NULL and self.pid != os.getpid():
            self.engine.release()  # a forked child: threads that only the parent has wait on its locks

    def __init__(
        self, paths, shapes, int decode_side, *, table=None, int compact_side=0, size_t idle_bytes=0
    ):
        """
        paths         `PackedPaths` of the image files
        shapes        int32 [n, 2] (height, width) of every upright image
        decode_side   longer side, in pixels, that decoded pictures need
        table         `PlaneTable` of pictures that are in memory already, or None
        compact_side  with a table: pictures that have to be decoded are made as `load_picture` makes compact
                      ones of this side, as those in the table were; 0 leaves them as they are decoded
        idle_bytes    pictures that no job needs are kept up to this size
        """
        if decode_side < 1:
            raise ValueError(f"decode_side is {decode_side}; expected at least 1 pixel")
        if compact_side < 0:
            raise ValueError(f"compact_side is {compact_side}; expected 0 or more pixels")
        count = len(paths)
        shapes = np.ascontiguousarray(shapes, dtype=np.int32)
        if shapes.shape != (count, 2):
            raise ValueError(f"shapes has shape {shapes.shape}; expected ({count}, 2)")
        self.paths, self.shapes, self.decode_side = paths, shapes, decode_side
        self.compact_side = compact_side
        self.jobs = set()
        cdef Sources sources
        sources.paths = <const char*>cnp.PyArray_DATA(paths.data)
        sources.path_at = <const int64_t*>cnp.PyArray_DATA(paths.offsets)
        sources.shapes = <const int32_t*>cnp.PyArray_DATA(shapes)
        sources.cover = decode_side
        sources.decoder = <JpegDecoder><int>jpeg_decoder()
        sources.cached = NULL
        sources.cached_sides = NULL
        sources.cached_place = NULL
        sources.checksums = NULL
        sources.checked = NULL
        sources.mapping = NULL
        sources.compact_side = compact_side
        self.keep = [paths.data, paths.offsets, shapes]
        if table is not None:
            if len(table.address) != count:
                raise ValueError(f"table has {len(table.address)} images; expected {count}")
            columns = (
                table.height, table.width, table.c_height, table.c_width, table.factor_x, table.factor_y)
            address = np.ascontiguousarray(table.address, dtype=np.uint64)
            sides = np.ascontiguousarray(np.stack(columns, axis=1), dtype=np.int32)
            place = np.ascontiguousarray(table.place, dtype=np.float64)
            self.keep += [table, address, sides, place]
            sources.cached = <const uint64_t*>cnp.PyArray_DATA(address)
            sources.cached_sides = <const int32_t*>cnp.PyArray_DATA(sides)
            sources.cached_place = <const double*>cnp.PyArray_DATA(place)
        self.guard = guard = None if table is None else table.guard
        if guard is not None:
            for name, array, dtype in (
                ("checksums", guard.checksums, np.uint64), ("checked", guard.checked, np.uint8)
            ):
                if array.dtype != dtype or array.shape != (count,) or not array.flags.c_contiguous:
                    wanted = f"C-contiguous {np.dtype(dtype)} ({count},)"
                    raise ValueError(f"{name} is {array.dtype} {array.shape}; expected {wanted}")
            self.keep += [guard, guard.checksums, guard.checked]
            sources.checksums = <const uint64_t*>cnp.PyArray_DATA(guard.checksums)
            sources.checked = <uint8_t*>cnp.PyArray_DATA(guard.checked)
            sources.mapping = <const CGuardedMapping*><uintptr_t>guard.mapping.native
        self.engine.reset(new CEngine(sources, idle_bytes))

    def _take(self, Jobs jobs):
        """Check jobs before they run; a table of pictures says what they are pictures of."""
        self._check(jobs.images)
        if self.guard is not None:
            self.guard.mapping.protect()
        if isinstance(jobs, PackJobs):
            jobs.packed.shapes[:] = self.shapes[jobs.images]

    def _check(self, images):
        if len(images) and not (0 <= images.min() and images.max() < len(self.shapes)):
            raise ValueError(f"got images {images.min()} to {images.max()}; there are {len(self.shapes)}")

    def expect(self, images):
        """Announce the images, int64 [n], of jobs that will be submitted, each as often as jobs need it.

        Their pictures stay, once decoded, until used that often. The jobs of a plan need its `tile_image`.
        """
        self._check(images)
        images, uses = np.unique(images, return_counts=True)
        cdef const int64_t[::1] image = images.astype(np.int64), use = uses.astype(np.int64)
        if len(images):
            self.engine.get().expect(&image[0], &use[0], len(images))

    def submit(self, Jobs jobs):
        """Queue jobs whose images were announced by `expect`."""
        self._take(jobs)
        self.jobs.add(jobs)
        self.engine.get().submit(&jobs.batch)

    def wait(self, Jobs jobs, double seconds):
        """Whether all jobs are done within `seconds`."""
        cdef cbool done
        with nogil:
            done = self.engine.get().wait(&jobs.batch, seconds)
        if done:
            self.jobs.discard(jobs)
        return done

    def run(self, Jobs jobs):
        """Run jobs, whose images were announced by `expect`, in this thread."""
        self._take(jobs)
        cdef Worker worker
        cdef Work outcome = Work.needs_fallback
        while outcome == Work.needs_fallback:
            with nogil:
                outcome = self.engine.get().run(worker, jobs.batch)
            if outcome == Work.needs_fallback:
                self._supply(worker)

    def work(self):
        """What a thread of the pool does until `stop`."""
        cdef Worker worker
        cdef Work outcome = Work.needs_fallback
        while outcome != Work.stopped:
            try:
                with nogil:
                    outcome = self.engine.get().work(worker)
            except BaseException:
                self.engine.get().abandon(worker)  # so that no thread waits for this job
                raise
            if outcome == Work.needs_fallback:
                self._supply(worker)

    cdef _supply(self, Worker& worker):
        """Decode a non-JPEG image for every job that waits for it. Raises errors not caused by the image."""
        cdef shared_ptr[CPicture] picture
        cdef CPicture full
        cdef PictureStatus status = make_status(<int>PictureError.none, b"")
        path = f"image {worker.fallback_image}"
        try:
            path = self.paths[worker.fallback_image]
            picture = make_shared[CPicture]()
            started = time.perf_counter()
            try:
                shape = self.shapes[worker.fallback_image].tolist()
                if self.compact_side:
                    _decode_fallback(path, shape, self.compact_side, &full)
                    with nogil:
                        compact_picture(full.view, self.compact_side, picture.get()[0])
                else:
                    _decode_fallback(path, shape, self.decode_side, picture.get())
            except ImageError as error:
                reason = without_location(error, path).encode("utf-8", "replace")
                status = make_status(<int>PictureError.refused, reason)
            worker.seconds.decode += time.perf_counter() - started
            self.engine.get().supply(worker.fallback_image, picture, status)
        except BaseException as error:
            self.engine.get().abandon(worker)
            if isinstance(error, Exception):
                raise YolofastError(f"{path}: cannot be decoded here: {error!r}") from error
            raise

    def reset(self):
        """Drop queued jobs, wait for those in progress, and forget pictures and announcements."""
        with nogil:
            self.engine.get().reset()
        self.jobs.clear()

    def stop(self):
        """Make every `work` return."""
        self.engine.get().stop()
