// Judged detections by label, each label's in descending score: what every figure is read from.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "core/coco/match.hpp"

namespace yf::coco {

class Ranking {
  public:
    // `parts` in the order of images; labels are 0 .. labels - 1, which is checked.
    Ranking(const std::vector<std::span<const Judged>>& parts, std::int32_t labels);

    // Puts the labels first .. last - 1 in order: descending score, earlier first among equals. To be done
    // once for each label, before anything else; different labels may be sorted at the same time.
    void sort(std::int32_t first, std::int32_t last);

    const Judged* begin(std::int32_t label) const { return judged_.data() + starts_[at(label)]; }
    const Judged* end(std::int32_t label) const { return judged_.data() + starts_[at(label) + 1]; }
    std::int32_t labels() const { return static_cast<std::int32_t>(starts_.size() - 1); }
    // Where each label's begin, [labels + 1].
    const std::vector<std::size_t>& starts() const { return starts_; }

  private:
    static std::size_t at(std::int32_t label) { return static_cast<std::size_t>(label); }

    std::vector<Judged> judged_;
    std::vector<std::size_t> starts_;
};

}  // namespace yf::coco
