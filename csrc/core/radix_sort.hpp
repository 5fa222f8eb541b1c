// Stable sorting by whole-number keys, and the keys that put scores best first.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/common.hpp"

namespace yf {

// Ascending keys are descending scores; equal scores, -0 and 0 among them, have equal keys. Not for NaN.
YF_HOST_DEVICE inline std::uint32_t descending_key(float score) {
    const std::uint32_t bits = std::bit_cast<std::uint32_t>(score + 0.0f);  // -0 becomes 0
    return bits >> 31 ? bits : ~bits & 0x7fffffffu;
}

inline std::uint64_t descending_key(double score) {
    const std::uint64_t bits = std::bit_cast<std::uint64_t>(score + 0.0);
    return bits >> 63 ? bits : ~bits & 0x7fffffffffffffffu;
}

// The score of a key (0 where it was -0).
YF_HOST_DEVICE inline float score_of_key(std::uint32_t key) {
    return std::bit_cast<float>(key >> 31 ? key : ~key & 0x7fffffffu);
}

// Sorts `items` by key(item), of which only the low `bits` bits are set, and keeps the order of equals. Least
// significant digit first; a digit that all items share costs one look. `spare` is scratch memory.
template <typename Item, typename Key>
void radix_sort(std::vector<Item>& items, std::vector<Item>& spare, unsigned bits, Key key) {
    constexpr unsigned kDigit = 11;
    constexpr std::size_t kBuckets = std::size_t{1} << kDigit;
    constexpr std::size_t kFew = 128;  // up to so many, walking the buckets costs more than comparing
    if (items.size() <= kFew) {
        std::stable_sort(items.begin(), items.end(),
                         [&](const Item& a, const Item& b) { return key(a) < key(b); });
        return;
    }
    spare.resize(items.size());
    std::array<std::size_t, kBuckets> place;
    for (unsigned shift = 0; shift < bits; shift += kDigit) {
        const auto digit = [&](const Item& item) {
            return static_cast<std::size_t>(key(item) >> shift) & (kBuckets - 1);
        };
        place.fill(0);
        for (const Item& item : items) ++place[digit(item)];
        if (place[digit(items.front())] == items.size()) continue;
        std::size_t start = 0;
        for (std::size_t& bucket : place) {
            const std::size_t count = bucket;
            bucket = start;
            start += count;
        }
        for (const Item& item : items) spare[place[digit(item)]++] = item;
        items.swap(spare);
    }
}

}  // namespace yf
