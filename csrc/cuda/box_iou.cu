#include "core/boxes/iou.hpp"
#include "cuda/box_iou.hpp"
#include "cuda/launch.hpp"

namespace yf::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kRows = 64;     // of the matrix, a tile
constexpr int kColumns = 32;  // a warp writes a run of one row

template <typename T>
using PairsKernel = void (*)(const T*, std::int64_t, const T*, std::int64_t, std::int64_t, T*);

template <typename T>
using EachKernel = void (*)(const T*, const T*, std::int64_t, T*);

// One tile. Its boxes are read once, so that CIoU's angles are not worked out for every pair.
template <typename T, IouKind kind>
__global__ void __launch_bounds__(kThreads)
    iou_pairs(const T* __restrict__ a, std::int64_t n, const T* __restrict__ b, std::int64_t m,
              std::int64_t tiles_across, T* __restrict__ out) {
    __shared__ IouBox<T> rows[kRows], columns[kColumns];
    const std::int64_t row = blockIdx.x / tiles_across * kRows, column = blockIdx.x % tiles_across * kColumns;
    const int thread = static_cast<int>(threadIdx.x);
    if (thread < kRows) {
        if (row + thread < n) rows[thread] = read_iou_box(a + 4 * (row + thread), kind);
    } else if (const int mine = thread - kRows; mine < kColumns) {
        if (column + mine < m) columns[mine] = read_iou_box(b + 4 * (column + mine), kind);
    }
    __syncthreads();
    const int across = thread % kColumns;
    if (column + across >= m) return;
    const IouBox<T> box = columns[across];
    for (int down = thread / kColumns; down < kRows && row + down < n; down += kThreads / kColumns) {
        out[(row + down) * m + column + across] = iou_value<T, kind>(rows[down], box);
    }
}

template <typename T, IouKind kind>
__global__ void __launch_bounds__(kThreads)
    iou_each(const T* __restrict__ a, const T* __restrict__ b, std::int64_t n, T* __restrict__ out) {
    const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
    if (i >= n) return;
    out[i] = iou_value<T, kind>(read_iou_box(a + 4 * i, kind), read_iou_box(b + 4 * i, kind));
}

template <typename T>
PairsKernel<T> pairs_kernel(IouKind kind) {
    switch (kind) {
        case IouKind::kGiou:
            return iou_pairs<T, IouKind::kGiou>;
        case IouKind::kDiou:
            return iou_pairs<T, IouKind::kDiou>;
        case IouKind::kCiou:
            return iou_pairs<T, IouKind::kCiou>;
        default:
            return iou_pairs<T, IouKind::kIou>;
    }
}

template <typename T>
EachKernel<T> each_kernel(IouKind kind) {
    switch (kind) {
        case IouKind::kGiou:
            return iou_each<T, IouKind::kGiou>;
        case IouKind::kDiou:
            return iou_each<T, IouKind::kDiou>;
        case IouKind::kCiou:
            return iou_each<T, IouKind::kCiou>;
        default:
            return iou_each<T, IouKind::kIou>;
    }
}

template <typename T>
cudaError_t launch_pairs(const T* a, std::int64_t n, const T* b, std::int64_t m, IouKind kind, T* out,
                         cudaStream_t stream) {
    if (n == 0 || m == 0) return cudaSuccess;
    const std::int64_t across = (m + kColumns - 1) / kColumns, down = (n + kRows - 1) / kRows;
    return launch(pairs_kernel<T>(kind), static_cast<unsigned>(across * down), kThreads, stream, a, n, b, m,
                  across, out);
}

template <typename T>
cudaError_t launch_each(const T* a, const T* b, std::int64_t n, IouKind kind, T* out, cudaStream_t stream) {
    if (n == 0) return cudaSuccess;
    const auto blocks = static_cast<unsigned>((n + kThreads - 1) / kThreads);
    return launch(each_kernel<T>(kind), blocks, kThreads, stream, a, b, n, out);
}

}  // namespace

cudaError_t box_iou(const float* a, std::int64_t n, const float* b, std::int64_t m, IouKind kind, float* out,
                    cudaStream_t stream) {
    return launch_pairs(a, n, b, m, kind, out, stream);
}

cudaError_t box_iou(const double* a, std::int64_t n, const double* b, std::int64_t m, IouKind kind,
                    double* out, cudaStream_t stream) {
    return launch_pairs(a, n, b, m, kind, out, stream);
}

cudaError_t box_iou_elementwise(const float* a, const float* b, std::int64_t n, IouKind kind, float* out,
                                cudaStream_t stream) {
    return launch_each(a, b, n, kind, out, stream);
}

cudaError_t box_iou_elementwise(const double* a, const double* b, std::int64_t n, IouKind kind, double* out,
                                cudaStream_t stream) {
    return launch_each(a, b, n, kind, out, stream);
}

}  // namespace yf::cuda
