// How much the scans of a file make a decoder do, counted marker by marker before any of it is done. A scan
// of a few bytes can make it read every block of the picture once more.
#pragma once

#include <algorithm>
#include <cstring>

#include "core/jpeg/jpeg.hpp"

namespace yf {

// A component as scans name it, and how many blocks a scan of it reads.
struct ScannedComponent {
    int id;
    std::int64_t blocks;
};

// Refuses a file with over kMaxScans scans or kMaxSegments segments, or whose scans read blocks more often
// than kFreeBlockReads in all and kMaxReadsPerBlock on average.
JpegStatus check_scans(const std::uint8_t* data, std::size_t size, const ScannedComponent* components,
                       int count) noexcept;

// Calls visit(marker, payload, size) for each marker segment up to the end of the image, as libjpeg finds
// them; while it gives true.
template <typename Visit>
void for_each_segment(const std::uint8_t* data, std::size_t size, Visit visit) {
    for (std::size_t at = 2; at < size;) {
        // To the next marker: past coded bytes, stuffed zeros, fill bytes and restart markers.
        const void* found = std::memchr(data + at, 0xFF, size - at);
        if (found == nullptr) return;
        at = static_cast<std::size_t>(static_cast<const std::uint8_t*>(found) - data);
        while (at < size && data[at] == 0xFF) ++at;
        if (at >= size) return;
        const int marker = data[at++];
        if (marker == 0xD9) return;
        if (marker <= 0x01 || (marker >= 0xD0 && marker <= 0xD8)) continue;  // no payload
        if (size - at < 2) return;
        // Of an impossible length only the two bytes that give it are read, as libjpeg does.
        const std::size_t length =
            std::max<std::size_t>(2, static_cast<std::size_t>(data[at] << 8 | data[at + 1]));
        if (size - at < length) return;
        if (!visit(marker, data + at + 2, length - 2)) return;
        at += length;
    }
}

}  // namespace yf
