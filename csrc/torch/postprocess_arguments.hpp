// What postprocess asks of its arguments, for all devices.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "core/boxes/postprocess.hpp"
#include "torch/checks.hpp"

namespace yf::torch_ops {

// A byte a class, 1 for those asked for.
inline std::vector<std::uint8_t> wanted_classes(const std::vector<std::int64_t>& classes,
                                                std::int64_t count) {
    std::vector<std::uint8_t> wanted(static_cast<std::size_t>(count), 0);
    for (const std::int64_t label : classes) {
        if (label < 0 || label >= count) {
            fail("postprocess: classes names class ", label, "; expected classes from 0 to ", count - 1);
        }
        wanted[static_cast<std::size_t>(label)] = 1;
    }
    return wanted;
}

struct PostprocessArguments {
    // raw is [B, 4 + C, A].
    PostprocessArguments(const Tensor& raw, double conf, double iou, std::int64_t most_detections,
                         const std::optional<std::vector<std::int64_t>>& asked, bool agnostic,
                         bool multi_label, std::int64_t max_candidates)
        : images(raw.size(0)), classes(raw.size(1) - 4), anchors(raw.size(2)), max_det(most_detections) {
        if (classes < 1) {
            fail("postprocess: raw has shape [", images, ", ", raw.size(1), ", ", anchors,
                 "]; expected [B, 4 + C, A] with at least one class");
        }
        check_fraction("postprocess", "conf", conf);
        check_fraction("postprocess", "iou", iou);
        if (max_det < 1 || max_candidates < 1) {
            fail("postprocess: max_det is ", max_det, " and max_candidates is ", max_candidates,
                 "; expected at least 1");
        }
        if (asked) wanted = wanted_classes(*asked, classes);
        options.conf = static_cast<float>(conf);
        options.iou = iou;
        options.max_det = static_cast<std::size_t>(max_det);
        // There are no more than these, whatever limit was asked for.
        const std::int64_t all = std::max<std::int64_t>(classes * anchors, 1);
        options.max_candidates = static_cast<std::size_t>(std::min(max_candidates, all));
        options.agnostic = agnostic;
        options.multi_label = multi_label;
        options.wanted = asked ? wanted.data() : nullptr;
    }
    PostprocessArguments(const PostprocessArguments&) = delete;  // `options` points into `wanted`
    PostprocessArguments& operator=(const PostprocessArguments&) = delete;

    std::int64_t images, classes, anchors, max_det;
    std::vector<std::uint8_t> wanted;
    PostprocessOptions options;
};

}  // namespace yf::torch_ops
