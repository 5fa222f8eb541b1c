// Lossless rewriting of JPEG files with restart markers, so that a file can be decoded in parallel streams,
// or only where a crop needs it.
#pragma once

#include <vector>

#include "core/jpeg/jpeg.hpp"

namespace yf {

// Writes to `out` a sequential Huffman file with the coefficients, tables and APPn/COM segments of `data`,
// and a restart marker after every `restart_rows` rows of MCUs (after fewer where those are over 65535 MCUs,
// the format's limit). What was written is read again and compared. `out` means nothing unless there is no
// error.
JpegStatus add_restarts(const std::uint8_t* data, std::size_t size, int restart_rows, std::int64_t max_pixels,
                        std::vector<std::uint8_t>* out) noexcept;

}  // namespace yf
