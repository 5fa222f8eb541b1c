// See scans.hpp.
#include "core/jpeg/scans.hpp"

#include <cstdio>

#include "core/jpeg/header.hpp"
#include "core/limits.hpp"

namespace yf {

JpegStatus check_scans(const std::uint8_t* data, std::size_t size, const ScannedComponent* components,
                       int count) noexcept {
    int segments = 0, scans = 0;
    std::int64_t reads = 0, blocks = 0;
    for (int i = 0; i < count; ++i) blocks += components[i].blocks;
    const std::int64_t most = std::max(kFreeBlockReads, kMaxReadsPerBlock * blocks);
    const auto is_within = [&] { return segments <= kMaxSegments && scans <= kMaxScans && reads <= most; };
    for_each_segment(data, size, [&](int marker, const std::uint8_t* payload, std::size_t length) {
        ++segments;
        if (marker != 0xDA) return is_within();
        ++scans;
        const std::size_t named = length > 0 ? payload[0] : 0;
        for (std::size_t k = 0; k < named && 1 + 2 * k < length; ++k)
            for (int i = 0; i < count; ++i)
                if (components[i].id == payload[1 + 2 * k]) reads += components[i].blocks;
        return is_within();
    });
    JpegStatus s{JpegError::none, {}};
    if (is_within()) return s;
    s.error = JpegError::unsupported;
    if (segments > kMaxSegments)
        std::snprintf(s.reason, sizeof s.reason, "over %d marker segments", kMaxSegments);
    else if (scans > kMaxScans)
        std::snprintf(s.reason, sizeof s.reason, "over %d scans", kMaxScans);
    else
        std::snprintf(s.reason, sizeof s.reason,
                      "its first %d scans read each block more than %lld times on average", scans,
                      static_cast<long long>(most / std::max<std::int64_t>(blocks, 1)));
    return s;
}

}  // namespace yf
