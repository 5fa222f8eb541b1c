// What a baseline scan needs before its first bit: sizes, sampling, quantisers, Huffman codes, where it
// begins.
//
// Only files of the usual form are taken (see README.md); of all others `read_frame` says no, and
// libjpeg-turbo decides what they are.
#pragma once

#include <cstddef>
#include <cstdint>

namespace yf {

// A Huffman code: a copy, because the caller's bytes may change while they are read.
struct HuffmanCode {
    bool is_set;
    std::uint8_t counts[16];    // codes of length 1..16, 256 in all at most
    std::uint8_t symbols[256];  // in the order of their codes
};

struct FrameComponent {
    int h, v;  // sampling factors; 1 x 1 for the only component
    int quantiser, dc, ac;
};

struct Frame {
    int width, height;
    int count;  // components: 1 or 3
    FrameComponent components[3];
    int max_h, max_v;
    int restart_interval;  // MCUs, 0 = none
    HuffmanCode dc[4], ac[4];
    bool quantisers_set[4];
    alignas(32) std::int16_t quantisers[4][64];  // natural (row by row) order
    std::size_t scan;                            // offset of the first entropy-coded byte
};

// Natural position of the k-th coefficient in zigzag order.
inline constexpr std::uint8_t kNatural[64] = {
    0,  1,  8,  16, 9,  2,  3,  10, 17, 24, 32, 25, 18, 11, 4,  5,  12, 19, 26, 33, 40, 48,
    41, 34, 27, 20, 13, 6,  7,  14, 21, 28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23,
    30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63,
};

// Reads the header up to the scan. False when this is no file for the baseline decoder, for whatever reason.
bool read_frame(const std::uint8_t* data, std::size_t size, Frame* frame) noexcept;

}  // namespace yf
