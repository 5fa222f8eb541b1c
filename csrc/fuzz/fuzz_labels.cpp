// Any bytes as a label file: must return, inside the buffer, with results that agree with each other.
#include <cstddef>
#include <cstdint>

#include "choices.hpp"
#include "labels.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const yf::ParsedLabels labels = yf::parse_yolo_labels(reinterpret_cast<const char*>(data), size);
    const std::size_t rows = labels.classes.size();
    require(labels.boxes.size() == 4 * rows && labels.lines.size() == rows && labels.kinds.size() == rows);
    for (const std::int64_t label : labels.classes) require(label >= 0);
    for (const yf::LabelError& error : labels.errors)
        require(error.begin < error.end && error.end <= size && error.line >= 1);
    return 0;
}
