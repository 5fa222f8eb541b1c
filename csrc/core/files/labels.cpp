#include "core/files/labels.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <limits>
#include <system_error>

namespace yf {
namespace {

bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\v' || c == '\f'; }
bool is_line_end(char c) { return c == '\n' || c == '\r'; }

// The number that fills [begin, end) entirely; false when it is not one. Out of a double's range is NaN.
bool read_number(const char* begin, const char* end, double& value) {
    // from_chars knows no plus sign, and "+-1" must not become a number.
    if (begin != end && *begin == '+') {
        ++begin;
        if (begin != end && *begin == '-') return false;
    }
    // Nor "nan(...)", which from_chars alone accepts.
    if (std::memchr(begin, '(', static_cast<std::size_t>(end - begin)) != nullptr) return false;
    const auto [stop, error] = std::from_chars(begin, end, value);
    if (error == std::errc::result_out_of_range) value = std::numeric_limits<double>::quiet_NaN();
    return error != std::errc::invalid_argument && stop == end;
}

// One line as it is read, field by field: a polygon of any length needs no storage.
struct Row {
    std::size_t fields = 0;
    bool numeric = true;
    bool finite = true;
    bool visibilities = true;  // every third number behind the box is 0, 1 or 2
    bool seen = false;         // and one of them is 2
    double first[5] = {};
    double low[2] = {std::numeric_limits<double>::infinity(), std::numeric_limits<double>::infinity()};
    double high[2] = {-std::numeric_limits<double>::infinity(), -std::numeric_limits<double>::infinity()};

    void add(const char* begin, const char* end) {
        double value = 0.0;
        if (!read_number(begin, end, value)) {
            numeric = false;
        } else if (!std::isfinite(value)) {
            finite = false;
        }
        if (fields < 5) first[fields] = value;
        if (fields > 0) {
            const std::size_t axis = (fields - 1) % 2;
            low[axis] = std::min(low[axis], value);
            high[axis] = std::max(high[axis], value);
        }
        if (fields > 5 && fields % 3 == 1) {  // fields 7, 10, 13, ...
            visibilities = visibilities && (value == 0.0 || value == 1.0 || value == 2.0);
            seen = seen || value == 2.0;
        }
        ++fields;
    }

    bool is_polygon() const { return fields >= 7 && fields % 2 == 1; }
    bool has_visible_points() const {
        return fields >= 8 && (fields - 5) % 3 == 0 && visibilities && (fields % 2 == 0 || seen);
    }
};

// What the numbers of a row are; false when they are nothing that is known.
bool find_kind(const Row& row, KeypointShape keypoints, LabelKind& kind) {
    if (row.fields == 5) {
        kind = LabelKind::kBox;
        return true;
    }
    if (keypoints.count > 0) {
        kind = LabelKind::kKeypoints;
        return row.fields == 5 + keypoints.count * keypoints.numbers;
    }
    if (row.has_visible_points()) {
        kind = LabelKind::kKeypoints;
        return true;
    }
    kind = row.fields == 9 ? LabelKind::kQuad : LabelKind::kPolygon;
    return row.is_polygon();
}

constexpr double kLargestClass = 2147483647.0;

void finish_row(const Row& row, KeypointShape keypoints, std::int64_t line, std::size_t begin,
                std::size_t end, ParsedLabels& out) {
    const double label = row.first[0];
    LabelKind kind = LabelKind::kBox;
    if (!row.numeric) {
        out.errors.push_back({line, LabelErrorCode::kSyntax, begin, end});
    } else if (!find_kind(row, keypoints, kind)) {
        const LabelErrorCode code = row.fields == 6 ? LabelErrorCode::kConfidence : LabelErrorCode::kColumns;
        out.errors.push_back({line, code, begin, end});
    } else if (!row.finite) {
        out.errors.push_back({line, LabelErrorCode::kNonFinite, begin, end});
    } else if (label < 0.0 || label > kLargestClass || label != std::floor(label)) {
        out.errors.push_back({line, LabelErrorCode::kClass, begin, end});
    } else {
        const double polygon[4] = {(row.low[0] + row.high[0]) / 2, (row.low[1] + row.high[1]) / 2,
                                   row.high[0] - row.low[0], row.high[1] - row.low[1]};
        const bool points = kind == LabelKind::kPolygon || kind == LabelKind::kQuad;
        const double* box = points ? polygon : row.first + 1;
        // Points near the largest double have an extent that is infinite.
        if (!std::all_of(box, box + 4, [](double value) { return std::isfinite(value); })) {
            out.errors.push_back({line, LabelErrorCode::kNonFinite, begin, end});
            return;
        }
        out.classes.push_back(static_cast<std::int64_t>(label));
        out.boxes.insert(out.boxes.end(), box, box + 4);
        out.lines.push_back(line);
        out.kinds.push_back(kind);
    }
}

}  // namespace

ParsedLabels parse_yolo_labels(const char* data, std::size_t size, KeypointShape keypoints) {
    ParsedLabels out;
    std::size_t at = size >= 3 && std::memcmp(data, "\xEF\xBB\xBF", 3) == 0 ? 3 : 0;
    for (std::int64_t line = 1; at < size; ++line) {
        Row row;
        std::size_t begin = at;
        std::size_t end = at;  // after the last field: the line without trailing blanks
        while (at < size && !is_line_end(data[at])) {
            if (is_blank(data[at])) {
                ++at;
                continue;
            }
            const std::size_t field = at;
            while (at < size && !is_line_end(data[at]) && !is_blank(data[at])) ++at;
            if (row.fields == 0) begin = field;
            row.add(data + field, data + at);
            end = at;
        }
        if (row.fields > 0) finish_row(row, keypoints, line, begin, end, out);
        out.too_many_errors = out.errors.size() > kMaxLabelErrors;
        out.too_many_rows = out.classes.size() > kMaxLabelRows;
        if (out.too_many_errors || out.too_many_rows) return out;
        if (at < size) at += data[at] == '\r' && at + 1 < size && data[at + 1] == '\n' ? 2 : 1;
    }
    return out;
}

}  // namespace yf
