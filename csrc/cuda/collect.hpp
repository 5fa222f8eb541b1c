// The first half of postprocess: a list of each image's candidates.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "cuda/candidates.hpp"

namespace yf::cuda {

// Fills lists and totals, and again, floors and bins where an image has more candidates than there is room
// for. An image whose total is above `room` has no list: all its candidates from its floor on count.
cudaError_t collect_candidates(const Batch& batch, cudaStream_t stream);

// Blocks of its largest launch.
std::int64_t collect_blocks(std::int64_t images, std::int64_t classes, std::int64_t anchors);

}  // namespace yf::cuda
