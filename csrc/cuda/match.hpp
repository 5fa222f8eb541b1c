// COCO matching of a batch on the device: the matches of csrc/core/coco/match.hpp, for padded images.
//
// Pointers are device memory. Nothing is allocated and nothing is waited for: two launches, whatever the
// values, so a CUDA graph can hold them. The first compares each detection with all of its image (which are
// max_det of a postprocess, some hundreds); the second gives each image and threshold a warp, which takes the
// detections in turn and looks at the ground truths 32 at a time. Overlaps are double, as pycocotools' are: a
// few per pair of one class, so that a card with slow doubles does not suffer either.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

#include "core/coco/match.hpp"

namespace yf::cuda {

// Boxes xyxy, of float or double.
struct MatchBoxes {
    const void* data;
    bool wide;
};

// [images, rows]; rows behind an image's count (which is cut to 0 .. rows) do not count. `crowd` and
// `ignored` may be null: none.
struct MatchRows {
    MatchBoxes boxes;
    const std::int64_t* classes;
    const std::int64_t* counts;
    const std::uint8_t* ignored;
    std::int64_t rows;
};

struct MatchThresholds {
    double values[coco::kMaxThresholds];
    int count;
};

struct MatchResult {
    std::int64_t* ranks;          // [images, D] in its image and class, 0 = best; -1: does not count
    std::int64_t* ground_truths;  // [images, D, T] the row of the image that it took, or -1
    std::uint8_t* ignored;        // [images, D, T] neither right nor wrong
};

// Whether a launch can be as large: rows below 2^31, and few enough images.
bool match_fits(std::int64_t images, std::int64_t detections, std::int64_t truths);

std::size_t match_workspace(std::int64_t images, std::int64_t detections, std::int64_t truths,
                            int thresholds);

// scores [images, D]. A detection whose score is NaN, that has max_det better ones of its class, or that is
// behind the count does not count: it matches nothing and is ignored. The workspace is aligned to
// kWorkspaceAlign.
cudaError_t match_detections(std::int64_t images, const MatchRows& detections, const float* scores,
                             const MatchRows& truths, const std::uint8_t* crowd,
                             const MatchThresholds& thresholds, std::int64_t max_det, void* workspace,
                             const MatchResult& result, cudaStream_t stream);

}  // namespace yf::cuda
