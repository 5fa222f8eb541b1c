#include "torch/letterbox_arguments.hpp"

#include <torch/csrc/stable/ops.h>

#include <cstddef>
#include <string>

#include "torch/images_out.hpp"

namespace yf::torch_ops {
namespace {

constexpr const char* kOp = "letterbox_";
constexpr std::int64_t kPlaceValues = 4;

Tensor checked_image(std::size_t i, const Tensor& given, std::int32_t device) {
    const std::string name = "images[" + std::to_string(i) + "]";
    Tensor image = device_tensor(kOp, name.c_str(), given, device, {ScalarType::Byte}, {kAny, kAny, 3});
    for (const int axis : {0, 1}) {
        if (image.size(axis) < 1 || image.size(axis) > kMaxSide) {
            fail(kOp, ": ", name, " has shape [", image.size(0), ", ", image.size(1),
                 ", 3]; expected sides of 1..", kMaxSide);
        }
    }
    return image;
}

}  // namespace

LetterboxArguments letterbox_arguments(const Tensor& out, const std::vector<Tensor>& images,
                                       const Tensor& placed, std::int64_t fill, std::int32_t device) {
    check_images_out(kOp, out);
    const auto batch = static_cast<std::int64_t>(images.size());
    if (out.size(0) != batch) {
        fail(kOp, ": out is for ", out.size(0), " images, images has ", batch, "; expected as many");
    }
    if (fill < 0 || fill > 255) fail(kOp, ": fill is ", fill, "; expected 0..255");
    const Tensor given = cpu_tensor(kOp, "placed", placed, {ScalarType::Long}, {batch, kPlaceValues});
    const auto* const rows = static_cast<const std::int64_t*>(given.const_data_ptr());
    const std::vector<std::int64_t> values(rows, rows + given.numel());  // nobody changes a copy
    const std::int64_t height = out.size(2), width = out.size(3);
    LetterboxArguments all{
        static_cast<int>(height), static_cast<int>(width), {}, {}, static_cast<std::uint8_t>(fill)};
    for (std::size_t i = 0; i < images.size(); ++i) {
        const std::int64_t* const place = values.data() + kPlaceValues * i;
        const std::int64_t inner_h = place[0], inner_w = place[1], pad_y = place[2], pad_x = place[3];
        const bool fits = inner_h >= 1 && inner_h <= height && pad_y >= 0 && pad_y <= height - inner_h &&
                          inner_w >= 1 && inner_w <= width && pad_x >= 0 && pad_x <= width - inner_w;
        if (!fits) {
            fail(kOp, ": placed[", i, "] is ", inner_w, " x ", inner_h, " at (", pad_x, ", ", pad_y,
                 "); expected it inside ", width, " x ", height);
        }
        all.images.push_back(checked_image(i, images[i], device));
        check_apart(kOp, out, "an image", all.images.back());
        all.places.push_back({static_cast<int>(inner_h), static_cast<int>(inner_w), static_cast<int>(pad_y),
                              static_cast<int>(pad_x)});
    }
    return all;
}

}  // namespace yf::torch_ops
