// The 8x8 transforms over vectors. idct.cpp includes this text once per instruction set, inside a namespace
// that defines `Vector` and the functions on it; hence no include guard. All that moves data works within
// 128-bit lanes. One lane holds one block, so AVX2 does two blocks at once.
//
// 32-bit sums wrap around, so they may be formed in any order. Where libjpeg-turbo wraps or saturates 16 bits
// (dequantised values, in0 +- in4, in3 + in7, in1 + in5, the samples between the passes), so does this.

// Eight vectors of 32-bit sums: output lines 0 to 7 of a 1-D transform.
struct Lines {
    Vector at[8];
};

inline Lines combine(Vector even0, Vector even1, Vector even2, Vector even3, Vector odd0, Vector odd1,
                     Vector odd2, Vector odd3) {
    return {add32(even0, odd0), add32(even1, odd1), add32(even2, odd2), add32(even3, odd3),
            sub32(even3, odd3), sub32(even2, odd2), sub32(even1, odd1), sub32(even0, odd0)};
}

// 1-D transform of inputs that come in pairs of 16-bit words: (in2, in6), (in1, in7), (in5, in3). `sum` and
// `difference` are in0 + in4 and in0 - in4, scaled, with the rounding term.
inline Lines transform_all(Vector sum, Vector difference, Vector in26, Vector in17, Vector in53) {
    const Vector outer = madd(in26, words(k0_541 + k0_765, k0_541));
    const Vector inner = madd(in26, words(k0_541, k0_541 - k1_847));
    const Vector both = add16(in17, in53);
    const Vector z4 = madd(both, words(k1_175 - k0_390, k1_175));
    const Vector z3 = madd(both, words(k1_175, k1_175 - k1_961));
    return combine(add32(sum, outer), add32(difference, inner), sub32(difference, inner), sub32(sum, outer),
                   add32(madd(in17, words(k1_501 - k0_899, -k0_899)), z4),
                   add32(madd(in53, words(-k2_562, k3_072 - k2_562)), z3),
                   add32(madd(in53, words(k2_053 - k2_562, -k2_562)), z4),
                   add32(madd(in17, words(-k0_899, k0_298 - k0_899)), z3));
}

// The same with in4 to in7 zero, from the pairs (in0, in2), (in1, in3).
inline Lines transform_four(Vector in02, Vector in13, Vector rounding) {
    return combine(add32(madd(in02, words(kOne, k0_541 + k0_765)), rounding),
                   add32(madd(in02, words(kOne, k0_541)), rounding),
                   add32(madd(in02, words(kOne, -k0_541)), rounding),
                   add32(madd(in02, words(kOne, -k0_541 - k0_765)), rounding),
                   madd(in13, words(k1_501 - k0_899 + k1_175 - k0_390, k1_175)),
                   madd(in13, words(k1_175, k3_072 - k2_562 + k1_175 - k1_961)),
                   madd(in13, words(k1_175 - k0_390, k1_175 - k2_562)),
                   madd(in13, words(k1_175 - k0_899, k1_175 - k1_961)));
}

// Lines of four columns (c, d, e, f), descaled and saturated to 16 bits, turned into the pairs (c, d) and
// (e, f) of rows 0 to 3 and of rows 4 to 7.
struct Turned {
    Vector first[2], second[2];
};

inline Turned turn(const Lines& lines) {
    Vector rows[4];
    for (int k = 0; k < 4; ++k) rows[k] = pack32(descale(lines.at[2 * k]), descale(lines.at[2 * k + 1]));
    return {{even_dwords(rows[0], rows[1]), even_dwords(rows[2], rows[3])},
            {odd_dwords(rows[0], rows[1]), odd_dwords(rows[2], rows[3])}};
}

// Columns 0 to 7 of four rows to samples.
inline void put_rows(const Lines& columns, const Block& a, const Block& b, int row) {
    Vector pairs[4];  // 16-bit samples of two neighbouring columns
    for (int k = 0; k < 4; ++k)
        pairs[k] = shift_right_2(high_words(columns.at[2 * k], columns.at[2 * k + 1]));
    const Vector outer = centre(pack16(pairs[0], pairs[2]));  // columns 0 1 and 4 5
    const Vector inner = centre(pack16(pairs[1], pairs[3]));  // columns 2 3 and 6 7
    const Vector left = low_words(outer, inner), right = high_half_words(outer, inner);
    put_two_rows(low_dwords(left, right), a, b, row);
    put_two_rows(high_dwords(left, right), a, b, row + 2);
}

// in0 + in4 and in0 - in4 of the pairs (in0, in4), as `transform_all` wants them.
inline Lines transform_rows(Vector in04, Vector in26, Vector in17, Vector in53) {
    const Vector in0 = low_to_high(in04), rounding = dwords(kRounding2);
    const Vector sum = madd(add16(in04, in0), words(0, kOne));
    const Vector difference = madd(sub16(in0, in04), words(0, kOne));
    return transform_all(add32(sum, rounding), add32(difference, rounding), in26, in17, in53);
}

// Columns first, then rows. The columns are taken in the order 0 4 1 7, 2 6 5 3: so what one pass leaves side
// by side are the pairs that the next one multiplies.
inline void transform_lanes(const Block& a, const Block& b) {
    const Vector in0 = pair_columns(first_row(load_row(a, b, 0), a, b)),
                 in1 = pair_columns(load_row(a, b, 1));
    const Vector in2 = pair_columns(load_row(a, b, 2)), in3 = pair_columns(load_row(a, b, 3));
    const Vector in4 = pair_columns(load_row(a, b, 4)), in5 = pair_columns(load_row(a, b, 5));
    const Vector in6 = pair_columns(load_row(a, b, 6)), in7 = pair_columns(load_row(a, b, 7));
    clear_rows(a, b, 8);

    const Vector sum = add16(in0, in4), difference = sub16(in0, in4);
    const Vector one = words(1, 1), scale = words(kOne, kRounding1);
    const Turned low =
        turn(transform_all(madd(low_words(sum, one), scale), madd(low_words(difference, one), scale),
                           low_words(in2, in6), low_words(in1, in7), low_words(in5, in3)));
    const Turned high = turn(
        transform_all(madd(high_half_words(sum, one), scale), madd(high_half_words(difference, one), scale),
                      high_half_words(in2, in6), high_half_words(in1, in7), high_half_words(in5, in3)));
    for (int half = 0; half < 2; ++half)
        put_rows(transform_rows(low.first[half], high.first[half], low.second[half], high.second[half]), a, b,
                 4 * half);
}

inline void transform_lanes_low(const Block& a, const Block& b) {
    const LowRows rows = load_low(a, b);  // columns in the order 0 2 1 3
    const Vector in02 = first_row(rows.in02, a, b);
    clear_rows(a, b, 4);
    const Turned columns = turn(transform_four(in02, rows.in13, dwords(kRounding1)));
    for (int half = 0; half < 2; ++half)
        put_rows(transform_four(columns.first[half], columns.second[half], dwords(kRounding2)), a, b,
                 4 * half);
}
