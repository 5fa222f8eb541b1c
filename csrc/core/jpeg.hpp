// JPEG decoding over libjpeg-turbo: header facts, packed pixels, or the planes as they are stored.
//
// Two steps, so that the caller owns all memory: `plan_jpeg` reads the header and says which sizes come out,
// `decode_jpeg` writes them. Both are stateless and safe to call from any number of threads.
#pragma once

#include <cstddef>
#include <cstdint>

namespace yf {

enum class JpegError : int {
    none = 0,
    not_jpeg,
    truncated,
    corrupt,
    unsupported,
    too_large,
    out_of_memory,
    changed,  // the bytes changed between plan and decode
};

struct JpegStatus {
    JpegError error;
    char reason[256];
};

enum class JpegLayout : int { rgb = 0, bgr, gray, ycc };

enum class Subsampling : int { s444 = 0, s422, s420, s440, s411, gray, other };

struct JpegHeader {
    int width;  // as stored, before orientation
    int height;
    int components;
    int orientation;  // EXIF, 1..8
    Subsampling subsampling;
    bool progressive;
    bool arithmetic;
};

struct JpegRequest {
    JpegLayout layout;
    int min_height;  // smallest size wanted, 0 = full size; in the oriented frame when `orient`
    int min_width;
    bool orient;   // turn packed pixels upright by the EXIF orientation (planes stay as stored)
    bool salvage;  // keep what can be decoded of damaged data instead of failing
    std::int64_t max_pixels;
};

struct JpegPlan {
    int scale;        // DCT scale, eighths
    int orientation;  // applied to packed pixels: 1 when nothing is to be done
    int channels;     // bytes a pixel: 3 (rgb, bgr), 1 (gray, planes)
    int outputs;      // arrays written: 1 (packed), 1 or 3 (planes)
    int height[3];    // of each output, after orientation
    int width[3];
    Subsampling subsampling;  // of the planes that come out
};

struct JpegOutput {
    std::uint8_t* data;
    std::ptrdiff_t stride;
};

JpegStatus plan_jpeg(const std::uint8_t* data, std::size_t size, const JpegRequest& request,
                     JpegPlan* plan) noexcept;

// Writes plan.outputs arrays of plan.height x plan.width x plan.channels bytes.
JpegStatus decode_jpeg(const std::uint8_t* data, std::size_t size, const JpegRequest& request,
                       const JpegPlan& plan, const JpegOutput* outputs) noexcept;

}  // namespace yf
