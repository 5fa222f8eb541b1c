#include "torch/render_arguments.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>

#include "torch/images_out.hpp"

namespace yf::torch_ops {
namespace {

constexpr const char* kOp = "render_";
constexpr std::int64_t kMaxBytes = std::int64_t{1} << 30;  // of a plane
constexpr std::int64_t kMaxFactor = 4;
constexpr double kMaxMatrix = 1e12;
constexpr double kMaxGain = 7.99;  // fixed point: see ColourRow in csrc/core/render_colours.hpp
constexpr double kMaxLevel = 2047.0;
constexpr std::int64_t kPictureValues = 11;

template <typename T>
std::vector<T> copy_of(const Tensor& tensor) {
    const T* const values = static_cast<const T*>(tensor.const_data_ptr());
    return std::vector<T>(values, values + tensor.numel());
}

std::vector<double> numbers(const char* name, const Tensor& given, std::initializer_list<std::int64_t> shape,
                            double limit = kMaxMatrix) {
    std::vector<double> values = copy_of<double>(cpu_tensor(kOp, name, given, {ScalarType::Double}, shape));
    for (const double value : values) {
        if (!(std::abs(value) <= limit)) {
            fail(kOp, ": ", name, " holds ", value, "; expected finite numbers up to ", limit,
                 " in magnitude");
        }
    }
    return values;
}

std::vector<std::int64_t> whole(const char* name, const Tensor& given, std::int64_t count,
                                std::int64_t most) {
    std::vector<std::int64_t> values =
        copy_of<std::int64_t>(cpu_tensor(kOp, name, given, {ScalarType::Long}, {count}));
    for (const std::int64_t value : values) {
        if (value < 0 || value > most) fail(kOp, ": ", name, " holds ", value, "; expected 0..", most);
    }
    return values;
}

struct Buffer {
    const std::uint8_t* data;
    std::int64_t size;
};

PlaneView plane_view(std::size_t picture, const char* name, const Buffer& planes, std::int64_t offset,
                     std::int64_t stride, std::int64_t height, std::int64_t width) {
    const auto refuse = [&](const auto&... reason) {
        fail(kOp, ": pictures[", picture, "] has plane ", name, " of ", width, " x ", height, " at ", offset,
             ", rows ", stride, " apart; ", reason...);
    };
    if (height < 1 || height > kMaxSide || width < 1 || width > kMaxSide)
        refuse("expected sides of 1..", kMaxSide);
    if (stride < width || stride > kMaxBytes || height * stride > kMaxBytes)
        refuse("expected rows at least a width apart and at most ", kMaxBytes, " bytes from end to end");
    if (offset < 0 || offset > planes.size - ((height - 1) * stride + width))
        refuse("expected it inside planes, which has ", planes.size, " bytes");
    return {planes.data + offset, static_cast<std::ptrdiff_t>(stride), static_cast<int>(height),
            static_cast<int>(width)};
}

PictureView picture_view(std::size_t i, const Buffer& planes, const std::int64_t* values,
                         const double* place) {
    const std::int64_t offset_y = values[0], offset_cb = values[1], offset_cr = values[2],
                       stride_y = values[3], stride_c = values[4], height = values[5], width = values[6],
                       c_height = values[7], c_width = values[8], factor_x = values[9], factor_y = values[10];
    PictureView view{};
    std::copy_n(place, 6, view.place);
    view.y = plane_view(i, "y", planes, offset_y, stride_y, height, width);
    if (factor_x < 1 || factor_x > kMaxFactor || factor_y < 1 || factor_y > kMaxFactor) {
        fail(kOp, ": pictures[", i, "] has factors ", factor_x, " and ", factor_y, "; expected 1..",
             kMaxFactor);
    }
    view.factor_x = static_cast<int>(factor_x);
    view.factor_y = static_cast<int>(factor_y);
    if (offset_cb == -1 && offset_cr == -1) return view;
    const std::int64_t wanted_h = (height + factor_y - 1) / factor_y,
                       wanted_w = (width + factor_x - 1) / factor_x;
    if (c_height != wanted_h || c_width != wanted_w) {
        fail(kOp, ": pictures[", i, "] has chroma of ", c_width, " x ", c_height, "; expected ", wanted_w,
             " x ", wanted_h, " for luma of ", width, " x ", height, ", or offsets of -1 for a gray picture");
    }
    view.cb = plane_view(i, "cb", planes, offset_cb, stride_c, c_height, c_width);
    view.cr = plane_view(i, "cr", planes, offset_cr, stride_c, c_height, c_width);
    return view;
}

std::vector<PictureView> picture_views(const Buffer& planes, const RenderPlan& plan) {
    const std::vector<std::int64_t> values = copy_of<std::int64_t>(
        cpu_tensor(kOp, "pictures", plan.pictures, {ScalarType::Long}, {kAny, kPictureValues}));
    const auto count = static_cast<std::int64_t>(values.size()) / kPictureValues;
    const std::vector<double> places = numbers("places", plan.places, {count, 2, 3});
    std::vector<PictureView> views;
    for (std::size_t i = 0; i < static_cast<std::size_t>(count); ++i)
        views.push_back(picture_view(i, planes, values.data() + kPictureValues * i, places.data() + 6 * i));
    return views;
}

// What keeps the fixed point of csrc/core/render_colours.hpp from overflowing.
void check_colour(const std::vector<double>& colour) {
    for (std::size_t row = 0; row < colour.size(); row += 4) {
        const double* const c = colour.data() + row;
        const double gain = std::max({std::abs(c[0]), std::abs(c[1]), std::abs(c[2])});
        const double reach = 128 * (std::abs(c[0]) + std::abs(c[1]) + std::abs(c[2]));
        const double centre = std::abs(c[3] + 128 * (c[0] + c[1] + c[2]));
        if (gain > kMaxGain || reach + centre > kMaxLevel) {
            fail(kOp, ": colour is out of range; expected gains up to ", kMaxGain, " and levels up to ",
                 kMaxLevel);
        }
    }
}

}  // namespace

RenderArguments render_arguments(const Tensor& out, const Tensor& planes, const RenderPlan& plan) {
    check_images_out(kOp, out);
    check_apart(kOp, out, "planes", planes);
    const std::vector<PictureView> views =
        picture_views({static_cast<const std::uint8_t*>(planes.const_data_ptr()), planes.numel()}, plan);
    const std::int64_t batch = out.size(0), tiles = plan.tile_sample.numel();
    RenderArguments all{static_cast<int>(batch),
                        static_cast<int>(out.size(2)),
                        static_cast<int>(out.size(3)),
                        {},
                        {},
                        {},
                        {}};
    all.samples = whole("tile_sample", plan.tile_sample, tiles, batch - 1);
    if (!std::is_sorted(all.samples.begin(), all.samples.end()))
        fail(kOp, ": tile_sample is not ascending; expected the tiles of each sample together, in order");
    const auto pictures = static_cast<std::int64_t>(views.size());
    const auto picture = whole("tile_picture", plan.tile_picture, tiles, pictures - 1);
    const auto layer = whole("tile_layer", plan.tile_layer, tiles, 1);
    const auto matrix = numbers("tile_matrix", plan.tile_matrix, {tiles, 3, 3});
    const auto window = numbers("tile_window", plan.tile_window, {tiles, 4}, static_cast<double>(kMaxSide));
    all.mix = numbers("mix", plan.mix, {batch}, 1.0);
    for (const double mix : all.mix) {
        if (mix < 0) fail(kOp, ": mix holds ", mix, "; expected 0..1");
    }
    all.colour = numbers("colour", plan.colour, {batch, 3, 4});
    check_colour(all.colour);
    for (std::size_t t = 0; t < all.samples.size(); ++t) {
        Tile tile{};
        tile.picture = views[static_cast<std::size_t>(picture[t])];
        std::copy_n(matrix.data() + 9 * t, 9, tile.matrix);
        std::copy_n(window.data() + 4 * t, 4, tile.window);
        tile.layer = static_cast<int>(layer[t]);
        all.tiles.push_back(tile);
    }
    return all;
}

}  // namespace yf::torch_ops
