// The candidates of an image: which scores of a raw output count, and the order they come in.
#pragma once

#include <cuda_runtime.h>

#include <bit>
#include <cfloat>
#include <cstdint>

#include "core/radix_sort.hpp"
#include "cuda/greedy_nms.hpp"

namespace yf::cuda {

// A candidate: the key of its score above its index, anchor * classes + label. No two of an image are equal,
// and ascending ones are in the order of csrc/core/boxes/postprocess.hpp, whatever order they were found in.
using Entry = unsigned long long;

// What all kernels of a call know.
struct Batch {
    const float* raw;
    const std::uint32_t* wanted;  // a bit per class, or null
    unsigned images, classes, anchors;
    float conf;
    bool every;               // a candidate for every class; else for an anchor's best one
    unsigned max_candidates;  // of an image that count
    unsigned room;            // entries of an image's list
    Entry* lists;             // [images, room], in no order
    unsigned* totals;         // [images] candidates found; the list is whole when there is room for them
    unsigned* again;          // [images] whether the image was read again
    unsigned* floors;         // [images] only scores whose bits are at least that, where it was
    unsigned* bins;           // [images, kBins] of those images
};

constexpr int kBins = 2048;

__device__ inline const float* image_of(const Batch& batch, unsigned image) {
    return batch.raw + std::size_t{image} * (4 + batch.classes) * batch.anchors;
}

__device__ inline bool is_wanted(const Batch& batch, unsigned label) {
    return batch.wanted == nullptr || (batch.wanted[label / 32] >> (label % 32) & 1) != 0;
}

// Whether the anchor's box is finite.
__device__ inline bool is_usable(const Batch& batch, const float* raw, unsigned anchor) {
    bool finite = true;
    for (unsigned row = 0; row < 4; ++row)
        finite = finite && fabsf(raw[std::size_t{row} * batch.anchors + anchor]) <= FLT_MAX;
    return finite;
}

__device__ inline Entry entry_of(const Batch& batch, float score, unsigned anchor, unsigned label) {
    return Entry{descending_key(score)} << 32 | (anchor * batch.classes + label);
}

// The corners of an entry's box, as csrc/core/boxes/postprocess.cpp works them out.
__device__ inline float4 corners_of(const Batch& batch, const float* raw, Entry entry) {
    const std::size_t anchors = batch.anchors;
    const float* const p = raw + static_cast<unsigned>(entry) / batch.classes;
    const float x = p[0], y = p[anchors];
    const float w = p[2 * anchors] / 2.0f, h = p[3 * anchors] / 2.0f;
    return {x - w, y - h, x + w, y + h};
}

// Which of kBins ranges a score above `conf` is in, the best ones first. Scores from conf to 1 share them
// evenly by their bits, so that neither small nor large ones crowd together.
__device__ inline unsigned bits_of(float score) { return std::bit_cast<unsigned>(score + 0.0f); }

__device__ inline int bin_shift(unsigned low) {
    constexpr unsigned kOne = 0x3f800000;
    const int digits = low < kOne ? 32 - __clz(static_cast<int>(kOne - low)) : 0;
    return max(digits - 11, 0);
}

__device__ inline unsigned bin_of(unsigned bits, unsigned low) {
    return kBins - 1 - min((bits - low) >> bin_shift(low), static_cast<unsigned>(kBins - 1));
}

// The lowest bits of a bin.
__device__ inline unsigned floor_of_bin(unsigned bin, unsigned low) {
    return low + ((kBins - 1 - bin) << bin_shift(low));
}

// The bins in turn, as long as all of their entries are at most `limit`: how many bins, and how many entries.
// Called by all kSelectThreads threads of a block; `bins` is shared memory, written before a barrier.
constexpr int kSelectThreads = 512;

struct Fitting {
    unsigned bins, entries;
};

__device__ inline Fitting fitting_bins(const unsigned* bins, unsigned limit) {
    constexpr int kEach = kBins / kSelectThreads, kWarps = kSelectThreads / 32;
    __shared__ unsigned sums[kWarps];
    __shared__ Fitting result;
    const int thread = static_cast<int>(threadIdx.x), lane = thread % 32, warp = thread / 32;
    unsigned own = 0;
    for (int k = 0; k < kEach; ++k) own += bins[thread * kEach + k];
    unsigned before = own;
    for (int step = 1; step < 32; step *= 2) {
        const unsigned other = __shfl_up_sync(0xffffffff, before, static_cast<unsigned>(step));
        if (lane >= step) before += other;
    }
    if (lane == 31) sums[warp] = before;
    __syncthreads();
    before -= own;
    for (int k = 0; k < warp; ++k) before += sums[k];
    if (thread == kSelectThreads - 1 && before + own <= limit) result = {kBins, before + own};
    if (before <= limit && before + own > limit) {
        int k = thread * kEach;
        for (; before + bins[k] <= limit; ++k) before += bins[k];
        result = {static_cast<unsigned>(k), before};
    }
    __syncthreads();
    const Fitting found = result;
    __syncthreads();
    return found;
}

}  // namespace yf::cuda
