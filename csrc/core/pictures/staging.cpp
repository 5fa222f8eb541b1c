// See staging.hpp.
#include "core/pictures/staging.hpp"

#include <cstring>

namespace yf {
namespace {

std::size_t plane_size(const PlaneView& plane) {
    if (plane.data == nullptr) return 0;
    const std::size_t bytes = static_cast<std::size_t>(plane.height) * static_cast<std::size_t>(plane.width);
    return (bytes + kStagingAlign - 1) / kStagingAlign * kStagingAlign;
}

void copy_plane(const PlaneView& plane, std::uint8_t* to) {
    const std::size_t width = static_cast<std::size_t>(plane.width);
    if (plane.stride == plane.width) {
        std::memcpy(to, plane.data, width * static_cast<std::size_t>(plane.height));
        return;
    }
    for (int y = 0; y < plane.height; ++y) std::memcpy(to + y * width, plane.data + y * plane.stride, width);
}

}  // namespace

std::size_t packed_size(const PictureView& picture) {
    return plane_size(picture.y) + plane_size(picture.cb) + plane_size(picture.cr);
}

void pack_picture(const PictureView& picture, std::uint8_t* memory, std::size_t at, std::int64_t* row,
                  double* place) {
    const PlaneView* planes[3] = {&picture.y, &picture.cb, &picture.cr};
    for (int i = 0; i < 3; ++i) {
        const bool there = planes[i]->data != nullptr;
        row[kOffsetY + i] = there ? static_cast<std::int64_t>(at) : -1;
        if (!there) continue;
        copy_plane(*planes[i], memory + at);
        at += plane_size(*planes[i]);
    }
    const bool chroma = picture.cb.data != nullptr;
    row[kStrideY] = row[kWidth] = picture.y.width;
    row[kHeight] = picture.y.height;
    row[kStrideC] = row[kWidthC] = chroma ? picture.cb.width : 0;
    row[kHeightC] = chroma ? picture.cb.height : 0;
    row[kFactorX] = picture.factor_x;
    row[kFactorY] = picture.factor_y;
    std::memcpy(place, picture.place, sizeof picture.place);
}

}  // namespace yf
