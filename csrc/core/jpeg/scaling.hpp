// How far each component's transform is scaled down, and the planes that come of it.
#pragma once

#include "core/jpeg/frame.hpp"
#include "core/jpeg/header.hpp"
#include "core/jpeg/idct.hpp"

namespace yf {

// Sizes of the transforms, by the rule of libjpeg: chroma is scaled down no further than luma needs, in
// doublings.
struct Scaling {
    int size[3];
    Subsampling planes;  // of what comes out, `other` when this decoder does not do it
};

inline Scaling choose_scaling(const Frame& frame, int scale) {
    Scaling s{{scale, scale, scale}, Subsampling::gray};
    if (frame.count == 1) return s;
    for (int i = 0; i < 3; ++i) {
        const FrameComponent& c = frame.components[i];
        while (s.size[i] < 8 && (frame.max_h * scale) % (c.h * s.size[i] * 2) == 0 &&
               (frame.max_v * scale) % (c.v * s.size[i] * 2) == 0)
            s.size[i] *= 2;
        if (s.size[i] != 8 && !has_scaled_transform(s.size[i])) s.planes = Subsampling::other;
    }
    if (s.planes == Subsampling::other) return s;
    const FrameComponent &y = frame.components[0], &cb = frame.components[1], &cr = frame.components[2];
    const int across = cb.h * s.size[1], down = cb.v * s.size[1];
    const bool regular = y.h == frame.max_h && y.v == frame.max_v && s.size[0] == scale && cb.h == cr.h &&
                         cb.v == cr.v && (y.h * scale) % across == 0 && (y.v * scale) % down == 0;
    s.planes = regular ? name_factors(y.h * scale / across, y.v * scale / down) : Subsampling::other;
    return s;
}

}  // namespace yf
