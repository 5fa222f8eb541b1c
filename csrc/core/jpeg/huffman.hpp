// Huffman decoding tables: one lookup gives all that one symbol says, or two, except for long codes.
#pragma once

#include <cstdint>

#include "core/jpeg/frame.hpp"

namespace yf {

constexpr int kDcBits = 9, kAcBits = 11;

// What the bits between two refills can hold: a DC symbol and two AC lookups, or three AC lookups.
constexpr int kLongestDc = 20, kLongestAc = 18;
static_assert(kLongestDc + 2 * kLongestAc <= 56 && 3 * kLongestAc <= 56);

constexpr int kSkipEnd = 64;    // the rest of the block is zero
constexpr int kSkipSlow = 128;  // code or value too long for the table, or no code at all

// What the next bits say: one symbol or, when it can be seen as well, two. In two parts, because the next
// lookup waits for the first only.
struct AcStep {
    std::uint8_t total;  // all bits: codes and the values behind them
    std::uint8_t skip;   // how far it moves on in the block: zeros skipped + 1 each; kSkipEnd, kSkipSlow
};

// A symbol is seen when its code and the first bit of its value, which is the sign, are in the window.
struct AcSymbols {
    std::uint8_t shift1;  // 64 - bits of the first symbol alone: brings its value down to the lowest bit
    std::uint8_t range1;  // where its value lies
    std::uint8_t skip1;   // how far it moves on; 0 when there is nothing before the end
    std::uint8_t range2;  // where the second's value lies; 0 without a second
};

// What the lowest bits stand for: `value & mask` less `bias`. Index: bits of the value, + 16 for negative
// ones (T.81 F.2.2.1).
struct ValueRange {
    std::uint32_t mask, bias;
};

struct DcSymbol {
    std::uint8_t total;  // bits of code and value; 0 = too long for the table, or no code at all
    std::uint8_t size;   // of the value
};

// Codes of any length, as in T.81 F.2.2.3.
struct LongCodes {
    std::int32_t max_code[17];  // largest code of each length, -1 where there is none
    std::int32_t offset[17];    // symbol index = code + offset
    const std::uint8_t* symbols;
};

struct alignas(64) DcTable {
    DcSymbol symbols[1 << kDcBits];
    LongCodes codes;
};

// All that the inner loop reads lies behind one pointer: it has no register to spare for a second.
struct alignas(64) AcTable {
    AcStep steps[1 << kAcBits];
    AcSymbols symbols[1 << kAcBits];
    ValueRange ranges[32];
    std::uint8_t natural[64];
    LongCodes codes;
};

// Whether there can be so many codes of each length. T.81 leaves the code of all ones unused.
bool is_prefix_code(const std::uint8_t (&counts)[16]) noexcept;

// False when the code is not one: more codes than its lengths allow or, for DC, values over 15 bits.
bool build_dc_table(const HuffmanCode& code, DcTable* table) noexcept;
bool build_ac_table(const HuffmanCode& code, AcTable* table) noexcept;

}  // namespace yf
