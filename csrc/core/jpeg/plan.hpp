// What both decoders decide alike: the scale, and the sizes that come out.
#pragma once

#include "core/jpeg/jpeg.hpp"

namespace yf {

struct ChromaFactors {
    int x, y;
};

// How much smaller chroma is than luma; {1, 1} for gray and other.
ChromaFactors chroma_factors(Subsampling subsampling) noexcept;

// The smallest scale in eighths that covers what the request wants.
int choose_scale(const JpegHeader& header, const JpegRequest& request) noexcept;

// A side at a scale in eighths.
inline int scaled_side(int side, int scale) { return ceil_div(side * scale, 8); }

// The plan for a scale. `planes` is the subsampling of the planes that come out, `other` for made 4:4:4 ones;
// it is looked at for planes only.
JpegStatus make_plan(const JpegHeader& header, const JpegRequest& request, int scale, Subsampling planes,
                     JpegPlan* plan) noexcept;

}  // namespace yf
