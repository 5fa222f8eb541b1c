// Who decodes. See jpeg.hpp for the contract and README.md for the safety rules.
#include "core/jpeg/jpeg.hpp"

#include <cstdio>
#include <cstring>

#include "core/jpeg/baseline.hpp"
#include "core/jpeg/header.hpp"
#include "core/jpeg/turbo.hpp"
#include "core/limits.hpp"

namespace yf {
namespace {

// The bytes that a picture takes however flat it is: each block a bit for its DC code and, in a sequential
// file, one for the end of the block. An arithmetic code may say more with a bit, and who salvages takes
// less.
std::int64_t least_bytes(const JpegHeader& header, bool salvage) {
    if (salvage || header.arithmetic) return header.blocks / 64;
    return header.blocks / (header.progressive ? 8 : 4);
}

// Facts that need no decoder: supported at all, small enough, and enough bytes for what it claims to be.
JpegStatus check(const std::uint8_t* data, std::size_t size, const JpegRequest& request, JpegHeader* header) {
    JpegStatus s = parse_jpeg_header(data, size, header);
    if (s.error != JpegError::none) return s;
    const std::int64_t pixels = static_cast<std::int64_t>(header->width) * header->height;
    if (pixels > request.max_pixels) {
        s.error = JpegError::too_large;
        std::snprintf(s.reason, sizeof s.reason, "%d x %d pixels is over the limit of %lld", header->width,
                      header->height, static_cast<long long>(request.max_pixels));
        return s;
    }
    const std::int64_t bytes = static_cast<std::int64_t>(size), least = least_bytes(*header, request.salvage);
    if (pixels > kSmallPixels && bytes < least) {
        s.error = JpegError::truncated;
        std::snprintf(s.reason, sizeof s.reason,
                      "too few bytes for a picture of that size: got %lld for %d x %d pixels, expected at "
                      "least %lld",
                      static_cast<long long>(bytes), header->width, header->height,
                      static_cast<long long>(least));
    } else if (pixels > kLargePixels && bytes < pixels / kMaxPixelsPerByte) {
        s.error = JpegError::unsupported;
        std::snprintf(s.reason, sizeof s.reason, "%d x %d pixels in %lld bytes, over %lld pixels in a byte",
                      header->width, header->height, static_cast<long long>(bytes),
                      static_cast<long long>(kMaxPixelsPerByte));
    }
    return s;
}

// Says where our own decoder saw the damage; libjpeg-turbo does not tell.
void add_offset(JpegStatus* s, std::size_t offset) {
    const std::size_t length = std::strlen(s->reason);
    std::snprintf(s->reason + length, sizeof s->reason - length, " (near byte %zu)", offset);
}

}  // namespace

JpegStatus plan_jpeg(const std::uint8_t* data, std::size_t size, const JpegRequest& request,
                     JpegPlan* plan) noexcept {
    JpegHeader header;
    const JpegStatus checked = check(data, size, request, &header);
    if (checked.error != JpegError::none) return checked;
    JpegStatus planned;
    if (request.decoder == JpegDecoder::automatic &&
        plan_baseline(data, size, request, header, plan, &planned))
        return planned;
    return plan_turbo(data, size, request, header, plan);
}

JpegStatus decode_jpeg(const std::uint8_t* data, std::size_t size, const JpegRequest& request,
                       const JpegPlan& plan, const JpegOutput* outputs) noexcept {
    JpegHeader header;
    const JpegStatus checked = check(data, size, request, &header);
    if (checked.error != JpegError::none) return checked;
    std::size_t offset = 0;
    BaselineResult result = BaselineResult::not_ours;
    if (request.decoder == JpegDecoder::automatic)
        result = decode_baseline(data, size, request, header, plan, outputs, &offset);
    switch (result) {
        case BaselineResult::done:
            return status(JpegError::none, "");
        case BaselineResult::changed:
            return status(JpegError::changed, kChanged);
        case BaselineResult::out_of_memory:
            return status(JpegError::out_of_memory, "out of memory");
        case BaselineResult::not_ours:
        case BaselineResult::gave_up:
            break;
    }
    JpegStatus s = decode_turbo(data, size, request, header, plan, outputs);
    const bool damaged = s.error == JpegError::corrupt || s.error == JpegError::truncated ||
                         (s.error == JpegError::none && s.reason[0] != '\0');
    if (result == BaselineResult::gave_up && damaged) add_offset(&s, offset);
    return s;
}

}  // namespace yf
