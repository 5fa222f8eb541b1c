#include "core/coco/accumulate.hpp"

#include <algorithm>
#include <bit>
#include <limits>
#include <vector>

namespace yf::coco {
namespace {

// A right detection: the precision down to it, and its score.
struct Hit {
    double precision, score;
};

// The right detections of one label, area range and limit at every threshold, counted in descending score.
class Counter {
  public:
    void start(int thresholds, std::size_t positives, std::uint32_t limit) {
        limit_ = limit;
        positives_ = positives;
        seen_ = 0;
        first_ = nullptr;
        std::fill(std::begin(right_), std::end(right_), 0);
        std::fill(std::begin(skipped_), std::end(skipped_), 0);
        hits_.resize(static_cast<std::size_t>(thresholds) * positives);
    }

    void note_first(const Judged& judged) {
        if (first_ == nullptr && judged.rank < limit_) first_ = &judged;
    }

    // A detection that is not ignored at all thresholds.
    void add(const Judged& judged, int area, unsigned all) {
        if (judged.rank >= limit_) return;
        ++seen_;
        for (unsigned bits = judged.ignored[area] & all; bits != 0; bits &= bits - 1)
            ++skipped_[std::countr_zero(bits)];
        for (unsigned bits = judged.right[area] & all; bits != 0; bits &= bits - 1) {
            const int t = std::countr_zero(bits);
            const std::size_t n = right_[t];
            // More hits than ground truths, or bits above `all`, cannot be from matching; but the array comes
            // from a caller.
            if (n == positives_) continue;
            right_[t] = static_cast<std::uint32_t>(n + 1);
            const double tp = static_cast<double>(n + 1);
            const double fp = static_cast<double>(seen_ - skipped_[t]) - tp;
            hits_[static_cast<std::size_t>(t) * positives_ + n] = {
                tp / (fp + tp + std::numeric_limits<double>::epsilon()), judged.score};
        }
    }

    // The score of the first detection, right or not; 0 when there is none.
    double first_score() const { return first_ != nullptr ? first_->score : 0; }
    std::size_t hits(int t) const { return right_[t]; }

    // The hits at threshold t, each precision made the best of those from there on.
    const Hit* envelope(int t) {
        Hit* hits = hits_.data() + static_cast<std::size_t>(t) * positives_;
        for (std::size_t n = right_[t]; n-- > 1;) {
            if (hits[n].precision > hits[n - 1].precision) hits[n - 1].precision = hits[n].precision;
        }
        return hits;
    }

  private:
    std::uint32_t limit_ = 0, seen_ = 0;
    std::size_t positives_ = 0;
    std::vector<Hit> hits_;
    std::uint32_t right_[kMaxThresholds] = {};
    std::uint32_t skipped_[kMaxThresholds] = {};
    const Judged* first_ = nullptr;
};

// needed[r] = the fewest hits whose recall reaches recall point r.
void hits_needed(const Axes& axes, std::int64_t positives, std::vector<std::size_t>& needed) {
    needed.clear();
    std::size_t hits = 0;
    for (std::size_t r = 0; r < axes.recalls; ++r) {
        const auto limit = static_cast<std::size_t>(positives);
        while (hits <= limit &&
               !(static_cast<double>(hits) / static_cast<double>(positives) >= axes.recall_points[r]))
            ++hits;
        needed.push_back(hits);
    }
}

// Precision and score at each recall point. Recall 0 is reached by the first detection, right or not.
void write_curve(const Hit* hit, std::size_t hits, double first_score, const std::vector<std::size_t>& needed,
                 double* precision, double* scores) {
    std::size_t r = 0;
    for (; r < needed.size() && needed[r] == 0; ++r) {
        precision[r] = hits > 0 ? hit[0].precision : 0;
        scores[r] = first_score;
    }
    for (; r < needed.size() && needed[r] <= hits; ++r) {
        precision[r] = hit[needed[r] - 1].precision;
        scores[r] = hit[needed[r] - 1].score;
    }
    std::fill(precision + r, precision + needed.size(), 0.0);
    std::fill(scores + r, scores + needed.size(), 0.0);
}

}  // namespace

void accumulate(const Ranking& ranking, const Axes& axes, std::int32_t first, std::int32_t last,
                double* precision, double* scores, double* recall, double* area_under_curve) {
    const unsigned all = (1u << axes.thresholds) - 1;
    const auto labels = static_cast<std::size_t>(ranking.labels());
    const auto thresholds = static_cast<std::size_t>(axes.thresholds);
    const auto limits = static_cast<std::size_t>(axes.max_dets);
    std::vector<std::size_t> needed;
    std::vector<Counter> counters(limits);
    const auto place = [&](int area, std::size_t limit, std::int32_t label) {
        const std::size_t plane = static_cast<std::size_t>(area) * limits + limit;
        return (plane * labels + static_cast<std::size_t>(label)) * thresholds;
    };
    for (std::int32_t label = first; label < last; ++label) {
        for (int a = 0; a < axes.areas; ++a) {
            const std::int64_t positives =
                axes.positives[static_cast<std::size_t>(label) * static_cast<std::size_t>(axes.areas) +
                               static_cast<std::size_t>(a)];
            if (positives <= 0) {
                for (std::size_t m = 0; m < limits; ++m) {
                    const std::size_t curve = place(a, m, label);
                    std::fill_n(precision + curve * axes.recalls, thresholds * axes.recalls, -1.0);
                    std::fill_n(scores + curve * axes.recalls, thresholds * axes.recalls, -1.0);
                    std::fill_n(recall + curve, thresholds, -1.0);
                    std::fill_n(area_under_curve + curve, thresholds, -1.0);
                }
                continue;
            }
            for (std::size_t m = 0; m < limits; ++m) {
                const std::int64_t limit = axes.max_det_limits[m];
                counters[m].start(axes.thresholds, static_cast<std::size_t>(positives),
                                  static_cast<std::uint32_t>(std::clamp<std::int64_t>(
                                      limit, 0, std::numeric_limits<std::uint32_t>::max())));
                for (const Judged* d = ranking.begin(label); d < ranking.end(label); ++d) {
                    counters[m].note_first(*d);
                    if (d->rank == 0) break;  // the best of an image is within every limit
                }
            }
            for (const Judged* d = ranking.begin(label); d < ranking.end(label); ++d) {
                if (d->ignored[a] == all) continue;
                for (Counter& counter : counters) counter.add(*d, a, all);
            }
            hits_needed(axes, positives, needed);
            for (std::size_t m = 0; m < limits; ++m) {
                for (int t = 0; t < axes.thresholds; ++t) {
                    const std::size_t curve = place(a, m, label) + static_cast<std::size_t>(t);
                    const std::size_t hits = counters[m].hits(t);
                    const Hit* hit = counters[m].envelope(t);
                    write_curve(hit, hits, counters[m].first_score(), needed,
                                precision + curve * axes.recalls, scores + curve * axes.recalls);
                    recall[curve] = static_cast<double>(hits) / static_cast<double>(positives);
                    double area = 0;
                    for (std::size_t n = 0; n < hits; ++n) area += hit[n].precision;
                    area_under_curve[curve] = area / static_cast<double>(positives);
                }
            }
        }
    }
}

}  // namespace yf::coco
