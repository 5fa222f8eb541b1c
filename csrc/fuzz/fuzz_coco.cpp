// Any bytes as COCO files, and any numbers as detections: must return, with results that agree with each
// other. The last bytes choose.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <vector>

#include "core/coco/accumulate.hpp"
#include "core/coco/annotations.hpp"
#include "core/coco/confidence.hpp"
#include "core/coco/label_file.hpp"
#include "core/coco/match.hpp"
#include "fuzz/choices.hpp"

namespace {

using namespace yf::coco;

constexpr std::int32_t kLabels = 3;
constexpr double kThresholds[] = {0.5, 0.0, 0.95, 1.0};
constexpr double kAreas[] = {0, 1e10, 0, 100, 100, 1e10, -1, 0};

void check_ids(const Ids& ids, std::size_t rows) {
    require(ids.values.size() == rows);
    if (ids.texts.empty()) return;
    for (const std::int64_t id : ids.values)
        require(id >= 0 && static_cast<std::size_t>(id) < ids.texts.size());
}

// One list for each image, one behind the other.
void check_lists(const CategoryLists& lists, std::size_t images) {
    require(lists.ends.size() == images && lists.given <= images);
    require(std::is_sorted(lists.ends.begin(), lists.ends.end()));
    require(lists.categories.size() == (images == 0 ? 0 : static_cast<std::size_t>(lists.ends.back())));
}

void read_truth(const char* text, std::size_t size) {
    try {
        const GroundTruth truth = read_ground_truth(text, size);
        const std::size_t rows = truth.ids.size();
        check_ids(truth.images, truth.images.values.size());
        check_ids(truth.image_ids, rows);
        require(truth.category_ids.size() == rows && truth.boxes.size() == 4 * rows &&
                truth.areas.size() == rows && truth.crowd.size() == rows &&
                truth.categories.size() == truth.category_names.size() &&
                truth.categories.size() == truth.frequencies.size());
        check_lists(truth.negative, truth.images.values.size());
        check_lists(truth.not_exhaustive, truth.images.values.size());
    } catch (const std::invalid_argument&) {
    }
}

// Columns are of equal length, and places lie in the file.
void read_labels(const char* text, std::size_t size) {
    try {
        const LabelFile file = read_label_file(text, size);
        const std::size_t images = file.images.size(), rows = file.ids.size();
        require(file.name_ends.size() == images && file.sizes.size() == 2 * images);
        require(images == 0 || static_cast<std::size_t>(file.name_ends.back()) == file.file_names.size());
        require(file.image_ids.size() == rows && file.category_ids.size() == rows &&
                file.boxes.size() == 4 * rows && file.crowd.size() == rows);
        require(file.categories.begin <= file.categories.end && file.categories.end <= size);
        for (const UnusualEntry& entry : file.unusual_images)
            require(entry.number < images && entry.span.begin < entry.span.end && entry.span.end <= size);
        for (const UnusualEntry& entry : file.unusual_annotations)
            require(entry.number < rows && entry.span.begin < entry.span.end && entry.span.end <= size);
    } catch (const std::invalid_argument&) {
    }
}

// A file read as a whole and in two parts gives the same; returns its columns.
Results read_found(const char* text, std::size_t size, Choices& choose) {
    std::size_t reached = 0;
    try {
        const Results whole = read_results(text, size, 0, size, reached);
        const std::size_t rows = whole.scores.size();
        check_ids(whole.image_ids, rows);
        require(reached == size && whole.category_ids.size() == rows && whole.boxes.size() == 4 * rows);
        const std::size_t middle = likely_entry(text, size, size > 0 ? choose.below(30000) % size : 0);
        const Results first = read_results(text, size, 0, middle, reached);
        require(reached >= middle);
        if (middle < size && reached == middle) {
            const Results second = read_results(text, size, middle, size, reached);
            require(reached == size && first.scores.size() + second.scores.size() == rows);
        } else if (reached == size) {
            require(first.scores.size() == rows);
        }
        return whole;
    } catch (const std::invalid_argument&) {
        return {};
    }
}

double any_number(Choices& choose) {
    constexpr double kUnusual[] = {0, -0.0, 1, -1, 1e-300, 1e300, 1e308, -1e308, 0.5};
    const int kind = choose.byte();
    if (kind < 200) return kind;
    if (kind < 209) return kUnusual[kind - 200];
    if (kind < 212) return std::numeric_limits<double>::infinity();
    if (kind < 215) return std::numeric_limits<double>::quiet_NaN();
    return choose.below(1000) / 8.0;
}

struct Rows {
    std::vector<double> boxes, scores;
    std::vector<std::int32_t> labels;
    std::vector<std::uint8_t> flags;
    std::vector<std::int64_t> offsets = {0};

    Rows(Choices& choose, std::size_t images) {
        for (std::size_t i = 0; i < images; ++i) {
            for (int n = choose.byte() % 12; n > 0; --n) {
                for (int side = 0; side < 4; ++side) boxes.push_back(any_number(choose));
                scores.push_back(any_number(choose));
                labels.push_back(choose.one_in(90) ? -1 : choose.byte() % kLabels);
                flags.push_back(choose.one_in(4));
            }
            offsets.push_back(static_cast<std::int64_t>(scores.size()));
        }
    }
};

void evaluate(Choices& choose) {
    const std::size_t images = 1 + static_cast<std::size_t>(choose.byte() % 3);
    const Rows found(choose, images), truth(choose, images);
    const std::vector<std::uint8_t> counts(truth.scores.size(), choose.often());
    const Detections detections{found.boxes.data(), found.scores.data(), found.labels.data()};
    const Truths truths{truth.boxes.data(), truth.labels.data(), truth.scores.data(), truth.flags.data(),
                        counts.data()};
    const Rules rules{kThresholds, 4, kAreas, 4, static_cast<std::size_t>(choose.byte() % 12), kLabels};
    std::vector<Judged> judged(found.scores.size());
    std::vector<std::int64_t> offsets(images + 1), positives(kLabels * 4), with(kLabels);
    try {
        match_images(detections, found.offsets.data(), truths, truth.offsets.data(), images, rules,
                     judged.data(), offsets.data(), positives.data(), with.data());
    } catch (const std::invalid_argument&) {
        return;
    }
    require(offsets[images] <= static_cast<std::int64_t>(judged.size()));
    judged.resize(static_cast<std::size_t>(offsets[images]));
    std::int64_t right = 0;
    for (const Judged& d : judged) {
        require(d.label >= 0 && d.label < kLabels && d.rank < rules.max_det);
        for (int a = 0; a < 4; ++a) require((d.right[a] & d.ignored[a]) == 0);
        right += d.right[0] & 1;
    }
    require(right <= positives[0] + positives[4] + positives[8]);

    Ranking ranking({judged}, kLabels);
    ranking.sort(0, 2);
    ranking.sort(2, kLabels);
    constexpr double kPoints[] = {0, 0.25, 0.5, 1};
    constexpr std::int64_t kLimits[] = {1, 12};
    const Axes axes{4, 4, 2, 4, kPoints, kLimits, positives.data()};
    std::vector<double> precision(4 * 2 * kLabels * 4 * 4), scores(precision), recall(4 * 2 * kLabels * 4),
        area(recall);
    accumulate(ranking, axes, 0, 1, precision.data(), scores.data(), recall.data(), area.data());
    accumulate(ranking, axes, 1, kLabels, precision.data(), scores.data(), recall.data(), area.data());
    for (const double value : precision) require(value == -1 || (value >= 0 && value <= 1));
    for (const double value : recall) require(value == -1 || (value >= 0 && value <= 1));
    for (const double value : area) require(value == -1 || (value >= 0 && value <= 1 + 1e-9));
    const std::int64_t boxes[kLabels] = {positives[0], positives[4], positives[8]};
    constexpr double kGrid[] = {100, 1, 0.5, 0, -1};
    std::int64_t hits[kLabels * 5], totals[kLabels * 5];
    count_above(ranking, kGrid, 5, hits, totals);
    const double confidence = best_confidence(ranking, boxes, kGrid, 5, hits, totals);
    const double highest = std::numeric_limits<double>::infinity();
    std::int64_t none[kLabels] = {}, nothing[kLabels] = {};
    count_above(ranking, &highest, 1, none, nothing);
    require(confidence == best_confidence(ranking, boxes, &highest, 1, none, nothing));
    count_above(ranking, &confidence, 1, hits, totals);
    for (int label = 0; label < kLabels; ++label) require(hits[label] <= totals[label]);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    Choices choose(data, size);
    const char* text = reinterpret_cast<const char*>(data);
    read_truth(text, size);
    read_labels(text, size);
    read_found(text, size, choose);
    evaluate(choose);
    return 0;
}
