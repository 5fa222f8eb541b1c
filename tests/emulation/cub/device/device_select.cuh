// Takes the place of CUB's header of that name where csrc/cuda is compiled for the host.
#pragma once

#include "../../emulation.hpp"

namespace cub {

struct DeviceSelect {
    template <typename Value, typename Flag, typename Out, typename Count>
    static cudaError_t Flagged(void* scratch, std::size_t& bytes, const Value* values, const Flag* flags,
                               Out* selected, Count* selected_count, int count, cudaStream_t = nullptr) {
        const std::size_t wanted = 256 + static_cast<std::size_t>(count) / 16;
        if (scratch == nullptr) {
            bytes = wanted;
            return cudaSuccess;
        }
        if (bytes < wanted) return cudaErrorInvalidValue;
        std::memset(scratch, 0xA5, wanted);
        int found = 0;
        for (int i = 0; i < count; ++i)
            if (flags[i]) selected[found++] = static_cast<Out>(values[i]);
        *selected_count = static_cast<Count>(found);
        return cudaSuccess;
    }
};

}  // namespace cub
