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

struct Ranked {
    float score;
    std::int64_t label;  // class, 0 for all when there are none
    std::int64_t index;
};

bool better(const Ranked& a, const Ranked& b) {
    return a.score != b.score ? a.score > b.score : a.index < b.index;
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
    // Copied once: another thread may write to the caller's arrays, and a sort whose order changes under it
    // reads out of bounds.
    std::vector<Ranked> order;
    order.reserve(n);
    for (std::size_t i = 0; i < n; ++i) {
        const float score = scores[i];
        if (!std::isnan(score))
            order.push_back({score, classes != nullptr ? classes[i] : 0, static_cast<std::int64_t>(i)});
    }
    std::sort(order.begin(), order.end(), [](const Ranked& a, const Ranked& b) {
        return a.label != b.label ? a.label < b.label : better(a, b);
    });

    const float limit = floor_to_float(threshold);
    Kept kept;
    std::int64_t label = 0;
    std::size_t count = 0;  // kept ones, moved to the front of `order`
    for (std::size_t position = 0; position < order.size(); ++position) {
        const Ranked ranked = order[position];
        if (position == 0 || ranked.label != label) kept.clear();
        label = ranked.label;
        const float* p = boxes + 4 * ranked.index;
        const float x1 = p[0], y1 = p[1], x2 = p[2], y2 = p[3];
        if (!std::isnan(x1) && !std::isnan(y1) && !std::isnan(x2) && !std::isnan(y2)) {
            const float w = x2 - x1;
            const float h = y2 - y1;
            const Candidate box{x1, y1, x2, y2, w > 0.0f && h > 0.0f ? w * h : 0.0f};
            if (overlaps_kept(box, kept, limit)) continue;
            kept.add(box);
        }
        order[count++] = ranked;
    }
    order.resize(count);
    std::sort(order.begin(), order.end(), better);
    for (std::size_t i = 0; i < count; ++i) keep[i] = order[i].index;
    return count;
}

}  // namespace yf
