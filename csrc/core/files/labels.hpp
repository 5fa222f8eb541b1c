// Reads YOLO label text: one object a line, `class x y w h`, a polygon `class x1 y1 x2 y2 x3 y3 ...`, or a
// box with keypoints behind it.
//
// The text comes from other people's files, so nothing is assumed about it: any bytes are read
// without leaving the buffer, and a line that is not an object becomes an error, not an exception.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace yf {

enum class LabelKind : std::int8_t {
    kBox = 0,
    kPolygon = 1,  // 3 points, or 5 and more
    kQuad = 2,     // 4 points: an oriented box, or a polygon; nothing tells them apart
    kKeypoints = 3,
};

// How keypoints stand behind a box: `count` times x y (`numbers` 2) or x y visibility (3). Zeros: not known.
struct KeypointShape {
    std::size_t count = 0;
    std::size_t numbers = 0;
};

enum class LabelErrorCode : std::int8_t {
    kSyntax = 0,      // a field is not a number
    kColumns = 1,     // not the fields of a box, a polygon or keypoints
    kNonFinite = 2,   // NaN, infinity, or outside the range of a double
    kClass = 3,       // class negative, fractional or above 2^31 - 1
    kConfidence = 4,  // 6 fields: a box with a confidence, which predictions have and labels do not
};

struct LabelError {
    std::int64_t line;  // from 1
    LabelErrorCode code;
    std::size_t begin, end;  // the line's text in the buffer
};

// A file with more bad lines than this is not a label file; listing them all could take gigabytes.
inline constexpr std::size_t kMaxLabelErrors = 10'000;
// Nor is one with more objects: real ones have thousands. As MAX_BOXES in yolofast/limits.py.
inline constexpr std::size_t kMaxLabelRows = 100'000;

struct ParsedLabels {
    std::vector<std::int64_t> classes;
    std::vector<double> boxes;  // 4 a row: centre x, centre y, width, height, as written
    std::vector<std::int64_t> lines;
    std::vector<LabelKind> kinds;
    std::vector<LabelError> errors;
    bool too_many_errors = false;  // more than kMaxLabelErrors errors: reading stopped there
    bool too_many_rows = false;    // more than kMaxLabelRows objects: reading stopped there
};

// Lines end with \n, \r\n or \r; fields are parted by spaces and tabs; a UTF-8 byte-order mark and
// blank lines are skipped. A polygon becomes the box around its points; keypoints are left away.
//
// With `keypoints`, a line is a box or a box with exactly these. Without, a line counts as keypoints only
// where that is certain: x y visibility, every visibility 0, 1 or 2, and the numbers behind the class no
// polygon, because their count is odd or a visibility is 2 (a polygon's coordinates end at 1).
ParsedLabels parse_yolo_labels(const char* data, std::size_t size, KeypointShape keypoints = {});

}  // namespace yf
