// Where to look for boxes that may overlap much: by the cell of their centre.
//
// For overlapping boxes IoU <= iw / hull, the IoU of their extents along one axis (the union holds a strip as
// long as the hull and as high as the intersection). If that is above t, the centres are nearer than
// length * (1 - t) / (2 t), whichever of the two boxes the length is of. float32 rounds IoU and centres by a
// few 2^-24, which the reach below allows for many times over; areas must be far from underflow and overflow
// for that. So the grid is float32 for boxes of float64, too.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include "core/boxes/overlap.hpp"

namespace yf {

template <typename Real>
struct GridMember {
    BasicBox<Real> box;
    std::uint32_t rank;
};

inline float to_float(float value) { return value; }

// Without an overflow.
inline float to_float(double value) {
    constexpr double kMax = std::numeric_limits<float>::max();
    return static_cast<float>(value < -kMax ? -kMax : value > kMax ? kMax : value);
}

inline const Box& box_in_grid(const Box& box) { return box; }

inline Box box_in_grid(const BasicBox<double>& box) {
    return make_box(to_float(box.x1), to_float(box.y1), to_float(box.x2), to_float(box.y2));
}

// Along one axis: where most centres lie. Others count to the outermost cells.
struct GridAxis {
    float low = 0.0f;
    float length = 0.0f;  // 0: too little is known for a grid
};

inline float centre(float low, float high) { return 0.5f * low + 0.5f * high; }

struct GridExtent {
    GridAxis x, y;

    // From a sample of the boxes, without its outermost values: one stray box must not spoil the grid.
    template <typename Real>
    GridExtent(const Real* boxes, std::size_t n) {
        constexpr std::size_t kSample = 256;
        if (n < kSample) return;
        std::array<float, kSample> xs, ys;
        std::size_t count = 0;
        for (std::size_t i = 0; i < kSample; ++i) {
            const Real* p = boxes + 4 * (n / kSample * i);
            const float cx = centre(to_float(p[0]), to_float(p[2]));
            const float cy = centre(to_float(p[1]), to_float(p[3]));
            if (!std::isfinite(cx) || !std::isfinite(cy)) continue;
            xs[count] = cx;
            ys[count++] = cy;
        }
        if (count < kSample / 2) return;
        x = middle(xs.data(), count);
        y = middle(ys.data(), count);
    }

  private:
    static GridAxis middle(float* values, std::size_t count) {
        std::sort(values, values + count);
        const float low = values[count / 32], high = values[count - 1 - count / 32];
        const float length = high - low;
        return {low, std::isfinite(length) ? length : 0.0f};
    }
};

struct GridWindow {
    std::size_t left, right, top, bottom;  // cells, ends included
};

class Grid {
  public:
    // Gives each box a slot: cell by cell, or in order when a grid would not pay or not be exact.
    template <typename Real>
    void lay_out(const std::vector<GridMember<Real>>& members, const GridExtent& extent, float limit) {
        const std::size_t n = members.size();
        slots_.resize(n);
        is_exhaustive_ = n < kFew || limit < kMinLimit || !(extent.x.length > 0.0f) ||
                         !(extent.y.length > 0.0f) ||
                         !std::all_of(members.begin(), members.end(), [](const GridMember<Real>& member) {
                             const float area = box_in_grid(member.box).area;
                             return area >= kTiny && area <= std::numeric_limits<float>::max();
                         });
        if (is_exhaustive_) {
            for (std::size_t i = 0; i < n; ++i) slots_[i] = static_cast<std::uint32_t>(i);
            return;
        }
        reach_ = 1.001f * (1.0f - limit) / (2.0f * limit) + 0.001f;
        rows_ = static_cast<std::size_t>(std::sqrt(static_cast<float>(n) / (kInCell * kColumnsPerRow)));
        rows_ = std::clamp<std::size_t>(rows_, 1, kMaxRows);
        columns_ = static_cast<std::size_t>(static_cast<float>(rows_) * kColumnsPerRow);
        low_x_ = extent.x.low;
        low_y_ = extent.y.low;
        per_x_ = static_cast<float>(columns_) / extent.x.length;
        per_y_ = static_cast<float>(rows_) / extent.y.length;
        starts_.assign(rows_ * columns_ + 1, 0);
        for (std::size_t i = 0; i < n; ++i) {
            const Box& box = box_in_grid(members[i].box);
            const std::size_t cell = row(centre(box.y1, box.y2)) * columns_ + column(centre(box.x1, box.x2));
            slots_[i] = static_cast<std::uint32_t>(cell);
            ++starts_[cell];
        }
        std::uint32_t start = 0;
        for (std::uint32_t& cell : starts_) {
            start += cell;
            cell = start;
        }
        // From behind, so that each cell's end becomes its start.
        for (std::size_t i = n; i-- > 0;) slots_[i] = --starts_[slots_[i]];
    }

    bool is_exhaustive() const { return is_exhaustive_; }
    std::size_t slot(std::size_t member) const { return slots_[member]; }
    std::size_t start(std::size_t row, std::size_t column) const { return starts_[row * columns_ + column]; }
    std::size_t end(std::size_t row, std::size_t column) const {
        return starts_[row * columns_ + column + 1];
    }

    // The cells of all boxes that may overlap this one enough.
    YF_INLINE GridWindow window(const Box& box) const {
        const float cx = centre(box.x1, box.x2), cy = centre(box.y1, box.y2);
        const float dx = (box.x2 - box.x1) * reach_ + (std::fabs(box.x1) + std::fabs(box.x2)) * kRounding;
        const float dy = (box.y2 - box.y1) * reach_ + (std::fabs(box.y1) + std::fabs(box.y2)) * kRounding;
        return {column(cx - dx), column(cx + dx), row(cy - dy), row(cy + dy)};
    }

  private:
    static constexpr std::size_t kFew = 128;
    static constexpr std::size_t kMaxRows = 1024;
    static constexpr float kInCell = 6.0f;
    static constexpr float kColumnsPerRow = 3.0f;
    static constexpr float kMinLimit = 0.1f;  // below it boxes reach too far
    static constexpr float kTiny = 0x1p-100f;
    static constexpr float kRounding = 0x1p-20f;

    // Never falls where the coordinate grows: all of it rounds monotonically.
    YF_INLINE static std::size_t cell(float value, float low, float per, std::size_t count) {
        const float place = (value - low) * per;
        const float last = static_cast<float>(count - 1);
        const float inside = place > 0.0f ? place : 0.0f;
        return static_cast<std::size_t>(static_cast<int>(inside < last ? inside : last));
    }
    YF_INLINE std::size_t column(float x) const { return cell(x, low_x_, per_x_, columns_); }
    YF_INLINE std::size_t row(float y) const { return cell(y, low_y_, per_y_, rows_); }

    bool is_exhaustive_ = true;
    float reach_ = 0.0f;
    std::size_t rows_ = 0, columns_ = 0;
    float low_x_ = 0.0f, low_y_ = 0.0f, per_x_ = 0.0f, per_y_ = 0.0f;
    std::vector<std::uint32_t> slots_;
    std::vector<std::uint32_t> starts_;  // of each cell, then the end of the last
};

}  // namespace yf
