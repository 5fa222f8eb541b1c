// Separable bilinear resampling of 3-channel rows: what the letterbox and upright affine tiles have in
// common.
#pragma once

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "core/common.hpp"
#include "core/image/tap.hpp"

namespace yf {

// For each target index along one axis: the two source indices and the second one's weight, in 1/32768.
struct Taps {
    std::vector<std::int32_t> first, second;
    std::vector<std::int16_t> weight;

    // Target index begin + i samples the source at `gain * (begin + i + 0.5) + offset`, in pixel edges.
    Taps(double gain, double offset, int begin, int count, int source)
        : first(count), second(count), weight(count) {
        for (int i = 0; i < count; ++i) {
            const Tap tap = tap_at(gain, offset, begin + i, source);
            first[i] = tap.first;
            second[i] = tap.second;
            weight[i] = tap.weight;
        }
    }

    int size() const { return static_cast<int>(first.size()); }
};

// Rows are kept in 15 bits (level * 128), so that each blend is one 16-bit multiplication with rounding.

YF_MULTIVERSION
inline void blend_columns(const std::uint8_t* __restrict a, const std::uint8_t* __restrict b,
                          const std::int16_t* __restrict weight, std::ptrdiff_t count,
                          std::int16_t* __restrict out) {
    for (std::ptrdiff_t i = 0; i < count; ++i) {
        const std::int16_t step = static_cast<std::int16_t>((b[i] - a[i]) * 128);
        out[i] = static_cast<std::int16_t>(a[i] * 128 + ((step * weight[i] + 0x4000) >> 15));
    }
}

YF_MULTIVERSION
inline void blend_rows(const std::int16_t* __restrict a, const std::int16_t* __restrict b,
                       std::int16_t weight, std::ptrdiff_t count, std::uint8_t* __restrict out) {
    for (std::ptrdiff_t i = 0; i < count; ++i) {
        const std::int16_t step = static_cast<std::int16_t>(b[i] - a[i]);
        const std::int16_t value = static_cast<std::int16_t>(a[i] + ((step * weight + 0x4000) >> 15));
        out[i] = static_cast<std::uint8_t>((value + 64) >> 7);
    }
}

// Resamples source rows along x. The taps are first gathered side by side, then blended in one vector loop.
class RowSampler {
  public:
    RowSampler(ConstImage src, const Taps& cols)
        : src_(src), cols_(cols), weight_(3 * cols.first.size()), taps_(2 * (weight_.size() + 1)) {
        for (std::size_t i = 0; i < samples(); ++i) weight_[i] = cols.weight[i / 3];
    }

    std::size_t samples() const { return weight_.size(); }

    void sample(int y, std::int16_t* out) {
        const std::uint8_t* row = src_.data + y * src_.stride;
        std::uint8_t *a = taps_.data(), *b = a + samples() + 1;
        for (int x = 0; x < cols_.size(); ++x, a += 3, b += 3) {
            const std::uint8_t* first = row + 3 * static_cast<std::ptrdiff_t>(cols_.first[x]);
            const std::uint8_t* second = row + 3 * static_cast<std::ptrdiff_t>(cols_.second[x]);
            // A pixel as one 4-byte word (the next pixel overwrites the fourth), but not past the row's end.
            const bool word = cols_.second[x] + 1 < src_.width;
            std::memcpy(a, first, word ? 4 : 3);
            std::memcpy(b, second, word ? 4 : 3);
        }
        blend_columns(taps_.data(), taps_.data() + samples() + 1, weight_.data(),
                      static_cast<std::ptrdiff_t>(samples()), out);
    }

  private:
    ConstImage src_;
    const Taps& cols_;
    std::vector<std::int16_t> weight_;  // of each sample: three times its pixel's
    std::vector<std::uint8_t> taps_;
};

// Resamples along x, each source row once, then y: `write(y, a, b, weight)` blends two rows into target row
// y.
template <typename Write>
void resample(ConstImage src, const Taps& cols, const Taps& rows, Write write) {
    RowSampler sampler(src, cols);
    std::vector<std::int16_t> buffers(2 * sampler.samples());
    std::int16_t *a = buffers.data(), *b = a + sampler.samples();
    int row_a = -1, row_b = -1;
    for (int y = 0; y < rows.size(); ++y) {
        if (row_a != rows.first[y]) {
            std::swap(a, b);
            std::swap(row_a, row_b);
        }
        if (row_a != rows.first[y]) {
            row_a = rows.first[y];
            sampler.sample(row_a, a);
        }
        const bool single = rows.weight[y] == 0 || rows.second[y] == row_a;
        if (!single && row_b != rows.second[y]) {
            row_b = rows.second[y];
            sampler.sample(row_b, b);
        }
        write(y, a, single ? a : b, rows.weight[y]);
    }
}

inline void resample_packed(ConstImage src, const Taps& cols, const Taps& rows, std::uint8_t* out,
                            std::ptrdiff_t stride) {
    resample(src, cols, rows, [&](int y, const std::int16_t* a, const std::int16_t* b, std::int16_t weight) {
        blend_rows(a, b, weight, 3 * static_cast<std::ptrdiff_t>(cols.size()), out + y * stride);
    });
}

YF_MULTIVERSION
inline void split_channels(const std::uint8_t* __restrict in, int count, std::uint8_t* __restrict red,
                           std::uint8_t* __restrict green, std::uint8_t* __restrict blue) {
    for (int i = 0; i < count; ++i) {
        red[i] = in[3 * i];
        green[i] = in[3 * i + 1];
        blue[i] = in[3 * i + 2];
    }
}

inline void resample_planar(ConstImage src, const Taps& cols, const Taps& rows, std::uint8_t* out,
                            std::ptrdiff_t stride, std::ptrdiff_t plane) {
    const int width = cols.size();
    std::vector<std::uint8_t> packed(3 * static_cast<std::size_t>(width));
    resample(src, cols, rows, [&](int y, const std::int16_t* a, const std::int16_t* b, std::int16_t weight) {
        blend_rows(a, b, weight, 3 * static_cast<std::ptrdiff_t>(width), packed.data());
        std::uint8_t* row = out + y * stride;
        split_channels(packed.data(), width, row, row + plane, row + 2 * plane);
    });
}

}  // namespace yf
