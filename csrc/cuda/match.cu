#include <limits>

#include "core/coco/overlap.hpp"
#include "cuda/launch.hpp"
#include "cuda/match.hpp"
#include "cuda/workspace.hpp"

namespace yf::cuda {
namespace {

constexpr int kThreads = 256;
constexpr unsigned kAllLanes = 0xffffffff;

__device__ int count_of(const MatchRows& rows, std::int64_t image) {
    const std::int64_t count = rows.counts[image];
    return static_cast<int>(count < 0 ? 0 : count < rows.rows ? count : rows.rows);
}

__device__ coco::Box box_at(const MatchBoxes& boxes, std::int64_t i) {
    double x1, y1, x2, y2;
    if (boxes.wide) {
        const double* const p = static_cast<const double*>(boxes.data) + 4 * i;
        x1 = p[0], y1 = p[1], x2 = p[2], y2 = p[3];
    } else {
        const float* const p = static_cast<const float*>(boxes.data) + 4 * i;
        x1 = p[0], y1 = p[1], x2 = p[2], y2 = p[3];
    }
    return coco::checked_box({x1, y1, x2 - x1, y2 - y1});
}

// --- the order of detections

// Gives each detection its rank in its class, and its position among all of the image, best first:
// `order` [images, D], the first `ordered` [images] of which are written.
__global__ void __launch_bounds__(kThreads)
    rank_detections(MatchRows detections, const float* __restrict__ scores, std::int64_t max_det,
                    int thresholds, MatchResult result, int* __restrict__ order, int* __restrict__ ordered) {
    __shared__ float their_scores[kThreads];
    __shared__ std::int64_t their_classes[kThreads];
    const int rows = static_cast<int>(detections.rows), thread = static_cast<int>(threadIdx.x);
    const unsigned tiles = (static_cast<unsigned>(rows) + kThreads - 1) / kThreads;
    const std::int64_t image = blockIdx.x / tiles, first = image * rows;
    const int own = static_cast<int>(blockIdx.x % tiles) * kThreads + thread;
    const int count = count_of(detections, image);
    const bool in = own < count;
    const float score = in ? scores[first + own] : 0.0f;
    const std::int64_t label = in ? detections.classes[first + own] : 0;
    int position = 0, rank = 0, numbers = 0;
    for (int start = 0; start < count; start += kThreads) {
        const int here = min(count - start, kThreads);
        if (thread < here) {
            their_scores[thread] = scores[first + start + thread];
            their_classes[thread] = detections.classes[first + start + thread];
        }
        __syncthreads();
        for (int k = 0; k < here; ++k) {
            const float other = their_scores[k];
            const bool better = other > score || (other == score && start + k < own);
            position += better;
            rank += better && their_classes[k] == label;
            numbers += other == other;
        }
        __syncthreads();
    }
    if (own == 0) ordered[image] = numbers;
    if (own >= rows) return;
    const bool number = in && score == score;
    if (number && position < rows)
        order[first + position] = own;  // always, unless the arrays are written to meanwhile
    const bool counts = number && rank < max_det;
    result.ranks[first + own] = counts ? rank : -1;
    if (counts) return;
    for (int t = 0; t < thresholds; ++t) {
        result.ground_truths[(first + own) * thresholds + t] = -1;
        result.ignored[(first + own) * thresholds + t] = 1;
    }
}

// --- the matches

// The best ground truth so far. One that counts is above all that are ignored, then comes the overlap, then
// the later row.
struct Choice {
    int kind;  // 2: counts, 1: is ignored, 0: there is none
    double overlap;
    int row;
};

__device__ bool better(const Choice& a, const Choice& b) {
    if (a.kind != b.kind) return a.kind > b.kind;
    return a.overlap != b.overlap ? a.overlap > b.overlap : a.row > b.row;
}

__device__ Choice best_of_warp(Choice own) {
    for (int step = 16; step > 0; step /= 2) {
        const Choice other{__shfl_xor_sync(kAllLanes, own.kind, step),
                           __shfl_xor_sync(kAllLanes, own.overlap, step),
                           __shfl_xor_sync(kAllLanes, own.row, step)};
        if (better(other, own)) own = other;
    }
    return own;
}

__device__ bool flag(const std::uint8_t* flags, std::int64_t i) { return flags != nullptr && flags[i] != 0; }

// A warp per image and threshold. Lane l handles the ground truths of rows l, l + 32 and so on.
__global__ void __launch_bounds__(32)
    match_image(MatchRows detections, MatchRows truths, const std::uint8_t* __restrict__ crowd,
                MatchThresholds thresholds, MatchResult result, const int* __restrict__ order,
                const int* __restrict__ ordered, std::uint8_t* taken_all) {
    const int lane = static_cast<int>(threadIdx.x);
    const unsigned t = blockIdx.x % static_cast<unsigned>(thresholds.count);
    const std::int64_t image = blockIdx.x / static_cast<unsigned>(thresholds.count);
    const std::int64_t first = image * detections.rows, first_truth = image * truths.rows;
    const int count = ordered[image], truth_count = count_of(truths, image);
    std::uint8_t* const taken = taken_all + std::int64_t{blockIdx.x} * truths.rows;
    for (int row = lane; row < truth_count; row += 32) taken[row] = 0;
    const double min_overlap = coco::least_overlap(thresholds.values[t]);
    for (int position = 0; position < count; ++position) {
        const int own_row = order[first + position];
        if (own_row < 0 || own_row >= detections.rows) continue;  // as above
        const std::int64_t i = first + own_row;
        if (result.ranks[i] < 0) continue;
        const std::int64_t label = detections.classes[i];
        const coco::Box box = box_at(detections.boxes, i);
        Choice own{0, 0, -1};
        for (int row = lane; row < truth_count; row += 32) {
            const std::int64_t g = first_truth + row;
            if (truths.classes[g] != label) continue;
            const bool is_crowd = flag(crowd, g);
            if (taken[row] != 0 && !is_crowd) continue;
            const double overlap = coco::overlap(box, box_at(truths.boxes, g), is_crowd);
            const Choice choice{is_crowd || flag(truths.ignored, g) ? 1 : 2, overlap, row};
            if (overlap >= min_overlap && better(choice, own)) own = choice;
        }
        if (__any_sync(kAllLanes, own.kind) != 0) own = best_of_warp(own);
        if (own.kind != 0 && own.row % 32 == lane) taken[own.row] = 1;
        if (lane != 0) continue;
        const std::int64_t at = i * thresholds.count + t;
        result.ground_truths[at] = own.row;
        result.ignored[at] = own.kind == 0 ? flag(detections.ignored, i) : own.kind == 1;
    }
}

struct Buffers {
    int *order, *ordered;
    std::uint8_t* taken;  // [images, thresholds, truths]
};

std::size_t lay_out(void* workspace, std::int64_t images, std::int64_t detections, std::int64_t truths,
                    int thresholds, Buffers* at) {
    Workspace parts(workspace);
    at->order = parts.take<int>(static_cast<std::size_t>(images * detections));
    at->ordered = parts.take<int>(static_cast<std::size_t>(images));
    at->taken = parts.take<std::uint8_t>(static_cast<std::size_t>(images * truths * thresholds));
    return parts.used();
}

}  // namespace

bool match_fits(std::int64_t images, std::int64_t detections, std::int64_t truths) {
    constexpr std::int64_t kMax = std::numeric_limits<std::int32_t>::max() - kThreads;
    if (detections > kMax || truths > kMax) return false;
    const std::int64_t tiles = blocks_of(detections, kThreads);
    const std::int64_t blocks = tiles > coco::kMaxThresholds ? tiles : coco::kMaxThresholds;
    return images <= kMax / blocks;
}

std::size_t match_workspace(std::int64_t images, std::int64_t detections, std::int64_t truths,
                            int thresholds) {
    Buffers at;
    return lay_out(nullptr, images, detections, truths, thresholds, &at);
}

cudaError_t match_detections(std::int64_t images, const MatchRows& detections, const float* scores,
                             const MatchRows& truths, const std::uint8_t* crowd,
                             const MatchThresholds& thresholds, std::int64_t max_det, void* workspace,
                             const MatchResult& result, cudaStream_t stream) {
    if (images == 0 || detections.rows == 0) return cudaSuccess;
    Buffers at;
    lay_out(workspace, images, detections.rows, truths.rows, thresholds.count, &at);
    const auto count = static_cast<unsigned>(images);
    const cudaError_t status =
        launch(rank_detections, blocks_of(detections.rows, kThreads) * count, kThreads, stream, detections,
               scores, max_det, thresholds.count, result, at.order, at.ordered);
    if (status != cudaSuccess) return status;
    const unsigned warps = static_cast<unsigned>(thresholds.count) * count;
    return launch(match_image, warps, 32, stream, detections, truths, crowd, thresholds, result, at.order,
                  at.ordered, at.taken);
}

}  // namespace yf::cuda
