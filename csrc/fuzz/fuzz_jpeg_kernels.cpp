// Fuzz target for the kernels of our own JPEG decoder that have a form for each kind of CPU: any
// coefficients, quantisers and samples give the same in all forms, and nothing is written beside.
//
// A machine uses one of the forms only, so fuzz_jpeg_differential.cpp sees no other.
#include <algorithm>
#include <vector>

#include "core/jpeg/colour.hpp"
#include "core/jpeg/idct.hpp"
#include "fuzz/choices.hpp"

namespace {

constexpr std::ptrdiff_t kStride = 11;
constexpr std::uint8_t kGuard = 0xA5;

struct alignas(32) Coefficients {
    std::int16_t values[64];
};

// 8 rows of samples with guards between them.
struct Samples {
    std::uint8_t bytes[8 * kStride];
    Samples() { std::fill(std::begin(bytes), std::end(bytes), kGuard); }
    bool operator==(const Samples& other) const = default;
    bool guarded() const {
        for (int row = 0; row < 8; ++row)
            if (std::count(bytes + row * kStride + 8, bytes + (row + 1) * kStride, kGuard) != kStride - 8)
                return false;
        return true;
    }
};

Coefficients choose_block(Choices& choices, int side) {
    Coefficients c{};
    const int most = 1 << choices.byte() % 17, share = choices.byte();
    for (int i = 0; i < 64; ++i) {
        if (i / 8 >= side || i % 8 >= side || choices.byte() > share) continue;
        c.values[i] = static_cast<std::int16_t>(choices.below(most) - most / 2);
    }
    return c;
}

struct Pair {
    Samples a, b;
    bool operator==(const Pair& other) const = default;
};

Pair transform(void (*kernel)(const yf::Block&, const yf::Block&), Coefficients a, Coefficients b,
               const Coefficients& quantisers_a, const Coefficients& quantisers_b) {
    Pair out;
    kernel({a.values, quantisers_a.values, out.a.bytes, kStride},
           {b.values, quantisers_b.values, out.b.bytes, kStride});
    require(out.a.guarded() && out.b.guarded());
    for (int i = 0; i < 64; ++i) require(a.values[i] == 0 && b.values[i] == 0);
    return out;
}

void check_transforms(Choices& choices) {
    const yf::Transforms& portable = *yf::transforms_named("portable");
    Coefficients quantisers[2];
    for (Coefficients& q : quantisers) {
        const int most = 1 + choices.byte();
        for (std::int16_t& value : q.values) value = static_cast<std::int16_t>(choices.byte() % most);
    }
    for (const int side : {8, 4, 1}) {
        const Coefficients a = choose_block(choices, side), b = choose_block(choices, side);
        const Pair expected = transform(portable.pair, a, b, quantisers[0], quantisers[1]);
        for (const char* name : {"portable", "sse2", "avx2"}) {
            const yf::Transforms* const forms = yf::transforms_named(name);
            if (forms == nullptr) continue;
            require(transform(forms->pair, a, b, quantisers[0], quantisers[1]) == expected);
            if (side > 4) continue;
            require(transform(forms->pair_low, a, b, quantisers[0], quantisers[1]) == expected);
            if (side > 1) continue;
            Samples flat;
            forms->flat(a.values[0], quantisers[0].values[0], flat.bytes, kStride);
            require(flat == expected.a);
        }
    }
}

// In memory of its own, so that the sanitizer sees a read or a write one byte too far.
std::vector<std::uint8_t> choose_row(Choices& choices, int count) {
    std::vector<std::uint8_t> row(static_cast<std::size_t>(count));
    for (std::uint8_t& sample : row) sample = static_cast<std::uint8_t>(choices.byte());
    row.shrink_to_fit();
    return row;
}

void check_colours(Choices& choices) {
    const int count = 1 + choices.byte() % 100;
    const auto y = choose_row(choices, count), cb = choose_row(choices, count),
               cr = choose_row(choices, count);
    for (const yf::PixelOrder order : {yf::PixelOrder::rgb, yf::PixelOrder::bgr}) {
        std::vector<std::uint8_t> expected;
        for (int form = 0; form <= static_cast<int>(yf::best_pack_form()); ++form) {
            std::vector<std::uint8_t> out(static_cast<std::size_t>(3 * count), kGuard);
            yf::pack_row_function(order, yf::PackForm{form})(y.data(), cb.data(), cr.data(), count,
                                                             out.data());
            if (form == 0) expected = out;
            require(out == expected);
        }
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    Choices choices(data, size);
    check_transforms(choices);
    check_colours(choices);
    return 0;
}
