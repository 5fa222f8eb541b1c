// JPEG decoding over libjpeg-turbo: for all files, and the judge of those that our own decoder does not take.
#pragma once

#include "core/jpeg/jpeg.hpp"

namespace yf {

JpegStatus plan_turbo(const std::uint8_t* data, std::size_t size, const JpegRequest& request,
                      const JpegHeader& header, JpegPlan* plan) noexcept;

JpegStatus decode_turbo(const std::uint8_t* data, std::size_t size, const JpegRequest& request,
                        const JpegHeader& header, const JpegPlan& plan, const JpegOutput* outputs) noexcept;

}  // namespace yf
