#include "core/render/colours.hpp"

#include <cstring>

#include "core/render/rows.hpp"

namespace yf {
namespace {

inline std::uint8_t mix_colour(const ColourRow& c, std::int16_t y, std::int16_t cb, std::int16_t cr) {
    const std::int16_t sum =
        static_cast<std::int16_t>(scale(y, c.y) + scale(cb, c.cb) + scale(cr, c.cr) + c.offset);
    const std::int16_t level = static_cast<std::int16_t>(sum >> 4);
    return static_cast<std::uint8_t>(std::min<std::int16_t>(std::max<std::int16_t>(level, 0), 255));
}

YF_MULTIVERSION
void colour_rows(const std::int16_t* __restrict y, const std::int16_t* __restrict cb,
                 const std::int16_t* __restrict cr, const ColourRow* __restrict colour, int count,
                 std::uint8_t* __restrict red, std::uint8_t* __restrict green,
                 std::uint8_t* __restrict blue) {
    const ColourRow r = colour[0], g = colour[1], b = colour[2];
    for (std::ptrdiff_t at = 0; at < count; at += kLanes)
        for (int k = 0; k < kLanes; ++k) {
            const std::ptrdiff_t i = at + k;
            red[i] = mix_colour(r, y[i], cb[i], cr[i]);
            green[i] = mix_colour(g, y[i], cb[i], cr[i]);
            blue[i] = mix_colour(b, y[i], cb[i], cr[i]);
        }
}

}  // namespace

// Whole runs of lanes go to the target directly, the rest by way of a buffer.
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

}  // namespace yf
