#include "nms.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "common.hpp"

namespace yf {
namespace {

struct Candidate {
    float x1, y1, x2, y2, area;
};

// The boxes kept so far in one class, one array a field.
struct Kept {
    std::vector<float> x1, y1, x2, y2, area;

    void clear() {
        x1.clear();
        y1.clear();
        x2.clear();
        y2.clear();
        area.clear();
    }

    void add(const Candidate& box) {
        x1.push_back(box.x1);
        y1.push_back(box.y1);
        x2.push_back(box.x2);
        y2.push_back(box.y2);
        area.push_back(box.area);
    }
};

// Long enough to fill vector registers, short enough to stop soon after the first hit.
constexpr std::size_t kBlock = 32;

inline __attribute__((always_inline)) int overlap_above(const Candidate& c, const float* x1, const float* y1,
                                                        const float* x2, const float* y2, const float* area,
                                                        std::size_t count, float limit) {
    int hit = 0;
    for (std::size_t k = 0; k < count; ++k) {
        const float right = c.x2 < x2[k] ? c.x2 : x2[k];
        const float left = c.x1 > x1[k] ? c.x1 : x1[k];
        const float bottom = c.y2 < y2[k] ? c.y2 : y2[k];
        const float top = c.y1 > y1[k] ? c.y1 : y1[k];
        const float w = right - left > 0.0f ? right - left : 0.0f;
        const float h = bottom - top > 0.0f ? bottom - top : 0.0f;
        const float inter = w * h;
        const float uni = area[k] + c.area - inter;
        const float iou = inter / (uni > 0.0f ? uni : 1.0f);
        hit |= static_cast<int>(iou > limit) & static_cast<int>(uni > 0.0f);
    }
    return hit;
}

YF_MULTIVERSION
bool overlaps_kept(const Candidate& c, const Kept& kept, float limit) {
    const std::size_t count = kept.x1.size();
    const float *x1 = kept.x1.data(), *y1 = kept.y1.data(), *x2 = kept.x2.data(), *y2 = kept.y2.data();
    const float* area = kept.area.data();
    std::size_t k = 0;
    for (; k + kBlock <= count; k += kBlock) {
        if (overlap_above(c, x1 + k, y1 + k, x2 + k, y2 + k, area + k, kBlock, limit)) return true;
    }
    return overlap_above(c, x1 + k, y1 + k, x2 + k, y2 + k, area + k, count - k, limit) != 0;
}

// The largest float not above `value`: for any float f, f > value exactly when f > floor_to_float(value).
float floor_to_float(double value) {
    const float nearest = static_cast<float>(value);
    if (static_cast<double>(nearest) <= value) return nearest;
    return std::nextafter(nearest, -std::numeric_limits<float>::infinity());
}

}  // namespace

std::size_t nms(const float* boxes, const float* scores, const std::int64_t* classes, std::size_t n,
                double threshold, std::int64_t* keep) {
    std::vector<std::int64_t> order;
    order.reserve(n);
    for (std::size_t i = 0; i < n; ++i) {
        if (!std::isnan(scores[i])) order.push_back(static_cast<std::int64_t>(i));
    }
    const auto better = [scores](std::int64_t i, std::int64_t j) {
        return scores[i] != scores[j] ? scores[i] > scores[j] : i < j;
    };
    if (classes != nullptr) {
        std::sort(order.begin(), order.end(), [classes, better](std::int64_t i, std::int64_t j) {
            return classes[i] != classes[j] ? classes[i] < classes[j] : better(i, j);
        });
    } else {
        std::sort(order.begin(), order.end(), better);
    }

    const float limit = floor_to_float(threshold);
    Kept kept;
    std::size_t count = 0;
    for (std::size_t position = 0; position < order.size(); ++position) {
        const std::int64_t i = order[position];
        if (classes != nullptr && position > 0 && classes[order[position - 1]] != classes[i]) kept.clear();
        const float* p = boxes + 4 * i;
        if (!std::isnan(p[0]) && !std::isnan(p[1]) && !std::isnan(p[2]) && !std::isnan(p[3])) {
            const float w = p[2] - p[0];
            const float h = p[3] - p[1];
            const Candidate box{p[0], p[1], p[2], p[3], w > 0.0f && h > 0.0f ? w * h : 0.0f};
            if (overlaps_kept(box, kept, limit)) continue;
            kept.add(box);
        }
        keep[count++] = i;
    }
    if (classes != nullptr) std::sort(keep, keep + count, better);
    return count;
}

}  // namespace yf
