// Small tables from the host to the device, usually without waiting for either.
#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <cstddef>

namespace yf::cuda {

// Copies pageable memory, which may go as soon as this returns: CUDA has staged it, except on a device that
// reads the host's memory by the host's page tables and needs no staging; there the stream is waited for. In
// pieces, because copies of up to 64 KiB are the ones that CUDA documents not to wait for the stream.
inline cudaError_t upload(void* to, const void* from, std::size_t bytes, cudaStream_t stream) {
    constexpr std::size_t kPiece = 64 * 1024;
    cudaError_t status = cudaSuccess;
    for (std::size_t at = 0; at < bytes && status == cudaSuccess; at += kPiece) {
        status = cudaMemcpyAsync(static_cast<char*>(to) + at, static_cast<const char*>(from) + at,
                                 std::min(kPiece, bytes - at), cudaMemcpyHostToDevice, stream);
    }
    int device = 0, reads_host = 0;
    if (status == cudaSuccess) status = cudaGetDevice(&device);
    if (status == cudaSuccess) {
        status =
            cudaDeviceGetAttribute(&reads_host, cudaDevAttrPageableMemoryAccessUsesHostPageTables, device);
    }
    return status == cudaSuccess && reads_host != 0 ? cudaStreamSynchronize(stream) : status;
}

}  // namespace yf::cuda
