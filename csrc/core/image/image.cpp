// Image kernels. See image.hpp for the contract.
#include "core/image/image.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "core/image/resample.hpp"

namespace yf {
namespace {

template <typename Target>
void fill_around(Target dst, std::uint8_t* base, int channels, int top, int left, int height, int width,
                 std::uint8_t fill) {
    for (int y = 0; y < dst.height; ++y) {
        std::uint8_t* row = base + y * dst.stride;
        if (y < top || y >= top + height) {
            std::memset(row, fill, static_cast<std::size_t>(dst.width) * channels);
        } else {
            std::memset(row, fill, static_cast<std::size_t>(left) * channels);
            std::memset(row + static_cast<std::ptrdiff_t>(left + width) * channels, fill,
                        static_cast<std::size_t>(dst.width - left - width) * channels);
        }
    }
}

}  // namespace

void letterbox_packed(ConstImage src, Image dst, int inner_h, int inner_w, int pad_y, int pad_x,
                      std::uint8_t fill) {
    fill_around(dst, dst.data, 3, pad_y, pad_x, inner_h, inner_w, fill);
    const Taps cols(static_cast<double>(src.width) / inner_w, 0.0, 0, inner_w, src.width);
    const Taps rows(static_cast<double>(src.height) / inner_h, 0.0, 0, inner_h, src.height);
    std::uint8_t* inner = dst.data + pad_y * dst.stride + 3 * static_cast<std::ptrdiff_t>(pad_x);
    resample_packed(src, cols, rows, inner, dst.stride);
}

void letterbox_planar(ConstImage src, Planes dst, int inner_h, int inner_w, int pad_y, int pad_x,
                      std::uint8_t fill) {
    for (int c = 0; c < 3; ++c)
        fill_around(dst, dst.data + c * dst.plane, 1, pad_y, pad_x, inner_h, inner_w, fill);
    const Taps cols(static_cast<double>(src.width) / inner_w, 0.0, 0, inner_w, src.width);
    const Taps rows(static_cast<double>(src.height) / inner_h, 0.0, 0, inner_h, src.height);
    resample_planar(src, cols, rows, dst.data + pad_y * dst.stride + pad_x, dst.stride, dst.plane);
}

// ---------------------------------------------------------------------------------- affine tile
namespace {

constexpr int kWeightBits = 11;
constexpr int kWeightOne = 1 << kWeightBits;

struct Span {
    int begin, end;
};

// The first index in [0, count) at which `holds` is true, for a test that is false and then true; else count.
template <typename Test>
int first_true(int count, Test holds) {
    int low = 0, high = count;
    while (low < high) {
        const int middle = low + (high - low) / 2;
        if (holds(middle))
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

// Indices i in [0, count) with low <= gain * (i + 0.5) + offset < high. Rounding keeps that expression
// monotone in i, so bisection with the very same expression gives exactly the per-pixel answer.
Span span_inside(double gain, double offset, double low, double high, int count) {
    const auto at = [=](int i) { return gain * (i + 0.5) + offset; };
    if (gain >= 0)
        return {first_true(count, [&](int i) { return at(i) >= low; }),
                first_true(count, [&](int i) { return at(i) >= high; })};
    return {first_true(count, [&](int i) { return at(i) < high; }),
            first_true(count, [&](int i) { return at(i) < low; })};
}

// Where along one axis target indices [begin, begin + count) sample: floor and weight (1/2048) of the clamped
// position `gain * (i + 0.5) + offset - 0.5`.
YF_MULTIVERSION
void locate(double gain, double offset, int begin, int count, int source, std::int32_t* __restrict first,
            std::int32_t* __restrict weight) {
    const double last = source - 1;
    for (int i = 0; i < count; ++i) {
        double at = gain * (begin + i + 0.5) + offset - 0.5;
        at = at < 0.0 ? 0.0 : at;
        at = at > last ? last : at;
        first[i] = static_cast<std::int32_t>(at);
        weight[i] = static_cast<std::int32_t>((at - first[i]) * kWeightOne + 0.5);
    }
}

// Three bytes 21 bits apart: one 64-bit multiplication weighs all three.
std::uint64_t spread(const std::uint8_t* p) {
    return p[0] | static_cast<std::uint64_t>(p[1]) << 21 | static_cast<std::uint64_t>(p[2]) << 42;
}

void warp_row(ConstImage src, const std::int32_t* col, const std::int32_t* col_weight,
              const std::int32_t* row, const std::int32_t* row_weight, int count, std::uint8_t* red,
              std::uint8_t* green, std::uint8_t* blue) {
    constexpr std::uint64_t half = kWeightOne / 2;
    constexpr std::uint64_t rounding = half | half << 21 | half << 42;
    for (int i = 0; i < count; ++i) {
        const std::ptrdiff_t right = col[i] + 1 < src.width ? 3 : 0;
        const std::ptrdiff_t below = row[i] + 1 < src.height ? src.stride : 0;
        const std::uint8_t* p = src.data + row[i] * src.stride + 3 * static_cast<std::ptrdiff_t>(col[i]);
        const std::uint32_t wx = static_cast<std::uint32_t>(col_weight[i]);
        const std::uint32_t wy = static_cast<std::uint32_t>(row_weight[i]);
        const std::uint32_t both = (wx * wy + kWeightOne / 2) >> kWeightBits;  // the four add up to 2048
        const std::uint64_t sum = spread(p) * (kWeightOne - wx - wy + both) +
                                  spread(p + right) * (wx - both) + spread(p + below) * (wy - both) +
                                  spread(p + below + right) * both + rounding;
        red[i] = static_cast<std::uint8_t>(sum >> 11);
        green[i] = static_cast<std::uint8_t>(sum >> 32);
        blue[i] = static_cast<std::uint8_t>(sum >> 53);
    }
}

}  // namespace

void warp_affine(ConstImage src, const double* m, Window window, Planes dst) {
    if (m[1] == 0 && m[3] == 0) {  // upright: separable
        const Span xs = span_inside(m[0], m[2], window.x0, window.x1, dst.width);
        const Span ys = span_inside(m[4], m[5], window.y0, window.y1, dst.height);
        if (xs.begin >= xs.end || ys.begin >= ys.end) return;
        const int count = xs.end - xs.begin;
        const Taps cols(m[0], m[2], xs.begin, count, src.width);
        const Taps rows(m[4], m[5], ys.begin, ys.end - ys.begin, src.height);
        resample_planar(src, cols, rows, dst.data + ys.begin * dst.stride + xs.begin, dst.stride, dst.plane);
        return;
    }
    const std::size_t width = static_cast<std::size_t>(dst.width);
    std::vector<std::int32_t> scratch(4 * width);
    std::int32_t *col = scratch.data(), *col_weight = col + width, *row = col_weight + width,
                 *row_weight = row + width;
    for (int y = 0; y < dst.height; ++y) {
        const double offset_x = m[1] * (y + 0.5) + m[2], offset_y = m[4] * (y + 0.5) + m[5];
        const Span by_x = span_inside(m[0], offset_x, window.x0, window.x1, dst.width);
        const Span by_y = span_inside(m[3], offset_y, window.y0, window.y1, dst.width);
        const int begin = std::max(by_x.begin, by_y.begin), count = std::min(by_x.end, by_y.end) - begin;
        if (count <= 0) continue;
        locate(m[0], offset_x, begin, count, src.width, col, col_weight);
        locate(m[3], offset_y, begin, count, src.height, row, row_weight);
        std::uint8_t* out = dst.data + y * dst.stride + begin;
        warp_row(src, col, col_weight, row, row_weight, count, out, out + dst.plane, out + 2 * dst.plane);
    }
}

// ---------------------------------------------------------------------------------- flip

namespace {

// `fixed` channels, or any number when it is 0: with a known size the copy is a single move.
template <int fixed>
void mirror_row(const std::uint8_t* in, std::ptrdiff_t width, int channels, std::uint8_t* out) {
    const std::ptrdiff_t size = fixed > 0 ? fixed : channels;
    for (std::ptrdiff_t x = 0; x < width; ++x)
        std::memcpy(out + x * size, in + (width - 1 - x) * size, static_cast<std::size_t>(size));
}

}  // namespace

void flip(ConstImage src, Image dst, int channels, bool horizontal, bool vertical) {
    for (int y = 0; y < src.height; ++y) {
        const std::uint8_t* in = src.data + (vertical ? src.height - 1 - y : y) * src.stride;
        std::uint8_t* out = dst.data + y * dst.stride;
        if (!horizontal)
            std::memcpy(out, in, static_cast<std::size_t>(src.width) * channels);
        else if (channels == 3)
            mirror_row<3>(in, src.width, channels, out);
        else
            mirror_row<0>(in, src.width, channels, out);
    }
}

// ---------------------------------------------------------------------------------- colour
namespace {

constexpr int kChunk = 256;  // pixels a pass: copies and intermediates stay in the first-level cache
constexpr int kColorBits = 12;

// One output channel of a chunk; `m` is a row of the matrix in 1/4096, rounding included in m[3].
YF_MULTIVERSION
void mix_channels(const std::uint8_t* __restrict red, const std::uint8_t* __restrict green,
                  const std::uint8_t* __restrict blue, const std::int32_t* __restrict m, int count,
                  std::uint8_t* __restrict out) {
    const std::int32_t m0 = m[0], m1 = m[1], m2 = m[2], m3 = m[3];
    for (int i = 0; i < count; ++i) {
        const std::int32_t value = (m0 * red[i] + m1 * green[i] + m2 * blue[i] + m3) >> kColorBits;
        out[i] = static_cast<std::uint8_t>(std::clamp(value, 0, 255));
    }
}

// A chunk of HSV jitter on levels 0..255; `turn6` and the hue in it count sixths of the circle.
YF_MULTIVERSION
void jitter_chunk(const std::int32_t* __restrict red, const std::int32_t* __restrict green,
                  const std::int32_t* __restrict blue, float turn6, float gain_s, float gain_v, int count,
                  std::int32_t* __restrict out_red, std::int32_t* __restrict out_green,
                  std::int32_t* __restrict out_blue) {
    for (int i = 0; i < count; ++i) {
        const std::int32_t r = red[i], g = green[i], b = blue[i];
        const std::int32_t high = std::max(r, std::max(g, b)), low = std::min(r, std::min(g, b));
        const std::int32_t chroma = high - low;
        // Hue = sector + slope / chroma, by the largest channel: red before green before blue.
        const std::int32_t slope = high == r ? g - b : high == g ? b - r : r - g;
        const std::int32_t sector = high == r ? 0 : high == g ? 2 : 4;
        float hue6 = static_cast<float>(slope) / static_cast<float>(std::max(chroma, 1)) +
                     static_cast<float>(sector) + turn6;
        hue6 -= 6.0f * static_cast<float>(hue6 >= 6.0f);
        hue6 += 6.0f * static_cast<float>(hue6 < 0.0f);
        float saturation = static_cast<float>(chroma) / static_cast<float>(std::max(high, 1)) * gain_s;
        saturation = saturation > 1.0f ? 1.0f : saturation;
        float value = static_cast<float>(high) * gain_v;
        value = value > 255.0f ? 255.0f : value;
        const float depth = value * saturation;
        const float offsets[3] = {5.0f, 3.0f, 1.0f};
        std::int32_t levels[3];
        for (int c = 0; c < 3; ++c) {
            float k = offsets[c] + hue6;
            k -= 6.0f * static_cast<float>(k >= 6.0f);
            float part = 4.0f - k;
            part = part > k ? k : part;
            part = part > 1.0f ? 1.0f : part;
            part = part < 0.0f ? 0.0f : part;
            levels[c] = static_cast<std::int32_t>(value - depth * part + 0.5f);
        }
        out_red[i] = levels[0];
        out_green[i] = levels[1];
        out_blue[i] = levels[2];
    }
}

}  // namespace

void color_matrix(ConstPlanes src, const float* matrix, Planes dst) {
    std::int32_t m[12];
    for (int i = 0; i < 12; ++i) {
        m[i] = static_cast<std::int32_t>(std::lround(matrix[i] * (1 << kColorBits)));
        if (i % 4 == 3) m[i] += 1 << (kColorBits - 1);
    }
    std::uint8_t rgb[3][kChunk];  // a copy, because the target may be the source
    for (int y = 0; y < src.height; ++y)
        for (int x = 0; x < src.width; x += kChunk) {
            const int count = std::min(kChunk, src.width - x);
            const std::uint8_t* in = src.data + y * src.stride + x;
            std::uint8_t* out = dst.data + y * dst.stride + x;
            for (int c = 0; c < 3; ++c)
                std::memcpy(rgb[c], in + c * src.plane, static_cast<std::size_t>(count));
            for (int c = 0; c < 3; ++c)
                mix_channels(rgb[0], rgb[1], rgb[2], m + 4 * c, count, out + c * dst.plane);
        }
}

void hsv_jitter(ConstImage src, float h, float s, float v, Image dst) {
    std::int32_t in[3][kChunk], out[3][kChunk];
    for (int y = 0; y < src.height; ++y)
        for (int x = 0; x < src.width; x += kChunk) {
            const int count = std::min(kChunk, src.width - x);
            const std::uint8_t* from = src.data + y * src.stride + 3 * static_cast<std::ptrdiff_t>(x);
            std::uint8_t* to = dst.data + y * dst.stride + 3 * static_cast<std::ptrdiff_t>(x);
            for (int i = 0; i < count; ++i)
                for (int c = 0; c < 3; ++c) in[c][i] = from[3 * i + c];
            jitter_chunk(in[0], in[1], in[2], 6.0f * h, s, v, count, out[0], out[1], out[2]);
            for (int i = 0; i < count; ++i)
                for (int c = 0; c < 3; ++c) to[3 * i + c] = static_cast<std::uint8_t>(out[c][i]);
        }
}

}  // namespace yf
