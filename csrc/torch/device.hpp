// The device that cuda.cpp works on: a CUDA device, or the host where csrc/emulation stands for one.
#pragma once

#include <cuda_runtime_api.h>
#include <torch/csrc/stable/accelerator.h>
#include <torch/csrc/stable/tensor.h>

#include <cstdint>

#include "torch/names.hpp"

namespace yf::torch_ops {

inline bool is_on_device(const torch::stable::Tensor& tensor) {
#if defined(YOLOFAST_EMULATED)
    return tensor.is_cpu();
#else
    return tensor.is_cuda();
#endif
}

// Makes the device of a tensor the current one as long as this lives; `stream` is the one torch works on
// there.
class OnDeviceOf {
  public:
#if defined(YOLOFAST_EMULATED)
    explicit OnDeviceOf(const torch::stable::Tensor&) {}

    std::int32_t index() const { return -1; }
#else
    explicit OnDeviceOf(const torch::stable::Tensor& tensor)
        : index_(tensor.get_device_index()), guard_(index_) {
        void* current = nullptr;
        TORCH_ERROR_CODE_CHECK(aoti_torch_get_current_cuda_stream(index_, &current));
        stream_ = static_cast<cudaStream_t>(current);
    }

    std::int32_t index() const { return index_; }
#endif
    cudaStream_t stream() const { return stream_; }

  private:
#if !defined(YOLOFAST_EMULATED)
    std::int32_t index_;
    torch::stable::accelerator::DeviceGuard guard_;
#endif
    cudaStream_t stream_ = nullptr;
};

}  // namespace yf::torch_ops
