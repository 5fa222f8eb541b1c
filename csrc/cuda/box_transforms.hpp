// Boxes through a matrix on the device: the values of csrc/core/boxes/box_transforms.hpp.
//
// Pointers are device memory. Nothing is allocated and nothing is waited for; the result tells whether the
// launch was accepted. The lower bound is memory traffic of two boxes per box.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "core/boxes/box_transforms.hpp"

namespace yf::cuda {

// The first `count` (6 or 9) numbers of a [3, 3] matrix, row by row, of float or double; the others are 0,
// 0, 1.
struct Matrix {
    const void* data;
    bool wide;
    int count;
};

// boxes and out [n, 4], n at most 2^38; `clip` is host memory, or null.
cudaError_t transform_boxes(const float* boxes, std::int64_t n, const Matrix& matrix, const Size* clip,
                            float* out, cudaStream_t stream);
cudaError_t transform_boxes(const double* boxes, std::int64_t n, const Matrix& matrix, const Size* clip,
                            double* out, cudaStream_t stream);

}  // namespace yf::cuda
