#include <cub/device/device_radix_sort.cuh>
#include <cub/device/device_select.cuh>

#include "core/radix_sort.hpp"
#include "cuda/greedy_nms.hpp"
#include "cuda/launch.hpp"
#include "cuda/nms.hpp"
#include "cuda/workspace.hpp"

namespace yf::cuda {
namespace {

using Key = unsigned long long;  // a score's or a class's; only equality and order matter

constexpr int kChunk = 4096;            // boxes that one sweep decides
constexpr int kWords = kChunk / kBits;  // a row of the overlap matrix
constexpr int kThreads = 256;
constexpr int kSweepThreads = 1024;
constexpr int kSuppressors = 512;  // kept boxes that a block looks at

constexpr Key kNoScore = 0xffffffff;  // above the key of every number
constexpr std::uint32_t kLeftOut = 0x80000000;

struct Buffers {
    Key *keys, *sorted_keys;
    std::uint32_t *values, *order,
        *ranks;                  // order: indices, best first; ranks: positions in it, class by class
    float4* boxes;               // class by class, best first, as all that follows but `kept`
    std::uint8_t *alive, *kept;  // kept: in the order of scores
    Word* overlaps;              // [kChunk, kWords] of the chunk being decided
    float4* suppressors;         // kept boxes of the chunk's last class
    int* found;                  // their number
    char* cub;
    std::size_t cub_bytes;
};

cudaError_t sort_pairs(const Buffers& at, void* scratch, std::size_t& bytes, std::uint32_t* sorted_values,
                       int n, int bits, cudaStream_t stream) {
    return cub::DeviceRadixSort::SortPairs(scratch, bytes, at.keys, at.sorted_keys, at.values, sorted_values,
                                           n, 0, bits, stream);
}

cudaError_t select_kept(const Buffers& at, void* scratch, std::size_t& bytes, std::int64_t* keep,
                        std::int64_t* count, int n, cudaStream_t stream) {
    return cub::DeviceSelect::Flagged(scratch, bytes, at.order, at.kept, keep, count, n, stream);
}

cudaError_t lay_out(void* workspace, int n, Buffers* at, std::size_t* bytes) {
    Workspace parts(workspace);
    const auto count = static_cast<std::size_t>(n);
    at->keys = parts.take<Key>(count);
    at->sorted_keys = parts.take<Key>(count);
    at->values = parts.take<std::uint32_t>(count);
    at->order = parts.take<std::uint32_t>(count);
    at->ranks = parts.take<std::uint32_t>(count);
    at->boxes = parts.take<float4>(count);
    at->alive = parts.take<std::uint8_t>(count);
    at->kept = parts.take<std::uint8_t>(count);
    at->overlaps = parts.take<Word>(static_cast<std::size_t>(n < kChunk ? n : kChunk) * kWords);
    at->suppressors = parts.take<float4>(kChunk);
    at->found = parts.take<int>(1);
    std::size_t sorting = 0, selecting = 0;
    cudaError_t status = sort_pairs(*at, nullptr, sorting, at->order, n, 64, nullptr);
    if (status != cudaSuccess) return status;
    status = select_kept(*at, nullptr, selecting, nullptr, nullptr, n, nullptr);
    if (status != cudaSuccess) return status;
    at->cub_bytes = sorting > selecting ? sorting : selecting;
    at->cub = parts.take<char>(at->cub_bytes);
    *bytes = parts.used();
    return cudaSuccess;
}

// --- the order

__global__ void __launch_bounds__(kThreads)
    key_scores(const float* __restrict__ scores, int n, Key* __restrict__ keys,
               std::uint32_t* __restrict__ indices) {
    const unsigned i = blockIdx.x * kThreads + threadIdx.x;
    if (i >= static_cast<unsigned>(n)) return;
    const float score = scores[i];
    keys[i] = score == score ? descending_key(score) : kNoScore;
    indices[i] = i;
}

__global__ void __launch_bounds__(kThreads)
    key_classes(const std::int64_t* __restrict__ classes, const Key* __restrict__ score_keys,
                const std::uint32_t* __restrict__ order, int n, Key* __restrict__ keys,
                std::uint32_t* __restrict__ ranks) {
    const unsigned rank = blockIdx.x * kThreads + threadIdx.x;
    if (rank >= static_cast<unsigned>(n)) return;
    keys[rank] = classes == nullptr ? 0 : static_cast<Key>(classes[order[rank]]);
    ranks[rank] = score_keys[rank] == kNoScore ? rank | kLeftOut : rank;
}

// The boxes class by class. One that cannot overlap any other is replaced by an empty box.
__global__ void __launch_bounds__(kThreads)
    gather_boxes(const float* __restrict__ boxes, const std::uint32_t* __restrict__ order,
                 const std::uint32_t* __restrict__ ranks, int n, float4* __restrict__ gathered,
                 std::uint8_t* __restrict__ alive) {
    const unsigned i = blockIdx.x * kThreads + threadIdx.x;
    if (i >= static_cast<unsigned>(n)) return;
    const std::uint32_t rank = ranks[i];
    const float* const p = boxes + 4 * static_cast<std::size_t>(order[rank & ~kLeftOut]);
    const float4 box{p[0], p[1], p[2], p[3]};
    gathered[i] = can_overlap(make_box(box.x, box.y, box.z, box.w)) ? box : float4{0, 0, 0, 0};
    alive[i] = (rank & kLeftOut) == 0;
}

// --- NMS

// A tile of 64 x 64 pairs of a chunk: bit k of overlaps[i * kWords + column] says that box i suppresses box
// 64 * column + k, should i be kept. Only pairs whose second box comes later are looked at.
__global__ void __launch_bounds__(kBits)
    overlap_tiles(const float4* __restrict__ boxes, const Key* __restrict__ classes,
                  const std::uint8_t* __restrict__ alive, int count, float limit,
                  Word* __restrict__ overlaps) {
    const int row = static_cast<int>(blockIdx.y), column = static_cast<int>(blockIdx.x);
    if (column < row) return;
    __shared__ Box others[kBits];
    __shared__ Key labels[kBits];
    const int thread = static_cast<int>(threadIdx.x);
    const int other = column * kBits + thread, i = row * kBits + thread;
    if (other < count) {
        others[thread] = box_of(boxes[other]);
        labels[thread] = classes[other];
    }
    __syncthreads();
    if (i >= count || alive[i] == 0) return;
    Word bits = 0;
    const Key label = classes[i];
    const Box box = box_of(boxes[i]);
    const int here = min(count - column * kBits, kBits);
    for (int k = row == column ? thread + 1 : 0; k < here && labels[k] == label; ++k) {
        if (overlap_too_much(box, others[k], limit)) bits |= Word{1} << k;
    }
    overlaps[i * kWords + column] = bits;
}

// Decides a chunk, word by word, in one block: sets `kept`, and lists the kept boxes of the last class, which
// may continue behind the chunk.
__global__ void __launch_bounds__(kSweepThreads)
    sweep_chunk(const float4* __restrict__ boxes, const Key* __restrict__ classes,
                const std::uint8_t* __restrict__ alive, const std::uint32_t* __restrict__ ranks, int count,
                const Word* __restrict__ overlaps, std::uint8_t* __restrict__ kept,
                float4* __restrict__ suppressors, int* __restrict__ found) {
    __shared__ Word diagonal[kChunk];  // the rows' bits of their own word
    __shared__ Word candidates[kWords], keeps[kWords];
    __shared__ int listed;
    const int thread = static_cast<int>(threadIdx.x);
    if (thread == 0) listed = 0;
    for (int i = thread; i < kChunk; i += kSweepThreads) {
        const bool in = i < count && alive[i] != 0;
        diagonal[i] = in ? overlaps[i * kWords + i / kBits] : 0;
        const unsigned half = __ballot_sync(0xffffffff, in);
        if (i % 32 == 0) reinterpret_cast<unsigned*>(candidates)[i / 32] = half;
    }
    __syncthreads();
    const int words = (count + kBits - 1) / kBits;
    const int column = thread % kWords, part = thread / kWords;
    for (int word = 0; word < words; ++word) {
        if (thread == 0) keeps[word] = survivors(candidates[word], diagonal + word * kBits);
        __syncthreads();
        if (column > word && column < words) {
            const Word* const rows = overlaps + word * kBits * kWords + column;
            Word out = 0;
            for (int bit = part; bit < kBits; bit += kSweepThreads / kWords) {
                if (keeps[word] >> bit & 1) out |= rows[bit * kWords];
            }
            if (out != 0) atomicAnd(&candidates[column], ~out);
        }
        __syncthreads();
    }
    const Key last = classes[count - 1];
    for (int i = thread; i < count; i += kSweepThreads) {
        const bool stays = keeps[i / kBits] >> (i % kBits) & 1;
        kept[ranks[i] & ~kLeftOut] = stays;
        if (stays && classes[i] == last) suppressors[atomicAdd(&listed, 1)] = boxes[i];
    }
    __syncthreads();
    if (thread == 0) *found = listed;
}

// Drops the boxes behind a chunk that one of its kept boxes suppresses. `classes` and so on start behind
// the chunk; its last class is just before.
__global__ void __launch_bounds__(kThreads)
    suppress_rest(const float4* __restrict__ suppressors, const int* __restrict__ found,
                  const float4* __restrict__ boxes, const Key* __restrict__ classes, int rest, float limit,
                  std::uint8_t* alive) {
    const int first = static_cast<int>(blockIdx.y) * kSuppressors, start = blockIdx.x * kThreads;
    const Key last = classes[-1];
    // Classes come in runs: if the block's first box is of another one, all are.
    if (first >= *found || classes[start] != last) return;
    __shared__ Box better[kSuppressors];
    const int here = min(*found - first, kSuppressors);
    const int thread = static_cast<int>(threadIdx.x), i = start + thread;
    for (int k = thread; k < here; k += kThreads) better[k] = box_of(suppressors[first + k]);
    __syncthreads();
    if (i >= rest || classes[i] != last || alive[i] == 0) return;
    const Box box = box_of(boxes[i]);
    for (int k = 0; k < here; ++k) {
        if (overlap_too_much(better[k], box, limit)) {
            alive[i] = 0;
            return;
        }
    }
}

cudaError_t launch_sweeps(const Buffers& at, const Key* classes, const std::uint32_t* ranks, int n,
                          float limit, cudaStream_t stream) {
    for (int begin = 0; begin < n; begin += kChunk) {
        const int rest = n - begin > kChunk ? n - begin - kChunk : 0, count = n - begin - rest;
        const float4* const boxes = at.boxes + begin;
        const unsigned words = blocks_of(count, kBits);
        cudaError_t status = launch(overlap_tiles, dim3(words, words), kBits, stream, boxes, classes + begin,
                                    at.alive + begin, count, limit, at.overlaps);
        if (status != cudaSuccess) return status;
        status = launch(sweep_chunk, 1, kSweepThreads, stream, boxes, classes + begin, at.alive + begin,
                        ranks + begin, count, at.overlaps, at.kept, at.suppressors, at.found);
        if (status != cudaSuccess || rest == 0) return status;
        const dim3 grid(blocks_of(rest, kThreads), kChunk / kSuppressors);
        status = launch(suppress_rest, grid, kThreads, stream, at.suppressors, at.found, boxes + kChunk,
                        classes + begin + kChunk, rest, limit, at.alive + begin + kChunk);
        if (status != cudaSuccess) return status;
    }
    return cudaSuccess;
}

}  // namespace

cudaError_t nms_workspace(std::int64_t n, std::size_t* bytes) {
    Buffers at;
    return lay_out(nullptr, static_cast<int>(n), &at, bytes);
}

cudaError_t nms(const float* boxes, const float* scores, const std::int64_t* classes, std::int64_t n_given,
                double threshold, void* workspace, std::int64_t* keep, std::int64_t* count,
                cudaStream_t stream) {
    if (n_given == 0) return cudaMemsetAsync(count, 0, sizeof *count, stream);
    const int n = static_cast<int>(n_given);
    Buffers at;
    std::size_t bytes = 0;
    cudaError_t status = lay_out(workspace, n, &at, &bytes);
    if (status != cudaSuccess) return status;

    const unsigned blocks = blocks_of(n, kThreads);
    status = launch(key_scores, blocks, kThreads, stream, scores, n, at.keys, at.values);
    if (status != cudaSuccess) return status;
    status = sort_pairs(at, at.cub, at.cub_bytes, at.order, n, 32, stream);
    if (status != cudaSuccess) return status;
    status = launch(key_classes, blocks, kThreads, stream, classes, at.sorted_keys, at.order, n, at.keys,
                    at.values);
    if (status != cudaSuccess) return status;
    if (classes != nullptr) {
        status = sort_pairs(at, at.cub, at.cub_bytes, at.ranks, n, 64, stream);
        if (status != cudaSuccess) return status;
    }
    const Key* const labels = classes != nullptr ? at.sorted_keys : at.keys;
    const std::uint32_t* const ranks = classes != nullptr ? at.ranks : at.values;
    status = launch(gather_boxes, blocks, kThreads, stream, boxes, at.order, ranks, n, at.boxes, at.alive);
    if (status != cudaSuccess) return status;
    status = launch_sweeps(at, labels, ranks, n, floor_to_float(threshold), stream);
    if (status != cudaSuccess) return status;
    return select_kept(at, at.cub, at.cub_bytes, keep, count, n, stream);
}

}  // namespace yf::cuda
