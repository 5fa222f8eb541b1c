// The device that an operator works on: the CPU in one library; in the other a CUDA device with its current
// stream, or the host that the emulation makes one of.
#pragma once

#include <initializer_list>
#include <optional>

#include "torch/tensors.hpp"

#if defined(YOLOFAST_TORCH_CUDA)
#include <cuda_runtime_api.h>
#include <torch/csrc/stable/accelerator.h>
#endif

namespace yf::torch_ops {

#if defined(YOLOFAST_TORCH_CUDA) && !defined(YOLOFAST_EMULATED)

inline bool is_on_device(const Tensor& tensor) { return tensor.is_cuda(); }

// The first of the tensors that is on a CUDA device: the dispatcher calls the CUDA library when any of them
// is.
inline const Tensor& one_on_cuda(std::initializer_list<const Tensor*> tensors) {
    for (const Tensor* tensor : tensors)
        if (tensor != nullptr && tensor->is_cuda()) return *tensor;
    return **tensors.begin();
}

// Makes the device of the tensors the current one as long as this lives; a null tensor is an omitted one.
class OperatorDevice {
  public:
    explicit OperatorDevice(std::initializer_list<const Tensor*> tensors)
        : index_(one_on_cuda(tensors).get_device_index()), guard_(index_) {
        void* current = nullptr;
        TORCH_ERROR_CODE_CHECK(aoti_torch_get_current_cuda_stream(index_, &current));
        stream_ = static_cast<cudaStream_t>(current);
    }

    std::int32_t index() const { return index_; }
    cudaStream_t stream() const { return stream_; }

  private:
    std::int32_t index_;
    torch::stable::accelerator::DeviceGuard guard_;
    cudaStream_t stream_ = nullptr;
};

#else

inline bool is_on_device(const Tensor& tensor) { return tensor.is_cpu(); }

class OperatorDevice {
  public:
    explicit OperatorDevice(std::initializer_list<const Tensor*>) {}

    std::int32_t index() const { return kCpuDevice; }
#if defined(YOLOFAST_EMULATED)
    cudaStream_t stream() const { return nullptr; }
#endif
};

#endif

inline const Tensor* if_given(const std::optional<Tensor>& tensor) { return tensor ? &*tensor : nullptr; }

#if defined(YOLOFAST_TORCH_CUDA)

inline void check_cuda(const char* op, cudaError_t status) {
    if (status != cudaSuccess) fail(op, ": CUDA says: ", cudaGetErrorString(status));
}

// Memory for a kernel's intermediate results: torch aligns it to 256 bytes or more.
inline Tensor new_workspace(const Tensor& like, std::size_t bytes) {
    return new_tensor(like, {static_cast<std::int64_t>(bytes)}, kByte);
}

#endif

}  // namespace yf::torch_ops
