// Any bytes as a label file: must return, inside the buffer, with results that agree with each other.
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "labels.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const yf::ParsedLabels labels = yf::parse_yolo_labels(reinterpret_cast<const char*>(data), size);
    const std::size_t rows = labels.classes.size();
    if (labels.boxes.size() != 4 * rows || labels.lines.size() != rows || labels.kinds.size() != rows) {
        std::abort();
    }
    for (const std::int64_t label : labels.classes) {
        if (label < 0) std::abort();
    }
    for (const yf::LabelError& error : labels.errors) {
        if (error.begin >= error.end || error.end > size || error.line < 1) std::abort();
    }
    return 0;
}
