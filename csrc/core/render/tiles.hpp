// The two ways to draw a tile, and the planes that both can sample.
//
// A tile without rotation, shear or perspective is separable: each source row it needs is resampled across
// once, and two such rows are blended for each output row. Any other tile takes the four neighbours of each
// pixel. Both end in the same colour pass. All of it works a row at a time, in buffers that stay in the
// first-level cache.
#pragma once

#include <algorithm>
#include <memory>
#include <vector>

#include "core/render/colours.hpp"
#include "core/render/render.hpp"
#include "core/render/spans.hpp"

namespace yf {

// A plane at least two pixels wide and high: what it was, or a copy with its last row and column repeated.
inline PlaneView at_least_two(PlaneView plane, std::vector<std::uint8_t>& copy) {
    if (plane.width >= 2 && plane.height >= 2) return plane;
    const int width = std::max(plane.width, 2), height = std::max(plane.height, 2);
    copy.resize(static_cast<std::size_t>(width) * static_cast<std::size_t>(height));
    for (int y = 0; y < height; ++y)
        for (int x = 0; x < width; ++x)
            copy[static_cast<std::size_t>(y) * width + x] =
                plane.data[std::min(y, plane.height - 1) * plane.stride + std::min(x, plane.width - 1)];
    return {copy.data(), width, height, width};
}

// Draws upright tiles, one at a time: the pixels of `dst` in `spans`, one span a row. May throw
// std::bad_alloc.
class UprightRenderer {
  public:
    UprightRenderer();
    ~UprightRenderer();
    UprightRenderer(const UprightRenderer&) = delete;
    UprightRenderer& operator=(const UprightRenderer&) = delete;

    void draw(const Tile& tile, const Span* spans, const Colours& colours, Planes dst);

  private:
    struct Scratch;
    std::unique_ptr<Scratch> scratch_;
};

// The same for tiles of any kind.
class GeneralRenderer {
  public:
    void draw(const Tile& tile, const Span* spans, const Colours& colours, Planes dst);

  private:
    std::vector<std::uint8_t> copy_, interleaved_;
};

}  // namespace yf
