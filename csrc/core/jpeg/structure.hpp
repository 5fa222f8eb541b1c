// Whether a file is ordinary and whole, marker by marker. For decoders that take more on trust than ours:
// nothing is decoded, so a pass costs little more than reading the bytes.
#pragma once

#include "core/jpeg/jpeg.hpp"

namespace yf {

// No error for a baseline, extended or progressive Huffman file of one gray component or of YCbCr with chroma
// sampled once an MCU, whose segments are whole, whose tables are possible and there when a scan needs them,
// whose scans are of its own components and give all bits of all of them, whose restart markers are in order
// and as many as its size asks for, and which ends with an end marker. Anything else is an error, also what a
// tolerant decoder would take.
JpegStatus check_structure(const std::uint8_t* data, std::size_t size) noexcept;

}  // namespace yf
