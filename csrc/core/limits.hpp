// The limits of what images, planes, matrices and files may be. They are checked where values come in (the
// Cython modules and csrc/torch); what lies behind relies on them, so that no index, sum or fixed-point
// product overflows.
#pragma once

#include <cstddef>
#include <cstdint>

namespace yf {

constexpr std::int64_t kMaxSide = std::int64_t{1} << 24;  // pixels of an image, a plane, a target or a window
constexpr std::int64_t kMaxPlaneBytes = std::int64_t{1}
                                        << 30;  // from end to end: the renderer's offsets are 32-bit
constexpr std::int64_t kMaxChromaFactor = 4;    // luma samples per chroma sample along an axis
constexpr double kMaxMatrix = 1e12;             // magnitude of an entry of a matrix
constexpr double kMaxGain = 7.99;               // of colour: see ColourRow in render/colours.hpp
constexpr double kMaxLevel = 2047.0;            // that a colour matrix may reach, in magnitude
constexpr std::int64_t kMaxPixels = std::int64_t{1} << 28;   // of a JPEG, unless the caller says otherwise
constexpr std::size_t kMaxFileBytes = std::size_t{1} << 30;  // of an image file
constexpr std::size_t kMaxMappings = 256;                    // cache files that a process maps at once

// JPEG files. What encoders write comes near none of these: 255 segments for a colour profile, about ten
// scans that read each block at most six times, and a byte for 85 pixels of one colour (with optimised codes
// 170 in 4:2:0, and 256 in gray).
constexpr int kMaxSegments = 4096;  // in front of the first scan; and in a file of several scans
constexpr std::size_t kMaxHeadBytes = std::size_t{1} << 26;  // in front of the first scan
constexpr int kMaxScans = 500;
constexpr std::int64_t kFreeBlockReads = std::int64_t{1} << 23;  // by all scans: less than a second
constexpr std::int64_t kMaxReadsPerBlock = 12;                   // on average, where there are more reads
constexpr std::int64_t kSmallPixels = std::int64_t{1} << 24;     // decoded however short the file is
constexpr std::int64_t kLargePixels = std::int64_t{1} << 26;     // from here on a byte is for no more than
constexpr std::int64_t kMaxPixelsPerByte = 250;

}  // namespace yf
