// The facts in a JPEG's header, read with no decoder: bounds-checked, and content with a file's first bytes.
#pragma once

#include "jpeg/jpeg.hpp"

namespace yf {

// Needs only the bytes up to the frame header (SOF); the EXIF orientation is found when it comes before it.
JpegStatus parse_jpeg_header(const std::uint8_t* data, std::size_t size, JpegHeader* header) noexcept;

// How much smaller chroma is than luma, by name.
Subsampling name_factors(int across, int down);

JpegStatus status(JpegError error, const char* reason);

inline constexpr char kChanged[] = "the data changed while it was being decoded";

}  // namespace yf
