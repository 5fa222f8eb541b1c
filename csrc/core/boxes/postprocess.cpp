#include "core/boxes/postprocess.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <stdexcept>

#include "core/boxes/overlap.hpp"
#include "core/radix_sort.hpp"

namespace yf {
namespace {

using Candidate = PostprocessCandidate;
using Candidates = std::vector<Candidate>;

constexpr std::size_t kScan = 64;      // scores looked at together
constexpr std::size_t kFewTimes = 16;  // candidates for each detection wanted: see postprocess()

bool before(const Candidate& a, const Candidate& b) {
    if (a.key != b.key) return a.key < b.key;
    return a.anchor != b.anchor ? a.anchor < b.anchor : a.label < b.label;
}

YF_INLINE bool any_above(const float* scores, float conf) {
    int hit = 0;
    for (std::size_t i = 0; i < kScan; ++i) hit |= static_cast<int>(scores[i] > conf);
    return hit != 0;
}

// The candidates seen so far, of which only the best `limit` will count.
class Collector {
  public:
    Collector(Candidates& kept, const std::uint8_t* usable, float conf, std::size_t limit)
        : kept_(kept), usable_(usable), conf_(conf), limit_(limit) {
        kept_.clear();
    }

    // The scores that are worth a candidate are above this.
    float conf() const { return conf_; }

    void add(float score, std::size_t anchor, std::uint32_t label) {
        if (usable_[anchor] == 0) return;
        kept_.push_back({descending_key(score), static_cast<std::uint32_t>(anchor), label});
        // Enough between two cuts that they cost little.
        if (kept_.size() >= 2 * limit_ + kSlack) cut();
    }

    // Whether there were more.
    bool finish() {
        if (kept_.size() > limit_) cut();
        return cut_;
    }

  private:
    static constexpr std::size_t kSlack = 1024;

    void cut() {
        const auto end = kept_.begin() + static_cast<std::ptrdiff_t>(limit_);
        std::nth_element(kept_.begin(), end - 1, kept_.end(), before);
        const float last = score_of_key((end - 1)->key);
        kept_.erase(end, kept_.end());
        // An equal score may still win by its anchor.
        conf_ = std::max(conf_, std::nextafter(last, -std::numeric_limits<float>::infinity()));
        cut_ = true;
    }

    Candidates& kept_;
    const std::uint8_t* usable_;
    float conf_;
    std::size_t limit_;
    bool cut_ = false;
};

// All scores of [0, count) above the threshold; `label(i)` is looked up only for those.
template <typename Label>
YF_INLINE void scan(const float* scores, std::size_t count, std::size_t anchor, Collector& collector,
                    const Label& label) {
    for (std::size_t i = 0; i < count; i += kScan) {
        const std::size_t end = std::min(count, i + kScan);
        if (end == i + kScan && !any_above(scores + i, collector.conf())) continue;
        for (std::size_t k = i; k < end; ++k) {
            const float score = scores[k];
            if (score > collector.conf()) collector.add(score, anchor + k, label(k));
        }
    }
}

YF_MULTIVERSION
void find_usable(const float* raw, std::size_t anchors, std::uint8_t* usable) {
    constexpr float kMax = std::numeric_limits<float>::max();
    const float *x = raw, *y = raw + anchors, *w = raw + 2 * anchors, *h = raw + 3 * anchors;
    for (std::size_t a = 0; a < anchors; ++a) {
        const int finite =
            static_cast<int>(std::fabs(x[a]) <= kMax) & static_cast<int>(std::fabs(y[a]) <= kMax) &
            static_cast<int>(std::fabs(w[a]) <= kMax) & static_cast<int>(std::fabs(h[a]) <= kMax);
        usable[a] = static_cast<std::uint8_t>(finite);
    }
}

YF_MULTIVERSION
void collect_every(const float* raw, std::size_t classes, std::size_t anchors, const std::uint8_t* wanted,
                   Collector& collector) {
    for (std::size_t c = 0; c < classes; ++c) {
        if (wanted != nullptr && wanted[c] == 0) continue;
        const auto label = static_cast<std::uint32_t>(c);
        scan(raw + (4 + c) * anchors, anchors, 0, collector, [label](std::size_t) { return label; });
    }
}

// The best class of each anchor, a stretch of anchors at a time that stays in the nearest cache.
YF_MULTIVERSION
void collect_best(const float* raw, std::size_t classes, std::size_t anchors, const std::uint8_t* wanted,
                  Collector& collector) {
    constexpr std::size_t kStretch = 1024;
    constexpr float kNone = -std::numeric_limits<float>::infinity();
    std::array<float, kStretch> best;
    std::array<std::uint32_t, kStretch> labels;
    for (std::size_t first = 0; first < anchors; first += kStretch) {
        const std::size_t count = std::min(kStretch, anchors - first);
        best.fill(kNone);
        labels.fill(0);
        for (std::size_t c = 0; c < classes; ++c) {
            const float* row = raw + (4 + c) * anchors + first;
            const auto label = static_cast<std::uint32_t>(c);
            for (std::size_t k = 0; k < count; ++k) {
                // A NaN takes the place and keeps it: nothing is above it.
                const bool takes = row[k] > best[k] || row[k] != row[k];
                best[k] = takes ? row[k] : best[k];
                labels[k] = takes ? label : labels[k];
            }
        }
        if (wanted != nullptr) {
            for (std::size_t k = 0; k < count; ++k) {
                if (wanted[labels[k]] == 0) best[k] = kNone;
            }
        }
        scan(best.data(), count, first, collector, [&](std::size_t k) { return labels[k]; });
    }
}

// What has been kept: each class has a chain of blocks.
class KeptBoxes {
  public:
    KeptBoxes(PostprocessBuffers& buffers, std::size_t chains)
        : blocks_(buffers.kept), latest_(buffers.latest) {
        blocks_.clear();
        latest_.assign(chains, 0);
    }

    YF_INLINE bool overlaps(const Box& box, std::size_t chain, float limit) const {
        for (std::uint32_t place = latest_[chain]; place != 0; place = blocks_[place - 1].next) {
            const BoxLanes here = lanes(blocks_[place - 1]);
            if (!may_overlap(box, here, limit)) continue;
            float iou[kBlock];
            block_iou(box, here, iou);
            int hit = 0;
            for (std::size_t k = 0; k < kBlock; ++k) hit |= static_cast<int>(iou[k] > limit);
            if (hit != 0) return true;
        }
        return false;
    }

    void add(const Box& box, std::size_t chain) {
        std::uint32_t& latest = latest_[chain];
        if (latest == 0 || blocks_[latest - 1].used == kBlock) {
            KeptBlock& made = blocks_.emplace_back();
            std::fill_n(made.area, kBlock, kNobody);
            made.next = latest;
            latest = static_cast<std::uint32_t>(blocks_.size());
        }
        KeptBlock& block = blocks_[latest - 1];
        lanes(block).set(block.used++, box);
    }

  private:
    static BoxLanes lanes(KeptBlock& block) { return {block.x1, block.y1, block.x2, block.y2, block.area}; }
    std::vector<KeptBlock>& blocks_;
    std::vector<std::uint32_t>& latest_;
};

// Best first; equal scores by anchor, then class.
void sort_candidates(PostprocessBuffers& buffers) {
    Candidates& found = buffers.candidates;
    radix_sort(found, buffers.spare, 32, [](const Candidate& candidate) { return candidate.key; });
    for (auto first = found.begin(); first != found.end();) {
        const std::uint32_t key = first->key;
        const auto last =
            std::find_if(first + 1, found.end(), [key](const Candidate& c) { return c.key != key; });
        if (last - first > 1) std::sort(first, last, before);
        first = last;
    }
}

struct Output {
    float* boxes;
    float* scores;
    std::int64_t* labels;

    void set(std::size_t i, const Box& box, const Candidate& candidate) const {
        float* p = boxes + 4 * i;
        p[0] = box.x1;
        p[1] = box.y1;
        p[2] = box.x2;
        p[3] = box.y2;
        scores[i] = score_of_key(candidate.key);
        labels[i] = candidate.label;
    }
};

// Takes the candidates in turn until max_det of them are kept: the rest cannot matter.
YF_MULTIVERSION
std::size_t sweep(const float* raw, std::size_t classes, std::size_t anchors,
                  const PostprocessOptions& options, PostprocessBuffers& buffers, const Output& out,
                  std::size_t& looked_at) {
    const float limit = floor_to_float(options.iou);
    KeptBoxes kept(buffers, options.agnostic ? 1 : classes);
    std::size_t count = 0;
    for (const Candidate& candidate : buffers.candidates) {
        ++looked_at;
        const float* p = raw + candidate.anchor;
        const float x = p[0], y = p[anchors];
        const float w = p[2 * anchors] / 2.0f, h = p[3 * anchors] / 2.0f;
        const Box box = make_box(x - w, y - h, x + w, y + h);
        if (can_overlap(box)) {
            const std::size_t chain = options.agnostic ? 0 : candidate.label;
            if (kept.overlaps(box, chain, limit)) continue;
            kept.add(box, chain);
        }
        out.set(count++, box, candidate);
        if (count == options.max_det) break;
    }
    return count;
}

// Whether candidates were dropped because there were more than `limit`.
bool collect(const float* raw, std::size_t classes, std::size_t anchors, const PostprocessOptions& options,
             std::size_t limit, PostprocessBuffers& buffers) {
    Collector collector(buffers.candidates, buffers.usable.data(), options.conf, limit);
    const bool every = options.multi_label || classes == 1;
    (every ? collect_every : collect_best)(raw, classes, anchors, options.wanted, collector);
    return collector.finish();
}

}  // namespace

std::size_t postprocess(const float* raw, std::size_t classes, std::size_t anchors,
                        const PostprocessOptions& options, PostprocessBuffers& buffers, float* boxes,
                        float* scores, std::int64_t* labels) {
    constexpr std::size_t kMax = std::numeric_limits<std::uint32_t>::max();
    if (classes > kMax || anchors > kMax) throw std::length_error("postprocess: 2^32 rows or columns");
    buffers.usable.resize(anchors);
    find_usable(raw, anchors, buffers.usable.data());
    // The best few of very many candidates are often enough; else once more with all that may count. What an
    // image needed is a good guess for the next one; the result is the same either way.
    const std::size_t few = kFewTimes * std::min(options.max_det, options.max_candidates / kFewTimes);
    std::size_t limit = buffers.few_suffice && few > 0 ? few : options.max_candidates;
    for (;;) {
        const bool dropped = collect(raw, classes, anchors, options, limit, buffers);
        sort_candidates(buffers);
        std::size_t looked_at = 0;
        const std::size_t count =
            sweep(raw, classes, anchors, options, buffers, {boxes, scores, labels}, looked_at);
        const bool enough = count == options.max_det || !dropped || limit == options.max_candidates;
        buffers.few_suffice = enough && looked_at <= few;
        if (enough) return count;
        limit = options.max_candidates;
    }
}

}  // namespace yf
