// Strips to packed rows. Where chroma is blended down, the upper luma row of a pair needs the chroma row
// above and the lower one the row below. So a new chroma row completes two luma rows: the lower one of the
// pair before, kept since then when it was the last of its strip, and the upper one of its own.
#include "core/jpeg/packed.hpp"

#include <algorithm>
#include <cstring>

#include "core/jpeg/upsample.hpp"

namespace yf {
namespace {

constexpr int kTurnedRows = 32;  // rows placed together when they become columns: 96 bytes a time

Widening widening_of(const PlaneSizes& s, int chroma_width) {
    if (s.fancy && s.factor_x == 1 && s.factor_y == 2) return Widening::down;
    if (s.fancy && s.factor_x == 2 && chroma_width > 2) {
        if (s.factor_y == 1) return Widening::across;
        if (s.factor_y == 2) return Widening::both;
    }
    return s.factor_x == 1 ? Widening::same : Widening::repeat;
}

// Copies `count` pixels that lie side by side in memory from `to` on, upwards or downwards (`to_step`). A
// pixel of 3 bytes is copied as 4 while the next one is still to be written over the fourth.
template <int channels>
void copy_run(std::uint8_t* to, std::ptrdiff_t to_step, const std::uint8_t* from, std::ptrdiff_t from_step,
              int count) {
    constexpr std::size_t whole = channels == 3 ? 4 : channels;
    if (to_step < 0) {
        to += (count - 1) * to_step;
        from += (count - 1) * from_step;
        from_step = -from_step;
    }
#pragma GCC unroll 4
    for (int i = 1; i < count; ++i, to += channels, from += from_step) std::memcpy(to, from, whole);
    std::memcpy(to, from, channels);
}

template <int channels>
void scatter(const Placement& p, int y, int rows, const std::uint8_t* pixels, std::ptrdiff_t row_bytes,
             int width) {
    std::uint8_t* const to = p.origin + y * p.step_y;
    if (p.step_y == channels || p.step_y == -channels) {
        for (int x = 0; x < width; ++x)
            copy_run<channels>(to + x * p.step_x, p.step_y,
                               pixels + static_cast<std::ptrdiff_t>(x) * channels, row_bytes, rows);
    } else {
        for (int r = 0; r < rows; ++r)
            copy_run<channels>(to + r * p.step_y, p.step_x, pixels + r * row_bytes, channels, width);
    }
}

}  // namespace

void Placement::place(int y, int rows, const std::uint8_t* pixels, std::ptrdiff_t row_bytes,
                      int width) const {
    if (channels == 3)
        scatter<3>(*this, y, rows, pixels, row_bytes, width);
    else
        scatter<1>(*this, y, rows, pixels, row_bytes, width);
}

Placement place_packed(std::uint8_t* data, std::ptrdiff_t stride, int out_height, int out_width, int channels,
                       int orientation) {
    const int o = orientation;
    const bool mirror_x = o == 2 || o == 3 || o == 6 || o == 7,
               mirror_y = o == 3 || o == 4 || o == 7 || o == 8;
    const std::ptrdiff_t across = mirror_x ? -channels : channels, down = mirror_y ? -stride : stride;
    if (mirror_x) data += static_cast<std::ptrdiff_t>(out_width - 1) * channels;
    if (mirror_y) data += (out_height - 1) * stride;
    return o >= 5 ? Placement{data, down, across, channels} : Placement{data, across, down, channels};
}

PackedRows::PackedRows(PixelOrder order, const PlaneSizes& sizes, const Region& window,
                       const Placement& place, PackForm form)
    : sizes_(sizes),
      window_(window),
      place_(place),
      pack_(pack_row_function(order, form)),
      width_(window.x1 - window.x0) {
    if (sizes_.components == 1) sizes_.factor_x = sizes_.factor_y = 1;
    widening_ = widening_of(sizes_, ceil_div(sizes_.width, sizes_.factor_x));
    first_ = window_.x0 / sizes_.factor_x;
    last_ = ceil_div(window_.x1, sizes_.factor_x);
    chroma_height_ = ceil_div(sizes_.height, sizes_.factor_y);
    top_ = blends_rows() ? (window_.y0 - 1) / 2 : window_.y0 / sizes_.factor_y;
    bottom_ =
        blends_rows() ? std::min(window_.y1 / 2 + 1, chroma_height_) : ceil_div(window_.y1, sizes_.factor_y);

    const int count = last_ - first_;
    const auto size = [](int n) { return static_cast<std::size_t>(n); };
    if (widening_ != Widening::same) {
        lines_.resize(4 * size(upsample::line_size(count)));
        wide_.resize(2 * size(upsample::grouped(count)) * size(sizes_.factor_x));
    }
    if (widening_ == Widening::both) sums_.resize(size(upsample::line_size(count)));
    if (blends_rows()) luma_.resize(size(width_));
    if (sizes_.components == 1) wide_.assign(size(width_), 128);  // no colour
    if (!place_.in_place()) turned_.resize(size(kTurnedRows) * 3 * size(width_) + 1);
}

Region PackedRows::context() const {
    const bool lines = widening_ != Widening::same;
    const int fx = sizes_.factor_x, fy = sizes_.factor_y, left = lines ? first_ - 1 : first_,
              right = lines ? last_ + 1 : last_;
    return {std::max(left * fx, 0), top_ * fy, std::min(right * fx, sizes_.width),
            std::min(bottom_ * fy, sizes_.height)};
}

std::uint8_t* PackedRows::line(int component, int chroma_row) {
    const std::ptrdiff_t size = upsample::line_size(last_ - first_);
    return lines_.data() + (2 * (component - 1) + chroma_row % 2) * size;
}

std::uint8_t* PackedRows::wide(int component) {
    const std::ptrdiff_t size = upsample::grouped(last_ - first_) * sizes_.factor_x;
    return wide_.data() + (component - 1) * size;
}

// The widened rows, from column window_.x0 on.
PackedRows::Chroma PackedRows::widened() {
    const int skip = window_.x0 - first_ * sizes_.factor_x;
    return {wide(1) + skip, wide(2) + skip};
}

// Copies the wanted samples of a chroma row and one more at each end; at the picture's edge, the edge again.
void PackedRows::load_line(const Strip& strip, int component, int chroma_row, int strip_row) {
    const int width = ceil_div(sizes_.width, sizes_.factor_x), count = last_ - first_;
    const int from = std::max(first_ - 1, 0), to = std::min(last_ + 1, width);
    std::uint8_t* out = line(component, chroma_row);
    std::memcpy(out + from - (first_ - 1), strip.data + strip_row * strip.stride + from,
                static_cast<std::size_t>(to - from));
    if (first_ == 0) out[0] = out[1];
    if (last_ == width) out[count + 1] = out[count];
}

// Chroma for the luma rows of one chroma row, when no other takes part. Points at column window_.x0.
PackedRows::Chroma PackedRows::single_row(const Strip* strips, int chroma_row, int strip_row) {
    if (sizes_.components == 1) return {wide_.data(), wide_.data()};
    if (widening_ == Widening::same)
        return {strips[1].data + strip_row * strips[1].stride + window_.x0,
                strips[2].data + strip_row * strips[2].stride + window_.x0};
    const int groups = upsample::grouped(last_ - first_);
    for (int i = 1; i <= 2; ++i) {
        load_line(strips[i], i, chroma_row, strip_row);
        if (widening_ == Widening::across)
            upsample::triangle_across(line(i, chroma_row), groups, wide(i));
        else
            upsample::repeat(line(i, chroma_row), groups, sizes_.factor_x, wide(i));
    }
    return widened();
}

// Chroma for the luma row that lies in chroma row `near`, on the side of `far`.
PackedRows::Chroma PackedRows::blended_row(int near, int far) {
    const int count = last_ - first_, groups = upsample::grouped(count);
    for (int i = 1; i <= 2; ++i) {
        const std::uint8_t *a = line(i, near), *b = line(i, far);
        if (widening_ == Widening::both) {
            upsample::column_sums(a, b, upsample::grouped(count + 2), sums_.data());
            upsample::triangle_sums(sums_.data(), groups, wide(i));
        } else if (far > near) {
            upsample::triangle_lower(a + 1, b + 1, groups, wide(i));
        } else {
            upsample::triangle_upper(a + 1, b + 1, groups, wide(i));
        }
    }
    return widened();
}

void PackedRows::take(const Strip* strips, int first_row, int rows) noexcept {
    if (blends_rows()) return take_blended(strips, first_row, rows);
    const int end = std::min(first_row + rows, window_.y1), top = first_row / sizes_.factor_y;
    Chroma chroma{};
    int loaded = -1;
    for (int y = std::max(first_row, window_.y0); y < end; ++y) {
        const int row = y / sizes_.factor_y;
        if (row != loaded) chroma = single_row(strips, row, row - top);
        loaded = row;
        emit(y, strips[0].data + (y - first_row) * strips[0].stride + window_.x0, chroma);
    }
}

void PackedRows::take_blended(const Strip* strips, int first_row, int rows) {
    const auto luma = [&](int y) { return strips[0].data + (y - first_row) * strips[0].stride + window_.x0; };
    const int top = first_row / 2;
    const int from = std::max(top, top_), to = std::min(top + ceil_div(rows, 2), bottom_);
    for (int row = from; row < to; ++row) {
        for (int i = 1; i <= 2; ++i) load_line(strips[i], i, row, row - top);
        newest_ = row;
        const int lower = 2 * row - 1, upper = 2 * row;
        if (wants(lower))
            emit(lower, lower < first_row ? luma_.data() : luma(lower), blended_row(row - 1, row));
        if (wants(upper)) emit(upper, luma(upper), blended_row(row, std::max(row - 1, 0)));
    }
    const int held = first_row + rows - 1;
    if (held % 2 == 1 && wants(held)) std::memcpy(luma_.data(), luma(held), static_cast<std::size_t>(width_));
}

void PackedRows::finish() noexcept {
    // Below the last chroma row lies itself again.
    const int y = 2 * newest_ + 1;
    if (newest_ == chroma_height_ - 1 && wants(y)) emit(y, luma_.data(), blended_row(newest_, newest_));
    flush();
}

void PackedRows::emit(int y, const std::uint8_t* luma, Chroma chroma) {
    const int row = y - window_.y0;
    if (place_.in_place()) return pack_(luma, chroma.cb, chroma.cr, width_, place_.row(row));
    if (turned_rows_ == 0) turned_from_ = row;
    std::uint8_t* out = turned_.data() + static_cast<std::ptrdiff_t>(3) * width_ * turned_rows_++;
    pack_(luma, chroma.cb, chroma.cr, width_, out);
    if (turned_rows_ == kTurnedRows) flush();
}

void PackedRows::flush() {
    if (turned_rows_ > 0)
        place_.place(turned_from_, turned_rows_, turned_.data(), static_cast<std::ptrdiff_t>(3) * width_,
                     width_);
    turned_rows_ = 0;
}

}  // namespace yf
