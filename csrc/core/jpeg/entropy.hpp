// One block's worth of Huffman symbols: the loop in which decoding a JPEG spends its time.
//
// Every symbol waits for the one before: shift the buffer, look the entry up, shift by its length. All else,
// the value and where it goes, is off that path and has no branch: a symbol costs one never-wrong branch, a
// block one that is often wrong, at its end. README.md has the figures.
#pragma once

#include "core/jpeg/bits.hpp"
#include "core/jpeg/huffman.hpp"

namespace yf {

// The value of `size` bits that ends `total` bits into the buffer (T.81 F.2.2.1): below half of its range it
// stands for a negative number.
[[gnu::always_inline]] inline int last_value(std::uint64_t bits, std::uint32_t total, std::uint32_t size) {
    const std::uint32_t all = (1u << size) - 1;
    const std::uint32_t value = static_cast<std::uint32_t>(bits >> ((0 - total) & 63)) & all;
    return static_cast<int>(value) - static_cast<int>(value > all >> 1 ? 0 : all);
}

// The same where table and window have told all but the bits.
[[gnu::always_inline]] inline std::int16_t seen_value(std::uint64_t bits, std::uint32_t shift,
                                                      const ValueRange& range) {
    return static_cast<std::int16_t>((static_cast<std::uint32_t>(bits >> (shift & 63)) & range.mask) -
                                     range.bias);
}

// A symbol that the lookup table leaves out.
struct LongSymbol {
    BitReader reader;  // behind it; passed by value, so that the caller's can stay in registers
    int symbol;        // -1 when there is no such code
    std::int16_t value;
};
LongSymbol decode_long(BitReader reader, const LongCodes& codes) noexcept;

constexpr int kBadBlock = -1;

// Decodes a block: the DC difference and the AC coefficients, into `block` (64 zeros before) at their natural
// places when kKeep. Gives the zigzag index of the last one, or kBadBlock. Uses at most kMaxBlockBytes bytes.
template <bool kKeep>
[[gnu::always_inline]] inline int decode_block(BitReader& reader, const DcTable& dc, const AcTable& ac,
                                               int& difference, std::int16_t* block) {
    reader.refill();
    const DcSymbol first = dc.symbols[reader.bits >> (64 - kDcBits)];
    if (first.total == 0) [[unlikely]] {
        const LongSymbol slow = decode_long(reader, dc.codes);
        if (slow.symbol < 0) return kBadBlock;
        difference = slow.value;
        reader = slow.reader;
        reader.refill();
    } else {
        difference = last_value(reader.bits, first.total, first.size);
        reader.skip(first.total);
    }

    std::uint64_t window;
    std::uint32_t k = 0, next;
    const auto step = [&]() __attribute__((always_inline)) {
        window = reader.bits >> (64 - kAcBits);
        const std::uint32_t total = ac.steps[window].total;
        next = k + ac.steps[window].skip;
        if (next >= 63) return true;
        if constexpr (kKeep) {
            const AcSymbols& s = ac.symbols[window];
            // Without a second symbol both go to one place, and the first is the last to be written.
            block[ac.natural[next]] = seen_value(reader.bits, 0 - total, ac.ranges[s.range2]);
            block[ac.natural[k + s.skip1]] = seen_value(reader.bits, s.shift1, ac.ranges[s.range1]);
        }
        k = next;
        reader.skip(total);
        return false;
    };
    if (step() || step()) goto turn;
refilled:
    do reader.refill();
    while (!(step() || step() || step()));

turn:
    const AcStep entry = ac.steps[window];
    const AcSymbols symbols = ac.symbols[window];
    const std::uint32_t after = k + symbols.skip1;
    if ((entry.skip & (kSkipEnd | kSkipSlow)) == kSkipEnd && after < 63) [[likely]] {
        // The end, perhaps with a symbol before it. Which of both is anyone's guess, so it is no branch.
        if constexpr (kKeep) {
            std::int16_t* const place = block + ac.natural[after];
            const std::int16_t value = seen_value(reader.bits, symbols.shift1, ac.ranges[symbols.range1]);
            const int is_there = (0 - static_cast<int>(symbols.skip1)) >> 31;  // all ones or none
            *place = static_cast<std::int16_t>((value & is_there) | (*place & ~is_there));
        }
        reader.skip(entry.total);
        return static_cast<int>(after);
    }
    if (entry.skip >= kSkipSlow) {
        const LongSymbol slow = decode_long(reader, ac.codes);
        reader = slow.reader;
        if (slow.symbol < 0) return kBadBlock;
        const int run = slow.symbol >> 4;
        if ((slow.symbol & 15) == 0 && run != 15) return static_cast<int>(k);
        k += static_cast<std::uint32_t>(run) + 1;
        if (k > 63) return kBadBlock;
        if constexpr (kKeep) block[ac.natural[k]] = slow.value;
        if (k == 63) return 63;
        goto refilled;
    }
    // To the last coefficient: what may have been seen behind it is of the next block.
    if (after > 63) return kBadBlock;
    if constexpr (kKeep)
        block[ac.natural[after]] = seen_value(reader.bits, symbols.shift1, ac.ranges[symbols.range1]);
    if (after == 63) {
        reader.skip(64u - symbols.shift1);
        return 63;
    }
    if (k + entry.skip != 63) return kBadBlock;
    if constexpr (kKeep) block[63] = seen_value(reader.bits, 0u - entry.total, ac.ranges[symbols.range2]);
    reader.skip(entry.total);
    return 63;
}

}  // namespace yf
