// Takes the place of CUB's header of that name where csrc/cuda is compiled for the host.
#pragma once

#include "../../emulation.hpp"

namespace cub {

struct DeviceSelect {
    template <typename Value, typename Flag, typename Out, typename Count>
    static cudaError_t Flagged(void* scratch, std::size_t& bytes, const Value* values, const Flag* flags,
                               Out* selected, Count* selected_count, int count, cudaStream_t = nullptr) {
        if (scratch == nullptr) {
            bytes = 1;
            return cudaSuccess;
        }
        int found = 0;
        for (int i = 0; i < count; ++i)
            if (flags[i]) selected[found++] = static_cast<Out>(values[i]);
        *selected_count = static_cast<Count>(found);
        return cudaSuccess;
    }
};

}  // namespace cub
