// Fuzz target for the lossless rewriting of JPEG files: whatever it accepts, it accepts again with the same
// result, and segments that say nothing to a decoder are copied.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <vector>

#include "core/jpeg/restart.hpp"
#include "core/limits.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    constexpr std::int64_t kMaxPixels = 1 << 22;
    const int rows = size > 0 ? 1 + data[size - 1] % 7 : 1;
    if (size / 4 > yf::kMaxSegments / 2) return 0;  // what is added below might be a segment too many
    std::vector<std::uint8_t> made, again;
    if (yf::add_restarts(data, size, rows, kMaxPixels, &made).error != yf::JpegError::none) return 0;
    if (yf::add_restarts(made.data(), made.size(), rows, kMaxPixels, &again).error != yf::JpegError::none)
        std::abort();
    if (made != again) std::abort();

    // Comments and APP5 segments of up to 3 bytes, in front of all others.
    std::vector<std::uint8_t> notes, noted(data, data + 2), expected(made.begin(), made.begin() + 2);
    for (int i = 0, count = 1 + data[size - 1] / 4; i < count; ++i) {
        const std::uint8_t length = static_cast<std::uint8_t>(2 + i % 4);
        const std::uint8_t head[] = {0xFF, static_cast<std::uint8_t>(i % 3 == 0 ? 0xFE : 0xE5), 0, length};
        notes.insert(notes.end(), head, head + 4);
        notes.insert(notes.end(), length - std::size_t{2}, data[size - 1]);
    }
    for (std::vector<std::uint8_t>* file : {&noted, &expected})
        file->insert(file->end(), notes.begin(), notes.end());
    noted.insert(noted.end(), data + 2, data + size);
    expected.insert(expected.end(), made.begin() + 2, made.end());
    if (yf::add_restarts(noted.data(), noted.size(), rows, kMaxPixels, &again).error != yf::JpegError::none)
        std::abort();
    if (again != expected) std::abort();
    return 0;
}
