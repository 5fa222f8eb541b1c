// The 8x8 inverse DCTs: the algorithm of Loeffler, Ligtenberg and Moschytz (ICASSP 1989) with 12
// multiplications in 13-bit fixed point, as libjpeg has it; see idct.hpp.
#include "core/jpeg/idct.hpp"

#include <algorithm>
#include <cstring>

#include "core/jpeg/idct_portable.hpp"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace yf {
namespace {

// Factors of the transform, in 1/8192: k0_298 is 0.298...
constexpr int kOne = 8192, k0_298 = 2446, k0_390 = 3196, k0_541 = 4433, k0_765 = 6270, k0_899 = 7373;
constexpr int k1_175 = 9633, k1_501 = 12299, k1_847 = 15137, k1_961 = 16069, k2_053 = 16819, k2_562 = 20995;
constexpr int k3_072 = 25172;

// Each pass adds half a unit and shifts. Between the passes samples are in 1/4 of sqrt(8) times their size.
constexpr int kShift1 = 11, kShift2 = 18;
constexpr int kRounding1 = 1 << (kShift1 - 1), kRounding2 = 1 << (kShift2 - 1);

// The first pass of libjpeg-turbo takes a short cut for a block whose rows 1 to 7 are zero. It differs from
// the long way for values past 14 bits: it wraps around where the other saturates.
[[gnu::noinline, gnu::cold]] bool only_first_row(const std::int16_t* coefficients) {
    return rows_are_zero(coefficients, 1, 8);
}

// ------------------------------------------------------------------------------------------ portable C++

std::int16_t wrap16(std::int32_t value) { return static_cast<std::int16_t>(value); }

std::int16_t saturate16(std::int32_t value) {
    return static_cast<std::int16_t>(std::clamp(value, -32768, 32767));
}

// Eight outputs of the 1-D transform of in[0], in[step], ..., descaled. Sums wrap around at 32 bits.
void transform_line(const std::int16_t* in, int step, int shift, std::int32_t* out) {
    const std::int16_t in1 = in[step], in2 = in[2 * step], in3 = in[3 * step], in5 = in[5 * step];
    const std::int16_t in6 = in[6 * step], in7 = in[7 * step];
    const std::uint32_t rounding = 1u << (shift - 1);
    const std::uint32_t sum = product(wrap16(in[0] + in[4 * step]), kOne) + rounding;
    const std::uint32_t difference = product(wrap16(in[0] - in[4 * step]), kOne) + rounding;
    const std::uint32_t outer = product(in2, k0_541 + k0_765) + product(in6, k0_541);
    const std::uint32_t inner = product(in2, k0_541) + product(in6, k0_541 - k1_847);

    const std::int16_t a = wrap16(in3 + in7), b = wrap16(in1 + in5);
    const std::uint32_t z3 = product(a, k1_175 - k1_961) + product(b, k1_175);
    const std::uint32_t z4 = product(a, k1_175) + product(b, k1_175 - k0_390);
    const std::uint32_t even[4] = {sum + outer, difference + inner, difference - inner, sum - outer};
    const std::uint32_t odd[4] = {
        product(in1, k1_501 - k0_899) - product(in7, k0_899) + z4,
        product(in3, k3_072 - k2_562) - product(in5, k2_562) + z3,
        product(in5, k2_053 - k2_562) - product(in3, k2_562) + z4,
        product(in7, k0_298 - k0_899) - product(in1, k0_899) + z3,
    };
    for (int k = 0; k < 4; ++k) {
        out[k] = static_cast<std::int32_t>(even[k] + odd[k]) >> shift;
        out[7 - k] = static_cast<std::int32_t>(even[k] - odd[k]) >> shift;
    }
}

void transform_portable(const Block& block) {
    std::int16_t in[64], between[64];
    std::int32_t line[8];
    for (int k = 0; k < 64; ++k) in[k] = wrap16(block.coefficients[k] * block.quantisers[k]);
    if (only_first_row(block.coefficients)) {
        for (int k = 0; k < 64; ++k) between[k] = wrap16(in[k % 8] * 4);
    } else {
        for (int column = 0; column < 8; ++column) {
            transform_line(in + column, 8, kShift1, line);
            for (int k = 0; k < 8; ++k) between[8 * k + column] = saturate16(line[k]);
        }
    }
    for (int row = 0; row < 8; ++row) {
        transform_line(between + 8 * row, 1, kShift2, line);
        for (int k = 0; k < 8; ++k) block.out[row * block.stride + k] = sample(line[k]);
    }
    std::memset(block.coefficients, 0, 64 * sizeof *block.coefficients);
}

void transform_portable_pair(const Block& a, const Block& b) {
    transform_portable(a);
    transform_portable(b);
}

void transform_flat(int dc, int quantiser, std::uint8_t* out, std::ptrdiff_t stride) {
    const std::int16_t between = wrap16(dc * quantiser * 4);
    const std::uint64_t samples = sample((between + 16) >> 5) * 0x0101010101010101u;
    for (int row = 0; row < 8; ++row) std::memcpy(out + row * stride, &samples, 8);
}

constexpr Transforms kPortable = {transform_portable_pair, transform_portable_pair, transform_flat};

#if defined(__x86_64__)

// ------------------------------------------------------------------------------------------ SSE2: a block

namespace sse2 {

using Vector = __m128i;

struct LowRows {
    Vector in02, in13;
};

inline Vector words(int low, int high) {
    return _mm_set1_epi32(static_cast<int>(static_cast<unsigned>(high) << 16 | (low & 0xFFFF)));
}
inline Vector dwords(int value) { return _mm_set1_epi32(value); }
inline Vector add16(Vector a, Vector b) { return _mm_add_epi16(a, b); }
inline Vector sub16(Vector a, Vector b) { return _mm_sub_epi16(a, b); }
inline Vector add32(Vector a, Vector b) { return _mm_add_epi32(a, b); }
inline Vector sub32(Vector a, Vector b) { return _mm_sub_epi32(a, b); }
inline Vector madd(Vector a, Vector b) { return _mm_madd_epi16(a, b); }
inline Vector pack16(Vector a, Vector b) { return _mm_packs_epi16(a, b); }
inline Vector pack32(Vector a, Vector b) { return _mm_packs_epi32(a, b); }
inline Vector descale(Vector sums) { return _mm_srai_epi32(sums, kShift1); }
inline Vector shift_right_2(Vector a) { return _mm_srai_epi16(a, kShift2 - 16); }
inline Vector low_to_high(Vector a) { return _mm_slli_epi32(a, 16); }
inline Vector centre(Vector bytes) { return _mm_xor_si128(bytes, _mm_set1_epi8(-128)); }
inline Vector low_words(Vector a, Vector b) { return _mm_unpacklo_epi16(a, b); }
inline Vector high_half_words(Vector a, Vector b) { return _mm_unpackhi_epi16(a, b); }
inline Vector low_dwords(Vector a, Vector b) { return _mm_unpacklo_epi32(a, b); }
inline Vector high_dwords(Vector a, Vector b) { return _mm_unpackhi_epi32(a, b); }
// dwords 0 and 2 (1 and 3) of a, then of b
inline Vector even_dwords(Vector a, Vector b) {
    return _mm_castps_si128(_mm_shuffle_ps(_mm_castsi128_ps(a), _mm_castsi128_ps(b), 0x88));
}
inline Vector odd_dwords(Vector a, Vector b) {
    return _mm_castps_si128(_mm_shuffle_ps(_mm_castsi128_ps(a), _mm_castsi128_ps(b), 0xDD));
}
// the high words of a and b, interleaved
inline Vector high_words(Vector a, Vector b) {
    return _mm_or_si128(_mm_srli_epi32(a, 16), _mm_and_si128(b, words(0, -1)));
}
// columns to the order 0 4 1 7, 2 6 5 3
inline Vector pair_columns(Vector row) {
    const Vector turned = _mm_shufflehi_epi16(row, 0x6C);  // 0 1 2 3, 4 7 6 5
    return _mm_shufflehi_epi16(_mm_unpacklo_epi16(turned, _mm_unpackhi_epi64(turned, turned)), 0xB4);
}
inline Vector load_row(const Block& a, const Block&, int row) {
    const Vector in = _mm_load_si128(reinterpret_cast<const Vector*>(a.coefficients + 8 * row));
    return _mm_mullo_epi16(in, _mm_load_si128(reinterpret_cast<const Vector*>(a.quantisers + 8 * row)));
}
inline LowRows load_low(const Block& a, const Block& b) {
    const Vector even = low_words(load_row(a, b, 0), load_row(a, b, 2));
    const Vector odd = low_words(load_row(a, b, 1), load_row(a, b, 3));
    return {_mm_shuffle_epi32(even, 0xD8), _mm_shuffle_epi32(odd, 0xD8)};
}
inline void clear_rows(const Block& a, const Block&, int count) {
    for (int row = 0; row < count; ++row)
        _mm_store_si128(reinterpret_cast<Vector*>(a.coefficients + 8 * row), _mm_setzero_si128());
}
inline void put_two_rows(Vector rows, const Block& a, const Block&, int row) {
    std::uint8_t* out = a.out + row * a.stride;
    _mm_storel_epi64(reinterpret_cast<Vector*>(out), rows);
    _mm_storel_epi64(reinterpret_cast<Vector*>(out + a.stride), _mm_unpackhi_epi64(rows, rows));
}
// The first row with that short cut: what it multiplies by 4 later is cut to 14 bits.
inline Vector first_row(Vector in, const Block& a, const Block&) {
    const Vector outside = _mm_and_si128(add16(in, words(8192, 8192)), words(0xC000, 0xC000));
    const bool inside = _mm_movemask_epi8(_mm_cmpeq_epi16(outside, _mm_setzero_si128())) == 0xFFFF;
    if (inside || !only_first_row(a.coefficients)) [[likely]]
        return in;
    return _mm_srai_epi16(_mm_slli_epi16(in, 2), 2);
}

#include "core/jpeg/idct_lanes.hpp"

void pair(const Block& a, const Block& b) {
    transform_lanes(a, a);
    transform_lanes(b, b);
}

void pair_low(const Block& a, const Block& b) {
    transform_lanes_low(a, a);
    transform_lanes_low(b, b);
}

}  // namespace sse2

constexpr Transforms kSse2 = {sse2::pair, sse2::pair_low, transform_flat};

// ------------------------------------------------------------------------------------------ AVX2: two blocks

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2")
#endif

namespace avx2 {

using Vector = __m256i;

struct LowRows {
    Vector in02, in13;
};

inline Vector words(int low, int high) {
    return _mm256_set1_epi32(static_cast<int>(static_cast<unsigned>(high) << 16 | (low & 0xFFFF)));
}
inline Vector dwords(int value) { return _mm256_set1_epi32(value); }
inline Vector add16(Vector a, Vector b) { return _mm256_add_epi16(a, b); }
inline Vector sub16(Vector a, Vector b) { return _mm256_sub_epi16(a, b); }
inline Vector add32(Vector a, Vector b) { return _mm256_add_epi32(a, b); }
inline Vector sub32(Vector a, Vector b) { return _mm256_sub_epi32(a, b); }
inline Vector madd(Vector a, Vector b) { return _mm256_madd_epi16(a, b); }
inline Vector pack16(Vector a, Vector b) { return _mm256_packs_epi16(a, b); }
inline Vector pack32(Vector a, Vector b) { return _mm256_packs_epi32(a, b); }
inline Vector descale(Vector sums) { return _mm256_srai_epi32(sums, kShift1); }
inline Vector shift_right_2(Vector a) { return _mm256_srai_epi16(a, kShift2 - 16); }
inline Vector low_to_high(Vector a) { return _mm256_slli_epi32(a, 16); }
inline Vector centre(Vector bytes) { return _mm256_xor_si256(bytes, _mm256_set1_epi8(-128)); }
inline Vector low_words(Vector a, Vector b) { return _mm256_unpacklo_epi16(a, b); }
inline Vector high_half_words(Vector a, Vector b) { return _mm256_unpackhi_epi16(a, b); }
inline Vector low_dwords(Vector a, Vector b) { return _mm256_unpacklo_epi32(a, b); }
inline Vector high_dwords(Vector a, Vector b) { return _mm256_unpackhi_epi32(a, b); }
inline Vector even_dwords(Vector a, Vector b) {
    return _mm256_castps_si256(_mm256_shuffle_ps(_mm256_castsi256_ps(a), _mm256_castsi256_ps(b), 0x88));
}
inline Vector odd_dwords(Vector a, Vector b) {
    return _mm256_castps_si256(_mm256_shuffle_ps(_mm256_castsi256_ps(a), _mm256_castsi256_ps(b), 0xDD));
}
inline Vector high_words(Vector a, Vector b) { return _mm256_blend_epi16(_mm256_srli_epi32(a, 16), b, 0xAA); }
inline Vector join(__m128i a, __m128i b) { return _mm256_inserti128_si256(_mm256_castsi128_si256(a), b, 1); }
inline Vector pair_columns(Vector row) {
    const __m128i order = _mm_setr_epi8(0, 1, 8, 9, 2, 3, 14, 15, 4, 5, 12, 13, 10, 11, 6, 7);
    return _mm256_shuffle_epi8(row, _mm256_broadcastsi128_si256(order));
}
inline Vector load_pair(const std::int16_t* a, const std::int16_t* b) {
    return join(_mm_load_si128(reinterpret_cast<const __m128i*>(a)),
                _mm_load_si128(reinterpret_cast<const __m128i*>(b)));
}
inline Vector load_row(const Block& a, const Block& b, int row) {
    return _mm256_mullo_epi16(load_pair(a.coefficients + 8 * row, b.coefficients + 8 * row),
                              load_pair(a.quantisers + 8 * row, b.quantisers + 8 * row));
}
inline Vector load_two_rows(const Block& block, int row) {
    const Vector in = _mm256_load_si256(reinterpret_cast<const Vector*>(block.coefficients + 8 * row));
    return _mm256_mullo_epi16(in,
                              _mm256_load_si256(reinterpret_cast<const Vector*>(block.quantisers + 8 * row)));
}
inline LowRows load_low(const Block& a, const Block& b) {
    // (in0, in2) in the low lane, (in1, in3) in the high one
    const Vector pairs_a = low_words(load_two_rows(a, 0), load_two_rows(a, 2));
    const Vector pairs_b = low_words(load_two_rows(b, 0), load_two_rows(b, 2));
    return {_mm256_shuffle_epi32(_mm256_permute2x128_si256(pairs_a, pairs_b, 0x20), 0xD8),
            _mm256_shuffle_epi32(_mm256_permute2x128_si256(pairs_a, pairs_b, 0x31), 0xD8)};
}
inline void clear_rows(const Block& a, const Block& b, int count) {
    for (int row = 0; row < count; row += 2) {
        _mm256_store_si256(reinterpret_cast<Vector*>(a.coefficients + 8 * row), _mm256_setzero_si256());
        _mm256_store_si256(reinterpret_cast<Vector*>(b.coefficients + 8 * row), _mm256_setzero_si256());
    }
}
inline void put_two_rows(__m128i rows, const Block& block, int row) {
    std::uint8_t* out = block.out + row * block.stride;
    _mm_storel_epi64(reinterpret_cast<__m128i*>(out), rows);
    _mm_storeh_pi(reinterpret_cast<__m64*>(out + block.stride), _mm_castsi128_ps(rows));
}
inline void put_two_rows(Vector rows, const Block& a, const Block& b, int row) {
    put_two_rows(_mm256_castsi256_si128(rows), a, row);
    put_two_rows(_mm256_extracti128_si256(rows, 1), b, row);
}
inline Vector first_row(Vector in, const Block& a, const Block& b) {
    const Vector shifted = add16(in, words(8192, 8192));
    if (_mm256_testz_si256(shifted, words(0xC000, 0xC000))) [[likely]]
        return in;
    const Vector cut =
        join(_mm_set1_epi8(-only_first_row(a.coefficients)), _mm_set1_epi8(-only_first_row(b.coefficients)));
    return _mm256_blendv_epi8(in, _mm256_srai_epi16(_mm256_slli_epi16(in, 2), 2), cut);
}

#include "core/jpeg/idct_lanes.hpp"

void pair(const Block& a, const Block& b) { transform_lanes(a, b); }

void pair_low(const Block& a, const Block& b) { transform_lanes_low(a, b); }

}  // namespace avx2

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

constexpr Transforms kAvx2 = {avx2::pair, avx2::pair_low, transform_flat};

#endif  // x86-64

}  // namespace

const Transforms* transforms_named(std::string_view name) {
    if (name == "portable") return &kPortable;
#if defined(__x86_64__)
    if (name == "sse2") return &kSse2;
    if (name == "avx2" && __builtin_cpu_supports("avx2")) return &kAvx2;
#endif
    return nullptr;
}

const Transforms& transforms() {
    static const Transforms* const fastest = [] {
        for (const char* name : {"avx2", "sse2"})
            if (const Transforms* found = transforms_named(name)) return found;
        return &kPortable;
    }();
    return *fastest;
}

}  // namespace yf
