// Takes the place of CUB's header of that name where csrc/cuda is compiled for the host.
#pragma once

#include <numeric>
#include <vector>

#include "../../emulation.hpp"

namespace cub {

struct DeviceRadixSort {
    template <typename Key, typename Value>
    static cudaError_t SortPairs(void* scratch, std::size_t& bytes, const Key* keys, Key* sorted_keys,
                                 const Value* values, Value* sorted_values, int count, int low = 0,
                                 int end = sizeof(Key) * 8, cudaStream_t = nullptr) {
        // What the real one asks for depends on all of these, too.
        const auto wanted = static_cast<std::size_t>(count) * (sizeof(Key) + sizeof(Value)) +
                            256 * static_cast<std::size_t>(end - low);
        if (scratch == nullptr) {
            bytes = wanted;
            return cudaSuccess;
        }
        if (bytes < wanted || keys == sorted_keys || values == sorted_values) return cudaErrorInvalidValue;
        std::memset(scratch, 0xA5, wanted);
        std::vector<int> order(static_cast<std::size_t>(count));
        std::iota(order.begin(), order.end(), 0);
        const Key high = end == sizeof(Key) * 8 ? ~Key{0} : (Key{1} << end) - 1;
        std::stable_sort(order.begin(), order.end(),
                         [&](int a, int b) { return (keys[a] & high) >> low < (keys[b] & high) >> low; });
        for (int i = 0; i < count; ++i) {
            sorted_keys[i] = keys[order[static_cast<std::size_t>(i)]];
            sorted_values[i] = values[order[static_cast<std::size_t>(i)]];
        }
        return cudaSuccess;
    }
};

}  // namespace cub
