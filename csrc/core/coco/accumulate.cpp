#include "accumulate.hpp"

#include <algorithm>
#include <bit>
#include <limits>
#include <stdexcept>
#include <string>

namespace yf::coco {
namespace {

// Larger scores give smaller keys; -0.0 and 0.0 give the same. Scores are numbers.
std::uint64_t descending_key(double score) {
    const std::uint64_t bits = std::bit_cast<std::uint64_t>(score + 0.0);
    const std::uint64_t ascending = bits >> 63 ? ~bits : bits | std::uint64_t{1} << 63;
    return ~ascending;
}

struct Entry {
    std::uint64_t key;
    const Judged* judged;
};

// Stable radix sort by key, 11 bits a pass; a digit that is the same for all costs nothing.
void sort_by_key(std::vector<Entry>& entries) {
    constexpr int kBits = 11, kPasses = 6;
    constexpr std::size_t kBuckets = 1u << kBits;
    std::vector<std::uint32_t> counts(kPasses * kBuckets);
    for (const Entry& entry : entries) {
        for (int pass = 0; pass < kPasses; ++pass)
            ++counts[static_cast<std::size_t>(pass) * kBuckets +
                     (entry.key >> (kBits * pass) & (kBuckets - 1))];
    }
    std::vector<Entry> other(entries.size());
    for (int pass = 0; pass < kPasses; ++pass) {
        std::uint32_t* count = counts.data() + static_cast<std::size_t>(pass) * kBuckets;
        if (std::find(count, count + kBuckets, entries.size()) != count + kBuckets) continue;
        std::uint32_t start = 0;
        for (std::size_t b = 0; b < kBuckets; ++b) {
            const std::uint32_t size = count[b];
            count[b] = start;
            start += size;
        }
        for (const Entry& entry : entries)
            other[count[entry.key >> (kBits * pass) & (kBuckets - 1)]++] = entry;
        entries.swap(other);
    }
}

// Right detections of one label and area range at every threshold, counted in descending score.
class Walk {
  public:
    Walk(int thresholds, std::size_t positives) : stride_(positives), hits_(thresholds * positives) {}

    // Those of rank below `max_det`.
    void over(const Judged* begin, const Judged* end, int area, std::uint32_t max_det, unsigned all) {
        std::fill(std::begin(right_), std::end(right_), 0);
        std::fill(std::begin(skipped_), std::end(skipped_), 0);
        std::uint32_t seen = 0;
        first_ = nullptr;
        for (const Judged* d = begin; d < end; ++d) {
            if (d->rank >= max_det) continue;
            if (first_ == nullptr) first_ = d;
            const unsigned ignored = d->ignored[area];
            if (ignored == all) continue;
            ++seen;
            for (unsigned bits = ignored; bits != 0; bits &= bits - 1) ++skipped_[std::countr_zero(bits)];
            for (unsigned bits = d->right[area]; bits != 0; bits &= bits - 1) {
                const int t = std::countr_zero(bits);
                const std::size_t n = right_[t];
                // More hits than ground truths cannot be from matching; the array comes from a caller.
                if (n == stride_) continue;
                right_[t] = static_cast<std::uint32_t>(n + 1);
                const double tp = static_cast<double>(n + 1);
                const double fp = static_cast<double>(seen - skipped_[t]) - tp;
                hits_[t * stride_ + n] = {tp / (fp + tp + std::numeric_limits<double>::epsilon()), d->score};
            }
        }
    }

    bool any() const { return first_ != nullptr; }
    double first_score() const { return first_->score; }
    std::size_t right(int t) const { return right_[t]; }

    struct Hit {
        double precision, score;
    };
    // The hits at threshold t; `envelope` makes each precision the best of those from there on.
    const Hit* envelope(int t) {
        Hit* hits = hits_.data() + static_cast<std::size_t>(t) * stride_;
        for (std::size_t n = right_[t]; n-- > 1;) {
            if (hits[n].precision > hits[n - 1].precision) hits[n - 1].precision = hits[n].precision;
        }
        return hits;
    }

  private:
    std::size_t stride_;
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

}  // namespace

Ranking::Ranking(const std::vector<std::span<const Judged>>& parts, std::int32_t labels)
    : starts_(static_cast<std::size_t>(labels) + 1) {
    std::size_t count = 0;
    for (const auto part : parts) count += part.size();
    if (count > std::numeric_limits<std::uint32_t>::max())
        throw std::invalid_argument("got " + std::to_string(count) + " detections; expected fewer than 2^32");
    std::vector<Entry> entries;
    entries.reserve(count);
    for (const auto part : parts) {
        for (const Judged& judged : part) {
            if (judged.label < 0 || judged.label >= labels)
                throw std::invalid_argument("a judged detection has class " + std::to_string(judged.label));
            entries.push_back({descending_key(judged.score), &judged});
            ++starts_[static_cast<std::size_t>(judged.label) + 1];
        }
    }
    sort_by_key(entries);
    for (std::size_t label = 0; label < static_cast<std::size_t>(labels); ++label)
        starts_[label + 1] += starts_[label];
    judged_.resize(count);
    by_score_.resize(count);
    std::vector<std::size_t> next(starts_.begin(), starts_.end() - 1);
    for (std::size_t i = 0; i < count; ++i) {
        by_score_[i] = entries[i].judged->label;
        judged_[next[static_cast<std::size_t>(by_score_[i])]++] = *entries[i].judged;
    }
}

void accumulate(const Ranking& ranking, const Axes& axes, std::int32_t first, std::int32_t last,
                double* precision, double* scores, double* recall, double* area_under_curve) {
    const unsigned all = (1u << axes.thresholds) - 1;
    const auto labels = static_cast<std::size_t>(ranking.labels());
    const auto thresholds = static_cast<std::size_t>(axes.thresholds);
    std::vector<std::size_t> needed;
    for (std::int32_t label = first; label < last; ++label) {
        for (int a = 0; a < axes.areas; ++a) {
            const std::int64_t positives = axes.positives[label * axes.areas + a];
            if (positives > 0) hits_needed(axes, positives, needed);
            Walk walk(axes.thresholds, static_cast<std::size_t>(std::max<std::int64_t>(positives, 0)));
            for (int m = 0; m < axes.max_dets; ++m) {
                const std::size_t plane = (static_cast<std::size_t>(a * axes.max_dets + m) * labels +
                                           static_cast<std::size_t>(label)) *
                                          thresholds;
                if (positives <= 0) {
                    std::fill_n(precision + plane * axes.recalls, thresholds * axes.recalls, -1.0);
                    std::fill_n(scores + plane * axes.recalls, thresholds * axes.recalls, -1.0);
                    std::fill_n(recall + plane, thresholds, -1.0);
                    std::fill_n(area_under_curve + plane, thresholds, -1.0);
                    continue;
                }
                const auto limit = static_cast<std::uint32_t>(std::clamp<std::int64_t>(
                    axes.max_det_limits[m], 0, std::numeric_limits<std::uint32_t>::max()));
                walk.over(ranking.begin(label), ranking.end(label), a, limit, all);
                for (int t = 0; t < axes.thresholds; ++t) {
                    const std::size_t curve = plane + static_cast<std::size_t>(t);
                    const std::size_t hits = walk.right(t);
                    const Walk::Hit* hit = walk.envelope(t);
                    double* const out = precision + curve * axes.recalls;
                    double* const out_scores = scores + curve * axes.recalls;
                    recall[curve] = static_cast<double>(hits) / static_cast<double>(positives);
                    for (std::size_t r = 0; r < axes.recalls; ++r) {
                        const std::size_t n = needed[r];
                        // Recall 0 is reached by the first detection, right or not.
                        out[r] = n > hits || hits == 0 ? 0 : hit[n == 0 ? 0 : n - 1].precision;
                        if (n == 0)
                            out_scores[r] = walk.any() ? walk.first_score() : 0;
                        else
                            out_scores[r] = n > hits ? 0 : hit[n - 1].score;
                    }
                    double area = 0;
                    for (std::size_t n = 0; n < hits; ++n) area += hit[n].precision;
                    area_under_curve[curve] = area / static_cast<double>(positives);
                }
            }
        }
    }
}

void transpose(const double* in, std::size_t outer, std::size_t inner, double* out) {
    constexpr std::size_t kTile = 16;
    for (std::size_t i = 0; i < outer; i += kTile) {
        for (std::size_t j = 0; j < inner; j += kTile) {
            for (std::size_t y = i; y < std::min(i + kTile, outer); ++y) {
                for (std::size_t x = j; x < std::min(j + kTile, inner); ++x)
                    out[x * outer + y] = in[y * inner + x];
            }
        }
    }
}

void count_above(const Ranking& ranking, const double* confidences, std::size_t count, std::int64_t* right,
                 std::int64_t* total) {
    for (std::int32_t label = 0; label < ranking.labels(); ++label) {
        const Judged* d = ranking.begin(label);
        std::int64_t hits = 0, counted = 0;
        for (std::size_t c = 0; c < count; ++c) {
            for (; d < ranking.end(label) && d->score >= confidences[c]; ++d) {
                hits += d->right[0] & 1;
                counted += !(d->ignored[0] & 1);
            }
            right[static_cast<std::size_t>(label) * count + c] = hits;
            total[static_cast<std::size_t>(label) * count + c] = counted;
        }
    }
}

double best_confidence(const Ranking& ranking, const std::int64_t* positives, std::size_t stride) {
    struct Progress {
        const Judged* next;
        std::int64_t right, total;
        double f1;
    };
    std::vector<Progress> progress;
    for (std::int32_t label = 0; label < ranking.labels(); ++label)
        progress.push_back({ranking.begin(label), 0, 0, 0});
    const std::vector<std::int32_t>& order = ranking.labels_by_score();
    double sum = 0, best = -1, confidence = 0;
    for (std::size_t i = 0; i < order.size();) {
        // A threshold takes all detections of one score or none.
        const double score = progress[static_cast<std::size_t>(order[i])].next->score;
        bool judged = false;  // a class without ground truth has no say
        for (; i < order.size(); ++i) {
            const auto label = static_cast<std::size_t>(order[i]);
            Progress& p = progress[label];
            if (p.next->score != score) break;
            const bool right = p.next->right[0] & 1;
            p.right += right;
            p.total += !(p.next->ignored[0] & 1);
            ++p.next;
            const std::int64_t truths = positives[label * stride];
            if (truths <= 0) continue;
            judged = true;
            const double f1 = 2.0 * static_cast<double>(p.right) / static_cast<double>(p.total + truths);
            sum += f1 - p.f1;
            p.f1 = f1;
        }
        if (judged && sum > best) {
            best = sum;
            confidence = score;
        }
    }
    return confidence;
}

}  // namespace yf::coco
