// The renderer. See render.hpp for the contract.
//
// A tile without rotation, shear or perspective is separable: each source row it needs is resampled across
// once, and two such rows are blended for each output row. Any other tile takes the four neighbours of each
// pixel. Both end in the same colour pass. All of it works a row at a time, in buffers that stay in the
// first-level cache.
#include "render.hpp"

#include <cmath>
#include <utility>
#include <vector>

#include "render_rows.hpp"
#include "render_spans.hpp"

namespace yf {
namespace {

constexpr int kReach = 16;   // bytes that a byte shuffle picks from
constexpr int kChunk = 128;  // pixels a step of the general path
constexpr int kPlanes = 3;
constexpr int kCacheLine = 64;
constexpr int kRowsTouched = 64;  // source rows of luma that are brought into the cache at a time

// ---------------------------------------------------------------------------------- one axis of a plane

// How a run of output pixels samples a row: where the two neighbours of each are, and how they blend.
struct Across {
    int group;  // pixels a byte shuffle: 8, 4, or 1 = fetch each pair by itself
    std::vector<std::int32_t> index, base;
    std::vector<std::uint8_t> shuffle;
    std::vector<std::int16_t> weight;

    // Pixel begin + i lies at `gain * (begin + i + 0.5) + offset` (pixel edges) of a row of `width` >= 2.
    void plan(double gain, double offset, int begin, int count, int width) {
        const std::size_t size = static_cast<std::size_t>(padded(count));
        index.resize(size);
        weight.resize(size);
        for (int i = 0; i < static_cast<int>(size); ++i) {
            double at = gain * (begin + std::min(i, count - 1) + 0.5) + offset - 0.5;
            at = std::min(std::max(at, 0.0), width - 1.0);
            const int first = std::min(static_cast<int>(at), width - 2);
            index[i] = first;
            weight[i] = static_cast<std::int16_t>(std::min((at - first) * 32768.0 + 0.5, 32767.0));
        }
        group = 1;  // unless:
        if (has_byte_shuffle() && width >= kReach && !fits<8>(width)) fits<4>(width);
    }

    template <int size>
    bool fits(int width) {  // whether groups of `size` can be shuffled; sets them up
        const int groups = static_cast<int>(index.size()) / size;
        base.resize(static_cast<std::size_t>(groups));
        shuffle.resize(static_cast<std::size_t>(groups) * kReach);
        for (int k = 0; k < groups; ++k) {
            const std::int32_t* at = index.data() + k * size;
            const auto [low, high] = std::minmax(at[0], at[size - 1]);  // positions are monotone
            base[k] = std::min(low, width - kReach);
            if (high + 1 - base[k] >= kReach) return false;
            for (int i = 0; i < size; ++i) {
                shuffle[kReach * k + 2 * i] = static_cast<std::uint8_t>(at[i] - base[k]);
                shuffle[kReach * k + 2 * i + 1] = static_cast<std::uint8_t>(at[i] - base[k] + 1);
            }
            for (int i = 2 * size; i < kReach; ++i) shuffle[kReach * k + i] = 0;
        }
        group = size;
        return true;
    }

    void sample(const std::uint8_t* row, std::uint16_t* pairs, std::int16_t* out) const {
        const int count = static_cast<int>(index.size());
        if (group == 8 && has_wide_shuffle())
            return sample_groups(row, base.data(), shuffle.data(), weight.data(), count, out);
        if (group == 8)
            fetch_groups<8>(row, base.data(), shuffle.data(), count, pairs);
        else if (group == 4)
            fetch_groups<4>(row, base.data(), shuffle.data(), count, pairs);
        else
            fetch_each(row, index.data(), count, pairs);
        lerp_pairs(pairs, weight.data(), count, out);
    }
};

// A plane at least two pixels wide and high: what it was, or a copy with its last row and column repeated.
PlaneView at_least_two(PlaneView plane, std::vector<std::uint8_t>& copy) {
    if (plane.width >= 2 && plane.height >= 2) return plane;
    const int width = std::max(plane.width, 2), height = std::max(plane.height, 2);
    copy.resize(static_cast<std::size_t>(width) * static_cast<std::size_t>(height));
    for (int y = 0; y < height; ++y)
        for (int x = 0; x < width; ++x)
            copy[static_cast<std::size_t>(y) * width + x] =
                plane.data[std::min(y, plane.height - 1) * plane.stride + std::min(x, plane.width - 1)];
    return {copy.data(), width, height, width};
}

// The rows of one plane, resampled across, of which the last two stay.
struct PlaneRows {
    Across own;
    const Across* across;  // `own`, or that of a plane which is sampled in the same places
    std::vector<std::uint8_t> copy;
    std::vector<std::int16_t> rows[2], blended;
    int held[2];
    PlaneView plane;

    // `like` is a plane that has been started, or null; `same` says that its samples lie where these do.
    void start(PlaneView source, double gain, double offset, Span columns, const PlaneRows* like, bool same) {
        plane = at_least_two(source, copy);
        // Past the last true column everything equals it, so a repeated one changes nothing.
        if (like != nullptr && same && like->plane.width == plane.width) {
            across = like->across;
        } else {
            across = &own;
            own.plan(gain, offset, columns.begin, columns.end - columns.begin, plane.width);
        }
        for (auto* row : {&rows[0], &rows[1], &blended}) row->resize(across->index.size());
        held[0] = held[1] = -1;
    }

    // Brings the part of a row that will be sampled into the cache. Resampling jumps too much for the
    // hardware to see what comes next, and prefetch instructions gained nothing here: loads do.
    void touch(int index) const {
        if (index >= plane.height) return;
        const auto [low, high] = std::minmax(across->index.front(), across->index.back());
        const volatile std::uint8_t* row = plane.data + index * plane.stride;
        for (int x = low; x <= high; x += kCacheLine) static_cast<void>(row[x]);
    }

    const std::int16_t* row(int index, int other, std::uint16_t* pairs) {
        for (int k = 0; k < 2; ++k)
            if (held[k] == index) return rows[k].data();
        const int free = held[0] == other ? 1 : 0;
        held[free] = index;
        across->sample(plane.data + index * plane.stride, pairs, rows[free].data());
        return rows[free].data();
    }

    // The row at `at` (index units, pixel centres), blended from the two around it.
    const std::int16_t* sample(double at, std::uint16_t* pairs) {
        at = std::min(std::max(at, 0.0), plane.height - 1.0);
        const int first = std::min(static_cast<int>(at), plane.height - 2);
        const double weight = std::min((at - first) * 32768.0 + 0.5, 32767.0);
        const auto down = static_cast<std::int16_t>(weight);
        if (down == 0) return row(first, first, pairs);
        if (down == kWeightMax) return row(first + 1, first + 1, pairs);
        const std::int16_t* upper = row(first, first + 1, pairs);
        const std::int16_t* lower = row(first + 1, first, pairs);
        lerp_rows(upper, lower, down, static_cast<int>(blended.size()), blended.data());
        return blended.data();
    }
};

// Brings the rows between two positions of luma, and of chroma there, into the cache: in the order of memory,
// where the rows of chroma follow those of luma.
void touch_rows(const PlaneRows* planes, int count, int factor_y, double from, double to) {
    const int last = planes[0].plane.height - 1;
    const auto row_at = [last](double at) { return static_cast<int>(std::clamp(at, 0.0, 1.0 * last)); };
    const int end = row_at(std::max(from, to) + 1);
    for (int y = row_at(std::min(from, to) - 1); y <= end; ++y)
        for (int c = 0; c < count; ++c)
            if (c == 0 || y % factor_y == 0) planes[c].touch(c == 0 ? y : y / factor_y);
}

// ---------------------------------------------------------------------------------- colour

struct Colours {
    ColourRow rows[3];
};

Colours quantise(const double* colour) {
    Colours result;
    const auto fixed = [](double value) {
        return static_cast<std::int16_t>(std::clamp(std::lround(value), -32768L, 32767L));
    };
    for (int c = 0; c < 3; ++c) {
        const double* m = colour + 4 * c;
        const double centre = m[3] + 128.0 * (m[0] + m[1] + m[2]);
        result.rows[c] = {fixed(m[0] * 4096), fixed(m[1] * 4096), fixed(m[2] * 4096), fixed(centre * 16 + 8)};
    }
    return result;
}

// Colours of `count` pixels to the target: whole runs of lanes go there directly, the rest by way of a
// buffer.
void write_colours(const std::int16_t* const* samples, const Colours& colours, int count, std::uint8_t* out,
                   std::ptrdiff_t plane) {
    const int whole = count / kLanes * kLanes, rest = count - whole;
    if (whole > 0)
        colour_rows(samples[0], samples[1], samples[2], colours.rows, whole, out, out + plane,
                    out + 2 * plane);
    if (rest == 0) return;
    std::uint8_t last[kPlanes][kLanes];
    colour_rows(samples[0] + whole, samples[1] + whole, samples[2] + whole, colours.rows, kLanes, last[0],
                last[1], last[2]);
    for (int c = 0; c < kPlanes; ++c)
        std::memcpy(out + c * plane + whole, last[c], static_cast<std::size_t>(rest));
}

// ---------------------------------------------------------------------------------- tiles

struct Scratch {
    PlaneRows planes[kPlanes];
    std::vector<std::uint16_t> pairs;
    std::vector<std::int16_t> zeros;
    std::vector<Span> spans;  // [tile][row]
    std::vector<std::uint8_t> mixed, interleaved;
};

const PlaneView* plane_of(const PictureView& picture, int index) {
    return index == 0 ? &picture.y : index == 1 ? &picture.cb : &picture.cr;
}

void draw_upright(const Tile& tile, const Span* spans, const Colours& colours, Planes dst, Scratch& scratch) {
    int top = 0, bottom = dst.height;
    while (top < bottom && spans[top].begin == spans[top].end) ++top;
    while (bottom > top && spans[bottom - 1].begin == spans[bottom - 1].end) --bottom;
    if (top == bottom) return;
    const Span columns = spans[top];
    const std::size_t size = static_cast<std::size_t>(padded(columns.end - columns.begin));
    scratch.pairs.resize(size);
    scratch.zeros.resize(size);

    const double *m = tile.matrix, *p = tile.picture.place;
    const double gain_x = p[0] * m[0], offset_x = p[0] * m[2] + p[2];
    const double gain_y = p[4] * m[4], offset_y = p[4] * m[5] + p[5];
    const int planes = tile.picture.cb.data == nullptr ? 1 : kPlanes;
    for (int c = 0; c < planes; ++c) {
        const int factor = c == 0 ? 1 : tile.picture.factor_x;
        const PlaneRows* before = c == 0 ? nullptr : &scratch.planes[c - 1];
        scratch.planes[c].start(*plane_of(tile.picture, c), gain_x / factor, offset_x / factor, columns,
                                before, c == 2 || factor == 1);
    }
    const std::int16_t* samples[kPlanes] = {nullptr, scratch.zeros.data(), scratch.zeros.data()};
    const int together =
        static_cast<int>(std::clamp(kRowsTouched / std::abs(gain_y), 1.0, kRowsTouched * 1.0));
    for (int y = top; y < bottom; ++y) {
        const double at = gain_y * (y + 0.5) + offset_y;
        if ((y - top) % together == 0)
            touch_rows(scratch.planes, planes, tile.picture.factor_y, at,
                       at + gain_y * (std::min(together, bottom - y) - 1));
        for (int c = 0; c < planes; ++c) {
            const int factor = c == 0 ? 1 : tile.picture.factor_y;
            samples[c] = scratch.planes[c].sample(at / factor - 0.5, scratch.pairs.data());
        }
        write_colours(samples, colours, columns.end - columns.begin,
                      dst.data + y * dst.stride + columns.begin, dst.plane);
    }
}

// A line of output pixels on its way through one axis of a plane: pixel begin + i lies at
// (start + i * step) / (1 + i * depth_step), in index units (pixel centres) from `base` on. Relative to a
// base nearby, single precision is exact to about 1e-5 of a pixel.
struct Line {
    std::int32_t base;
    float start, step;
};

// `start` and `step` are in pixels of the plane, whose axis has `size`. `start` may be infinite, but not NaN.
Line line_through(double start, double step, double depth_step, int size, int count) {
    const double last = (start + (count - 1) * step) / (1 + (count - 1) * depth_step);
    const auto base = static_cast<std::int32_t>(std::clamp(std::min(start, last) - 0.5, 0.0, size - 1.0));
    const double shift = base + 0.5;
    return {base, static_cast<float>(start - shift), static_cast<float>(step - shift * depth_step)};
}

// Where each pixel of a chunk finds its upper left neighbour (bytes from the lines' bases on), and the
// weights of the others. All places are inside the plane, also those of pixels past the span's end. Offsets
// are 32-bit: the binding takes no plane of 1 GiB or more.
struct Neighbours {
    std::int32_t offset[kChunk];
    std::int16_t across[kChunk], down[kChunk];
};

YF_MULTIVERSION
void find_inverse_depth(float step, float* __restrict inverse) {
    for (int i = 0; i < kChunk; ++i) {
        // Past the span's end the depth may reach 0; those pixels are not written.
        const float at = 1.0f + static_cast<float>(i) * step;
        inverse[i] = 1.0f / (at > 1e-30f ? at : 1e-30f);
    }
}

// Splits a position, clamped to [0, last], into a neighbour and the weight of the next one.
inline std::int32_t split(float at, float last, std::int32_t before_last, std::int16_t* weight) {
    at = at > 0.0f ? at : 0.0f;
    at = at < last ? at : last;
    std::int32_t first = static_cast<std::int32_t>(at);
    first = first < before_last ? first : before_last;
    const std::int32_t part = static_cast<std::int32_t>((at - static_cast<float>(first)) * 32768.0f + 0.5f);
    *weight = static_cast<std::int16_t>(part < kWeightMax ? part : kWeightMax);
    return first;
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

// The rows of a plane that a tile can touch, two at least: those of its window, turned and scaled, and some
// around.
Span rows_of(const Tile& tile, int factor, int height) {
    const double *p = tile.picture.place, *w = tile.window;
    double low = height, high = 0;
    for (int corner = 0; corner < 4; ++corner) {
        const double y = (p[3] * w[corner & 1 ? 2 : 0] + p[4] * w[corner & 2 ? 3 : 1] + p[5]) / factor;
        low = std::min(low, y);
        high = std::max(high, y);
    }
    const double last = std::max(height, 2);
    return {static_cast<int>(std::clamp(low - 2, 0.0, last)),
            static_cast<int>(std::clamp(high + 3, 0.0, last))};
}

void draw_general(const Tile& tile, const Span* spans, const Colours& colours, Planes dst, Scratch& scratch) {
    const double *m = tile.matrix, *p = tile.picture.place;
    double to[9];  // output point -> point of `y`, homogeneous
    for (int c = 0; c < 3; ++c) {
        to[c] = p[0] * m[c] + p[1] * m[3 + c] + p[2] * m[6 + c];
        to[3 + c] = p[3] * m[c] + p[4] * m[3 + c] + p[5] * m[6 + c];
        to[6 + c] = m[6 + c];
    }
    const PictureView& picture = tile.picture;
    const bool colourful = picture.cb.data != nullptr;
    const PlaneView luma = at_least_two(picture.y, scratch.planes[0].copy);
    PlaneView chroma{};
    Span rows{0, 0};
    if (colourful) {
        rows = rows_of(tile, picture.factor_y, picture.cb.height);
        chroma = interleave(picture.cb, picture.cr, rows.begin, rows.end, scratch.interleaved);
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
            const double u = begin + 0.5, v = y + 0.5;
            // All over the first pixel's depth, which is positive: a projection may come at any scale.
            const double depth = to[6] * u + (to[7] * v + to[8]), depth_step = to[6] / depth;
            const double x0 = (to[0] * u + (to[1] * v + to[2])) / depth, step_x = to[0] / depth;
            const double y0 = (to[3] * u + (to[4] * v + to[5])) / depth, step_y = to[3] / depth;
            if (perspective) find_inverse_depth(static_cast<float>(depth_step), inverse_depth);
            const auto find = [&](const PlaneView& view, double scale_x, double scale_y, int first_row,
                                  int bytes, Neighbours* to_find) {
                const Line columns =
                    line_through(x0 * scale_x, step_x * scale_x, depth_step, view.width, count);
                const Line lines =
                    line_through(y0 * scale_y - first_row, step_y * scale_y - first_row * depth_step,
                                 depth_step, view.height, count);
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

void draw_layer(const Tile* tiles, std::size_t count, int layer, const Colours& colours, Planes dst,
                Scratch& scratch) {
    std::size_t drawn = 0;
    for (std::size_t t = 0; t < count; ++t) {
        if (tiles[t].layer != layer) continue;
        scratch.spans.resize((drawn + 1) * static_cast<std::size_t>(dst.height));
        find_spans(tiles[t], dst.height, dst.width,
                   scratch.spans.data() + drawn * static_cast<std::size_t>(dst.height));
        ++drawn;
    }
    fill_gaps(scratch.spans.data(), drawn, dst);
    const Span* spans = scratch.spans.data();
    for (std::size_t t = 0; t < count; ++t) {
        if (tiles[t].layer != layer) continue;
        if (is_upright(tiles[t]))
            draw_upright(tiles[t], spans, colours, dst, scratch);
        else
            draw_general(tiles[t], spans, colours, dst, scratch);
        spans += dst.height;
    }
}

YF_MULTIVERSION
void mix_rows(const std::uint8_t* __restrict in, std::int32_t weight, int count,
              std::uint8_t* __restrict out) {
    for (int i = 0; i < count; ++i)
        out[i] = static_cast<std::uint8_t>((out[i] * weight + in[i] * (32768 - weight) + 16384) >> 15);
}

}  // namespace

struct Renderer::Scratch : yf::Scratch {};  // the class need not name what rows are

Renderer::Renderer() : scratch_(std::make_unique<Scratch>()) {}
Renderer::~Renderer() = default;

void Renderer::render(const Tile* tiles, std::size_t count, double mix, const double* colour, Planes dst) {
    Scratch& scratch = *scratch_;
    const Colours colours = quantise(colour);
    draw_layer(tiles, count, 0, colours, dst, scratch);
    if (mix >= 1.0) return;
    const std::size_t plane = static_cast<std::size_t>(dst.height) * static_cast<std::size_t>(dst.width);
    scratch.mixed.resize(kPlanes * plane);
    const Planes second{scratch.mixed.data(), static_cast<std::ptrdiff_t>(plane), dst.width, dst.height,
                        dst.width};
    draw_layer(tiles, count, 1, colours, second, scratch);
    const auto weight = static_cast<std::int32_t>(std::lround(mix * 32768.0));
    for (int c = 0; c < kPlanes; ++c)
        for (int y = 0; y < dst.height; ++y)
            mix_rows(second.data + c * second.plane + y * second.stride, weight, dst.width,
                     dst.data + c * dst.plane + y * dst.stride);
}

}  // namespace yf
