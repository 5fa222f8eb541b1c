// Tiles of any kind: four neighbours per pixel, a chunk of a row at a time. See core/render/tiles.hpp.
#include "core/render/rows.hpp"
#include "core/render/tiles.hpp"

namespace yf {
namespace {

// Where each pixel of a chunk finds its upper left neighbour (bytes from the lines' bases on), and the
// weights of the others. All places are inside the plane, also those of pixels past the span's end. Offsets
// are 32-bit: the binding takes no plane of 1 GiB or more.
struct Neighbours {
    std::int32_t offset[kChunk];
    std::int16_t across[kChunk], down[kChunk];
};

YF_MULTIVERSION
void find_inverse_depth(float step, float* __restrict inverse) {
    for (int i = 0; i < kChunk; ++i) inverse[i] = inverse_depth_at(i, step);
}

YF_MULTIVERSION
void find_neighbours(Line column, Line row, const float* __restrict inverse_depth, int width, int height,
                     std::int32_t stride, std::int32_t bytes, Neighbours* __restrict out) {
    const float last_x = static_cast<float>(width - 1 - column.base);
    const float last_y = static_cast<float>(height - 1 - row.base);
    const std::int32_t before_x = width - 2 - column.base, before_y = height - 2 - row.base;
    for (int i = 0; i < kChunk; ++i) {
        const float step = static_cast<float>(i);
        const float x = (column.start + step * column.step) * inverse_depth[i];
        const float y = (row.start + step * row.step) * inverse_depth[i];
        const std::int32_t left = split(x, last_x, before_x, &out->across[i]);
        const std::int32_t top = split(y, last_y, before_y, &out->down[i]);
        out->offset[i] = top * stride + left * bytes;
    }
}

constexpr int kUnrolled = 8;
constexpr int kAhead = 8;  // rows of the source that are asked for before they are needed

// The upper and the lower `Pair` of whole runs of pixels: two neighbours' samples, side by side. The count is
// rounded up, which is safe because every offset is. Left to itself, GCC gathers the pairs of several pixels
// in vector registers, one insertion after the other, which is slower than as many stores.
template <typename Pair>
YF_SCALAR void fetch_quads(const std::uint8_t* above, std::ptrdiff_t stride, std::ptrdiff_t ahead,
                           const std::int32_t* __restrict offset, int count, Pair* __restrict upper,
                           Pair* __restrict lower) {
    const std::uint8_t* below = above + stride;
    const auto address = reinterpret_cast<std::intptr_t>(above);
    for (std::ptrdiff_t at = 0; at < count; at += kUnrolled) {
        // An address, not a pointer: it may lie outside of the plane.
        __builtin_prefetch(reinterpret_cast<const void*>(address + offset[at] + ahead));
#pragma GCC unroll 8
        for (std::ptrdiff_t k = 0; k < kUnrolled; ++k) {
            const std::ptrdiff_t from = offset[at + k];
            std::memcpy(&upper[at + k], above + from, sizeof(Pair));
            std::memcpy(&lower[at + k], below + from, sizeof(Pair));
        }
    }
}

// Rows [top, bottom) of Cb and Cr side by side, so that one fetch brings both: at least two pixels wide.
PlaneView interleave(const PlaneView& cb, const PlaneView& cr, int top, int bottom,
                     std::vector<std::uint8_t>& out) {
    const int width = std::max(cb.width, 2), height = bottom - top;
    const std::ptrdiff_t stride = 2 * static_cast<std::ptrdiff_t>(width);
    out.resize(static_cast<std::size_t>(stride) * static_cast<std::size_t>(height));
    for (int y = 0; y < height; ++y) {
        const int from = std::min(top + y, cb.height - 1);
        std::uint8_t* row = out.data() + y * stride;
        interleave_row(cb.data + from * cb.stride, cr.data + from * cr.stride, cb.width, row);
        if (cb.width == 1) std::memcpy(row + 2, row, 2);
    }
    return {out.data(), stride, height, width};
}

}  // namespace

void GeneralRenderer::draw(const Tile& tile, const Span* spans, const Colours& colours, Planes dst) {
    const Projection projection = project(tile);
    const double* to = projection.to;
    const PictureView& picture = tile.picture;
    const bool colourful = picture.cb.data != nullptr;
    const PlaneView luma = at_least_two(picture.y, copy_);
    PlaneView chroma{};
    Span rows{0, 0};
    if (colourful) {
        rows = rows_of(tile, picture.factor_y, picture.cb.height);
        chroma = interleave(picture.cb, picture.cr, rows.begin, rows.end, interleaved_);
    }

    const double chroma_x = 1.0 / picture.factor_x, chroma_y = 1.0 / picture.factor_y;
    Neighbours at, at_chroma;
    float inverse_depth[kChunk];
    std::fill(inverse_depth, inverse_depth + kChunk, 1.0f);
    std::uint16_t upper[kChunk] = {}, lower[kChunk] = {};
    std::uint32_t upper_chroma[kChunk] = {}, lower_chroma[kChunk] = {};
    std::int16_t blended[kPlanes][kChunk] = {};
    const std::int16_t* samples[kPlanes] = {blended[0], blended[1], blended[2]};
    const int ahead = to[4] < 0 ? -kAhead : kAhead;
    const bool perspective = to[6] != 0 || to[7] != 0 || to[8] != 1;
    for (int y = 0; y < dst.height; ++y)
        for (int begin = spans[y].begin; begin < spans[y].end; begin += kChunk) {
            const int count = std::min(kChunk, spans[y].end - begin);
            const ChunkPath path = path_of(projection, begin, y);
            if (perspective) find_inverse_depth(static_cast<float>(path.depth_step), inverse_depth);
            const auto find = [&](const PlaneView& view, double scale_x, double scale_y, int first_row,
                                  int bytes, Neighbours* to_find) {
                const auto [columns, lines] =
                    lines_of(path, scale_x, scale_y, first_row, view.width, view.height, count);
                find_neighbours(columns, lines, inverse_depth, view.width, view.height,
                                static_cast<std::int32_t>(view.stride), bytes, to_find);
                return view.data + lines.base * view.stride +
                       bytes * static_cast<std::ptrdiff_t>(columns.base);
            };
            // All is fetched before anything is blended: a wide load right behind the narrow stores that it
            // reads would wait for them.
            const std::uint8_t* base = find(luma, 1, 1, 0, 1, &at);
            fetch_quads(base, luma.stride, ahead * luma.stride, at.offset, count, upper, lower);
            if (colourful) {
                base = find(chroma, chroma_x, chroma_y, rows.begin, 2, &at_chroma);
                fetch_quads(base, chroma.stride, ahead * chroma.stride, at_chroma.offset, count, upper_chroma,
                            lower_chroma);
            }
            lerp_quads(upper, lower, at.across, at.down, kChunk, blended[0]);
            if (colourful)
                lerp_chroma(upper_chroma, lower_chroma, at_chroma.across, at_chroma.down, kChunk, blended[1],
                            blended[2]);
            write_colours(samples, colours, count, dst.data + y * dst.stride + begin, dst.plane);
        }
}

}  // namespace yf
