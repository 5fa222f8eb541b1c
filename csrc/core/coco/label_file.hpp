// COCO ground truth as labels of a dataset that people made: nothing is refused that stands alone. An entry
// that is not as usual is given by its bytes in the file, for the caller to look at.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace yf::coco {

// The bytes of a value in the file; none when it is missing.
struct Span {
    std::size_t begin = 0, end = 0;
};

// An image or annotation (its number in its list) that is not as usual.
struct UnusualEntry {
    std::size_t number;
    Span span;
};

struct LabelFile {
    // One entry per image; zeros where it is unusual.
    std::vector<std::int64_t> images;
    std::string file_names;               // one behind the other, UTF-8
    std::vector<std::int64_t> name_ends;  // of each, in bytes
    std::vector<std::int64_t> sizes;      // [n, 2] width and height; -1 where the file says none
    std::vector<UnusualEntry> unusual_images;

    // One entry per annotation; zeros where it is unusual.
    std::vector<std::int64_t> ids;  // its number in the list where it has no whole number as id
    std::vector<std::int64_t> image_ids;
    std::vector<std::int64_t> category_ids;
    std::vector<double> boxes;  // [n, 4] left, top, width, height
    std::vector<std::uint8_t> crowd;
    std::vector<UnusualEntry> unusual_annotations;

    Span categories;
    std::string missing;  // the first of the three lists that is none, or holds something but objects
};

// Throws std::invalid_argument with line and column where the text is not JSON.
LabelFile read_label_file(const char* data, std::size_t size);

}  // namespace yf::coco
