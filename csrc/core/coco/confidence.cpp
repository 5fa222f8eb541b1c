#include "core/coco/confidence.hpp"

#include <algorithm>
#include <bit>
#include <limits>
#include <vector>

namespace yf::coco {
namespace {

double f1(std::int64_t right, std::int64_t total, std::int64_t positives) {
    return 2.0 * static_cast<double>(right) / static_cast<double>(total + positives);
}

// Counts of one label from some score on.
struct State {
    const Judged* next;  // the first below
    std::int64_t right, total;

    void take() {
        right += next->right[0] & 1;
        total += !(next->ignored[0] & 1);
        ++next;
    }
};

// The sum of some values, kept as a tree of pairs: a change costs a few additions, and equal values give an
// equal sum whatever they were before.
class SumTree {
  public:
    explicit SumTree(std::size_t count)
        : size_(std::bit_ceil(std::max<std::size_t>(count, 1))), nodes_(2 * size_) {}

    void set(std::size_t i, double value) {
        nodes_[size_ + i] = value;
        for (std::size_t node = (size_ + i) / 2; node > 0; node /= 2)
            nodes_[node] = nodes_[2 * node] + nodes_[2 * node + 1];
    }
    double sum() const { return nodes_[1]; }

  private:
    std::size_t size_;
    std::vector<double> nodes_;
};

// A detection of the interval that is searched, and whose it is.
struct Step {
    double score;
    std::size_t state;
};

}  // namespace

void count_above(const Ranking& ranking, const double* confidences, std::size_t count, std::int64_t* right,
                 std::int64_t* total) {
    for (std::int32_t label = 0; label < ranking.labels(); ++label) {
        State state{ranking.begin(label), 0, 0};
        for (std::size_t c = 0; c < count; ++c) {
            while (state.next < ranking.end(label) && state.next->score >= confidences[c]) state.take();
            right[static_cast<std::size_t>(label) * count + c] = state.right;
            total[static_cast<std::size_t>(label) * count + c] = state.total;
        }
    }
}

double best_confidence(const Ranking& ranking, const std::int64_t* positives, const double* confidences,
                       std::size_t count, const std::int64_t* right, const std::int64_t* total) {
    std::vector<std::int32_t> labels;
    for (std::int32_t label = 0; label < ranking.labels(); ++label) {
        if (positives[label] > 0 && ranking.begin(label) < ranking.end(label)) labels.push_back(label);
    }
    // Point i is confidence i - 1; point 0 is above all scores and point count + 1 below.
    const auto counts_at = [&](const std::int64_t* counts, std::int32_t label, std::size_t point) {
        return point == 0 ? 0 : counts[static_cast<std::size_t>(label) * count + point - 1];
    };
    double known = 0;  // a mean F1 (times the labels) that some score reaches
    for (std::size_t point = 1; point <= count; ++point) {
        double sum = 0;
        for (const std::int32_t label : labels)
            sum += f1(counts_at(right, label, point), counts_at(total, label, point), positives[label]);
        known = std::max(known, sum);
    }
    double best = -1, confidence = 0;
    std::vector<State> states;
    std::vector<Step> steps;
    SumTree sums(labels.size());
    for (std::size_t point = 0; point <= count; ++point) {
        const bool last = point == count;
        if (!last) {
            // Between two points F1 has at most the hits of the lower and at least the detections of the
            // upper.
            double bound = 0;
            for (const std::int32_t label : labels) {
                const double most =
                    f1(counts_at(right, label, point + 1), counts_at(total, label, point), positives[label]);
                bound += std::min(most, 1.0);
            }
            if (bound < known * (1 - 1e-9)) continue;
        }
        const double high = point == 0 ? std::numeric_limits<double>::infinity() : confidences[point - 1];
        const double low = last ? -std::numeric_limits<double>::infinity() : confidences[point];
        states.clear();
        steps.clear();
        for (const std::int32_t label : labels) {
            const Judged* const begin = ranking.begin(label);
            const Judged* const end = ranking.end(label);
            const Judged* d = begin;
            if (point > 0)
                d = std::partition_point(begin, end, [&](const Judged& j) { return j.score >= high; });
            const std::int64_t hits = counts_at(right, label, point), all = counts_at(total, label, point);
            for (const Judged* next = d; next < end && next->score >= low; ++next)
                steps.push_back({next->score, states.size()});
            sums.set(states.size(), f1(hits, all, positives[label]));
            states.push_back({d, hits, all});
        }
        std::sort(steps.begin(), steps.end(), [](const Step& a, const Step& b) { return a.score > b.score; });
        for (std::size_t i = 0; i < steps.size();) {
            // A threshold takes all detections of one score or none.
            const double score = steps[i].score;
            for (; i < steps.size() && steps[i].score == score; ++i) {
                const std::size_t which = steps[i].state;
                State& state = states[which];
                state.take();
                sums.set(which, f1(state.right, state.total, positives[labels[which]]));
            }
            if (sums.sum() > best) {
                best = sums.sum();
                confidence = score;
            }
        }
    }
    return confidence;
}

}  // namespace yf::coco
