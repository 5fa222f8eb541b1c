// The facts in a JPEG's header, read with no decoder: bounds-checked, and content with a file's first bytes.
#pragma once

#include "core/jpeg/jpeg.hpp"

namespace yf {

// Needs only the bytes up to the frame header (SOF); the EXIF orientation is found when it comes before it.
// Where `data` ends earlier, the reason says how many bytes it takes at least to come further.
JpegStatus parse_jpeg_header(const std::uint8_t* data, std::size_t size, JpegHeader* header) noexcept;

// The orientation tag (0x0112) in the first directory of a TIFF structure, such as EXIF is; 1 without it.
int tiff_orientation(const std::uint8_t* tiff, std::size_t size) noexcept;

bool begins_as_jpeg(const std::uint8_t* data, std::size_t size);

// How far the reading of a header has come: it can go on with a later piece of the file.
struct JpegReading {
    JpegHeader header{0, 0, 0, 1, Subsampling::other, false, false, 0};
    JpegStatus status{JpegError::none, {}};
    bool have_frame = false, have_exif = false;
    bool ended = false;      // what follows says nothing more, or `status` is an error
    int segments = 0;        // passed, of at most kMaxSegments
    std::size_t walked = 0;  // bytes passed, of at most kMaxHeadBytes
};

// Reads marker segments; `data` begins behind the start marker, or where the last call said. Returns how far
// on from `data` reading has to go on: at a segment that is needed and not all here, or behind one that is
// not needed, which may lie beyond `size`. Files whose header never ends are refused, by the limits above.
std::size_t read_segments(const std::uint8_t* data, std::size_t size, JpegReading* reading) noexcept;

// What the header is worth when there is nothing more to read.
JpegStatus verdict(const JpegReading& reading);

// How much smaller chroma is than luma, by name.
Subsampling name_factors(int across, int down);

JpegStatus status(JpegError error, const char* reason);

inline constexpr char kScansMissing[] = "some of its progressive scans are missing";
inline constexpr char kChanged[] = "the data changed while it was being decoded";

}  // namespace yf
