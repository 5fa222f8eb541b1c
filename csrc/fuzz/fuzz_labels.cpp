// Any bytes as a label file, without and with keypoints: must return, inside the buffer, with results that
// agree with each other.
#include <cstddef>
#include <cstdint>

#include "core/files/labels.hpp"
#include "fuzz/choices.hpp"

namespace {

void check(const std::uint8_t* data, std::size_t size, yf::KeypointShape keypoints) {
    const yf::ParsedLabels labels =
        yf::parse_yolo_labels(reinterpret_cast<const char*>(data), size, keypoints);
    const std::size_t rows = labels.classes.size();
    require(labels.boxes.size() == 4 * rows && labels.lines.size() == rows && labels.kinds.size() == rows);
    for (const std::int64_t label : labels.classes) require(label >= 0);
    for (const yf::LabelKind kind : labels.kinds) {
        const bool known = keypoints.count > 0;
        require(!known || kind == yf::LabelKind::kBox || kind == yf::LabelKind::kKeypoints);
        require(kind >= yf::LabelKind::kBox && kind <= yf::LabelKind::kKeypoints);
    }
    for (const yf::LabelError& error : labels.errors)
        require(error.begin < error.end && error.end <= size && error.line >= 1);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    check(data, size, {});
    check(data, size, {2, 3});
    return 0;
}
