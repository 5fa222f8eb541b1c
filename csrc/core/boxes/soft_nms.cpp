#include "core/boxes/soft_nms.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

#include "core/boxes/overlap.hpp"

namespace yf {
namespace {

template <typename Real>
struct Entry {
    std::int64_t label;
    std::int64_t index;
    Real score;
};

template <typename Real>
struct Found {
    Real score;
    std::int64_t index;
};

// The boxes of one class that are still in the race, one array per field.
template <typename Real>
struct Race {
    std::vector<Real> storage, scores;
    std::vector<std::int64_t> indices;
    BasicBoxLanes<Real> lanes{};
    std::size_t count = 0;

    void start(std::size_t size) {
        const std::size_t room = size + kBlock;
        storage.assign(5 * room, Real{kNobody});
        scores.resize(room);
        indices.resize(room);
        Real* field = storage.data();
        lanes = {field, field + room, field + 2 * room, field + 3 * room, field + 4 * room};
        count = 0;
    }

    void add(const BasicBox<Real>& box, Real score, std::int64_t index) {
        lanes.set(count, box);
        scores[count] = score;
        indices[count++] = index;
    }

    // The last box takes its place.
    void remove(std::size_t i) {
        --count;
        lanes.set(i, lanes.at(count));
        scores[i] = scores[count];
        indices[i] = indices[count];
        lanes.area[count] = kNobody;
    }

    std::size_t best() const {
        std::size_t found = 0;
        for (std::size_t i = 1; i < count; ++i) {
            if (scores[i] > scores[found] || (scores[i] == scores[found] && indices[i] < indices[found]))
                found = i;
        }
        return found;
    }
};

template <typename Real>
Real weight(Real iou, const SoftNmsOptions& options) {
    if (options.method == SoftNmsMethod::linear) return Real{1} - iou;
    const double overlap = iou;
    return static_cast<Real>(std::exp(-(overlap * overlap) / options.sigma));
}

template <typename Real>
YF_INLINE void decay_here(const BasicBox<Real>& box, Race<Real>& race, Real limit,
                          const SoftNmsOptions& options) {
    for (std::size_t block = 0; block < race.count; block += kBlock) {
        const BasicBoxLanes<Real> here = race.lanes.from(block);
        if (!may_overlap(box, here, limit)) continue;
        Real iou[kBlock];
        block_iou(box, here, iou);
        const std::size_t end = std::min(kBlock, race.count - block);
        for (std::size_t k = 0; k < end; ++k) {
            if (iou[k] > limit) race.scores[block + k] *= weight(iou[k], options);
        }
    }
}

// Compiled for several CPUs, which templates cannot be.
YF_MULTIVERSION
void decay(const Box& box, Race<float>& race, float limit, const SoftNmsOptions& options) {
    decay_here(box, race, limit, options);
}
YF_MULTIVERSION
void decay(const BasicBox<double>& box, Race<double>& race, double limit, const SoftNmsOptions& options) {
    decay_here(box, race, limit, options);
}

template <typename Real>
void run(Race<Real>& race, const SoftNmsOptions& options, std::vector<Found<Real>>& found) {
    const Real limit =
        options.method == SoftNmsMethod::linear ? limit_of<Real>(options.iou_threshold) : Real{0};
    while (race.count > 0) {
        const std::size_t best = race.best();
        const BasicBox<Real> box = race.lanes.at(best);
        found.push_back({race.scores[best], race.indices[best]});
        race.remove(best);
        decay(box, race, limit, options);
        for (std::size_t i = race.count; i-- > 0;) {
            if (!(race.scores[i] >= options.score_threshold)) race.remove(i);
        }
    }
}

template <typename Real>
std::size_t soften(const Real* boxes, const Real* scores, const std::int64_t* classes, std::size_t n,
                   const SoftNmsOptions& options, std::int64_t* keep, Real* new_scores) {
    // Copied once: another thread may write to the caller's arrays.
    std::vector<Entry<Real>> entries;
    for (std::size_t i = 0; i < n; ++i) {
        const Real score = scores[i];
        if (!(score >= options.score_threshold)) continue;
        entries.push_back({classes != nullptr ? classes[i] : 0, static_cast<std::int64_t>(i), score});
    }
    std::stable_sort(entries.begin(), entries.end(),
                     [](const Entry<Real>& a, const Entry<Real>& b) { return a.label < b.label; });

    std::vector<Found<Real>> found;
    found.reserve(entries.size());
    Race<Real> race;
    for (auto first = entries.begin(); first != entries.end();) {
        const auto last = std::find_if(first, entries.end(),
                                       [&](const Entry<Real>& entry) { return entry.label != first->label; });
        race.start(static_cast<std::size_t>(last - first));
        for (; first != last; ++first) {
            const Real* p = boxes + 4 * first->index;
            const BasicBox<Real> box = make_box(p[0], p[1], p[2], p[3]);
            if (can_overlap(box)) {
                race.add(box, first->score, first->index);
            } else {
                found.push_back({first->score, first->index});
            }
        }
        run(race, options, found);
    }
    std::sort(found.begin(), found.end(), [](const Found<Real>& a, const Found<Real>& b) {
        return a.score != b.score ? a.score > b.score : a.index < b.index;
    });
    for (std::size_t i = 0; i < found.size(); ++i) {
        keep[i] = found[i].index;
        new_scores[i] = found[i].score;
    }
    return found.size();
}

}  // namespace

std::size_t soft_nms(const float* boxes, const float* scores, const std::int64_t* classes, std::size_t n,
                     const SoftNmsOptions& options, std::int64_t* keep, float* new_scores) {
    return soften(boxes, scores, classes, n, options, keep, new_scores);
}

std::size_t soft_nms(const double* boxes, const double* scores, const std::int64_t* classes, std::size_t n,
                     const SoftNmsOptions& options, std::int64_t* keep, double* new_scores) {
    return soften(boxes, scores, classes, n, options, keep, new_scores);
}

}  // namespace yf
