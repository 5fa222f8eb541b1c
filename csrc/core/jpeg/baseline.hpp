// Our own decoder for the JPEG files that people have: baseline or extended-sequential, Huffman, 8 bits, gray
// or YCbCr, one scan. See README.md.
//
// It takes a file only when nothing about it is unusual, and gives up on a file at the first thing that is:
// then libjpeg-turbo decodes it from its start, and what that makes of it (pixels, salvage, an error) is the
// result.
#pragma once

#include "core/jpeg/jpeg.hpp"

namespace yf {

// The plan that libjpeg-turbo would make, without it, and what there is to say of it. False when the file is
// not for this decoder.
bool plan_baseline(const std::uint8_t* data, std::size_t size, const JpegRequest& request,
                   const JpegHeader& header, JpegPlan* plan, JpegStatus* planned) noexcept;

enum class BaselineResult { done, not_ours, gave_up, changed, out_of_memory };

// Decodes by that plan. On `gave_up`, `offset` says near which byte, and the outputs hold pixels that mean
// nothing.
BaselineResult decode_baseline(const std::uint8_t* data, std::size_t size, const JpegRequest& request,
                               const JpegHeader& header, const JpegPlan& plan, const JpegOutput* outputs,
                               std::size_t* offset) noexcept;

}  // namespace yf
