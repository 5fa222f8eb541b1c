// torch.ops.yolofast.letterbox_: images of any sizes, resized and centred in the images of a batch.
#include <cstdint>
#include <string>
#include <vector>

#include "core/limits.hpp"
#include "torch/images_out.hpp"
#include "torch/registration.hpp"

#if defined(YOLOFAST_TORCH_CUDA)
#include "cuda/letterbox.hpp"
#else
#include "core/image/image.hpp"
#endif

namespace yf::torch_ops {
namespace {

constexpr const char* kOp = "letterbox_";
constexpr std::int64_t kPlacedValues = 4;

struct PlacedImage {
    Tensor image;  // contiguous uint8 [H, W, 3]
    int inner_height, inner_width, pad_y, pad_x;

    const std::uint8_t* data() const { return input<std::uint8_t>(image); }
    int height() const { return static_cast<int>(image.size(0)); }
    int width() const { return static_cast<int>(image.size(1)); }
};

struct LetterboxArguments {
    int height, width;  // of the targets
    std::vector<PlacedImage> images;
    std::uint8_t fill;
};

Tensor checked_image(std::size_t i, const Tensor& given, std::int32_t device) {
    const std::string name = "images[" + std::to_string(i) + "]";
    Tensor image = checked_tensor(kOp, name.c_str(), given, device, {kByte}, {kAny, kAny, 3});
    for (const int axis : {0, 1}) {
        if (image.size(axis) < 1 || image.size(axis) > kMaxSide) {
            fail(kOp, ": ", name, " has shape [", image.size(0), ", ", image.size(1),
                 ", 3]; expected sides of 1..", kMaxSide);
        }
    }
    return image;
}

// `out` has been checked; `placed` is on the CPU whatever the device.
LetterboxArguments letterbox_arguments(const Tensor& out, const std::vector<Tensor>& images,
                                       const Tensor& placed, std::int64_t fill, std::int32_t device) {
    const auto batch = static_cast<std::int64_t>(images.size());
    if (out.size(0) != batch) {
        fail(kOp, ": out is for ", out.size(0), " images, images has ", batch, "; expected as many");
    }
    if (fill < 0 || fill > 255) fail(kOp, ": fill is ", fill, "; expected 0..255");
    const Tensor given = checked_tensor(kOp, "placed", placed, kCpuDevice, {kLong}, {batch, kPlacedValues});
    const std::int64_t* const rows = input<std::int64_t>(given);
    const std::vector<std::int64_t> values(rows, rows + given.numel());  // nobody changes a copy
    const std::int64_t height = out.size(2), width = out.size(3);
    LetterboxArguments all{
        static_cast<int>(height), static_cast<int>(width), {}, static_cast<std::uint8_t>(fill)};
    for (std::size_t i = 0; i < images.size(); ++i) {
        const std::int64_t* const row = values.data() + kPlacedValues * i;
        const std::int64_t inner_h = row[0], inner_w = row[1], pad_y = row[2], pad_x = row[3];
        const bool fits = inner_h >= 1 && inner_h <= height && pad_y >= 0 && pad_y <= height - inner_h &&
                          inner_w >= 1 && inner_w <= width && pad_x >= 0 && pad_x <= width - inner_w;
        if (!fits) {
            fail(kOp, ": placed[", i, "] is ", inner_w, " x ", inner_h, " at (", pad_x, ", ", pad_y,
                 "); expected it inside ", width, " x ", height);
        }
        all.images.push_back({checked_image(i, images[i], device), static_cast<int>(inner_h),
                              static_cast<int>(inner_w), static_cast<int>(pad_y), static_cast<int>(pad_x)});
        check_apart(kOp, out, "an image", all.images.back().image);
    }
    return all;
}

#if defined(YOLOFAST_TORCH_CUDA)

void write_images(const LetterboxArguments& given, const Tensor& out, const OperatorDevice& device) {
    if (given.images.empty()) return;
    std::vector<cuda::LetterboxImage> images;
    for (const PlacedImage& one : given.images) {
        images.push_back(
            {one.data(), one.height(), one.width(), one.inner_height, one.inner_width, one.pad_y, one.pad_x});
    }
    const Tensor workspace = new_workspace(out, cuda::letterbox_workspace(images.size()));
    check_cuda(kOp,
               cuda::letterbox(images, workspace.mutable_data_ptr(), given.height, given.width, given.fill,
                               pixel_type(out.scalar_type()), out.mutable_data_ptr(), device.stream()));
}

#else

void write_images(const LetterboxArguments& given, const Tensor& out, const OperatorDevice&) {
    const std::ptrdiff_t plane = static_cast<std::ptrdiff_t>(given.height) * given.width;
    render_samples(out, [&] {
        return [&](std::int64_t i, std::uint8_t* levels) {
            const PlacedImage& one = given.images[static_cast<std::size_t>(i)];
            yf::letterbox_planar(
                {one.data(), 3 * static_cast<std::ptrdiff_t>(one.width()), one.height(), one.width()},
                {levels, plane, given.width, given.height, given.width}, one.inner_height, one.inner_width,
                one.pad_y, one.pad_x, given.fill);
        };
    });
}

#endif

void letterbox_(const Tensor& out, const std::vector<Tensor>& images, const Tensor& placed,
                std::int64_t fill) {
    check_images_out(kOp, out);
    const OperatorDevice device({&out});
    write_images(letterbox_arguments(out, images, placed, fill, device.index()), out, device);
}

YF_SCHEMAS(m) {
    // out uint8, float16, bfloat16 or float32 [B, 3, H, W] and images uint8 [H, W, 3], each of its own size,
    // on the device; placed int64 [B, 4] on the CPU = height, width, top, left of each picture in its target
    m.def("letterbox_(Tensor(a!) out, Tensor[] images, Tensor placed, int fill=114) -> ()");
}

YF_KERNELS(m) { m.impl("letterbox_", TORCH_BOX(&letterbox_)); }

}  // namespace
}  // namespace yf::torch_ops
