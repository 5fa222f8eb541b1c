// Many small files in one call: the headers of images, the rows of YOLO label files.
//
// A dataset has as many of both as it has images, so what counts is the work around each: names come packed
// in one buffer (each ends with a NUL), a file is opened from its folder, which stays open for the next one,
// and read into a buffer that is used again. Nothing here is shared: threads each make calls of their own.
// Only regular files are read: no name can make a call wait for a pipe or a terminal.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "core/files/image_header.hpp"
#include "core/files/labels.hpp"

namespace yf {

// Names, each ended by a NUL.
struct PackedPaths {
    const char* data;
    std::size_t size;
};

// A column an ImageHeader field, one value a name; the caller's memory.
struct HeaderColumns {
    std::int8_t* status;
    std::int32_t* error;
    std::int8_t* format;
    std::int8_t* mode;
    std::int32_t* bits;
    std::int32_t* height;
    std::int32_t* width;
    std::int8_t* orientation;
    std::int64_t* bytes;
    std::uint8_t* complete;
    std::int64_t* pixels;
    std::int64_t* depth;
};

void scan_headers(PackedPaths paths, const HeaderColumns& columns) noexcept;

constexpr std::int64_t kMaxLabelBytes = std::int64_t{64} << 20;
constexpr std::size_t kMaxLineBytes = 320;  // of a bad line's text that are kept

// A line of file `file` that is no object; its text is [begin, end) of LabelRows::texts.
struct BadLine {
    std::int64_t file;
    std::int64_t line;
    LabelErrorCode code;
    std::size_t begin, end;
};

// The rows of all files, one behind another.
struct LabelRows {
    std::vector<std::int64_t> classes;
    std::vector<double> boxes;  // 4 a row, as ParsedLabels has them
    std::vector<std::int64_t> lines;
    std::vector<LabelKind> kinds;
    std::vector<std::int64_t> offsets;  // of a file's first row; one more than there are files
    std::vector<std::int32_t> errors;   // errno a file, 0 = read; EFBIG above kMaxLabelBytes,
                                        // EBADMSG for too many errors, EOVERFLOW for too many rows
    std::vector<BadLine> bad_lines;
    std::string texts;
};

// An empty name is no file: it has no rows. May throw std::bad_alloc.
void scan_labels(PackedPaths paths, KeypointShape keypoints, LabelRows* rows);

}  // namespace yf
