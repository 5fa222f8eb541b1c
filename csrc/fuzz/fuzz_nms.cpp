// Any bytes as boxes, scores, classes and thresholds, NaN and infinity among them: every kind of NMS
// gives unique indices inside the arrays, and what simple loops over all pairs give.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <numeric>
#include <vector>

#include "core/boxes/nms.hpp"
#include "core/boxes/postprocess.hpp"
#include "core/boxes/soft_nms.hpp"

namespace {

constexpr std::array kFactors{1.0, 1.0 / 3.0, 1e-40, 1e250};
constexpr std::size_t kMaxBoxes = 400;  // more than the grid of nms asks for

void expect(bool right) {
    if (!right) std::abort();
}

// Takes values off the input; zeros when it is used up.
class Reader {
  public:
    Reader(const std::uint8_t* data, std::size_t size) : data_(data), left_(size) {}

    std::size_t left() const { return left_; }

    std::uint8_t byte() {
        if (left_ == 0) return 0;
        --left_;
        return *data_++;
    }

    // Mostly one of a few near numbers, so that boxes overlap and scores are equal; else any bits.
    float number() {
        const std::uint8_t choice = byte();
        if (choice < 240) return static_cast<float>(choice % 60) * (choice < 120 ? 0.25f : 10.0f);
        if (choice == 240) return std::numeric_limits<float>::quiet_NaN();
        if (choice == 241) return std::numeric_limits<float>::infinity();
        if (choice == 242) return -std::numeric_limits<float>::infinity();
        std::array<std::uint8_t, 4> bytes;
        for (std::uint8_t& b : bytes) b = byte();
        float value;
        std::memcpy(&value, bytes.data(), sizeof value);
        return value;
    }

    std::int64_t label() {
        const std::uint8_t choice = byte();
        if (choice == 255) return std::numeric_limits<std::int64_t>::min();
        if (choice == 254) return std::numeric_limits<std::int64_t>::max();
        return choice < 128 ? 0 : std::int64_t{choice % 4} * 3000 - 1;
    }

    double fraction() {
        const std::uint8_t choice = byte();
        return choice % 2 != 0 ? choice / 255.0 : (choice % 16) / 14.0 > 1.0 ? 1.0 : (choice % 16) / 14.0;
    }

  private:
    const std::uint8_t* data_;
    std::size_t left_;
};

template <typename Real>
struct BasicBoxes {
    std::vector<Real> corners, scores;
    std::vector<std::int64_t> labels;

    std::size_t size() const { return scores.size(); }
};

using Boxes = BasicBoxes<float>;

// The same in float64, at values and of a size that float32 may not have.
BasicBoxes<double> scaled(const Boxes& boxes, double factor) {
    BasicBoxes<double> made{{}, {}, boxes.labels};
    for (const float corner : boxes.corners) made.corners.push_back(corner * factor);
    for (const float score : boxes.scores) made.scores.push_back(score / 3.0);
    return made;
}

// The definition, in the operations of the numpy reference.
template <typename Real>
Real iou(const Real* a, const Real* b) {
    for (int i = 0; i < 4; ++i) {
        if (std::isnan(a[i]) || std::isnan(b[i])) return Real{0};
    }
    const auto side = [](Real low, Real high) { return high > low ? high - low : Real{0}; };
    const Real w = side(std::max(a[0], b[0]), std::min(std::max(a[0], a[2]), std::max(b[0], b[2])));
    const Real h = side(std::max(a[1], b[1]), std::min(std::max(a[1], a[3]), std::max(b[1], b[3])));
    const Real inter = w * h;
    const Real area_a = side(a[0], a[2]) * side(a[1], a[3]);
    const Real area_b = side(b[0], b[2]) * side(b[1], b[3]);
    const Real uni = area_a + area_b - inter;
    const Real value = inter / uni;
    return uni > Real{0} && !std::isnan(value) ? value : Real{0};
}

template <typename Real>
std::vector<std::int64_t> simple_nms(const BasicBoxes<Real>& boxes, bool by_class, double threshold) {
    std::vector<std::int64_t> order;
    for (std::size_t i = 0; i < boxes.size(); ++i) {
        if (!std::isnan(boxes.scores[i])) order.push_back(static_cast<std::int64_t>(i));
    }
    std::stable_sort(order.begin(), order.end(),
                     [&](std::int64_t a, std::int64_t b) { return boxes.scores[a] > boxes.scores[b]; });
    std::vector<std::int64_t> kept;
    for (const std::int64_t i : order) {
        const bool free = std::none_of(kept.begin(), kept.end(), [&](std::int64_t k) {
            if (by_class && boxes.labels[i] != boxes.labels[k]) return false;
            return static_cast<double>(iou(&boxes.corners[4 * i], &boxes.corners[4 * k])) > threshold;
        });
        if (free) kept.push_back(i);
    }
    return kept;
}

template <typename Real>
void check_nms(const BasicBoxes<Real>& boxes, double threshold) {
    for (const bool by_class : {false, true}) {
        std::vector<std::int64_t> keep(boxes.size());
        keep.resize(yf::nms(boxes.corners.data(), boxes.scores.data(),
                            by_class ? boxes.labels.data() : nullptr, boxes.size(), threshold, keep.data()));
        expect(keep == simple_nms(boxes, by_class, threshold));
    }
}

// All classes together, so that it is another loop than the one that is checked.
template <typename Real>
void check_soft_nms(const BasicBoxes<Real>& boxes, const yf::SoftNmsOptions& options) {
    const std::size_t n = boxes.size();
    std::vector<Real> scores = boxes.scores;
    std::vector<std::uint8_t> in(n), found(n);
    const auto drop = [&](std::size_t i) { in[i] = in[i] != 0 && scores[i] >= options.score_threshold; };
    for (std::size_t i = 0; i < n; ++i) {
        in[i] = 1;
        drop(i);
    }
    for (;;) {
        std::size_t best = n;
        for (std::size_t i = 0; i < n; ++i) {
            if (in[i] != 0 && (best == n || scores[i] > scores[best])) best = i;
        }
        if (best == n) break;
        in[best] = 0;
        found[best] = 1;
        for (std::size_t i = 0; i < n; ++i) {
            if (in[i] == 0 || boxes.labels[i] != boxes.labels[best]) continue;
            const Real overlap = iou(&boxes.corners[4 * best], &boxes.corners[4 * i]);
            if (options.method == yf::SoftNmsMethod::gaussian) {
                const double square = static_cast<double>(overlap) * overlap;
                scores[i] *= static_cast<Real>(std::exp(-square / options.sigma));
            } else if (static_cast<double>(overlap) > options.iou_threshold) {
                scores[i] *= Real{1} - overlap;
            }
            drop(i);
        }
    }
    std::vector<std::int64_t> expected;
    for (std::size_t i = 0; i < n; ++i) {
        if (found[i] != 0) expected.push_back(static_cast<std::int64_t>(i));
    }
    std::stable_sort(expected.begin(), expected.end(),
                     [&](std::int64_t a, std::int64_t b) { return scores[a] > scores[b]; });

    std::vector<std::int64_t> keep(n);
    std::vector<Real> changed(n);
    keep.resize(yf::soft_nms(boxes.corners.data(), boxes.scores.data(), boxes.labels.data(), n, options,
                             keep.data(), changed.data()));
    expect(keep == expected);
    for (std::size_t i = 0; i < keep.size(); ++i) expect(changed[i] == scores[keep[i]]);
}

// The candidates of one image, by anchor, then class; those that do not count are NaN.
Boxes candidates(const std::vector<float>& raw, std::size_t classes, std::size_t anchors,
                 const yf::PostprocessOptions& options) {
    Boxes made;
    for (std::size_t a = 0; a < anchors; ++a) {
        const float *p = raw.data() + a, *score = p + 4 * anchors;
        const float x = p[0], y = p[anchors], w = p[2 * anchors] / 2, h = p[3 * anchors] / 2;
        const bool finite = std::isfinite(x) && std::isfinite(y) && std::isfinite(w) && std::isfinite(h);
        std::size_t best = 0;
        bool any_nan = false;
        for (std::size_t c = 0; c < classes; ++c) {
            any_nan |= std::isnan(score[c * anchors]);
            if (score[c * anchors] > score[best * anchors]) best = c;
        }
        for (std::size_t c = 0; c < classes; ++c) {
            const float value = score[c * anchors];
            const bool counts = finite && value > options.conf && options.wanted[c] != 0 &&
                                (options.multi_label || (c == best && !any_nan));
            made.scores.push_back(counts ? value : std::numeric_limits<float>::quiet_NaN());
            made.labels.push_back(static_cast<std::int64_t>(c));
            made.corners.insert(made.corners.end(), {x - w, y - h, x + w, y + h});
        }
    }
    return made;
}

void check_postprocess(Reader& reader, yf::PostprocessBuffers& buffers) {
    const std::size_t classes = 1 + reader.byte() % 5;
    const std::size_t anchors = reader.byte() % 90;
    std::array<std::uint8_t, 5> wanted;
    for (std::uint8_t& one : wanted) one = reader.byte() % 8 != 0;
    yf::PostprocessOptions options;
    options.conf = static_cast<float>(reader.fraction());
    options.iou = reader.fraction();
    options.max_det = 1 + reader.byte() % 40;
    options.max_candidates = 1 + reader.byte() * 2u;
    options.agnostic = reader.byte() % 3 == 0;
    options.multi_label = reader.byte() % 3 != 0;
    options.wanted = wanted.data();
    std::vector<float> raw((4 + classes) * anchors);
    for (float& value : raw) value = reader.number();

    Boxes made = candidates(raw, classes, anchors, options);
    const std::vector<std::int64_t> order = simple_nms(made, true, 2.0);  // 2: suppresses nothing
    for (std::size_t i = options.max_candidates; i < order.size(); ++i) {
        made.scores[order[i]] = std::numeric_limits<float>::quiet_NaN();
    }
    std::vector<std::int64_t> expected = simple_nms(made, !options.agnostic, options.iou);
    expected.resize(std::min(expected.size(), options.max_det));

    std::vector<float> boxes(4 * options.max_det), scores(options.max_det);
    std::vector<std::int64_t> labels(options.max_det);
    const std::size_t count = yf::postprocess(raw.data(), classes, anchors, options, buffers, boxes.data(),
                                              scores.data(), labels.data());
    expect(count == expected.size());
    for (std::size_t i = 0; i < count; ++i) {
        const std::int64_t from = expected[i];
        expect(scores[i] == made.scores[from] && labels[i] == made.labels[from]);
        for (int k = 0; k < 4; ++k) expect(boxes[4 * i + k] == made.corners[4 * from + k]);
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    Reader reader(data, size);
    yf::PostprocessBuffers buffers;
    check_postprocess(reader, buffers);
    check_postprocess(reader, buffers);

    const double threshold = reader.fraction();
    yf::SoftNmsOptions options;
    options.method = reader.byte() % 2 != 0 ? yf::SoftNmsMethod::gaussian : yf::SoftNmsMethod::linear;
    options.iou_threshold = threshold;
    options.score_threshold = reader.fraction();
    options.sigma = 0.01 + reader.fraction();
    Boxes boxes;
    while (reader.left() > 0 && boxes.size() < kMaxBoxes) {
        const float x = reader.number(), y = reader.number(), w = reader.number(), h = reader.number();
        const bool corners = reader.byte() % 8 == 0;
        boxes.corners.insert(boxes.corners.end(), {x, y, corners ? w : x + w, corners ? h : y + h});
        boxes.scores.push_back(reader.number());
        boxes.labels.push_back(reader.label());
    }
    check_nms(boxes, threshold);
    check_soft_nms(boxes, options);
    const BasicBoxes<double> wide = scaled(boxes, kFactors[boxes.size() % kFactors.size()]);
    check_nms(wide, threshold);
    check_soft_nms(wide, options);
    return 0;
}
