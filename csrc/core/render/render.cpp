// The renderer: which tile is drawn how, gray between the tiles, and the mix of two layers. See render.hpp
// for the contract, core/render/tiles.hpp for the two ways to draw.
#include "core/render/render.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "core/render/colours.hpp"
#include "core/render/points.hpp"
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

// Gray in `region` where none of `count` tiles (their spans: [tile][row]) owns the pixel.
void fill_gaps(const Span* spans, std::size_t count, const Rectangle& region, Planes dst) {
    for (int y = region.rows.begin; y < region.rows.end; ++y) {
        int covered = region.columns.begin;  // all before it is owned or filled
        while (covered < region.columns.end) {
            int next = region.columns.end, past = covered;
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

// The parts of a frame around a hole.
constexpr int kAbove = 1, kLeft = 2, kRight = 4, kBelow = 8;

// Of the spans of all rows, what lies in `parts` (bits) of the frame around `hole`; whether that is anything.
// Left and right of the hole, a span is cut at multiples of `grid` from its begin on, so that it may reach
// into the hole.
bool keep_around(const Span* spans, int height, const Rectangle& hole, int parts, int grid, Span* out) {
    bool any = false;
    for (int y = 0; y < height; ++y) {
        const Span span = spans[y];
        Span kept{0, 0};
        if (y < hole.rows.begin || y >= hole.rows.end) {
            if ((parts & (y < hole.rows.begin ? kAbove : kBelow)) != 0) kept = span;
        } else {
            const int before = std::max(hole.columns.begin - span.begin, 0);
            const int past = std::max(hole.columns.end - span.begin, 0);
            const int left = std::min(span.begin + (before + grid - 1) / grid * grid, span.end);
            if ((parts & kLeft) != 0) kept = {span.begin, left};
            if ((parts & kRight) != 0) kept = {std::max(span.begin + past / grid * grid, left), span.end};
        }
        if (kept.begin >= kept.end) kept = {0, 0};
        any |= kept.begin < kept.end;
        out[y] = kept;
    }
    return any;
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
    std::vector<Span> around;
    std::vector<std::uint8_t> mixed;

    // A layer in `region`, but for what lies in `hole`: that is left as it is, or overwritten with anything.
    void draw_layer(const Tile* tiles, std::size_t count, int layer, const Rectangle& region,
                    const Rectangle& hole, const Colours& colours, Planes dst);
    void draw_around(const Tile& tile, const Span* own, const Rectangle& hole, const Colours& colours,
                     Planes dst);
};

void Renderer::Scratch::draw_layer(const Tile* tiles, std::size_t count, int layer, const Rectangle& region,
                                   const Rectangle& hole, const Colours& colours, Planes dst) {
    std::size_t drawn = 0;
    for (std::size_t t = 0; t < count; ++t) {
        if (tiles[t].layer != layer) continue;
        spans.resize((drawn + 1) * static_cast<std::size_t>(dst.height));
        Span* const own = spans.data() + drawn * static_cast<std::size_t>(dst.height);
        find_spans(tiles[t], dst.height, dst.width, own);
        if (layer == 2)
            for (int y = 0; y < dst.height; ++y) own[y] = clipped(own[y], y, region);
        ++drawn;
    }
    fill_gaps(spans.data(), drawn, region, dst);
    const Span* own = spans.data();
    for (std::size_t t = 0; t < count; ++t) {
        if (tiles[t].layer != layer) continue;
        if (!hole.empty())
            draw_around(tiles[t], own, hole, colours, dst);
        else if (is_upright(tiles[t]))
            upright.draw(tiles[t], own, colours, dst);
        else
            general.draw(tiles[t], own, colours, dst);
        own += dst.height;
    }
}

void Renderer::Scratch::draw_around(const Tile& tile, const Span* own, const Rectangle& hole,
                                    const Colours& colours, Planes dst) {
    around.resize(static_cast<std::size_t>(dst.height));
    if (is_upright(tile)) {  // the same columns in all rows
        for (const int parts : {kAbove, kLeft, kRight, kBelow})
            if (keep_around(own, dst.height, hole, parts, 1, around.data()))
                upright.draw(tile, around.data(), colours, dst);
    } else {  // whole chunks, whose pixels are rounded from the first one on
        for (const int parts : {kAbove | kLeft | kBelow, +kRight})
            if (keep_around(own, dst.height, hole, parts, kChunk, around.data()))
                general.draw(tile, around.data(), colours, dst);
    }
}

Renderer::Renderer() : scratch_(std::make_unique<Scratch>()) {}
Renderer::~Renderer() = default;

void Renderer::render(const Tile* tiles, std::size_t count, double mix, const double* colour,
                      const Rectangle& hole, Planes dst) {
    Scratch& scratch = *scratch_;
    const Colours colours = quantise(colour);
    const Rectangle frame{{0, dst.width}, {0, dst.height}};
    scratch.draw_layer(tiles, count, 0, frame, hole, colours, dst);
    if (mix < 1.0) {
        const std::size_t plane = static_cast<std::size_t>(dst.height) * static_cast<std::size_t>(dst.width);
        scratch.mixed.resize(kPlanes * plane);
        const Planes second{scratch.mixed.data(), static_cast<std::ptrdiff_t>(plane), dst.width, dst.height,
                            dst.width};
        scratch.draw_layer(tiles, count, 1, frame, hole, colours, second);
        const auto weight = static_cast<std::int32_t>(std::lround(mix * 32768.0));
        for (int c = 0; c < kPlanes; ++c)
            for (int y = 0; y < dst.height; ++y)
                mix_rows(second.data + c * second.plane + y * second.stride, weight, dst.width,
                         dst.data + c * dst.plane + y * dst.stride);
    }
    if (!hole.empty()) scratch.draw_layer(tiles, count, 2, hole, {}, colours, dst);
}

}  // namespace yf
