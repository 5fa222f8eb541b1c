// Decoded blocks on their way to the inverse DCT.
#pragma once

#include <cstring>

#include "core/jpeg/idct.hpp"

namespace yf {

// Blocks between their entropy decoding and their inverse DCT. Some are gathered and then transformed two at
// a time, by kind: so the kind of a single block is never a branch, and no wide load has to wait for a narrow
// store.
class BlockBatch {
  public:
    BlockBatch() : forms_(transforms()) { std::memset(coefficients_, 0, sizeof coefficients_); }

    // Where the next block is to be decoded; zero.
    std::int16_t* next() { return coefficients_[count_]; }

    // The block in `next()`, its last coefficient at this zigzag index, to samples; not before `flush`,
    // perhaps.
    void add(int last, int dc, const std::int16_t* quantisers, std::uint8_t* out, std::ptrdiff_t stride) {
        std::int16_t* coefficients = next();
        coefficients[0] = static_cast<std::int16_t>(dc);
        blocks_[count_] = {coefficients, quantisers, out, stride};
        const int kind = (last > 0) + (last > kLastOfLow);
        by_kind_[kind][counts_[kind]++] = static_cast<std::uint8_t>(count_);
        if (++count_ == kMax) flush();
    }

    // A block alone, at a smaller size.
    void add_scaled(int size, int dc, const std::int16_t* quantisers, std::uint8_t* out,
                    std::ptrdiff_t stride) {
        next()[0] = static_cast<std::int16_t>(dc);
        transform_scaled(size, {next(), quantisers, out, stride});
    }

    void flush() {
        for (int i = 0; i < counts_[kFlat]; ++i) {
            const Block& block = blocks_[by_kind_[kFlat][i]];
            forms_.flat(block.coefficients[0], block.quantisers[0], block.out, block.stride);
            block.coefficients[0] = 0;
        }
        transform(kLow, forms_.pair_low);
        transform(kFull, forms_.pair);
        count_ = counts_[kFlat] = counts_[kLow] = counts_[kFull] = 0;
    }

  private:
    enum Kind { kFlat, kLow, kFull };
    // In zigzag order the coefficients up to here lie in the first four rows and columns.
    static constexpr int kLastOfLow = 9;
    static constexpr int kMax = 32;

    void transform(Kind kind, void (*form)(const Block&, const Block&)) {
        const int count = counts_[kind];
        const std::uint8_t* which = by_kind_[kind];
        for (int i = 0; i + 1 < count; i += 2) form(blocks_[which[i]], blocks_[which[i + 1]]);
        if (count % 2 == 0) return;
        const Block& last = blocks_[which[count - 1]];
        form(last, {coefficients_[kMax], last.quantisers, unseen_, 8});
    }

    alignas(64) std::int16_t coefficients_[kMax + 1][64];  // the last one stays zero
    std::uint8_t unseen_[64];
    const Transforms& forms_;
    int count_ = 0, counts_[3] = {0, 0, 0};
    std::uint8_t by_kind_[3][kMax];
    Block blocks_[kMax];
};

}  // namespace yf
