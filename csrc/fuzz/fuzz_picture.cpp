// Fuzz target for what lies between a file and a sample: any bytes to planes, planes reduced, planes
// rendered.
//
// The last bytes of the input are choices: how large, where to, which colours. Numbers go up to the limits of
// core/limits.hpp.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

#include "core/jpeg/header.hpp"
#include "core/limits.hpp"
#include "core/pictures/picture.hpp"
#include "fuzz/choices.hpp"

namespace {

constexpr std::int64_t kMaxInputPixels = 1 << 18;  // keeps one input to some milliseconds
constexpr std::uint8_t kGuard = 0xA5;

// Ordinary, tiny, enormous, or one at which arithmetic changes its mind.
double choose_number(double limit, Choices& choices) {
    constexpr double kSpecial[] = {0.0,  -0.0,  1.0,    -1.0,    0.5,     -0.5,  1e-12,  5e-324,
                                   1e12, -1e12, 1e-300, -1e-300, 1 << 24, 1e-30, -1e-30, 32767.5};
    const double mantissa = choices.byte() * 256 + choices.byte() - 32768.0;
    double value = mantissa / 256;
    const int kind = choices.byte();
    if (kind < 128) value = kSpecial[kind % 16];
    if (kind >= 240) value = std::ldexp(mantissa, choices.byte() - 128);
    return std::clamp(value, -limit, limit);
}

// Planes in memory of exactly their size each, so that the sanitizer sees a read one byte too far.
struct Apart {
    std::unique_ptr<std::uint8_t[]> memory[3];
    yf::PictureView view;

    explicit Apart(const yf::PictureView& picture) : view(picture) {
        yf::PlaneView* planes[3] = {&view.y, &view.cb, &view.cr};
        for (int i = 0; i < 3; ++i) {
            if (planes[i]->data == nullptr) continue;
            const std::size_t row = static_cast<std::size_t>(planes[i]->width);
            memory[i] = std::make_unique<std::uint8_t[]>(row * planes[i]->height);
            for (int y = 0; y < planes[i]->height; ++y)
                std::memcpy(memory[i].get() + y * row, planes[i]->data + y * planes[i]->stride, row);
            planes[i]->data = memory[i].get();
            planes[i]->stride = planes[i]->width;
        }
    }
};

// Planes that fit together, and a place that is finite.
void check(const yf::PictureView& view) {
    require(view.y.data != nullptr && view.y.width > 0 && view.y.height > 0 && view.y.stride >= view.y.width);
    require((view.cb.data == nullptr) == (view.cr.data == nullptr));
    for (const double value : view.place) require(std::isfinite(value));
    if (view.cb.data == nullptr) return;
    for (const yf::PlaneView* plane : {&view.cb, &view.cr})
        require(plane->width == (view.y.width + view.factor_x - 1) / view.factor_x &&
                plane->height == (view.y.height + view.factor_y - 1) / view.factor_y);
}

// All of the picture in an output of width x height.
yf::Tile letterbox(const yf::PictureView& picture, int full_h, int full_w, int height, int width) {
    const double step = std::max(static_cast<double>(full_w) / width, static_cast<double>(full_h) / height);
    return {picture,
            {step, 0, (full_w - step * width) / 2, 0, step, (full_h - step * height) / 2, 0, 0, 1},
            {0, 0, static_cast<double>(full_w), static_cast<double>(full_h)},
            0};
}

// Some of the numbers replaced: none in most calls, nearly all in a few.
void disturb(double* values, int count, double limit, Choices& choices) {
    const int share = std::max(0, choices.byte() - 128) * 2;
    for (int i = 0; i < count; ++i)
        if (choices.byte() < share) values[i] = choose_number(limit, choices);
}

std::vector<yf::Tile> choose_tiles(const yf::PictureView& picture, int full_h, int full_w, int height,
                                   int width, Choices& choices) {
    const yf::Tile whole = letterbox(picture, full_h, full_w, height, width);
    std::vector<yf::Tile> tiles{whole, whole, whole};
    // A part, mirrored: still without rotation.
    double* upright = tiles[1].matrix;
    upright[0] = -choose_number(yf::kMaxMatrix, choices);
    upright[2] = choose_number(yf::kMaxMatrix, choices);
    upright[4] = choose_number(yf::kMaxMatrix, choices);
    upright[5] = choose_number(yf::kMaxMatrix, choices);
    disturb(tiles[1].window, 4, static_cast<double>(yf::kMaxSide), choices);
    // Turned, with perspective.
    double* general = tiles[2].matrix;
    const double angle = choices.byte() / 40.0, step = whole.matrix[0] * (1 + choices.byte()) / 64;
    general[0] = general[4] = step * std::cos(angle);
    general[1] = -(general[3] = step * std::sin(angle));
    general[6] = (choices.byte() - 128) / 16384.0;
    general[7] = (choices.byte() - 128) / 16384.0;
    disturb(general, 9, yf::kMaxMatrix, choices);
    // The same projection by other numbers, down to those that underflow.
    const int exponent = choices.often() ? 0 : choices.below(1120) - 1080;
    for (int i = 0; i < 9; ++i)
        general[i] = std::clamp(std::ldexp(general[i], exponent), -yf::kMaxMatrix, yf::kMaxMatrix);
    disturb(tiles[2].window, 4, static_cast<double>(yf::kMaxSide), choices);
    for (yf::Tile& tile : tiles) {
        tile.layer = choices.often() ? 0 : choices.byte() % 3;
        disturb(tile.picture.place, 6, yf::kMaxMatrix, choices);
    }
    return tiles;
}

void choose_colour(Choices& choices, double* colour) {
    const double identity[12] = {1,         0,       1.402, -179.456, 1, -0.344136,
                                 -0.714136, 135.459, 1,     1.772,    0, -226.816};
    std::memcpy(colour, identity, sizeof identity);
    for (int c = 0; c < 3; ++c) {
        double* row = colour + 4 * c;
        disturb(row, 3, yf::kMaxGain, choices);
        disturb(row + 3, 1, yf::kMaxLevel, choices);
        const double reach = 128 * (std::abs(row[0]) + std::abs(row[1]) + std::abs(row[2]));
        const double centre = std::abs(row[3] + 128 * (row[0] + row[1] + row[2]));
        const double shrink = std::min(1.0, yf::kMaxLevel / (reach + centre + 1e-9));
        for (int i = 0; i < 4; ++i) row[i] *= shrink;
    }
}

// A part of the output, or nothing.
yf::Rectangle choose_hole(Choices& choices, int height, int width) {
    if (choices.often()) return {};
    const int left = choices.below(width), top = choices.below(height);
    return {{left, left + choices.below(width - left + 1)}, {top, top + choices.below(height - top + 1)}};
}

// One sample between guard bytes, in memory that held `before`.
std::vector<std::uint8_t> render(yf::Renderer& renderer, const std::vector<yf::Tile>& tiles, double mix,
                                 const double* colour, const yf::Rectangle& hole, int height, int width,
                                 std::uint8_t before) {
    constexpr int kMargin = 3;
    const std::ptrdiff_t stride = width + kMargin, plane = stride * height;
    std::vector<std::uint8_t> memory(static_cast<std::size_t>(3 * plane), kGuard), pixels;
    for (std::ptrdiff_t row = 0; row < 3 * height; ++row)
        std::memset(memory.data() + row * stride, before, static_cast<std::size_t>(width));
    renderer.render(tiles.data(), tiles.size(), mix, colour, hole,
                    {memory.data(), plane, stride, height, width});
    for (std::ptrdiff_t row = 0; row < 3 * height; ++row) {
        const std::uint8_t* begin = memory.data() + row * stride;
        pixels.insert(pixels.end(), begin, begin + width);
        require(std::count(begin + width, begin + stride, kGuard) == kMargin);
    }
    return pixels;
}

// Whether there are planes: the JPEG's, or those of an RGB image made of the input's own bytes.
bool decode(const std::uint8_t* data, std::size_t size, yf::PictureRequest request, yf::Picture& out) {
    const yf::PictureStatus status = yf::decode_picture(data, size, request, out);
    require(std::memchr(status.reason, 0, sizeof status.reason) != nullptr);
    if (status.error != yf::PictureError::not_jpeg) return status.error == yf::PictureError::none;
    std::vector<std::uint8_t> rgb(static_cast<std::size_t>(3) * request.height * request.width, 7);
    std::copy_n(data, std::min(size, rgb.size()), rgb.begin());
    yf::convert_rgb(
        {rgb.data(), 3 * static_cast<std::ptrdiff_t>(request.width), request.height, request.width}, out);
    return true;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    Choices choices(data, size);
    yf::JpegHeader header;
    if (yf::parse_jpeg_header(data, size, &header).error == yf::JpegError::not_jpeg) {
        header.width = 1 + choices.byte() % 80;
        header.height = 1 + choices.byte() % 80;
    }
    if (static_cast<std::int64_t>(header.width) * header.height > kMaxInputPixels) return 0;
    const bool turned = header.orientation >= 5;
    const int full_h = turned ? header.width : header.height, full_w = turned ? header.height : header.width;

    const int height = 1 + choices.below(24), width = 1 + choices.below(150);
    double colour[12];
    choose_colour(choices, colour);
    const double mix = choices.often() ? 1.0 : choices.byte() / 255.0;
    const yf::Rectangle hole = choose_hole(choices, height, width);
    yf::Renderer used;
    for (const int cover : {1 << 24, 1 + choices.below(2048), 1 + choices.byte() % 16}) {
        yf::Picture decoded, reduced;
        if (!decode(data, size, {full_h, full_w, cover, yf::JpegDecoder::automatic}, decoded)) return 0;
        check(decoded.view);
        const int factor_x = 1 << choices.byte() % 3, factor_y = 1 << choices.byte() % 3;
        yf::reduce_picture(decoded.view, cover, factor_x, factor_y, reduced);
        check(reduced.view);
        require(std::max(reduced.view.y.width, reduced.view.y.height) <= cover);
        for (const yf::PictureView* view : {&decoded.view, &reduced.view}) {
            const Apart apart(*view);
            const std::vector<yf::Tile> tiles =
                choose_tiles(apart.view, full_h, full_w, height, width, choices);
            // Neither what the output held nor what was rendered before may show.
            yf::Renderer fresh;
            require(render(used, tiles, mix, colour, hole, height, width, 0) ==
                    render(fresh, tiles, mix, colour, hole, height, width, 255));
        }
    }
    return 0;
}
