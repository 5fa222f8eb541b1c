// The inverse DCTs at a reduced or doubled size; see idct.hpp. Each is a matrix of integers, applied to the
// columns and then to the rows. Both passes add half a unit and shift.
//
// libjpeg-turbo has two kinds. Sizes 4 and 2 are SIMD code: values wrap around at 16 bits when dequantised
// and saturate between the passes. The others are C code on longer integers: nothing is cut but the result,
// to the 10 bits that index its table of samples. Sums wrap around at 32 bits here, which changes none of the
// bits that are kept, except in the first pass of the second kind: there large values take 64 bits.
#include <algorithm>
#include <array>
#include <cstring>

#include "core/jpeg/idct.hpp"
#include "core/jpeg/idct_portable.hpp"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace yf {
namespace {

constexpr int kMaxSize = 14, kLanes = 16;  // a matrix row is two vectors long

using Factors = std::array<std::array<std::int32_t, kLanes>, 8>;

// Row k: what input k adds to each output, in 1/8192 (size 4: 1/16384, size 2: 1/32768).
struct Matrix {
    int size;
    bool narrow;  // the first kind
    int inputs;   // rows in use, rounded up to an even number
    int shift1, shift2;
    alignas(32) Factors factors;
};

// `half` are the rows of the first (size + 1) / 2 outputs; the others mirror them, with odd rows negated.
constexpr Matrix matrix(int size, int fraction_bits, const std::int32_t (&half)[8][7]) {
    const bool narrow = size == 2 || size == 4;
    const int inputs = narrow || size > 8 ? 8 : (size + 1) / 2 * 2;
    Matrix m = {size, narrow, inputs, fraction_bits - 2, fraction_bits + 5, {}};
    for (int k = 0; k < 8; ++k)
        for (int n = 0; n < (size + 1) / 2; ++n) {
            m.factors[k][n] = half[k][n];
            m.factors[k][size - 1 - n] = k % 2 != 0 ? -half[k][n] : half[k][n];
        }
    return m;
}

// sqrt(2) cos((2n + 1) k pi / (2 size)) in fixed point, off by one where libjpeg adds up rounded parts. Sizes
// 2 and 4 take in the higher frequencies that they cannot show.
constexpr Matrix kMatrices[] = {
    matrix(2, 15, {{32768}, {29692}, {0}, {-10426}, {0}, {6967}, {0}, {-5906}}),
    matrix(3, 13, {{8192, 8192}, {10033}, {5793, -11586}}),
    matrix(4, 14,
           {{16384, 16384},
            {20995, 8697},
            {15137, -15137},
            {7373, -17799},
            {0, 0},
            {-4926, 11893},
            {-6270, 6270},
            {-4176, -1730}}),
    matrix(5, 13,
           {{8192, 8192, 8192}, {11019, 6810}, {9372, -3580, -11584}, {6810, -11018}, {3580, -9372, 11584}}),
    matrix(6, 13,
           {{8192, 8192, 8192},
            {11190, 8192, 2998},
            {10033, 0, -10033},
            {8192, -8192, -8192},
            {5793, -11586, 5793},
            {2998, -8192, 11190}}),
    matrix(7, 13,
           {{8192, 8192, 8192, 8192},
            {11295, 9058, 5027},
            {10438, 2578, -7223, -11585},
            {9058, -5027, -11295},
            {7223, -10438, -2578, 11585},
            {5027, -11295, 9058},
            {2578, -7223, 10438, -11585}}),
    matrix(10, 13,
           {{8192, 8192, 8192, 8192, 8192},
            {11443, 10323, 8192, 5260, 1812},
            {11019, 6810, 0, -6810, -11019},
            {10322, 1812, -8192, -11442, -5260},
            {9373, -3580, -11586, -3580, 9373},
            {8192, -8192, -8192, 8192, 8192},
            {6810, -11018, 0, 11018, -6810},
            {5260, -11442, 8192, 1812, -10322}}),
    matrix(12, 13,
           {{8192, 8192, 8192, 8192, 8192, 8192},
            {11487, 10703, 9192, 7053, 4433, 1513},
            {11190, 8192, 2998, -2998, -8192, -11190},
            {10703, 4433, -4433, -10703, -10704, -4433},
            {10033, 0, -10033, -10033, 0, 10033},
            {9192, -4433, -11485, -1512, 10704, 7053},
            {8192, -8192, -8192, 8192, 8192, -8192},
            {7053, -10703, -1512, 11486, -4433, -9191}}),
    matrix(14, 13,
           {{8192, 8192, 8192, 8192, 8192, 8192, 8192},
            {11513, 10935, 9810, 8192, 6164, 3826, 1297},
            {11295, 9058, 5027, 0, -5027, -9058, -11295},
            {10935, 6164, -1297, -8192, -11512, -9809, -3826},
            {10438, 2578, -7223, -11586, -7223, 2578, 10438},
            {9810, -1297, -10934, -8192, 3826, 11512, 6164},
            {9058, -5026, -11295, 0, 11295, 5026, -9058},
            {8192, -8192, -8192, 8192, 8192, -8192, -8192}}),
};

const Matrix* find(int size) {
    const auto* found = std::find_if(std::begin(kMatrices), std::end(kMatrices),
                                     [size](const Matrix& m) { return m.size == size; });
    return found != std::end(kMatrices) ? found : nullptr;
}

// Dequantised coefficients.
struct Inputs {
    alignas(32) std::int32_t at[8][8];
};

// What the first pass leaves: rows of the output size, columns of the input.
struct Columns {
    alignas(32) std::int32_t at[kMaxSize][8];
};

std::int32_t wrap(std::int32_t value, int bits) {
    return static_cast<std::int32_t>(static_cast<std::uint32_t>(value) << (32 - bits)) >> (32 - bits);
}

// Dequantises the rows in use. Whether all values are so small that 32 bits hold the sums of the first pass,
// and that nothing wraps around.
bool dequantise(const Matrix& m, const Block& block, Inputs* in) {
    std::uint32_t large = 0;
    for (int row = 0; row < m.inputs; ++row)
        for (int k = 0; k < 8; ++k) {
            const std::int32_t value = block.coefficients[8 * row + k] * block.quantisers[8 * row + k];
            in->at[row][k] = value;
            large |= (static_cast<std::uint32_t>(value) + (1u << 13)) >> 14;
        }
    return large == 0;
}

// Cuts large values as the SIMD code does. 4x4 has the short cut of 8x8 (see idct.cpp), but looks only at the
// rows that it uses.
void wrap_inputs(const Matrix& m, const Block& block, Inputs* in) {
    for (auto& row : in->at)
        for (std::int32_t& value : row) value = wrap(value, 16);
    const std::int16_t* c = block.coefficients;
    if (m.size == 4 && rows_are_zero(c, 1, 4) && rows_are_zero(c, 5, 8))
        for (std::int32_t& value : in->at[0]) value = wrap(value, 14);
}

// The first pass in 64 bits, of which the low 32 are kept after the shift.
void transform_large_columns(const Matrix& m, const Inputs& in, Columns* out) {
    for (int n = 0; n < m.size; ++n)
        for (int column = 0; column < 8; ++column) {
            std::int64_t sum = std::int64_t{1} << (m.shift1 - 1);
            for (int k = 0; k < m.inputs; ++k) sum += std::int64_t{in.at[k][column]} * m.factors[k][n];
            out->at[n][column] = static_cast<std::int32_t>(sum >> m.shift1);
        }
}

// The first pass where 32 bits are enough.
void transform_columns(const Matrix& m, const Inputs& in, Columns* out) {
    for (int n = 0; n < m.size; ++n)
        for (int column = 0; column < 8; ++column) {
            std::uint32_t sum = 1u << (m.shift1 - 1);
            for (int k = 0; k < m.inputs; ++k) sum += product(in.at[k][column], m.factors[k][n]);
            out->at[n][column] = static_cast<std::int32_t>(sum) >> m.shift1;
        }
}

void saturate(const Matrix& m, Columns* columns) {
    const int first = m.size == 2 ? 1 : 0;  // column 0 stays as it is there
    for (int row = 0; row < m.size; ++row)
        for (int k = first; k < 8; ++k) columns->at[row][k] = std::clamp(columns->at[row][k], -32768, 32767);
}

// Shifts of a sum of the second pass, up and down: 10 bits are kept, or all.
int shift_up(const Matrix& m) { return m.narrow ? 0 : 22 - m.shift2; }
int shift_down(const Matrix& m) { return shift_up(m) + m.shift2; }

void transform_rows(const Matrix& m, const Columns& in, std::uint8_t* out, std::ptrdiff_t stride) {
    const int up = shift_up(m), down = shift_down(m);
    for (int row = 0; row < m.size; ++row)
        for (int n = 0; n < m.size; ++n) {
            std::uint32_t sum = 1u << (m.shift2 - 1);
            for (int k = 0; k < m.inputs; ++k) sum += product(in.at[row][k], m.factors[k][n]);
            out[row * stride + n] = sample(static_cast<std::int32_t>(sum << up) >> down);
        }
}

#if defined(__x86_64__)

// The same for AVX2, eight 32-bit values at a time.
__attribute__((target("avx2"))) inline __m256i load(const std::int32_t* eight) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(eight));
}

__attribute__((target("avx2"))) inline __m256i load_wide(const std::int16_t* eight) {
    return _mm256_cvtepi16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(eight)));
}

__attribute__((target("avx2"))) bool dequantise_avx2(const Matrix& m, const Block& block, Inputs* in) {
    const __m256i offset = _mm256_set1_epi32(1 << 13);
    __m256i all = _mm256_setzero_si256();
    for (int row = 0; row < m.inputs; ++row) {
        const __m256i value = _mm256_mullo_epi32(load_wide(block.coefficients + 8 * row),
                                                 load_wide(block.quantisers + 8 * row));
        _mm256_store_si256(reinterpret_cast<__m256i*>(in->at[row]), value);
        all = _mm256_or_si256(all, _mm256_add_epi32(value, offset));
    }
    return _mm256_testz_si256(all, _mm256_set1_epi32(-(1 << 14)));
}

__attribute__((target("avx2"))) void transform_columns_avx2(const Matrix& m, const Inputs& in, Columns* out) {
    const __m128i shift = _mm_cvtsi32_si128(m.shift1);
    for (int n = 0; n < (m.size + 1) / 2; ++n) {
        __m256i even = _mm256_set1_epi32(1 << (m.shift1 - 1)), odd = _mm256_setzero_si256();
        for (int k = 0; k < m.inputs; k += 2) {
            const __m256i a = load(in.at[k]), b = load(in.at[k + 1]);
            even = _mm256_add_epi32(even, _mm256_mullo_epi32(a, _mm256_set1_epi32(m.factors[k][n])));
            odd = _mm256_add_epi32(odd, _mm256_mullo_epi32(b, _mm256_set1_epi32(m.factors[k + 1][n])));
        }
        const __m256i first = _mm256_sra_epi32(_mm256_add_epi32(even, odd), shift);
        const __m256i last = _mm256_sra_epi32(_mm256_sub_epi32(even, odd), shift);
        _mm256_store_si256(reinterpret_cast<__m256i*>(out->at[m.size - 1 - n]), last);
        _mm256_store_si256(reinterpret_cast<__m256i*>(out->at[n]), first);
    }
}

// Outputs `start` to `start + 7` of one row, as eight bytes.
__attribute__((target("avx2"))) inline std::uint64_t eight_samples(const Matrix& m, const std::int32_t* in,
                                                                   int start) {
    __m256i sum = _mm256_set1_epi32(1 << (m.shift2 - 1));
    for (int k = 0; k < m.inputs; ++k)
        sum = _mm256_add_epi32(
            sum, _mm256_mullo_epi32(load(m.factors[k].data() + start), _mm256_set1_epi32(in[k])));
    sum = _mm256_sll_epi32(sum, _mm_cvtsi32_si128(shift_up(m)));
    sum = _mm256_sra_epi32(sum, _mm_cvtsi32_si128(shift_down(m)));
    const __m128i levels = _mm_packs_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256(sum, 1));
    const __m128i samples = _mm_xor_si128(_mm_packs_epi16(levels, levels), _mm_set1_epi8(-128));
    return static_cast<std::uint64_t>(_mm_cvtsi128_si64(samples));
}

// The first `size` of eight bytes.
inline void put(std::uint64_t bytes, int size, std::uint8_t* out) {
    if (size >= 4) {
        std::memcpy(out, &bytes, 4);
        bytes >>= 8 * (size - 4);
        std::memcpy(out + size - 4, &bytes, 4);
    } else {
        for (int n = 0; n < size; ++n) out[n] = static_cast<std::uint8_t>(bytes >> (8 * n));
    }
}

__attribute__((target("avx2"))) void transform_rows_avx2(const Matrix& m, const Columns& in,
                                                         std::uint8_t* out, std::ptrdiff_t stride) {
    for (int row = 0; row < m.size; ++row, out += stride) {
        const std::uint64_t left = eight_samples(m, in.at[row], 0);
        if (m.size < 8) {
            put(left, m.size, out);
        } else {
            const std::uint64_t right = eight_samples(m, in.at[row], m.size - 8);
            std::memcpy(out, &left, 8);
            std::memcpy(out + m.size - 8, &right, 8);
        }
    }
}

#endif

// One sample, the mean: DC / 8.
void transform_dc(const Block& block) {
    const std::int32_t dc = block.coefficients[0] * block.quantisers[0];
    block.out[0] = sample(wrap((dc + 4) >> 3, 10));
}

struct Passes {
    bool (*dequantise)(const Matrix& m, const Block& block, Inputs* in);
    void (*columns)(const Matrix& m, const Inputs& in, Columns* out);
    void (*rows)(const Matrix& m, const Columns& in, std::uint8_t* out, std::ptrdiff_t stride);
};

const Passes& passes() {
    static const Passes fastest = [] {
#if defined(__x86_64__)
        if (__builtin_cpu_supports("avx2"))
            return Passes{dequantise_avx2, transform_columns_avx2, transform_rows_avx2};
#endif
        return Passes{dequantise, transform_columns, transform_rows};
    }();
    return fastest;
}

void transform_block(const Matrix& m, const Passes& run, const Block& block) {
    Inputs in;
    Columns between;
    const bool small = run.dequantise(m, block, &in);
    if (!small && m.narrow) wrap_inputs(m, block, &in);
    if (small || m.narrow)
        run.columns(m, in, &between);
    else
        transform_large_columns(m, in, &between);
    if (m.narrow) saturate(m, &between);
    run.rows(m, between, block.out, block.stride);
}

}  // namespace

bool has_scaled_transform(int size) { return size == 1 || find(size) != nullptr; }

void transform_scaled(int size, const Block& block) {
    if (size == 1) {
        transform_dc(block);
    } else {
        transform_block(*find(size), passes(), block);
    }
    std::memset(block.coefficients, 0, 64 * sizeof *block.coefficients);
}

}  // namespace yf
