#include "core/coco/match.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

#include "core/coco/overlap.hpp"

namespace yf::coco {
namespace {

Box read_box(const double* p) { return checked_box({p[0], p[1], p[2], p[3]}); }

// The detections and ground truths of one image and class, and who could take whom.
class Group {
  public:
    std::vector<Box> detections, truths;
    std::vector<std::uint8_t> crowd;

    void clear() {
        detections.clear();
        truths.clear();
        crowd.clear();
    }

    // Pairs whose overlap reaches the lowest threshold; the others can be in no match.
    void pair(double lowest) {
        candidates_.clear();
        starts_.assign(1, 0);
        for (const Box& detection : detections) {
            for (std::size_t g = 0; g < truths.size(); ++g) {
                const double iou = overlap(detection, truths[g], crowd[g] != 0);
                if (iou >= lowest) candidates_.push_back({iou, static_cast<std::uint32_t>(g)});
            }
            starts_.push_back(candidates_.size());
        }
    }

    bool empty() const { return candidates_.empty(); }

    // found[d] = the ground truth that detection d takes, or -1. Detections come best first; each takes the
    // free one with the largest overlap, the later among equals, and one of the `ignored` only when there
    // is no other. A crowd is never used up.
    void match(double threshold, const std::vector<std::uint8_t>& ignored, std::int32_t* found) {
        taken_.assign(truths.size(), 0);
        for (std::size_t d = 0; d < detections.size(); ++d) {
            double best = least_overlap(threshold);
            std::int32_t best_truth = -1;
            for (const int wanted : {0, 1}) {
                for (std::size_t c = starts_[d]; c < starts_[d + 1]; ++c) {
                    const auto [iou, g] = candidates_[c];
                    if ((ignored[g] != 0) != (wanted != 0) || (taken_[g] && !crowd[g]) || !(iou >= best))
                        continue;
                    best = iou;
                    best_truth = static_cast<std::int32_t>(g);
                }
                if (best_truth >= 0) break;
            }
            found[d] = best_truth;
            if (best_truth >= 0) taken_[static_cast<std::size_t>(best_truth)] = 1;
        }
    }

  private:
    struct Candidate {
        double iou;
        std::uint32_t truth;
    };
    std::vector<Candidate> candidates_;
    std::vector<std::size_t> starts_;
    std::vector<std::uint8_t> taken_;
};

struct Key {
    double score;
    std::int32_t label;
    std::uint32_t row;  // in the image
};

bool better(const Key& a, const Key& b) { return a.score != b.score ? a.score > b.score : a.row < b.row; }

// Puts keys that come best first in order of label, and keeps the order within one. `spare` is scratch
// memory.
void sort_by_label(std::vector<Key>& keys, std::int32_t labels, std::vector<Key>& spare) {
    constexpr std::int32_t kMaxCounted = 4096;
    if (labels > kMaxCounted) {
        std::stable_sort(keys.begin(), keys.end(),
                         [](const Key& a, const Key& b) { return a.label < b.label; });
        return;
    }
    std::uint32_t place[kMaxCounted + 1];
    std::fill(place, place + labels + 1, 0u);
    for (const Key& key : keys) ++place[key.label + 1];
    for (std::int32_t label = 0; label < labels; ++label) place[label + 1] += place[label];
    spare.resize(keys.size());
    for (const Key& key : keys) spare[place[key.label]++] = key;
    keys.swap(spare);
}

std::int32_t checked_label(std::int32_t label, std::int32_t labels, const char* what, std::int64_t row) {
    if (label < 0 || label >= labels)
        throw std::invalid_argument(std::string(what) + " " + std::to_string(row) + " has class " +
                                    std::to_string(label) + "; expected 0 to " + std::to_string(labels - 1));
    return label;
}

// The keys of an image in the order in which its detections are judged. All that control flow depends on
// is copied here once: another thread may write to the caller's arrays.
void load_detections(const Detections& detections, std::int64_t begin, std::int64_t end, std::int32_t labels,
                     std::vector<Key>& keys, std::vector<Key>& spare) {
    keys.clear();
    for (std::int64_t row = begin; row < end; ++row) {
        const double score = detections.scores[row];
        if (std::isnan(score))
            throw std::invalid_argument("the score of detection " + std::to_string(row) +
                                        " is NaN; expected numbers: drop those detections first");
        keys.push_back({score, checked_label(detections.labels[row], labels, "detection", row),
                        static_cast<std::uint32_t>(row - begin)});
    }
    // Detectors usually give them best first.
    if (!std::is_sorted(keys.begin(), keys.end(), better)) std::sort(keys.begin(), keys.end(), better);
    sort_by_label(keys, labels, spare);
}

struct Truth {
    std::int32_t label;
    std::uint32_t row;  // in the image
    Box box;
    double area;
    std::uint8_t crowd, counts;
};

void load_truths(const Truths& truths, std::int64_t begin, std::int64_t end, std::int32_t labels,
                 std::vector<Truth>& out) {
    out.clear();
    for (std::int64_t row = begin; row < end; ++row) {
        out.push_back({checked_label(truths.labels[row], labels, "ground truth", row),
                       static_cast<std::uint32_t>(row - begin), read_box(truths.boxes + 4 * row),
                       truths.areas != nullptr ? truths.areas[row] : 0,
                       static_cast<std::uint8_t>(truths.crowd[row] != 0),
                       static_cast<std::uint8_t>(truths.counts == nullptr || truths.counts[row] != 0)});
    }
    std::stable_sort(out.begin(), out.end(),
                     [](const Truth& a, const Truth& b) { return a.label < b.label; });
}

// The end of the run of one label that begins at `begin`.
template <typename Item>
std::size_t run_end(const std::vector<Item>& items, std::size_t begin) {
    std::size_t end = begin;
    while (end < items.size() && items[end].label == items[begin].label) ++end;
    return end;
}

// Calls group(begin, end, truth_begin, truth_end) for each label that has keys: the keys that count, and the
// truths of the same label.
template <typename Group>
void for_each_label(const std::vector<Key>& keys, const std::vector<Truth>& truths, std::size_t max_det,
                    const Group& group) {
    std::size_t truth = 0;
    for (std::size_t begin = 0, end; begin < keys.size(); begin = end) {
        end = run_end(keys, begin);
        while (truth < truths.size() && truths[truth].label < keys[begin].label) ++truth;
        const bool present = truth < truths.size() && truths[truth].label == keys[begin].label;
        group(begin, begin + std::min(end - begin, max_det), truth, present ? run_end(truths, truth) : truth);
    }
}

bool outside(double area, const double* range) { return area < range[0] || area > range[1]; }

class ImageMatcher {
  public:
    ImageMatcher(const Detections& detections, const Truths& truths, const Rules& rules)
        : detections_(detections),
          truths_(truths),
          rules_(rules),
          all_(static_cast<std::uint16_t>((1u << rules.threshold_count) - 1)),
          lowest_(
              least_overlap(*std::min_element(rules.thresholds, rules.thresholds + rules.threshold_count))) {}

    // One image; `detections` and `truths` hold where its rows begin and end. Returns the end of what it
    // wrote.
    Judged* image(const std::int64_t* detections, const std::int64_t* truths, Judged* out,
                  std::int64_t* positives, std::int64_t* images_with) {
        begin_ = detections[0];
        load_detections(detections_, begin_, detections[1], rules_.labels, keys_, spare_keys_);
        load_truths(truths_, truths[0], truths[1], rules_.labels, image_truths_);
        count(positives, images_with);
        for_each_label(keys_, image_truths_, rules_.max_det,
                       [&](std::size_t begin, std::size_t end, std::size_t truth_begin,
                           std::size_t truth_end) { out = group(begin, end, truth_begin, truth_end, out); });
        return out;
    }

  private:
    bool ignored(const Truth& truth, int area) const {
        return truth.crowd != 0 || outside(truth.area, rules_.areas + 2 * area);
    }

    void count(std::int64_t* positives, std::int64_t* images_with) const {
        const auto areas = static_cast<std::size_t>(rules_.area_count);
        for (std::size_t begin = 0, end; begin < image_truths_.size(); begin = end) {
            end = run_end(image_truths_, begin);
            std::int64_t* counts = positives + static_cast<std::size_t>(image_truths_[begin].label) * areas;
            const std::int64_t before = counts[0];
            for (std::size_t g = begin; g < end; ++g) {
                for (int a = 0; a < rules_.area_count; ++a) counts[a] += !ignored(image_truths_[g], a);
            }
            images_with[image_truths_[begin].label] += counts[0] > before;
        }
    }

    Judged* group(std::size_t begin, std::size_t end, std::size_t truth_begin, std::size_t truth_end,
                  Judged* out) {
        const std::size_t n = end - begin;
        const bool present = truth_begin < truth_end;
        group_.clear();
        areas_.clear();
        for (std::size_t d = 0; d < n; ++d) {
            const Key& key = keys_[begin + d];
            const Box box = read_box(detections_.boxes + 4 * (begin_ + key.row));
            out[d] = {key.score, key.label, static_cast<std::uint32_t>(d), {}, {}};
            areas_.push_back(box.width * box.height);
            if (present) group_.detections.push_back(box);
        }
        if (!present) {  // as most classes of an image are
            for (std::size_t d = 0; d < n; ++d) {
                for (int a = 0; a < rules_.area_count; ++a)
                    out[d].ignored[a] = outside(areas_[d], rules_.areas + 2 * a) ? all_ : 0;
            }
            return out + n;
        }
        for (std::size_t g = truth_begin; g < truth_end; ++g) {
            group_.truths.push_back(image_truths_[g].box);
            group_.crowd.push_back(image_truths_[g].crowd);
        }
        group_.pair(lowest_);
        matched_.assign(n, {});
        for (int a = 0; a < rules_.area_count; ++a) {
            if (!group_.empty()) match_area(a, truth_begin);
            const double* range = rules_.areas + 2 * a;
            for (std::size_t d = 0; d < n; ++d) {
                const Matched& m = matched_[d];
                const unsigned no_match =
                    outside(areas_[d], range) ? static_cast<unsigned>(all_) & ~m.counted : 0u;
                const unsigned nothing = m.ignored | no_match;
                out[d].ignored[a] = static_cast<std::uint16_t>(nothing);
                out[d].right[a] = static_cast<std::uint16_t>(m.counted & ~nothing);
            }
        }
        return out + n;
    }

    // Fills `matched_` for one area range. Ranges in which the same ground truths are ignored give the same.
    void match_area(int area, std::size_t truth_begin) {
        next_ignored_.clear();
        for (std::size_t g = 0; g < group_.truths.size(); ++g)
            next_ignored_.push_back(ignored(image_truths_[truth_begin + g], area));
        if (area > 0 && next_ignored_ == ignored_) return;
        ignored_.swap(next_ignored_);
        const std::size_t n = group_.detections.size();
        found_.resize(n);
        matched_.assign(n, {});
        for (int t = 0; t < rules_.threshold_count; ++t) {
            group_.match(rules_.thresholds[t], ignored_, found_.data());
            for (std::size_t d = 0; d < n; ++d) {
                if (found_[d] < 0) continue;
                const std::size_t g = static_cast<std::size_t>(found_[d]);
                matched_[d].counted |= static_cast<std::uint16_t>(image_truths_[truth_begin + g].counts << t);
                matched_[d].ignored |= static_cast<std::uint16_t>(ignored_[g] << t);
            }
        }
    }

    // Bit t: the detection took a ground truth (one that counts), one that is ignored.
    struct Matched {
        std::uint16_t counted, ignored;
    };

    const Detections& detections_;
    const Truths& truths_;
    const Rules& rules_;
    const std::uint16_t all_;
    const double lowest_;
    std::int64_t begin_ = 0;
    std::vector<Key> keys_, spare_keys_;
    std::vector<Truth> image_truths_;
    Group group_;
    std::vector<double> areas_;
    std::vector<std::uint8_t> ignored_, next_ignored_;
    std::vector<std::int32_t> found_;
    std::vector<Matched> matched_;
};

}  // namespace

void match_images(const Detections& detections, const std::int64_t* detection_offsets, const Truths& truths,
                  const std::int64_t* truth_offsets, std::size_t images, const Rules& rules, Judged* out,
                  std::int64_t* out_offsets, std::int64_t* positives, std::int64_t* images_with) {
    ImageMatcher matcher(detections, truths, rules);
    const Judged* const start = out;
    out_offsets[0] = 0;
    for (std::size_t i = 0; i < images; ++i) {
        out = matcher.image(detection_offsets + i, truth_offsets + i, out, positives, images_with);
        out_offsets[i + 1] = out - start;
    }
}

std::size_t match_image(const Detections& detections, const std::uint8_t* detection_ignored, std::size_t n,
                        const Truths& truths, const std::uint8_t* truth_ignored, std::size_t m,
                        const double* thresholds, std::size_t threshold_count, std::size_t max_det,
                        std::int64_t* order, std::int64_t* found, std::uint8_t* ignored) {
    constexpr std::int32_t kAny = std::numeric_limits<std::int32_t>::max();
    std::vector<Key> keys, spare;
    load_detections(detections, 0, static_cast<std::int64_t>(n), kAny, keys, spare);
    std::vector<Truth> image_truths;
    load_truths(truths, 0, static_cast<std::int64_t>(m), kAny, image_truths);
    Group group;
    std::vector<std::uint8_t> group_ignored;
    std::vector<std::int32_t> group_found;
    double lowest = 1;
    for (std::size_t t = 0; t < threshold_count; ++t) lowest = std::min(lowest, least_overlap(thresholds[t]));
    std::size_t count = 0;
    for_each_label(
        keys, image_truths, max_det,
        [&](std::size_t begin, std::size_t end, std::size_t truth_begin, std::size_t truth_end) {
            group.clear();
            group_ignored.clear();
            for (std::size_t g = truth_begin; g < truth_end; ++g) {
                group.truths.push_back(image_truths[g].box);
                group.crowd.push_back(image_truths[g].crowd);
                group_ignored.push_back(truth_ignored[image_truths[g].row] != 0 || image_truths[g].crowd);
            }
            const std::size_t kept = end - begin;
            for (std::size_t d = 0; d < kept; ++d) {
                group.detections.push_back(read_box(detections.boxes + 4 * keys[begin + d].row));
                order[count + d] = keys[begin + d].row;
            }
            group.pair(lowest);
            group_found.resize(kept);
            for (std::size_t t = 0; t < threshold_count; ++t) {
                group.match(thresholds[t], group_ignored, group_found.data());
                for (std::size_t d = 0; d < kept; ++d) {
                    const std::size_t at = t * n + count + d;
                    const bool none = group_found[d] < 0;
                    const std::size_t g = none ? 0 : static_cast<std::size_t>(group_found[d]);
                    found[at] = none ? -1 : static_cast<std::int64_t>(image_truths[truth_begin + g].row);
                    ignored[at] = none ? detection_ignored[keys[begin + d].row] != 0 : group_ignored[g] != 0;
                }
            }
            count += kept;
        });
    return count;
}

}  // namespace yf::coco
