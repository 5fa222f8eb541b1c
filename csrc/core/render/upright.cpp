// Upright tiles: rows resampled across once, then blended in pairs. See core/render/tiles.hpp.
#include <cmath>
#include <utility>

#include "core/render/rows.hpp"
#include "core/render/tiles.hpp"

namespace yf {
namespace {

constexpr int kReach = 16;  // bytes that a byte shuffle picks from
constexpr int kCacheLine = 64;
constexpr int kRowsTouched = 64;  // source rows of luma that are brought into the cache at a time

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
            const Neighbour at = upright_column(gain, offset, begin + std::min(i, count - 1), width);
            index[i] = at.first;
            weight[i] = at.weight;
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

    // The row at `at` of luma, in a plane that is lower by `factor`: blended from the two around it.
    const std::int16_t* sample(double at, int factor, std::uint16_t* pairs) {
        const auto [first, down] = upright_row(at, factor, plane.height);
        if (down == 0) return row(first, first, pairs);
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

const PlaneView* plane_of(const PictureView& picture, int index) {
    return index == 0 ? &picture.y : index == 1 ? &picture.cb : &picture.cr;
}

}  // namespace

struct UprightRenderer::Scratch {
    PlaneRows planes[kPlanes];
    std::vector<std::uint16_t> pairs;
    std::vector<std::int16_t> zeros;
};

UprightRenderer::UprightRenderer() : scratch_(std::make_unique<Scratch>()) {}
UprightRenderer::~UprightRenderer() = default;

void UprightRenderer::draw(const Tile& tile, const Span* spans, const Colours& colours, Planes dst) {
    Scratch& scratch = *scratch_;
    int top = 0, bottom = dst.height;
    while (top < bottom && spans[top].begin == spans[top].end) ++top;
    while (bottom > top && spans[bottom - 1].begin == spans[bottom - 1].end) --bottom;
    if (top == bottom) return;
    const Span columns = spans[top];
    const std::size_t size = static_cast<std::size_t>(padded(columns.end - columns.begin));
    scratch.pairs.resize(size);
    scratch.zeros.resize(size);

    const auto [gain_x, offset_x, gain_y, offset_y] = upright_axes(tile);
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
            samples[c] = scratch.planes[c].sample(at, factor, scratch.pairs.data());
        }
        write_colours(samples, colours, columns.end - columns.begin,
                      dst.data + y * dst.stride + columns.begin, dst.plane);
    }
}

}  // namespace yf
