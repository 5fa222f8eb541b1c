// See render_labels.hpp.
#include "core/boxes/render_labels.hpp"

#include "core/boxes/transform_box.hpp"

namespace yf {
namespace {

// One side of a label in source pixels, inside the window; false where it is no number.
bool source_side(double centre, double length, double pixels, double first, double last, double* low,
                 double* high) {
    const double half = length / 2;
    const double a = (centre - half) * pixels, b = (centre + half) * pixels;
    *low = clamp(a, first, last);
    *high = clamp(b, first, last);
    return a == a && b == b;
}

// One label; whether it was kept and written.
bool render_label(const float* row, const LabelTile& tile, const Size& size, const VisibilityRule* rule,
                  float* out) {
    const double* window = tile.window;
    double box[4];
    if (row[0] != row[0] ||
        !source_side(row[1], row[3], tile.image.width, window[0], window[2], box, box + 2) ||
        !source_side(row[2], row[4], tile.image.height, window[1], window[3], box + 1, box + 3))
        return false;
    double moved[4];
    transform_box(box, tile.forward, nullptr, moved);
    if (moved[0] != moved[0]) return false;
    const double x1 = clamp(moved[0], size.width), y1 = clamp(moved[1], size.height);
    const double x2 = clamp(moved[2], size.width), y2 = clamp(moved[3], size.height);
    const double w = x2 - x1, h = y2 - y1;
    if (rule != nullptr && !is_visible(moved[2] - moved[0], moved[3] - moved[1], w, h, *rule)) return false;
    out[0] = static_cast<float>(tile.sample);
    out[1] = row[0];
    store_box((x1 + x2) / 2 / size.width, (y1 + y2) / 2 / size.height, w / size.width, h / size.height,
              out + 2);
    return true;
}

}  // namespace

std::size_t render_labels(const LabelTile* tiles, std::size_t count, const Size& size,
                          const VisibilityRule* rule, float* out) {
    std::size_t kept = 0;
    for (std::size_t t = 0; t < count; ++t)
        for (std::size_t i = 0; i < tiles[t].count; ++i)
            kept += render_label(tiles[t].rows + 5 * i, tiles[t], size, rule, out + 6 * kept);
    return kept;
}

}  // namespace yf
