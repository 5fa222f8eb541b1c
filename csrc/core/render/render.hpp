// The native executor of a BatchPlan: planes in, planar RGB out, every output pixel written once per layer.
//
// yolofast/kernels/reference/render.py says what each value means; this stays within 1 level of it, and which
// pixels a tile owns is exact. Sizes are positive, numbers finite and pointers valid: the binding has
// checked.
#pragma once

#include <memory>

#include "core/common.hpp"

namespace yf {

struct PlaneView {
    const std::uint8_t* data;
    std::ptrdiff_t stride;
    int height;
    int width;
};

// The planes of one picture as they were stored. A point of `y` lies in `cb` and `cr` at its coordinates
// divided by the factors. A gray picture has no chroma: cb.data and cr.data are null.
struct PictureView {
    PlaneView y, cb, cr;
    int factor_x, factor_y;
    double place[6];  // 2x3: point of the upright picture at full size -> point of `y`
};

struct Tile {
    PictureView picture;
    double matrix[9];  // output point -> point of the upright picture at full size
    double window[4];  // x0, y0, x1, y1 there, half-open: what the tile may show
    int layer;         // 0, 1 for the picture that is mixed in, 2 for the one in the hole
};

struct Span {
    int begin, end;
};

struct Rectangle {
    Span columns, rows;
    YF_HOST_DEVICE bool empty() const { return columns.begin >= columns.end || rows.begin >= rows.end; }
};

constexpr std::uint8_t kFill = 114;

// Renders samples one at a time; keeps the rows it works in, so a thread has one of its own.
class Renderer {
  public:
    Renderer();
    ~Renderer();
    Renderer(const Renderer&) = delete;
    Renderer& operator=(const Renderer&) = delete;

    // One sample. `colour` is 3x4, (Y, Cb, Cr, 1) -> (R, G, B); `mix` in [0, 1] is the weight of layer 0, and
    // layer 1 is looked at only below 1. `hole`, a part of `dst`, shows layer 2 alone; that is not looked at
    // when it is empty. May throw std::bad_alloc.
    void render(const Tile* tiles, std::size_t count, double mix, const double* colour, const Rectangle& hole,
                Planes dst);

  private:
    struct Scratch;
    std::unique_ptr<Scratch> scratch_;
};

}  // namespace yf
