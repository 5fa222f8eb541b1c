// The tensors that every NMS takes, checked.
#pragma once

#include <cstring>
#include <optional>
#include <vector>

#include "torch/device.hpp"

namespace yf::torch_ops {

inline Tensor checked_boxes(const char* op, const Tensor& boxes, const OperatorDevice& device) {
#if defined(YOLOFAST_TORCH_CUDA)
    return checked_tensor(op, "boxes", boxes, device.index(), {kFloat}, {kAny, 4});
#else
    return checked_tensor(op, "boxes", boxes, device.index(), {kFloat, kDouble}, {kAny, 4});
#endif
}

struct ScoredBoxes {
    Tensor boxes, scores;           // [N, 4] xyxy, [N]: float32, on the CPU float64 too, both alike
    std::optional<Tensor> classes;  // int64 [N]

    ScoredBoxes(const char* op, const Tensor& boxes_given, const Tensor& scores_given,
                const std::optional<Tensor>& classes_given, const OperatorDevice& device)
        : boxes(checked_boxes(op, boxes_given, device)),
          scores(checked_tensor(op, "scores", scores_given, device.index(), {boxes.scalar_type()},
                                {boxes.size(0)})) {
        if (classes_given)
            classes = checked_tensor(op, "classes", *classes_given, device.index(), {kLong}, {boxes.size(0)});
    }

    bool is_double() const { return boxes.scalar_type() == kDouble; }
    std::size_t count() const { return static_cast<std::size_t>(boxes.size(0)); }
    const std::int64_t* labels() const { return classes ? input<std::int64_t>(*classes) : nullptr; }
};

#if !defined(YOLOFAST_TORCH_CUDA)

// The first `count` values as a tensor that holds no more than them.
template <typename T>
Tensor first_values(const std::vector<T>& values, std::size_t count, const Tensor& like, ScalarType dtype) {
    const Tensor out = new_tensor(like, {static_cast<std::int64_t>(count)}, dtype);
    if (count > 0) std::memcpy(out.mutable_data_ptr(), values.data(), count * sizeof(T));
    return out;
}

#endif

}  // namespace yf::torch_ops
