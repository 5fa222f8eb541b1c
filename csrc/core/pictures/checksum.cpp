// See checksum.hpp.
#include "core/pictures/checksum.hpp"

#include <bit>
#include <cstring>

namespace yf {
namespace {

constexpr std::size_t kLanes = 8;  // as many as keep the multiplier busy: a step waits for the one before it
constexpr std::uint64_t kFactor = 0x9e3779b97f4a7c15;  // odd: 2^64 divided by the golden ratio

std::uint64_t step(std::uint64_t state, std::uint64_t word) {
    state = (state ^ word) * kFactor;
    return state ^ (state >> 32);
}

}  // namespace

std::uint64_t checksum(const std::uint8_t* data, std::size_t size) noexcept {
    static_assert(std::endian::native == std::endian::little, "the file is little-endian");
    std::uint64_t lanes[kLanes] = {1, 2, 3, 4, 5, 6, 7, 8};
    for (std::size_t at = 0; at + sizeof lanes <= size; at += sizeof lanes) {
        std::uint64_t words[kLanes];
        std::memcpy(words, data + at, sizeof words);
        for (std::size_t lane = 0; lane < kLanes; ++lane) lanes[lane] = step(lanes[lane], words[lane]);
    }
    std::uint64_t sum = size;
    for (const std::uint64_t lane : lanes) sum = step(sum, lane);
    return sum;
}

}  // namespace yf
