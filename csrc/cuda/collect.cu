#include "cuda/collect.hpp"
#include "cuda/launch.hpp"
#include "cuda/workspace.hpp"

namespace yf::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kLoads = 16;  // scores that a thread loads together
constexpr unsigned kAllLanes = 0xffffffff;

struct Tile {
    unsigned image, part, anchor;
};

// Blocks in order of image, part of its classes, tile of anchors.
__device__ Tile tile_of(const Batch& batch, unsigned parts) {
    const unsigned tiles = (batch.anchors + kThreads - 1) / kThreads;
    const unsigned row = blockIdx.x / tiles;
    return {row / parts, row % parts, blockIdx.x % tiles * kThreads + threadIdx.x};
}

// Room for `count` entries of each lane in the image's list, with one atomic operation a warp.
__device__ unsigned reserve(unsigned count, unsigned* total) {
    const unsigned lane = threadIdx.x % 32;
    unsigned sum = count;
    for (unsigned step = 1; step < 32; step *= 2) {
        const unsigned other = __shfl_up_sync(kAllLanes, sum, step);
        if (lane >= step) sum += other;
    }
    unsigned begin = 0;
    if (lane == 31 && sum != 0) begin = atomicAdd(total, sum);
    return __shfl_sync(kAllLanes, begin, 31) + sum - count;
}

// Scores of classes [first, first + kLoads) of an anchor; 0, which is never a candidate, where there is none.
__device__ void load_scores(const Batch& batch, const float* raw, unsigned anchor, unsigned first,
                            float (&scores)[kLoads]) {
#pragma unroll
    for (unsigned k = 0; k < kLoads; ++k) {
        const bool in = anchor < batch.anchors && first + k < batch.classes;
        scores[k] = in ? raw[std::size_t{4 + first + k} * batch.anchors + anchor] : 0.0f;
    }
}

// Bit k: scores[k] makes a candidate.
__device__ unsigned candidates_of(const Batch& batch, const float* raw, unsigned anchor, unsigned first,
                                  unsigned floor, const float (&scores)[kLoads]) {
    unsigned hits = 0;
#pragma unroll
    for (unsigned k = 0; k < kLoads; ++k) {
        if (scores[k] > batch.conf && bits_of(scores[k]) >= floor && is_wanted(batch, first + k))
            hits |= 1u << k;
    }
    return hits != 0 && is_usable(batch, raw, anchor) ? hits : 0;
}

// A thread for each anchor and kLoads of its classes. The second time it is for those images alone whose list
// had too little room, and for scores from their floor on.
__global__ void __launch_bounds__(kThreads) collect_every(Batch batch, bool second) {
    const Tile tile = tile_of(batch, (batch.classes + kLoads - 1) / kLoads);
    if (second && batch.again[tile.image] == 0) return;
    const unsigned floor = second ? batch.floors[tile.image] : 0;
    const float* const raw = image_of(batch, tile.image);
    const unsigned first = tile.part * kLoads;
    float scores[kLoads];
    load_scores(batch, raw, tile.anchor, first, scores);
    const unsigned hits = candidates_of(batch, raw, tile.anchor, first, floor, scores);
    if (__any_sync(kAllLanes, hits != 0) == 0) return;
    unsigned at = reserve(static_cast<unsigned>(__popc(hits)), batch.totals + tile.image);
    Entry* const list = batch.lists + std::size_t{tile.image} * batch.room;
#pragma unroll
    for (unsigned k = 0; k < kLoads; ++k) {
        if ((hits >> k & 1) == 0) continue;
        if (at < batch.room) list[at] = entry_of(batch, scores[k], tile.anchor, first + k);
        ++at;
    }
}

// A thread for each anchor, which looks for its best class.
__global__ void __launch_bounds__(kThreads) collect_best(Batch batch) {
    const Tile tile = tile_of(batch, 1);
    const float* const raw = image_of(batch, tile.image);
    float best = -INFINITY;
    unsigned label = 0;
    for (unsigned first = 0; first < batch.classes; first += kLoads) {
        float scores[kLoads];
        load_scores(batch, raw, tile.anchor, first, scores);
#pragma unroll
        for (unsigned k = 0; k < kLoads; ++k) {
            // A NaN becomes the best and stays it: nothing is above it.
            const bool takes = scores[k] > best || scores[k] != scores[k];
            if (!takes || first + k >= batch.classes) continue;
            best = scores[k];
            label = first + k;
        }
    }
    const bool hit = tile.anchor < batch.anchors && best > batch.conf && is_wanted(batch, label) &&
                     is_usable(batch, raw, tile.anchor);
    const unsigned at = reserve(hit ? 1 : 0, batch.totals + tile.image);
    if (hit)
        batch.lists[std::size_t{tile.image} * batch.room + at] = entry_of(batch, best, tile.anchor, label);
}

// How many candidates each bin of an image has whose list has too little room.
__global__ void __launch_bounds__(kThreads, 4) count_bins(Batch batch) {
    __shared__ unsigned counts[kBins];
    const Tile tile = tile_of(batch, 1);
    if (batch.totals[tile.image] <= batch.room) return;
    for (int bin = static_cast<int>(threadIdx.x); bin < kBins; bin += kThreads) counts[bin] = 0;
    __syncthreads();
    const float* const raw = image_of(batch, tile.image);
    const unsigned low = bits_of(batch.conf);
    for (unsigned first = 0; first < batch.classes; first += kLoads) {
        float scores[kLoads];
        load_scores(batch, raw, tile.anchor, first, scores);
        const unsigned hits = candidates_of(batch, raw, tile.anchor, first, 0, scores);
#pragma unroll
        for (unsigned k = 0; k < kLoads; ++k) {
            if ((hits >> k & 1) != 0) atomicAdd(&counts[bin_of(bits_of(scores[k]), low)], 1u);
        }
    }
    __syncthreads();
    unsigned* const bins = batch.bins + std::size_t{tile.image} * kBins;
    for (int bin = static_cast<int>(threadIdx.x); bin < kBins; bin += kThreads)
        if (counts[bin] != 0) atomicAdd(&bins[bin], counts[bin]);
}

// The bin that holds the last candidate that counts: its floor is the image's.
__global__ void __launch_bounds__(kSelectThreads) choose_floors(Batch batch) {
    __shared__ unsigned bins[kBins];
    const unsigned image = blockIdx.x;
    const bool again = batch.totals[image] > batch.room;
    if (threadIdx.x == 0) batch.again[image] = again;
    if (!again) return;
    for (int bin = static_cast<int>(threadIdx.x); bin < kBins; bin += kSelectThreads)
        bins[bin] = batch.bins[std::size_t{image} * kBins + static_cast<std::size_t>(bin)];
    __syncthreads();
    const Fitting fitting = fitting_bins(bins, batch.max_candidates - 1);
    if (threadIdx.x != 0) return;
    batch.floors[image] = floor_of_bin(min(fitting.bins, kBins - 1u), bits_of(batch.conf));
    batch.totals[image] = 0;
}

}  // namespace

cudaError_t collect_candidates(const Batch& batch, cudaStream_t stream) {
    cudaError_t status = cudaMemsetAsync(batch.totals, 0, batch.images * sizeof *batch.totals, stream);
    if (status != cudaSuccess || batch.anchors == 0) return status;
    const unsigned tiles = blocks_of(batch.anchors, kThreads) * batch.images;
    if (!batch.every) return launch(collect_best, tiles, kThreads, stream, batch);
    const unsigned parts = blocks_of(batch.classes, kLoads);
    status = launch(collect_every, tiles * parts, kThreads, stream, batch, false);
    // There is room for all that could be found.
    if (status != cudaSuccess || batch.room == batch.classes * batch.anchors) return status;
    status = cudaMemsetAsync(batch.bins, 0, std::size_t{batch.images} * kBins * sizeof *batch.bins, stream);
    if (status != cudaSuccess) return status;
    status = launch(count_bins, tiles, kThreads, stream, batch);
    if (status != cudaSuccess) return status;
    status = launch(choose_floors, batch.images, kSelectThreads, stream, batch);
    if (status != cudaSuccess) return status;
    return launch(collect_every, tiles * parts, kThreads, stream, batch, true);
}

std::int64_t collect_blocks(std::int64_t images, std::int64_t classes, std::int64_t anchors) {
    return std::int64_t{blocks_of(anchors, kThreads)} * blocks_of(classes, kLoads) * images;
}

}  // namespace yf::cuda
