// torch.ops.yolofast.render_: a plan's samples from the planes of packed pictures.
#include "core/render/render.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "core/limits.hpp"
#include "core/pictures/packed_pictures.hpp"
#include "torch/images_out.hpp"
#include "torch/registration.hpp"

#if defined(YOLOFAST_TORCH_CUDA)
#include "cuda/render.hpp"
#else
#include <memory>
#endif

namespace yf::torch_ops {
namespace {

constexpr const char* kOp = "render_";

// The tensors that are on the CPU whatever the device, in the order of the schema.
struct PlanTensors {
    const Tensor &pictures, &places, &tile_sample, &tile_picture, &tile_layer, &tile_matrix, &tile_window,
        &mix, &colour, &hole;
};

// A copy, so that nobody changes it between check and use. Planes point into `planes`.
struct RenderArguments {
    int batch, height, width;
    std::vector<Tile> tiles;
    std::vector<std::int64_t> samples;  // of each tile, ascending
    std::vector<double> mix, colour;    // [batch], [batch, 3, 4]
    std::vector<Rectangle> holes;       // [batch]
};

template <typename T>
std::vector<T> copy_of(const Tensor& tensor) {
    const T* const values = static_cast<const T*>(tensor.const_data_ptr());
    return std::vector<T>(values, values + tensor.numel());
}

std::vector<double> numbers(const char* name, const Tensor& given, std::initializer_list<std::int64_t> shape,
                            double limit = kMaxMatrix) {
    std::vector<double> values =
        copy_of<double>(checked_tensor(kOp, name, given, kCpuDevice, {kDouble}, shape));
    for (const double value : values) {
        if (!(std::abs(value) <= limit)) {
            fail(kOp, ": ", name, " holds ", value, "; expected finite numbers up to ", limit,
                 " in magnitude");
        }
    }
    return values;
}

std::vector<std::int64_t> whole(const char* name, const Tensor& given, std::int64_t count,
                                std::int64_t last) {
    std::vector<std::int64_t> values =
        copy_of<std::int64_t>(checked_tensor(kOp, name, given, kCpuDevice, {kLong}, {count}));
    for (const std::int64_t value : values) {
        if (value < 0 || value > last) fail(kOp, ": ", name, " holds ", value, "; expected 0..", last);
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
    if (stride < width || stride > kMaxPlaneBytes || height * stride > kMaxPlaneBytes)
        refuse("expected rows at least a width apart and at most ", kMaxPlaneBytes, " bytes from end to end");
    if (offset < 0 || offset > planes.size - ((height - 1) * stride + width))
        refuse("expected it inside planes, which has ", planes.size, " bytes");
    return {planes.data + offset, static_cast<std::ptrdiff_t>(stride), static_cast<int>(height),
            static_cast<int>(width)};
}

PictureView picture_view(std::size_t i, const Buffer& planes, const std::int64_t* row, const double* place) {
    const std::int64_t height = row[kHeight], width = row[kWidth], c_height = row[kHeightC],
                       c_width = row[kWidthC], factor_x = row[kFactorX], factor_y = row[kFactorY];
    PictureView view{};
    std::copy_n(place, kPlaceValues, view.place);
    view.y = plane_view(i, "y", planes, row[kOffsetY], row[kStrideY], height, width);
    if (factor_x < 1 || factor_x > kMaxChromaFactor || factor_y < 1 || factor_y > kMaxChromaFactor) {
        fail(kOp, ": pictures[", i, "] has factors ", factor_x, " and ", factor_y, "; expected 1..",
             kMaxChromaFactor);
    }
    view.factor_x = static_cast<int>(factor_x);
    view.factor_y = static_cast<int>(factor_y);
    if (row[kOffsetCb] == -1 && row[kOffsetCr] == -1) return view;
    const std::int64_t wanted_h = (height + factor_y - 1) / factor_y,
                       wanted_w = (width + factor_x - 1) / factor_x;
    if (c_height != wanted_h || c_width != wanted_w) {
        fail(kOp, ": pictures[", i, "] has chroma of ", c_width, " x ", c_height, "; expected ", wanted_w,
             " x ", wanted_h, " for luma of ", width, " x ", height, ", or offsets of -1 for a gray picture");
    }
    view.cb = plane_view(i, "cb", planes, row[kOffsetCb], row[kStrideC], c_height, c_width);
    view.cr = plane_view(i, "cr", planes, row[kOffsetCr], row[kStrideC], c_height, c_width);
    return view;
}

std::vector<PictureView> picture_views(const Buffer& planes, const PlanTensors& plan) {
    const std::vector<std::int64_t> rows = copy_of<std::int64_t>(
        checked_tensor(kOp, "pictures", plan.pictures, kCpuDevice, {kLong}, {kAny, kPictureColumns}));
    const auto count = static_cast<std::int64_t>(rows.size()) / kPictureColumns;
    const std::vector<double> places = numbers("places", plan.places, {count, 2, 3});
    std::vector<PictureView> views;
    for (std::size_t i = 0; i < static_cast<std::size_t>(count); ++i)
        views.push_back(
            picture_view(i, planes, rows.data() + kPictureColumns * i, places.data() + kPlaceValues * i));
    return views;
}

// What keeps the fixed point of core/render/colours.hpp from overflowing.
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

// One per sample, each inside an output of `height` x `width`.
std::vector<Rectangle> rectangles(const Tensor& given, std::int64_t batch, std::int64_t height,
                                  std::int64_t width) {
    const std::vector<std::int64_t> values =
        copy_of<std::int64_t>(checked_tensor(kOp, "hole", given, kCpuDevice, {kLong}, {batch, 4}));
    std::vector<Rectangle> all;
    for (std::size_t i = 0; i < values.size(); i += 4) {
        const std::int64_t x0 = values[i], y0 = values[i + 1], x1 = values[i + 2], y1 = values[i + 3];
        if (x0 < 0 || x0 > x1 || x1 > width || y0 < 0 || y0 > y1 || y1 > height) {
            fail(kOp, ": hole[", i / 4, "] is ", x0, ", ", y0, ", ", x1, ", ", y1,
                 "; expected x0, y0, x1, y1 in ascending order inside the output of ", width, " x ", height);
        }
        all.push_back(
            {{static_cast<int>(x0), static_cast<int>(x1)}, {static_cast<int>(y0), static_cast<int>(y1)}});
    }
    return all;
}

// `out` has been checked; `planes` is contiguous.
RenderArguments render_arguments(const Tensor& out, const Tensor& planes, const PlanTensors& plan) {
    check_apart(kOp, out, "planes", planes);
    const std::vector<PictureView> views = picture_views({input<std::uint8_t>(planes), planes.numel()}, plan);
    const std::int64_t batch = out.size(0), tiles = plan.tile_sample.numel();
    RenderArguments all{static_cast<int>(batch),
                        static_cast<int>(out.size(2)),
                        static_cast<int>(out.size(3)),
                        {},
                        {},
                        {},
                        {},
                        {}};
    all.samples = whole("tile_sample", plan.tile_sample, tiles, batch - 1);
    if (!std::is_sorted(all.samples.begin(), all.samples.end()))
        fail(kOp, ": tile_sample is not ascending; expected the tiles of each sample together, in order");
    const auto pictures = static_cast<std::int64_t>(views.size());
    const auto picture = whole("tile_picture", plan.tile_picture, tiles, pictures - 1);
    const auto layer = whole("tile_layer", plan.tile_layer, tiles, 2);
    const auto matrix = numbers("tile_matrix", plan.tile_matrix, {tiles, 3, 3});
    const auto window = numbers("tile_window", plan.tile_window, {tiles, 4}, static_cast<double>(kMaxSide));
    all.mix = numbers("mix", plan.mix, {batch}, 1.0);
    for (const double mix : all.mix) {
        if (mix < 0) fail(kOp, ": mix holds ", mix, "; expected 0..1");
    }
    all.colour = numbers("colour", plan.colour, {batch, 3, 4});
    check_colour(all.colour);
    all.holes = rectangles(plan.hole, batch, out.size(2), out.size(3));
    for (std::size_t t = 0; t < all.samples.size(); ++t) {
        if (layer[t] == 2 && all.holes[static_cast<std::size_t>(all.samples[t])].empty())
            fail(kOp, ": tile_layer holds 2 in a sample without a hole; expected 0..1");
        Tile tile{};
        tile.picture = views[static_cast<std::size_t>(picture[t])];
        std::copy_n(matrix.data() + 9 * t, 9, tile.matrix);
        std::copy_n(window.data() + 4 * t, 4, tile.window);
        tile.layer = static_cast<int>(layer[t]);
        all.tiles.push_back(tile);
    }
    return all;
}

#if defined(YOLOFAST_TORCH_CUDA)

std::vector<cuda::RenderSample> samples_of(const RenderArguments& given) {
    std::vector<cuda::RenderSample> samples(static_cast<std::size_t>(given.batch));
    for (std::size_t i = 0; i < samples.size(); ++i) {
        samples[i].mix = given.mix[i];
        samples[i].colour = given.colour.data() + 12 * i;
        samples[i].hole = given.holes[i];
    }
    for (std::size_t t = 0; t < given.tiles.size(); ++t) {
        const Tile& tile = given.tiles[t];
        samples[static_cast<std::size_t>(given.samples[t])].layers[tile.layer].push_back(tile);
    }
    return samples;
}

void write_images(const RenderArguments& given, const Tensor& out, const OperatorDevice& device) {
    if (given.batch == 0) return;
    const cuda::RenderTable table = cuda::render_table(samples_of(given), given.height, given.width);
    const Tensor workspace = new_workspace(out, cuda::render_workspace(table));
    check_cuda(kOp, cuda::render(table, workspace.mutable_data_ptr(), pixel_type(out.scalar_type()),
                                 out.mutable_data_ptr(), device.stream()));
}

#else

void write_images(const RenderArguments& given, const Tensor& out, const OperatorDevice&) {
    const std::ptrdiff_t plane = static_cast<std::ptrdiff_t>(given.height) * given.width;
    render_samples(out, [&] {
        return [&, renderer = std::make_unique<Renderer>()](std::int64_t i, std::uint8_t* levels) {
            const auto [first, last] = std::equal_range(given.samples.begin(), given.samples.end(), i);
            renderer->render(given.tiles.data() + (first - given.samples.begin()),
                             static_cast<std::size_t>(last - first), given.mix[static_cast<std::size_t>(i)],
                             given.colour.data() + 12 * i, given.holes[static_cast<std::size_t>(i)],
                             {levels, plane, given.width, given.height, given.width});
        };
    });
}

#endif

void render_(const Tensor& out, const Tensor& planes_given, const Tensor& pictures, const Tensor& places,
             const Tensor& tile_sample, const Tensor& tile_picture, const Tensor& tile_layer,
             const Tensor& tile_matrix, const Tensor& tile_window, const Tensor& mix, const Tensor& colour,
             const Tensor& hole) {
    check_images_out(kOp, out);
    const OperatorDevice device({&out});
    const Tensor planes = checked_tensor(kOp, "planes", planes_given, device.index(), {kByte}, {kAny});
    const RenderArguments given = render_arguments(out, planes,
                                                   {pictures, places, tile_sample, tile_picture, tile_layer,
                                                    tile_matrix, tile_window, mix, colour, hole});
    write_images(given, out, device);
}

YF_SCHEMAS(m) {
    // out uint8, float16, bfloat16 or float32 [B, 3, H, W] and planes uint8 [N] on the device, all else on
    // the CPU: pictures int64 [P, kPictureColumns], see core/pictures/packed_pictures.hpp; places float64 [P,
    // 2, 3]; tile_sample, tile_picture, tile_layer int64 [T]; tile_matrix float64 [T, 3, 3]; tile_window
    // float64 [T, 4]; mix float64 [B]; colour float64 [B, 3, 4]; hole int64 [B, 4]
    m.def(
        "render_(Tensor(a!) out, Tensor planes, Tensor pictures, Tensor places, Tensor tile_sample, "
        "Tensor tile_picture, Tensor tile_layer, Tensor tile_matrix, Tensor tile_window, Tensor mix, "
        "Tensor colour, Tensor hole) -> ()");
}

YF_KERNELS(m) { m.impl("render_", TORCH_BOX(&render_)); }

}  // namespace
}  // namespace yf::torch_ops
