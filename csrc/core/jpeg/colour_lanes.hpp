// Packed rows over vectors. colour.cpp includes this text once per instruction set, inside a namespace that
// defines `Vector` and the functions on it; hence no include guard. Each 128-bit lane holds 16 pixels, whose
// bytes stay in it until `put_pixels` lays the lanes one after another.

inline Vector rounded_sum(Vector levels, Vector value, Vector factor) {
    return add16(levels, mulhrs(value, factor));
}

template <PixelOrder order>
void groups(const std::uint8_t* y, const std::uint8_t* cb, const std::uint8_t* cr, int count,
            std::uint8_t* out) {
    const Vector twice_u = words(byte_factors(2, 0)), twice_v = words(byte_factors(0, 2));
    const Vector red_factor = words(kRedFactor), blue_factor = words(kBlueFactor);
    const Vector high_factors = words(byte_factors(kHighCb, kHighCr));
    const Vector low_factors = words(byte_factors(kLowCb, kLowCr));
    const Vector minus_256th = words(-256), rounded_128th = words(256);
    const Vector spread_0 = load(kSpread[0].data()), spread_1 = load(kSpread[1].data()),
                 spread_2 = load(kSpread[2].data());
    const Vector mask_0 = load(kMask[0].data()), mask_1 = load(kMask[1].data()),
                 mask_2 = load(kMask[2].data());

    for (std::ptrdiff_t i = 0; i < count; i += kGroup) {
        const Vector luma = load(y + i), u = centre(load(cb + i)), v = centre(load(cr + i));
        const Vector levels[2] = {low_words(luma), high_words(luma)};
        const Vector pairs[2] = {low_pairs(u, v), high_pairs(u, v)};
        Vector red[2], green[2], blue[2];
        for (int k = 0; k < 2; ++k) {
            const Vector high = maddubs(high_factors, pairs[k]), low = maddubs(low_factors, pairs[k]);
            const Vector sum = sub16(mulhi(low, minus_256th), high);
            red[k] = rounded_sum(levels[k], maddubs(twice_v, pairs[k]), red_factor);
            green[k] = rounded_sum(levels[k], sum, rounded_128th);
            blue[k] = rounded_sum(levels[k], maddubs(twice_u, pairs[k]), blue_factor);
        }
        const Vector reds = saturate(red[0], red[1]), blues = saturate(blue[0], blue[1]);
        const Vector first = shuffle(order == PixelOrder::rgb ? reds : blues, spread_0);
        const Vector second = shuffle(saturate(green[0], green[1]), spread_1);
        const Vector third = shuffle(order == PixelOrder::rgb ? blues : reds, spread_2);
        put_pixels(blend(blend(first, second, mask_1), third, mask_2),
                   blend(blend(first, second, mask_0), third, mask_1),
                   blend(blend(first, second, mask_2), third, mask_0), out + 3 * i);
    }
}

template <PixelOrder order>
void pack(const std::uint8_t* y, const std::uint8_t* cb, const std::uint8_t* cr, int count,
          std::uint8_t* out) {
    in_groups<kGroup>(groups<order>, y, cb, cr, count, out);
}
