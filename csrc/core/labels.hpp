// Reads YOLO label text: one object a line, `class x y w h` or `class x1 y1 x2 y2 x3 y3 ...`.
//
// The text comes from other people's files, so nothing is assumed about it: any bytes are read
// without leaving the buffer, and a line that is not an object becomes an error, not an exception.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace yf {

enum class LabelKind : std::int8_t { kBox = 0, kPolygon = 1 };

enum class LabelErrorCode : std::int8_t {
    kSyntax = 0,     // a field is not a number
    kColumns = 1,    // neither 5 fields nor a class with 3 or more points
    kNonFinite = 2,  // NaN, infinity, or outside the range of a double
    kClass = 3,      // class negative, fractional or above 2^31 - 1
};

struct LabelError {
    std::int64_t line;  // from 1
    LabelErrorCode code;
    std::size_t begin, end;  // the line's text in the buffer
};

struct ParsedLabels {
    std::vector<std::int64_t> classes;
    std::vector<double> boxes;  // 4 a row: centre x, centre y, width, height, as written
    std::vector<std::int64_t> lines;
    std::vector<LabelKind> kinds;
    std::vector<LabelError> errors;
};

// Lines end with \n, \r\n or \r; fields are parted by spaces and tabs; a UTF-8 byte-order mark and
// blank lines are skipped. A polygon becomes the box around its points.
ParsedLabels parse_yolo_labels(const char* data, std::size_t size);

}  // namespace yf
