#include "core/boxes/transform_box.hpp"
#include "cuda/box_transforms.hpp"
#include "cuda/launch.hpp"
#include "cuda/workspace.hpp"

namespace yf::cuda {
namespace {

constexpr int kThreads = 256;

struct Clip {
    Size size;
    bool wanted;
};

template <typename T>
__global__ void __launch_bounds__(kThreads) transform_each(const T* __restrict__ boxes, std::int64_t n,
                                                           Matrix matrix, Clip clip, T* __restrict__ out) {
    __shared__ double m[9];
    const int thread = static_cast<int>(threadIdx.x);
    if (thread < 9) {
        m[thread] = thread >= matrix.count ? (thread == 8 ? 1.0 : 0.0)
                    : matrix.wide          ? static_cast<const double*>(matrix.data)[thread]
                                           : static_cast<const float*>(matrix.data)[thread];
    }
    __syncthreads();
    const std::int64_t i = std::int64_t{blockIdx.x} * kThreads + thread;
    if (i < n) transform_box(boxes + 4 * i, m, clip.wanted ? &clip.size : nullptr, out + 4 * i);
}

template <typename T>
cudaError_t transform(const T* boxes, std::int64_t n, const Matrix& matrix, const Size* clip, T* out,
                      cudaStream_t stream) {
    if (n == 0) return cudaSuccess;
    const Clip limit{clip != nullptr ? *clip : Size{0, 0}, clip != nullptr};
    return launch(transform_each<T>, blocks_of(n, kThreads), kThreads, stream, boxes, n, matrix, limit, out);
}

}  // namespace

cudaError_t transform_boxes(const float* boxes, std::int64_t n, const Matrix& matrix, const Size* clip,
                            float* out, cudaStream_t stream) {
    return transform(boxes, n, matrix, clip, out, stream);
}

cudaError_t transform_boxes(const double* boxes, std::int64_t n, const Matrix& matrix, const Size* clip,
                            double* out, cudaStream_t stream) {
    return transform(boxes, n, matrix, clip, out, stream);
}

}  // namespace yf::cuda
