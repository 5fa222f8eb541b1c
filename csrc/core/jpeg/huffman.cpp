// See huffman.hpp.
#include "core/jpeg/huffman.hpp"

#include <algorithm>
#include <cstring>
#include <iterator>
#include <numeric>

namespace yf {
namespace {

std::uint8_t byte(int value) { return static_cast<std::uint8_t>(value); }

// The symbol at the front of a window: its bits, how far it moves on, where its value lies, and how many bits
// of the window have to be known to see it.
struct Seen {
    std::uint8_t total, skip, range, needed;
};

constexpr Seen kUnseen{0, kSkipSlow, 0, 255};

// Calls `take(symbol, length, first window, windows)` for each code that fits into `bits`.
template <typename Take>
void expand_codes(const HuffmanCode& code, int bits, LongCodes* codes, Take take) {
    codes->symbols = code.symbols;
    codes->max_code[0] = -1;
    codes->offset[0] = 0;
    std::int32_t next = 0, index = 0;
    for (int length = 1; length <= 16; ++length, next <<= 1) {
        codes->offset[length] = index - next;
        codes->max_code[length] = -1;
        const int count = code.counts[length - 1];
        if (count == 0) continue;
        for (int i = 0; i < count; ++i, ++next, ++index)
            if (length <= bits)
                take(code.symbols[index], length, next << (bits - length), 1 << (bits - length));
        codes->max_code[length] = next - 1;
    }
}

Seen see_symbol(int symbol, int length, bool is_negative) {
    const int run = symbol >> 4, size = symbol & 15;
    const int total = length + size, needed = length + (size > 0);
    if (needed > kAcBits || total > kLongestAc) return kUnseen;
    const bool is_end = size == 0 && run != 15;
    return {byte(total), byte(is_end ? kSkipEnd : run + 1), byte(size + (is_negative ? 16 : 0)),
            byte(needed)};
}

}  // namespace

bool is_prefix_code(const std::uint8_t (&counts)[16]) noexcept {
    int used = 0;  // of the codes of a length, the beginnings of longer ones not yet counted
    for (int length = 1; length <= 16; ++length) {
        const int count = counts[length - 1];
        used = 2 * used + count;
        if (count > 0 && used >= 1 << length) return false;
    }
    return true;
}

bool build_dc_table(const HuffmanCode& code, DcTable* table) noexcept {
    const int count = std::accumulate(code.counts, code.counts + 16, 0);
    if (!is_prefix_code(code.counts) ||
        !std::all_of(code.symbols, code.symbols + count, [](int symbol) { return symbol <= 15; }))
        return false;
    std::fill(std::begin(table->symbols), std::end(table->symbols), DcSymbol{0, 0});
    const auto take = [&](int symbol, int length, int first, int windows) {
        const int total = length + symbol;
        if (total <= kLongestDc)
            std::fill_n(table->symbols + first, windows, DcSymbol{byte(total), byte(symbol)});
    };
    expand_codes(code, kDcBits, &table->codes, take);
    return true;
}

bool build_ac_table(const HuffmanCode& code, AcTable* table) noexcept {
    if (!is_prefix_code(code.counts)) return false;
    constexpr int kWindows = 1 << kAcBits;
    Seen windows[kWindows];
    std::fill(windows, windows + kWindows, kUnseen);
    // The bit behind the code is the sign: 0 is negative.
    const auto take = [&](int symbol, int length, int first, int count) {
        const bool has_value = (symbol & 15) > 0;
        std::fill_n(windows + first, count / 2, see_symbol(symbol, length, has_value));
        std::fill_n(windows + first + count / 2, count - count / 2, see_symbol(symbol, length, false));
    };
    expand_codes(code, kAcBits, &table->codes, take);
    for (std::uint32_t size = 0; size < 16; ++size) {
        const std::uint32_t mask = (1u << size) - 1;
        table->ranges[size] = {mask, 0};
        table->ranges[16 + size] = {mask, mask};
    }
    std::memcpy(table->natural, kNatural, sizeof kNatural);
    for (int i = 0; i < kWindows; ++i) {
        const Seen first = windows[i];
        const bool is_value = first.skip < kSkipEnd;
        table->steps[i] = {first.total, first.skip};
        table->symbols[i] = {byte(64 - first.total), first.range, byte(is_value ? first.skip : 0), 0};
        if (!is_value) continue;
        const Seen second = windows[(i << first.total) & (kWindows - 1)];
        if (first.total + second.needed > kAcBits || first.total + second.total > kLongestAc) continue;
        table->steps[i] = {byte(first.total + second.total), byte(first.skip + second.skip)};
        table->symbols[i].range2 = second.range;
    }
    return true;
}

}  // namespace yf
