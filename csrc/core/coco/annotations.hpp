// COCO's JSON files as arrays: ground truth ("instances") and results.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace yf::coco {

// Ids as the file has them: whole numbers, or texts, which are numbered in order of appearance.
struct Ids {
    std::vector<std::int64_t> values;
    std::vector<std::string> texts;
};

// A list of categories for each image, one behind the other; list i ends before `ends[i]`.
struct CategoryLists {
    std::vector<std::int64_t> categories;
    std::vector<std::int64_t> ends;
    std::size_t given = 0;  // images that have such a list; it is empty for the others
};

struct GroundTruth {
    Ids images;  // every image's own id
    // LVIS: categories that are certainly absent, and those of which not every object is annotated.
    CategoryLists negative, not_exhaustive;
    std::vector<std::int64_t> categories;
    std::vector<std::string> category_names;
    std::vector<std::string> frequencies;  // LVIS: "r", "c" or "f"; empty where the file has none

    // One entry an annotation.
    std::vector<std::int64_t> ids;
    Ids image_ids;
    std::vector<std::int64_t> category_ids;
    std::vector<double> boxes;  // [n, 4] left, top, width, height
    std::vector<double> areas;  // width times height where the file has none
    std::vector<std::uint8_t> crowd;
};

struct Results {
    Ids image_ids;
    std::vector<std::int64_t> category_ids;
    std::vector<double> boxes;  // [n, 4] left, top, width, height
    std::vector<double> scores;
};

// Throws std::invalid_argument with line and column for anything that is not such a file.
GroundTruth read_ground_truth(const char* data, std::size_t size);

// The entries of a list of results that begin at `start` or behind it and before `stop`; `start` is 0 or the
// place of an entry's opening bracket. `reached` gets the place of the first entry at or behind `stop`, or
// `size` when the list has ended (and nothing but blanks follows). So a file can be read in parts at the
// same time: where a part reached the place at which the next one started, that was indeed an entry.
Results read_results(const char* data, std::size_t size, std::size_t start, std::size_t stop,
                     std::size_t& reached);

// A place at or behind `from` that looks like the beginning of an entry, or `size`.
std::size_t likely_entry(const char* data, std::size_t size, std::size_t from);

}  // namespace yf::coco
