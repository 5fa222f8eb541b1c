#include "core/coco/ranking.hpp"

#include <bit>
#include <limits>
#include <stdexcept>
#include <string>

#include "core/radix_sort.hpp"

namespace yf::coco {
namespace {

struct Entry {
    std::uint64_t key;
    std::uint32_t row;
};

}  // namespace

Ranking::Ranking(const std::vector<std::span<const Judged>>& parts, std::int32_t labels)
    : starts_(static_cast<std::size_t>(labels) + 1) {
    std::size_t count = 0;
    for (const auto part : parts) {
        count += part.size();
        for (const Judged& judged : part) {
            if (judged.label < 0 || judged.label >= labels)
                throw std::invalid_argument("a judged detection has class " + std::to_string(judged.label));
            ++starts_[static_cast<std::size_t>(judged.label) + 1];
        }
    }
    if (count > std::numeric_limits<std::uint32_t>::max())
        throw std::invalid_argument("got " + std::to_string(count) + " detections; expected fewer than 2^32");
    for (std::size_t label = 0; label < static_cast<std::size_t>(labels); ++label)
        starts_[label + 1] += starts_[label];
    judged_.resize(count);
    std::vector<std::size_t> next(starts_.begin(), starts_.end() - 1);
    for (const auto part : parts) {
        for (const Judged& judged : part) {
            // Read once more, and another thread may have written there.
            const Judged copy = judged;
            const auto label = static_cast<std::size_t>(copy.label);
            if (copy.label < 0 || copy.label >= labels || next[label] == starts_[label + 1])
                throw std::invalid_argument("the judged detections changed while they were read");
            judged_[next[label]++] = copy;
        }
    }
}

void Ranking::sort(std::int32_t first, std::int32_t last) {
    std::vector<Entry> entries, spare;
    std::vector<Judged> sorted;
    for (std::int32_t label = first; label < last; ++label) {
        Judged* const own = judged_.data() + starts_[at(label)];
        const std::size_t count = starts_[at(label) + 1] - starts_[at(label)];
        entries.clear();
        for (std::size_t i = 0; i < count; ++i)
            entries.push_back({descending_key(own[i].score), static_cast<std::uint32_t>(i)});
        radix_sort(entries, spare, 64, [](const Entry& entry) { return entry.key; });
        sorted.assign(own, own + count);
        for (std::size_t i = 0; i < count; ++i) own[i] = sorted[entries[i].row];
    }
}

}  // namespace yf::coco
