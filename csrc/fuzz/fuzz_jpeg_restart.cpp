// Fuzz target for the lossless rewriting of JPEG files: whatever it accepts, it accepts again with the same
// result.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <vector>

#include "core/jpeg/restart.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    constexpr std::int64_t kMaxPixels = 1 << 22;
    const int rows = size > 0 ? 1 + data[size - 1] % 7 : 1;
    std::vector<std::uint8_t> made, again;
    if (yf::add_restarts(data, size, rows, kMaxPixels, &made).error != yf::JpegError::none) return 0;
    if (yf::add_restarts(made.data(), made.size(), rows, kMaxPixels, &again).error != yf::JpegError::none)
        std::abort();
    if (made != again) std::abort();
    return 0;
}
