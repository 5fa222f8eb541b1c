// Starting a kernel: one call that nvcc turns into a launch, and that tests/emulation runs on the host.
#pragma once

#include <cuda_runtime.h>

namespace yf::cuda {

#if defined(__CUDACC__)
// kernel<<<grid, threads, 0, stream>>>(arguments...); whether the launch was accepted. An empty grid is none.
template <typename... Parameters, typename... Arguments>
cudaError_t launch(void (*kernel)(Parameters...), dim3 grid, unsigned threads, cudaStream_t stream,
                   Arguments... arguments) {
    kernel<<<grid, threads, 0, stream>>>(static_cast<Parameters>(arguments)...);
    return cudaGetLastError();
}
#endif

}  // namespace yf::cuda
