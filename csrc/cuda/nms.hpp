// Greedy non-maximum suppression on the device: the indices of csrc/core/boxes/nms.hpp, in its order.
//
// Pointers are device memory. Nothing is allocated and nothing is waited for: how many launches there are
// depends on n alone, and the number of kept boxes stays on the device.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

namespace yf::cuda {

// How many bytes of workspace nms of n boxes (at most 2^30) needs.
cudaError_t nms_workspace(std::int64_t n, std::size_t* bytes);

// boxes [n, 4] xyxy, scores [n], classes [n] or null (all boxes compete), threshold from 0 to 1. Writes the
// indices of the kept boxes to `keep` (room for n) in descending score, lower index first among equals, and
// their number to `count`. The workspace is aligned to kWorkspaceAlign.
cudaError_t nms(const float* boxes, const float* scores, const std::int64_t* classes, std::int64_t n,
                double threshold, void* workspace, std::int64_t* keep, std::int64_t* count,
                cudaStream_t stream);

}  // namespace yf::cuda
