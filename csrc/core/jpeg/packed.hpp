// From the component planes of a decoded picture, a strip at a time, to packed RGB or BGR rows that equal
// libjpeg-turbo's to the bit (fancy upsampling), turned upright on the way out.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/common.hpp"
#include "core/jpeg/colour.hpp"

namespace yf {

// Where the pixels of a stored picture go: (x, y) to origin + x * step_x + y * step_y, `channels` bytes each.
struct Placement {
    std::uint8_t* origin;
    std::ptrdiff_t step_x, step_y;
    int channels;

    // Row y may be written in place, from `row(y)` on; else `place` scatters it.
    bool in_place() const { return step_x == channels; }
    std::uint8_t* row(int y) const { return origin + y * step_y; }
    // Packed rows [y, y + rows), `row_bytes` apart. With 3 channels one more byte must be readable after
    // them.
    void place(int y, int rows, const std::uint8_t* pixels, std::ptrdiff_t row_bytes, int width) const;
};

// For an output array of the upright size, rows `stride` bytes apart; orientation is EXIF's, 1..8.
Placement place_packed(std::uint8_t* data, std::ptrdiff_t stride, int out_height, int out_width, int channels,
                       int orientation);

// One component in one strip: its first row. Columns count from the picture's left edge.
struct Strip {
    const std::uint8_t* data;
    std::ptrdiff_t stride;
};

// What the strips hold. A chroma plane is ceil(width / factor_x) x ceil(height / factor_y) samples.
struct PlaneSizes {
    int components;  // 1 (gray) or 3
    int width, height;
    int factor_x, factor_y;  // 1, 2 or 4 each
    bool fancy;              // libjpeg smooths chroma unless the DCT is scaled down to 1 x 1
};

// How libjpeg widens chroma: `same` and `repeat` copy samples, the others blend neighbours 3 : 1.
enum class Widening : int { same, repeat, across, down, both };

class PackedRows {
  public:
    // Pixel (x0, y0) of `window` is pixel (0, 0) of `place`, which has 3 channels. All memory is taken here.
    PackedRows(PixelOrder order, const PlaneSizes& sizes, const Region& window, const Placement& place,
               PackForm form = best_pack_form());

    // The part of the picture whose samples are read, `window` and its chroma context: the strips that reach
    // into these rows have to be given, and valid in these columns.
    Region context() const;

    // The next strip: luma rows [first_row, first_row + rows) and the chroma rows that belong to them, from
    // first_row / factor_y on, one for each factor_y rows, rounded up. first_row is a multiple of factor_y.
    // Strips come from top to bottom; those outside `context()` may be left out.
    void take(const Strip* strips, int first_row, int rows) noexcept;

    // Writes what is still held back, once all strips are in.
    void finish() noexcept;

  private:
    struct Chroma {
        const std::uint8_t* cb;
        const std::uint8_t* cr;
    };

    bool blends_rows() const { return widening_ == Widening::down || widening_ == Widening::both; }
    bool wants(int y) const { return y >= window_.y0 && y < window_.y1; }
    std::uint8_t* line(int component, int chroma_row);  // of Cb (1), Cr (2)
    std::uint8_t* wide(int component);
    Chroma widened();
    void load_line(const Strip& strip, int component, int chroma_row, int strip_row);
    Chroma single_row(const Strip* strips, int chroma_row, int strip_row);
    Chroma blended_row(int near, int far);
    void take_blended(const Strip* strips, int first_row, int rows);
    void emit(int y, const std::uint8_t* luma, Chroma chroma);
    void flush();

    PlaneSizes sizes_;
    Region window_;
    Placement place_;
    PackRow pack_;
    Widening widening_;
    int width_;         // of the window
    int first_, last_;  // chroma columns of the window, [first_, last_)
    int top_, bottom_;  // chroma rows that are read, [top_, bottom_)
    int chroma_height_;
    int newest_ = -1;  // chroma row of the newest line

    std::vector<std::uint8_t> lines_;   // two lines a component, used in turn
    std::vector<std::uint8_t> wide_;    // a widened row of Cb, one of Cr
    std::vector<std::uint16_t> sums_;   // of the columns of two lines
    std::vector<std::uint8_t> luma_;    // the row that waits for the next chroma row
    std::vector<std::uint8_t> turned_;  // rows that wait to be placed
    int turned_from_ = 0, turned_rows_ = 0;
};

}  // namespace yf
