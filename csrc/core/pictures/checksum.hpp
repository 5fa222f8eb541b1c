// A checksum of planes that lie in a file: fast enough to be taken of every picture once, in the thread that
// renders it. It finds accidents, not forgeries.
#pragma once

#include <cstddef>
#include <cstdint>

namespace yf {

// Bytes of a picture in the cache file, with the readable bytes behind it: see cache/planes.py.
constexpr std::size_t kSlotAlign = 64, kSlotPadding = 64;

constexpr std::size_t slot_bytes(std::size_t plane_bytes) {
    return (plane_bytes + kSlotPadding + kSlotAlign - 1) / kSlotAlign * kSlotAlign;
}

// Of little-endian words of 8 bytes; `size` is a multiple of 64. Each step is a bijection of the state for a
// given word, and of the word for a given state: a change within one word is always noticed, any other one
// but for one chance in 2^64.
std::uint64_t checksum(const std::uint8_t* data, std::size_t size) noexcept;

}  // namespace yf
