// The renderer: which tile is drawn how, gray between the tiles, and the mix of two layers. See render.hpp
// for the contract, core/render/tiles.hpp for the two ways to draw.
#include "core/render/render.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "core/render/colours.hpp"
#include "core/render/spans.hpp"
#include "core/render/tiles.hpp"

namespace yf {
namespace {

void fill_run(Planes dst, int y, int begin, int end) {
    if (begin >= end) return;
    for (int c = 0; c < kPlanes; ++c)
        std::memset(dst.data + c * dst.plane + y * dst.stride + begin, kFill,
                    static_cast<std::size_t>(end - begin));
}

// Gray where none of `count` tiles (their spans: [tile][row]) owns the pixel.
void fill_gaps(const Span* spans, std::size_t count, Planes dst) {
    for (int y = 0; y < dst.height; ++y) {
        int covered = 0;  // all before it is owned or filled
        while (covered < dst.width) {
            int next = dst.width, past = covered;
            for (std::size_t t = 0; t < count; ++t) {
                const Span span = spans[t * static_cast<std::size_t>(dst.height) + y];
                if (span.end <= covered) continue;
                if (span.begin <= covered)
                    past = std::max(past, span.end);
                else
                    next = std::min(next, span.begin);
            }
            if (past == covered) {
                fill_run(dst, y, covered, next);
                past = next;
            }
            covered = past;
        }
    }
}

YF_MULTIVERSION
void mix_rows(const std::uint8_t* __restrict in, std::int32_t weight, int count,
              std::uint8_t* __restrict out) {
    for (int i = 0; i < count; ++i)
        out[i] = static_cast<std::uint8_t>((out[i] * weight + in[i] * (32768 - weight) + 16384) >> 15);
}

}  // namespace

struct Renderer::Scratch {
    UprightRenderer upright;
    GeneralRenderer general;
    std::vector<Span> spans;  // [tile][row]
    std::vector<std::uint8_t> mixed;

    void draw_layer(const Tile* tiles, std::size_t count, int layer, const Colours& colours, Planes dst);
};

void Renderer::Scratch::draw_layer(const Tile* tiles, std::size_t count, int layer, const Colours& colours,
                                   Planes dst) {
    std::size_t drawn = 0;
    for (std::size_t t = 0; t < count; ++t) {
        if (tiles[t].layer != layer) continue;
        spans.resize((drawn + 1) * static_cast<std::size_t>(dst.height));
        find_spans(tiles[t], dst.height, dst.width,
                   spans.data() + drawn * static_cast<std::size_t>(dst.height));
        ++drawn;
    }
    fill_gaps(spans.data(), drawn, dst);
    const Span* own = spans.data();
    for (std::size_t t = 0; t < count; ++t) {
        if (tiles[t].layer != layer) continue;
        if (is_upright(tiles[t]))
            upright.draw(tiles[t], own, colours, dst);
        else
            general.draw(tiles[t], own, colours, dst);
        own += dst.height;
    }
}

Renderer::Renderer() : scratch_(std::make_unique<Scratch>()) {}
Renderer::~Renderer() = default;

void Renderer::render(const Tile* tiles, std::size_t count, double mix, const double* colour, Planes dst) {
    Scratch& scratch = *scratch_;
    const Colours colours = quantise(colour);
    scratch.draw_layer(tiles, count, 0, colours, dst);
    if (mix >= 1.0) return;
    const std::size_t plane = static_cast<std::size_t>(dst.height) * static_cast<std::size_t>(dst.width);
    scratch.mixed.resize(kPlanes * plane);
    const Planes second{scratch.mixed.data(), static_cast<std::ptrdiff_t>(plane), dst.width, dst.height,
                        dst.width};
    scratch.draw_layer(tiles, count, 1, colours, second);
    const auto weight = static_cast<std::int32_t>(std::lround(mix * 32768.0));
    for (int c = 0; c < kPlanes; ++c)
        for (int y = 0; y < dst.height; ++y)
            mix_rows(second.data + c * second.plane + y * second.stride, weight, dst.width,
                     dst.data + c * dst.plane + y * dst.stride);
}

}  // namespace yf
