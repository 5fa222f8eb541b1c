// Inverse DCTs of the JPEG decoder, equal bit for bit to libjpeg-turbo's default one (JDCT_ISLOW with SIMD),
// for every input, overflow included. They dequantise, transform, add 128 and clear the coefficients.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace yf {

// One block of coefficients and where its samples go.
struct Block {
    std::int16_t* coefficients;      // 64, row by row (natural order), 32-byte aligned, not yet dequantised
    const std::int16_t* quantisers;  // 64, natural order, 32-byte aligned, 0..255
    std::uint8_t* out;               // top left sample
    std::ptrdiff_t stride;           // bytes from row to row of out
};

// The 8x8 transforms in the form for one kind of CPU.
struct Transforms {
    // Two blocks at once: reads all coefficients, writes 8 rows of 8 samples each, leaves zeros.
    void (*pair)(const Block& a, const Block& b);
    // The same when only coefficients of row < 4 and column < 4 can differ from zero.
    void (*pair_low)(const Block& a, const Block& b);
    // All 64 samples when only the DC coefficient can differ from zero. The caller clears it.
    void (*flat)(int dc, int quantiser, std::uint8_t* out, std::ptrdiff_t stride);
};

// The fastest form for the CPU at hand.
const Transforms& transforms();

// The form "avx2", "sse2" or "portable"; null where the build or the CPU lacks it. For tests.
const Transforms* transforms_named(std::string_view name);

// Whether `transform_scaled` knows the size: 1 to 7, 10, 12, 14. (Chroma is doubled where luma is 5, 6, 7.)
bool has_scaled_transform(int size);

// size x size samples of one block, as libjpeg's DCT scaling; leaves zeros.
void transform_scaled(int size, const Block& block);

}  // namespace yf
