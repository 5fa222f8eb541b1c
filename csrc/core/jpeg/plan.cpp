// See plan.hpp.
#include "core/jpeg/plan.hpp"

#include <cstdio>
#include <cstring>
#include <utility>

#include "core/jpeg/header.hpp"

namespace yf {
namespace {

// The region of the upright picture, in the stored one, width x height.
Region stored_region(const Region& upright, int orientation, int width, int height) {
    const bool turned = orientation >= 5;
    const int across = turned ? height : width, down = turned ? width : height;
    Region r = upright;
    if (orientation == 2 || orientation == 3 || orientation == 6 || orientation == 7) {
        r.x0 = across - upright.x1;
        r.x1 = across - upright.x0;
    }
    if (orientation == 3 || orientation == 4 || orientation == 7 || orientation == 8) {
        r.y0 = down - upright.y1;
        r.y1 = down - upright.y0;
    }
    if (turned) {
        std::swap(r.x0, r.y0);
        std::swap(r.x1, r.y1);
    }
    return r;
}

}  // namespace

ChromaFactors chroma_factors(Subsampling subsampling) noexcept {
    switch (subsampling) {
        case Subsampling::s422:
            return {2, 1};
        case Subsampling::s420:
            return {2, 2};
        case Subsampling::s440:
            return {1, 2};
        case Subsampling::s411:
            return {4, 1};
        default:
            return {1, 1};
    }
}

int choose_scale(const JpegHeader& header, const JpegRequest& request) noexcept {
    const bool turned = request.orient && header.orientation >= 5;
    const int min_w = turned ? request.min_height : request.min_width;
    const int min_h = turned ? request.min_width : request.min_height;
    if (min_w <= 0 && min_h <= 0) return 8;
    int scale = 1;
    while (scale < 8 &&
           (scaled_side(header.width, scale) < min_w || scaled_side(header.height, scale) < min_h))
        ++scale;
    return scale;
}

JpegStatus make_plan(const JpegHeader& header, const JpegRequest& request, int scale, Subsampling planes,
                     JpegPlan* plan) noexcept {
    std::memset(plan, 0, sizeof *plan);  // plans are compared byte for byte
    const bool packed = request.layout != JpegLayout::ycc;
    const int width = scaled_side(header.width, scale), height = scaled_side(header.height, scale);
    plan->scale = scale;
    plan->orientation = packed && request.orient ? header.orientation : 1;
    plan->channels = packed && request.layout != JpegLayout::gray ? 3 : 1;
    plan->outputs = packed || planes == Subsampling::gray ? 1 : 3;
    plan->subsampling = packed                         ? header.subsampling
                        : planes == Subsampling::other ? Subsampling::s444
                                                       : planes;

    const bool turned = plan->orientation >= 5;
    const int upright_width = turned ? height : width, upright_height = turned ? width : height;
    Region region = request.region;
    if (region.x0 == 0 && region.y0 == 0 && region.x1 == 0 && region.y1 == 0)
        region = {0, 0, upright_width, upright_height};
    const auto refuse = [&](const char* why, int a, int b) {
        JpegStatus s{JpegError::bad_region, {}};
        std::snprintf(s.reason, sizeof s.reason, "region (%d, %d, %d, %d) %s %d x %d", region.x0, region.y0,
                      region.x1, region.y1, why, a, b);
        return s;
    };
    if (region.x0 < 0 || region.y0 < 0 || region.x0 >= region.x1 || region.y0 >= region.y1 ||
        region.x1 > upright_width || region.y1 > upright_height)
        return refuse("is empty or not inside the decoded picture of", upright_width, upright_height);
    plan->window = stored_region(region, plan->orientation, width, height);
    if (packed) {
        plan->width[0] = region.x1 - region.x0;
        plan->height[0] = region.y1 - region.y0;
        return status(JpegError::none, "");
    }
    for (int i = 0; i < plan->outputs; ++i) {
        const ChromaFactors f = i == 0 ? ChromaFactors{1, 1} : chroma_factors(plan->subsampling);
        if (region.x0 % f.x != 0 || region.y0 % f.y != 0)
            return refuse("does not begin on the chroma grid, a multiple of", f.x, f.y);
        plan->width[i] = ceil_div(region.x1, f.x) - region.x0 / f.x;
        plan->height[i] = ceil_div(region.y1, f.y) - region.y0 / f.y;
    }
    return status(JpegError::none, "");
}

}  // namespace yf
