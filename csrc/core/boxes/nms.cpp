#include "core/boxes/nms.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <vector>

#include "core/boxes/grid.hpp"
#include "core/boxes/overlap.hpp"
#include "core/radix_sort.hpp"

namespace yf {
namespace {

template <typename Real>
struct Scored {
    decltype(descending_key(Real{})) key;
    std::uint32_t index;
};

struct Labelled {
    std::uint64_t label;  // above the lowest class
    std::uint32_t rank;   // position in descending score
};

// The indices in descending score, lower index first among equals, without NaN scores.
template <typename Real>
std::vector<Scored<Real>> ranking(const Real* scores, std::size_t n) {
    // Copied once: another thread may write to the caller's arrays, and a sort whose keys change under it
    // writes out of bounds.
    std::vector<Scored<Real>> order;
    order.reserve(n);
    for (std::size_t i = 0; i < n; ++i) {
        const Real score = scores[i];
        if (!std::isnan(score)) order.push_back({descending_key(score), static_cast<std::uint32_t>(i)});
    }
    std::vector<Scored<Real>> spare;
    radix_sort(order, spare, 8 * sizeof(order.front().key),
               [](const Scored<Real>& item) { return item.key; });
    return order;
}

// The ranks, class by class.
template <typename Real>
std::vector<Labelled> by_class(const std::vector<Scored<Real>>& order, const std::int64_t* classes) {
    std::vector<Labelled> ranks;
    ranks.reserve(order.size());
    std::uint64_t lowest = std::numeric_limits<std::uint64_t>::max(), highest = 0;
    for (std::size_t rank = 0; rank < order.size(); ++rank) {
        const std::int64_t label = classes != nullptr ? classes[order[rank].index] : 0;
        const std::uint64_t ordered = static_cast<std::uint64_t>(label) ^ (std::uint64_t{1} << 63);
        lowest = std::min(lowest, ordered);
        highest = std::max(highest, ordered);
        ranks.push_back({ordered, static_cast<std::uint32_t>(rank)});
    }
    if (lowest >= highest) return ranks;  // one class, or no boxes
    for (Labelled& item : ranks) item.label -= lowest;
    std::vector<Labelled> spare;
    const auto bits = static_cast<unsigned>(std::bit_width(highest - lowest));
    radix_sort(ranks, spare, bits, [](const Labelled& item) { return item.label; });
    return ranks;
}

// The boxes of one class that can overlap at all, best first; then the same ones where the grid puts them.
template <typename Real>
class ClassBoxes {
  public:
    ClassBoxes(Real limit, const GridExtent& extent) : limit_(limit), extent_(extent) {}

    void clear() { members_.clear(); }
    void add(const BasicBox<Real>& box, std::uint32_t rank) { members_.push_back({box, rank}); }

    void lay_out() {
        grid_.lay_out(members_, extent_, static_cast<float>(limit_));
        place();
    }
    // Sets kept[rank] for each box that no better one suppresses.
    void sweep_here(std::uint8_t* kept);

  private:
    void place() {
        const std::size_t room = members_.size() + kBlock;
        if (storage_.size() < 5 * room) storage_.resize(5 * room);
        Real* field = storage_.data();
        lanes_ = {field, field + room, field + 2 * room, field + 3 * room, field + 4 * room};
        for (std::size_t i = 0; i < members_.size(); ++i) lanes_.set(grid_.slot(i), members_[i].box);
        for (std::size_t i = members_.size(); i < room; ++i) {
            lanes_.set(i, {kNobody, kNobody, kNobody, kNobody, kNobody});
        }
    }

    Real limit_;
    GridExtent extent_;
    std::vector<GridMember<Real>> members_;
    Grid grid_;
    std::vector<Real> storage_;
    BasicBoxLanes<Real> lanes_{};
};

// Takes all lanes of [from, end) out that overlap the box.
template <typename Real>
YF_INLINE void take_out(const BasicBox<Real>& box, const BasicBoxLanes<Real>& lanes, std::size_t from,
                        std::size_t end, Real limit) {
    for (std::size_t block = from; block < end; block += kBlock) {
        const BasicBoxLanes<Real> here = lanes.from(block);
        if (!may_overlap(box, here, limit)) continue;
        Real iou[kBlock];
        block_iou(box, here, iou);
        for (std::size_t k = 0; k < kBlock; ++k) {
            here.area[k] = iou[k] > limit ? Real{kNobody} : here.area[k];
        }
    }
}

template <typename Real>
YF_INLINE void ClassBoxes<Real>::sweep_here(std::uint8_t* kept) {
    for (std::size_t i = 0; i < members_.size(); ++i) {
        const std::size_t slot = grid_.slot(i);
        if (std::isnan(lanes_.area[slot])) continue;
        kept[members_[i].rank] = 1;
        const BasicBox<Real> box = members_[i].box;
        lanes_.area[slot] = Real{kNobody};
        if (grid_.is_exhaustive()) {
            take_out(box, lanes_, i + 1, members_.size(), limit_);
            continue;
        }
        const GridWindow window = grid_.window(box_in_grid(box));
        for (std::size_t row = window.top; row <= window.bottom; ++row) {
            take_out(box, lanes_, grid_.start(row, window.left), grid_.end(row, window.right), limit_);
        }
    }
}

// Compiled for several CPUs, which templates cannot be.
YF_MULTIVERSION
void sweep(ClassBoxes<float>& boxes, std::uint8_t* kept) { boxes.sweep_here(kept); }
YF_MULTIVERSION
void sweep(ClassBoxes<double>& boxes, std::uint8_t* kept) { boxes.sweep_here(kept); }

template <typename Real>
std::size_t kept_boxes(const Real* boxes, const Real* scores, const std::int64_t* classes, std::size_t n,
                       double threshold, std::int64_t* keep) {
    if (n > std::numeric_limits<std::uint32_t>::max()) throw std::length_error("nms: 2^32 boxes or more");
    const std::vector<Scored<Real>> order = ranking(scores, n);
    const std::vector<Labelled> ranks = by_class(order, classes);
    std::vector<std::uint8_t> kept(order.size());
    ClassBoxes<Real> same(limit_of<Real>(threshold), GridExtent(boxes, n));
    for (std::size_t begin = 0; begin < ranks.size();) {
        const std::uint64_t label = ranks[begin].label;
        same.clear();
        for (; begin < ranks.size() && ranks[begin].label == label; ++begin) {
            const std::uint32_t rank = ranks[begin].rank;
            const Real* p = boxes + 4 * static_cast<std::size_t>(order[rank].index);
            const BasicBox<Real> box = make_box(p[0], p[1], p[2], p[3]);
            if (can_overlap(box)) {
                same.add(box, rank);
            } else {
                kept[rank] = 1;
            }
        }
        same.lay_out();
        sweep(same, kept.data());
    }
    std::size_t count = 0;
    for (std::size_t rank = 0; rank < order.size(); ++rank) {
        keep[count] = order[rank].index;
        count += kept[rank];
    }
    return count;
}

}  // namespace

std::size_t nms(const float* boxes, const float* scores, const std::int64_t* classes, std::size_t n,
                double threshold, std::int64_t* keep) {
    return kept_boxes(boxes, scores, classes, n, threshold, keep);
}

std::size_t nms(const double* boxes, const double* scores, const std::int64_t* classes, std::size_t n,
                double threshold, std::int64_t* keep) {
    return kept_boxes(boxes, scores, classes, n, threshold, keep);
}

}  // namespace yf
