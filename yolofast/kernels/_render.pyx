# distutils: language = c++
"""The native executor of a plan: checked, GIL-free calls into csrc/core/render/render.hpp.

Defined by reference/render.py.
"""

from libc.stddef cimport ptrdiff_t
from libc.stdint cimport int64_t, uint8_t
from libcpp.memory cimport unique_ptr
from libcpp.vector cimport vector
cimport numpy as cnp

from yolofast.kernels._core cimport (
    MAX_GAIN, MAX_LEVEL, MAX_SIDE, PictureView, Planes, Rectangle, Span)
from yolofast.kernels._pictures cimport numbers, picture_view

import numpy as np

from yolofast.kernels.checks import checked_holes

cnp.import_array()


cdef extern from "core/render/render.hpp" namespace "yf" nogil:
    struct Tile:
        PictureView picture
        double* matrix
        double* window
        int layer

    cppclass Renderer:
        Renderer() except +
        void render(
            const Tile* tiles, size_t count, double mix, const double* colour, const Rectangle& hole,
            Planes dst) except +


def _whole(name, values, shape, low, high):
    array = np.ascontiguousarray(values, dtype=np.int64)
    if array.shape != shape:
        raise ValueError(f"{name} has shape {array.shape}; expected {shape}")
    if array.size and not (low <= array.min() and array.max() <= high):
        raise ValueError(f"{name} has values {array.min()}..{array.max()}; expected {low}..{high}")
    return array


def checked_plan(plan):
    """The arrays of a plan (matrix, window, sample, layer, mix, colour, hole), checked and contiguous.

    Raises:
        ValueError: a shape or value that a renderer cannot take.
    """
    height, width = plan.size
    if not (0 < height <= MAX_SIDE and 0 < width <= MAX_SIDE):
        raise ValueError(f"plan.size is {plan.size}; expected sides of 1..{MAX_SIDE}")
    samples, tiles = len(plan.images), len(plan.tile_image)
    sample = _whole("plan.tile_sample", plan.tile_sample, (tiles,), 0, samples - 1)
    if (np.diff(sample) < 0).any():
        raise ValueError("plan.tile_sample is not ascending")
    colour = numbers("plan.colour", plan.colour, (samples, 3, 4))
    reach = np.abs(colour[..., :3]).sum(axis=2) * 128
    centre = np.abs(colour[..., 3] + colour[..., :3].sum(axis=2) * 128)
    if samples and (np.abs(colour[..., :3]).max() > MAX_GAIN or (reach + centre).max() > MAX_LEVEL):
        raise ValueError(
            f"plan.colour is out of range; expected gains up to {MAX_GAIN} and levels up to {MAX_LEVEL}"
        )
    mix = numbers("plan.mix", plan.mix, (samples,), 1.0)
    if samples and mix.min() < 0:
        raise ValueError(f"plan.mix is {mix.min()}; expected 0..1")
    layer = _whole("plan.tile_layer", plan.tile_layer, (tiles,), 0, 1 if plan.hole is None else 2)
    return (
        numbers("plan.tile_matrix", plan.tile_matrix, (tiles, 3, 3)),
        numbers("plan.tile_window", plan.tile_window, (tiles, 4), MAX_SIDE),
        sample,
        layer,
        mix,
        colour,
        checked_holes(plan, sample, layer),
    )


def render(plan, images, out=None):
    """Render a plan: resize, mosaic, warp, flips, mixup, cutmix and colour in one pass over planes.

    Which pixel shows what is defined by `kernels.reference.render`; this stays within 1 level of it.

    Args:
        plan: a `BatchPlan`.
        images: the pictures that `plan.tile_image` names: a mapping or sequence of `Picture` or `Ycc` (planes
            at full size, upright), indexed by those numbers.
        out: uint8 [B, 3, H, W], C-contiguous, to fill.

    Returns:
        uint8 [B, 3, H, W] RGB; 114 where no tile shows.

    Raises:
        ValueError, TypeError, LookupError: a plan, picture or `out` that does not fit; says which.
    """
    matrix, window, sample, layer, mix, colour, hole = checked_plan(plan)
    cdef int height, width
    height, width = plan.size
    shape = (len(plan.images), 3, height, width)
    if out is None:
        out = np.empty(shape, np.uint8)
    elif not isinstance(out, np.ndarray) or out.dtype != np.uint8 or out.shape != shape:
        got = f"{out.dtype} {out.shape}" if isinstance(out, np.ndarray) else type(out).__name__
        raise ValueError(f"out is {got}; expected a uint8 array of shape {shape}")
    elif not (out.flags.c_contiguous and out.flags.writeable):
        raise ValueError("out is read-only or not C-contiguous; expected an array that can be written whole")
    if not out.size:
        return out
    cdef double[:, :, ::1] matrices = matrix
    cdef double[:, ::1] windows = window
    cdef int64_t[::1] samples = sample, layers = layer
    cdef double[::1] mixes = mix
    cdef double[:, :, ::1] colours = colour
    cdef const int64_t[:, ::1] holes = hole
    cdef Rectangle cut
    cdef vector[Tile] tiles
    cdef Tile tile
    cdef int i, t, count = len(sample), batch = shape[0]
    pictures = {}
    for t in range(count):
        number = int(plan.tile_image[t])
        if number not in pictures:
            pictures[number] = images[number]  # held while their planes are read
        tile.picture = picture_view(f"images[{number}]", pictures[number])
        for i in range(9):
            tile.matrix[i] = matrices[t, i // 3, i % 3]
        for i in range(4):
            tile.window[i] = windows[t, i]
        tile.layer = layers[t]
        tiles.push_back(tile)
    cdef Planes dst = Planes(<uint8_t*>cnp.PyArray_DATA(<cnp.ndarray>out), height * <ptrdiff_t>width, width,
                             height, width)
    cdef unique_ptr[Renderer] renderer = unique_ptr[Renderer](new Renderer())
    cdef int begin = 0, end = 0
    with nogil:
        for i in range(batch):
            while end < count and samples[end] == i:
                end += 1
            cut = Rectangle(Span(holes[i, 0], holes[i, 2]), Span(holes[i, 1], holes[i, 3]))
            renderer.get().render(
                tiles.data() + begin, end - begin, mixes[i], &colours[i, 0, 0], cut, dst)
            begin = end
            dst.data += 3 * dst.plane
    return out
