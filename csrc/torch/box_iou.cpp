// torch.ops.yolofast.box_iou: IoU and its relatives, of all pairs of boxes or of those in the same row.
#include <array>
#include <string>

#include "core/boxes/boxes.hpp"
#include "torch/device.hpp"
#include "torch/registration.hpp"

#if defined(YOLOFAST_TORCH_CUDA)
#include "cuda/box_iou.hpp"
#endif

namespace yf::torch_ops {
namespace {

IouKind iou_kind(const std::string& name) {
    constexpr std::array kNames{"iou", "giou", "diou", "ciou"};
    for (std::size_t i = 0; i < kNames.size(); ++i) {
        if (name == kNames[i]) return static_cast<IouKind>(i);
    }
    fail("box_iou: kind is '", name, "'; expected one of iou, giou, diou, ciou");
}

#if defined(YOLOFAST_TORCH_CUDA)

template <typename T>
void write_iou(const Tensor& a, const Tensor& b, IouKind kind, bool elementwise, const Tensor& out,
               const OperatorDevice& device) {
    const std::int64_t n = a.size(0), m = b.size(0);
    check_cuda("box_iou", elementwise ? cuda::box_iou_elementwise(input<T>(a), input<T>(b), n, kind,
                                                                  output<T>(out), device.stream())
                                      : cuda::box_iou(input<T>(a), n, input<T>(b), m, kind, output<T>(out),
                                                      device.stream()));
}

#else

template <typename T>
void write_iou(const Tensor& a, const Tensor& b, IouKind kind, bool elementwise, const Tensor& out,
               const OperatorDevice&) {
    const auto n = static_cast<std::size_t>(a.size(0)), m = static_cast<std::size_t>(b.size(0));
    if (elementwise) return yf::box_iou_elementwise(input<T>(a), input<T>(b), n, kind, output<T>(out));
    yf::box_iou(input<T>(a), n, input<T>(b), m, kind, output<T>(out));
}

#endif

Tensor box_iou(const Tensor& a_given, const Tensor& b_given, const std::string& kind_name, bool elementwise) {
    const OperatorDevice device({&a_given, &b_given});
    const Tensor a = checked_tensor("box_iou", "a", a_given, device.index(), {kFloat, kDouble}, {kAny, 4});
    const Tensor b = checked_tensor("box_iou", "b", b_given, device.index(), {a.scalar_type()},
                                    {elementwise ? a.size(0) : kAny, 4});
    const IouKind kind = iou_kind(kind_name);
    const Tensor out = elementwise ? new_tensor(a, {a.size(0)}, a.scalar_type())
                                   : new_tensor(a, {a.size(0), b.size(0)}, a.scalar_type());
    if (a.scalar_type() == kFloat) {
        write_iou<float>(a, b, kind, elementwise, out, device);
    } else {
        write_iou<double>(a, b, kind, elementwise, out, device);
    }
    return out;
}

YF_SCHEMAS(m) {
    // a [N, 4], b [M, 4] xyxy, float32 or float64 -> [N, M]; [N] when elementwise
    m.def("box_iou(Tensor a, Tensor b, *, str kind='iou', bool elementwise=False) -> Tensor");
}

YF_KERNELS(m) { m.impl("box_iou", TORCH_BOX(&box_iou)); }

}  // namespace
}  // namespace yf::torch_ops
