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

double overlap(double low, double high, double from, double to) {
    const double first = low > from ? low : from, last = high < to ? high : to;
    return last > first ? last - first : 0.0;
}

// Makes an xyxy box the smallest around what `hole` leaves of it; false when nothing is left. `hidden` is the
// area of the hole inside that.
bool cut(const double* hole, double* box, double* hidden) {
    const bool across = hole[0] <= box[0] && hole[2] >= box[2], down = hole[1] <= box[1] && hole[3] >= box[3];
    if (across && down) return false;
    if (across || down) {
        const int axis = across ? 1 : 0;  // along which the hole may take an end of the box
        const double low = box[axis], high = box[axis + 2];
        if (hole[axis] <= low && hole[axis + 2] > low) box[axis] = hole[axis + 2];
        if (hole[axis + 2] >= high && hole[axis] < high) box[axis + 2] = hole[axis];
    }
    *hidden = overlap(box[0], box[2], hole[0], hole[2]) * overlap(box[1], box[3], hole[1], hole[3]);
    return true;
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
    const double* frame = tile.frame;
    double shown[4], hidden = 0.0;
    for (int i = 0; i < 4; ++i) shown[i] = clamp(moved[i], frame[i % 2], frame[i % 2 + 2]);
    if (tile.hole != nullptr && !cut(tile.hole, shown, &hidden)) return false;
    const auto [x1, y1, x2, y2] = shown;
    const double w = x2 - x1, h = y2 - y1;
    if (rule != nullptr && !is_visible(moved[2] - moved[0], moved[3] - moved[1], w, h, *rule, hidden))
        return false;
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
