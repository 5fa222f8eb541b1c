// torch.ops.yolofast.transform_boxes: boxes through an affine or projective matrix, clipped if asked for.
#include <array>
#include <optional>
#include <vector>

#include "core/boxes/box_transforms.hpp"
#include "torch/device.hpp"
#include "torch/registration.hpp"

#if defined(YOLOFAST_TORCH_CUDA)
#include "cuda/box_transforms.hpp"
#endif

namespace yf::torch_ops {
namespace {

constexpr const char* kOp = "transform_boxes";

// `clip`: (width, height).
std::optional<Size> clip_size(const std::optional<std::vector<double>>& clip) {
    if (!clip) return std::nullopt;
    if (clip->size() != 2) fail(kOp, ": clip has ", clip->size(), " values; expected (width, height)");
    const Size size{(*clip)[0], (*clip)[1]};
    if (!(size.width > 0 && size.height > 0)) {
        fail(kOp, ": clip is ", size.width, " x ", size.height, "; expected positive width and height");
    }
    return size;
}

#if defined(YOLOFAST_TORCH_CUDA)

template <typename T>
void write_boxes(const Tensor& boxes, const Tensor& matrix, const Size* clip, const Tensor& out,
                 const OperatorDevice& device) {
    const cuda::Matrix values{matrix.const_data_ptr(), matrix.scalar_type() == kDouble,
                              static_cast<int>(matrix.numel())};
    check_cuda(kOp, cuda::transform_boxes(input<T>(boxes), boxes.size(0), values, clip, output<T>(out),
                                          device.stream()));
}

#else

// Row by row, with the last row of an affine matrix filled in.
std::array<double, 9> full_matrix(const Tensor& matrix) {
    std::array<double, 9> full{0, 0, 0, 0, 0, 0, 0, 0, 1};
    for (std::int64_t i = 0; i < matrix.numel(); ++i) {
        full[static_cast<std::size_t>(i)] =
            matrix.scalar_type() == kFloat ? input<float>(matrix)[i] : input<double>(matrix)[i];
    }
    return full;
}

template <typename T>
void write_boxes(const Tensor& boxes, const Tensor& matrix, const Size* clip, const Tensor& out,
                 const OperatorDevice&) {
    const auto n = static_cast<std::size_t>(boxes.size(0));
    yf::transform_boxes(input<T>(boxes), n, full_matrix(matrix).data(), clip, output<T>(out));
}

#endif

Tensor transform_boxes(const Tensor& boxes_given, const Tensor& matrix_given,
                       const std::optional<std::vector<double>>& clip) {
    const OperatorDevice device({&boxes_given, &matrix_given});
    const Tensor boxes =
        checked_tensor(kOp, "boxes", boxes_given, device.index(), {kFloat, kDouble}, {kAny, 4});
    const bool affine = matrix_given.dim() == 2 && matrix_given.size(0) == 2;
    const Tensor matrix =
        checked_tensor(kOp, "matrix", matrix_given, device.index(), {kFloat, kDouble}, {affine ? 2 : 3, 3});
    const std::optional<Size> size = clip_size(clip);
    const Size* const limit = size ? &*size : nullptr;
    const Tensor out = new_tensor(boxes, {boxes.size(0), 4}, boxes.scalar_type());
    if (boxes.scalar_type() == kFloat) {
        write_boxes<float>(boxes, matrix, limit, out, device);
    } else {
        write_boxes<double>(boxes, matrix, limit, out, device);
    }
    return out;
}

YF_SCHEMAS(m) {
    // boxes [N, 4] xyxy, float32 or float64; matrix [3, 3] or [2, 3]; clip (width, height) -> [N, 4]
    m.def("transform_boxes(Tensor boxes, Tensor matrix, float[]? clip=None) -> Tensor");
}

YF_KERNELS(m) { m.impl("transform_boxes", TORCH_BOX(&transform_boxes)); }

}  // namespace
}  // namespace yf::torch_ops
