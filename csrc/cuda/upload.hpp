// Small tables from the host to the device, without waiting for either.
#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <cstddef>

namespace yf::cuda {

// Copies pageable memory, which may go as soon as this returns: CUDA has staged it. In pieces, because copies
// of up to 64 KiB are the ones that CUDA documents not to wait for the stream.
inline cudaError_t upload(void* to, const void* from, std::size_t bytes, cudaStream_t stream) {
    constexpr std::size_t kPiece = 64 * 1024;
    for (std::size_t at = 0; at < bytes; at += kPiece) {
        const cudaError_t status =
            cudaMemcpyAsync(static_cast<char*>(to) + at, static_cast<const char*>(from) + at,
                            std::min(kPiece, bytes - at), cudaMemcpyHostToDevice, stream);
        if (status != cudaSuccess) return status;
    }
    return cudaSuccess;
}

}  // namespace yf::cuda
