// JPEG decoding: header facts, packed pixels, or the planes as they are stored. README.md says how it is
// done.
//
// Two steps, so that the caller owns all memory: `plan_jpeg` reads the header and says which sizes come out,
// `decode_jpeg` writes them. Both are stateless and safe to call from any number of threads.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/common.hpp"

namespace yf {

enum class JpegError : int {
    none = 0,
    not_jpeg,
    truncated,
    corrupt,
    unsupported,
    too_large,
    out_of_memory,
    changed,     // the bytes changed between plan and decode
    bad_region,  // the request, not the file: a region outside the picture, or off the chroma grid
};

// Without an error the reason is empty, or says what is wrong with a file that was salvaged.
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
    std::int64_t blocks;  // of 8 x 8 samples, in all components; 0 when the sampling factors cannot be
};

// Who decodes: our own decoder where it can (see baseline.hpp), or libjpeg-turbo always.
enum class JpegDecoder : int { automatic = 0, turbo };

struct JpegRequest {
    JpegLayout layout;
    int min_height;  // smallest size wanted, 0 = full size; in the oriented frame when `orient`
    int min_width;
    bool orient;   // turn packed pixels upright by the EXIF orientation (planes stay as stored)
    bool salvage;  // keep what can be decoded of damaged data instead of failing
    std::int64_t max_pixels;
    Region region;  // of the decoded picture, all zero = the whole; in the oriented frame when packed and
                    // `orient`
    JpegDecoder decoder;
};

struct JpegPlan {
    int scale;        // DCT scale, eighths
    int orientation;  // applied to packed pixels: 1 when nothing is to be done
    Region window;    // what is decoded, in the stored frame at that scale
    int channels;     // bytes per pixel: 3 (rgb, bgr), 1 (gray, planes)
    int outputs;      // arrays written: 1 (packed), 1 or 3 (planes)
    int height[3];    // of each output, after orientation and of the region alone
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
