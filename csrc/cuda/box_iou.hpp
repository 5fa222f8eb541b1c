// IoU and its relatives on the device: the values of csrc/core/boxes/boxes.hpp.
//
// Pointers are device memory, boxes xyxy, contiguous [n, 4]. Nothing is allocated and nothing is waited for;
// the result tells whether the launch was accepted.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "core/boxes/boxes.hpp"

namespace yf::cuda {

// out[i * m + j] = kind(a[i], b[j]); a is [n, 4], b is [m, 4], out is [n, m].
cudaError_t box_iou(const float* a, std::int64_t n, const float* b, std::int64_t m, IouKind kind, float* out,
                    cudaStream_t stream);
cudaError_t box_iou(const double* a, std::int64_t n, const double* b, std::int64_t m, IouKind kind,
                    double* out, cudaStream_t stream);

// out[i] = kind(a[i], b[i]); a and b are [n, 4], out is [n].
cudaError_t box_iou_elementwise(const float* a, const float* b, std::int64_t n, IouKind kind, float* out,
                                cudaStream_t stream);
cudaError_t box_iou_elementwise(const double* a, const double* b, std::int64_t n, IouKind kind, double* out,
                                cudaStream_t stream);

}  // namespace yf::cuda
