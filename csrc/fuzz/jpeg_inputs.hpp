// What the JPEG fuzz targets share: requests, and outputs of exactly the planned size.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>

#include "core/jpeg/jpeg.hpp"
#include "fuzz/choices.hpp"

// Arrays for a plan, each in memory of just its size, so that the sanitizer sees one byte too many. They
// begin filled with a value of the caller's, so that a pixel nobody wrote differs between two decodes.
struct ExactOutputs {
    std::unique_ptr<std::uint8_t[]> memory[3];
    yf::JpegOutput outputs[3] = {};
    std::size_t bytes[3] = {};

    ExactOutputs(const yf::JpegPlan& plan, int filled_with) {
        for (int i = 0; i < plan.outputs; ++i) {
            require(plan.width[i] >= 1 && plan.height[i] >= 1);
            const std::ptrdiff_t stride = static_cast<std::ptrdiff_t>(plan.width[i]) * plan.channels;
            bytes[i] = static_cast<std::size_t>(stride) * static_cast<std::size_t>(plan.height[i]);
            memory[i] = std::make_unique_for_overwrite<std::uint8_t[]>(bytes[i]);
            std::memset(memory[i].get(), filled_with, bytes[i]);
            outputs[i] = {memory[i].get(), stride};
        }
    }
};

// A request for the whole picture: any scale, orientation and salvage.
inline yf::JpegRequest choose_request(const yf::JpegHeader& header, std::int64_t max_pixels,
                                      Choices& choices) {
    yf::JpegRequest request{};
    const int options = choices.byte();
    if (options & 1) {
        const int scale = 1 + choices.byte() % 8;
        const bool turned = !(options & 2) && header.orientation >= 5;
        const int height = (header.height * scale + 7) / 8, width = (header.width * scale + 7) / 8;
        request.min_height = turned ? width : height;
        request.min_width = turned ? height : width;
    }
    request.orient = !(options & 2);
    request.salvage = options & 4;
    request.max_pixels = max_pixels;
    return request;
}

// Part of a picture of the plan's size. Planes begin on the chroma grid but for one time in sixteen.
inline yf::Region choose_region(const yf::JpegPlan& plan, Choices& choices) {
    const int width = plan.width[0], height = plan.height[0];
    yf::Region region{choices.below(width), choices.below(height), 0, 0};
    if (plan.channels == 1 && !choices.one_in(16)) {
        region.x0 &= ~3;
        region.y0 &= ~1;
    }
    region.x1 = region.x0 + 1 + choices.below(width - region.x0);
    region.y1 = region.y0 + 1 + choices.below(height - region.y0);
    return region;
}
