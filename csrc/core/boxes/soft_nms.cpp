#include "core/boxes/soft_nms.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

#include "core/boxes/overlap.hpp"

namespace yf {
namespace {

struct Entry {
    std::int64_t label;
    std::int64_t index;
    float score;
};

struct Found {
    float score;
    std::int64_t index;
};

// The boxes of one class that are still in the race, one array per field.
struct Race {
    std::vector<float> storage, scores;
    std::vector<std::int64_t> indices;
    BoxLanes lanes{};
    std::size_t count = 0;

    void start(std::size_t size) {
        const std::size_t room = size + kBlock;
        storage.assign(5 * room, kNobody);
        scores.resize(room);
        indices.resize(room);
        float* field = storage.data();
        lanes = {field, field + room, field + 2 * room, field + 3 * room, field + 4 * room};
        count = 0;
    }

    void add(const Box& box, float score, std::int64_t index) {
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

float weight(float iou, const SoftNmsOptions& options) {
    if (options.method == SoftNmsMethod::linear) return 1.0f - iou;
    const double overlap = iou;
    return static_cast<float>(std::exp(-(overlap * overlap) / options.sigma));
}

YF_MULTIVERSION
void decay(const Box& box, Race& race, float limit, const SoftNmsOptions& options) {
    for (std::size_t block = 0; block < race.count; block += kBlock) {
        const BoxLanes here = race.lanes.from(block);
        if (!may_overlap(box, here, limit)) continue;
        float iou[kBlock];
        block_iou(box, here, iou);
        const std::size_t end = std::min(kBlock, race.count - block);
        for (std::size_t k = 0; k < end; ++k) {
            if (iou[k] > limit) race.scores[block + k] *= weight(iou[k], options);
        }
    }
}

void run(Race& race, const SoftNmsOptions& options, std::vector<Found>& found) {
    const float limit =
        options.method == SoftNmsMethod::linear ? floor_to_float(options.iou_threshold) : 0.0f;
    while (race.count > 0) {
        const std::size_t best = race.best();
        const Box box = race.lanes.at(best);
        found.push_back({race.scores[best], race.indices[best]});
        race.remove(best);
        decay(box, race, limit, options);
        for (std::size_t i = race.count; i-- > 0;) {
            if (!(race.scores[i] >= options.score_threshold)) race.remove(i);
        }
    }
}

}  // namespace

std::size_t soft_nms(const float* boxes, const float* scores, const std::int64_t* classes, std::size_t n,
                     const SoftNmsOptions& options, std::int64_t* keep, float* new_scores) {
    // Copied once: another thread may write to the caller's arrays.
    std::vector<Entry> entries;
    for (std::size_t i = 0; i < n; ++i) {
        const float score = scores[i];
        if (!(score >= options.score_threshold)) continue;
        entries.push_back({classes != nullptr ? classes[i] : 0, static_cast<std::int64_t>(i), score});
    }
    std::stable_sort(entries.begin(), entries.end(),
                     [](const Entry& a, const Entry& b) { return a.label < b.label; });

    std::vector<Found> found;
    found.reserve(entries.size());
    Race race;
    for (auto first = entries.begin(); first != entries.end();) {
        const auto last = std::find_if(first, entries.end(),
                                       [&](const Entry& entry) { return entry.label != first->label; });
        race.start(static_cast<std::size_t>(last - first));
        for (; first != last; ++first) {
            const float* p = boxes + 4 * first->index;
            const Box box = make_box(p[0], p[1], p[2], p[3]);
            if (can_overlap(box)) {
                race.add(box, first->score, first->index);
            } else {
                found.push_back({first->score, first->index});
            }
        }
        run(race, options, found);
    }
    std::sort(found.begin(), found.end(), [](const Found& a, const Found& b) {
        return a.score != b.score ? a.score > b.score : a.index < b.index;
    });
    for (std::size_t i = 0; i < found.size(); ++i) {
        keep[i] = found[i].index;
        new_scores[i] = found[i].score;
    }
    return found.size();
}

}  // namespace yf
