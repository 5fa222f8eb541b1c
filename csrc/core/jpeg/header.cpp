// See header.hpp.
#include "core/jpeg/header.hpp"

#include <algorithm>
#include <cstdio>
#include <cstring>

#include "core/limits.hpp"

namespace yf {
namespace {

std::uint32_t read16(const std::uint8_t* p, bool little) {
    return little ? p[0] | (p[1] << 8) : (p[0] << 8) | p[1];
}

std::uint32_t read32(const std::uint8_t* p, bool little) {
    return little ? read16(p, true) | (read16(p + 2, true) << 16)
                  : (read16(p, false) << 16) | read16(p + 2, false);
}

constexpr std::size_t kExifPrefix = 6;  // "Exif\0\0", in front of the TIFF structure

// 0 when this APP1 payload is no EXIF.
int exif_orientation(const std::uint8_t* payload, std::size_t size) {
    if (size < kExifPrefix + 8 || std::memcmp(payload, "Exif\0\0", kExifPrefix) != 0) return 0;
    return tiff_orientation(payload + kExifPrefix, size - kExifPrefix);
}

// Of all components; each is (id, sampling, table) from `p` on.
std::int64_t count_blocks(const std::uint8_t* p, const JpegHeader& header) {
    int max_h = 0, max_v = 0;
    for (int i = 0; i < header.components; ++i) {
        const int h = p[3 * i + 1] >> 4, v = p[3 * i + 1] & 15;
        if (h < 1 || h > 4 || v < 1 || v > 4) return 0;
        max_h = std::max(max_h, h);
        max_v = std::max(max_v, v);
    }
    std::int64_t blocks = 0;
    for (int i = 0; i < header.components; ++i) {
        const int h = p[3 * i + 1] >> 4, v = p[3 * i + 1] & 15;
        blocks +=
            std::int64_t{ceil_div(header.width * h, 8 * max_h)} * ceil_div(header.height * v, 8 * max_v);
    }
    return blocks;
}

// SOFn payload: precision, height, width, components, then (id, sampling, table) each.
JpegStatus parse_frame(int marker, const std::uint8_t* p, std::size_t size, JpegHeader* header) {
    if (marker != 0xC0 && marker != 0xC1 && marker != 0xC2 && marker != 0xC9 && marker != 0xCA)
        return status(JpegError::unsupported, "lossless and hierarchical JPEG are not supported");
    if (size < 6) return status(JpegError::corrupt, "the frame header is too short");
    if (p[0] != 8) {
        JpegStatus s{JpegError::unsupported, {}};
        std::snprintf(s.reason, sizeof s.reason, "%d-bit samples are not supported, only 8-bit", p[0]);
        return s;
    }
    header->height = static_cast<int>(read16(p + 1, false));
    header->width = static_cast<int>(read16(p + 3, false));
    header->components = p[5];
    header->arithmetic = marker >= 0xC9;
    header->progressive = marker == 0xC2 || marker == 0xCA;
    if (header->height == 0 || header->width == 0)
        return status(JpegError::unsupported, "the frame header gives no size");
    if (size < 6 + 3 * static_cast<std::size_t>(header->components))
        return status(JpegError::corrupt, "the frame header is too short");
    if (header->components != 1 && header->components != 3 && header->components != 4) {
        JpegStatus s{JpegError::unsupported, {}};
        std::snprintf(s.reason, sizeof s.reason, "%d colour components, expected 1, 3 or 4",
                      header->components);
        return s;
    }
    header->blocks = count_blocks(p + 6, *header);
    header->subsampling = Subsampling::gray;
    if (header->components >= 3) {
        const int y = p[7], cb = p[10], cr = p[13];
        const int h = cb >> 4, v = cb & 15;
        const bool regular = cb == cr && h > 0 && v > 0 && (y >> 4) % h == 0 && (y & 15) % v == 0;
        header->subsampling = regular ? name_factors((y >> 4) / h, (y & 15) / v) : Subsampling::other;
    }
    return status(JpegError::none, "");
}

// Where the segment whose marker is at `at` ends; as far as its length goes, when that is not there.
std::size_t end_of_segment(const std::uint8_t* data, std::size_t size, std::size_t at) {
    const bool is_there = at <= size && size - at >= 4;
    return is_there ? at + 2 + read16(data + at + 2, false) : std::max(at, size) + 4;
}

// As `read_segments`, but for counting the bytes that were passed.
std::size_t read_piece(const std::uint8_t* data, std::size_t size, JpegReading* reading) {
    const auto refuse = [&](JpegError error, const char* reason) {
        reading->status = status(error, reason);
        reading->ended = true;
    };
    std::size_t at = 0;
    while (at < size) {
        // To the next marker: past garbage, stuffed zeros and fill bytes, as libjpeg does.
        while (at < size && data[at] != 0xFF) ++at;
        while (at < size && data[at] == 0xFF) ++at;
        if (reading->walked + at > kMaxHeadBytes) {
            refuse(JpegError::unsupported, "over 64 MiB in front of the picture");
            return at;
        }
        if (at >= size) return at > 0 && data[at - 1] == 0xFF ? at - 1 : at;
        const std::size_t begin = at - 1;
        const int marker = data[at++];
        if (marker == 0 || marker == 0x01 || (marker >= 0xD0 && marker <= 0xD8)) continue;  // no payload
        reading->ended = marker == 0xD9 || marker == 0xDA;                                  // EOI, SOS
        if (reading->ended) return begin;
        if (size - at < 2) return begin;
        std::size_t length = read16(data + at, false);
        const bool is_note = (marker >= 0xE0 && marker <= 0xEF) || marker == 0xFE;
        if (is_note) length = std::max<std::size_t>(length, 2);  // libjpeg takes a shorter one as empty
        if (length < 2) {
            refuse(JpegError::corrupt, "a marker segment has an impossible length");
            return begin;
        }
        const bool is_frame = !reading->have_frame && marker >= 0xC0 && marker <= 0xCF && marker != 0xC4 &&
                              marker != 0xC8 && marker != 0xCC;
        const bool may_turn = !reading->have_exif && marker == 0xE1;
        if (size - at < length && (is_frame || may_turn)) return begin;
        const std::uint8_t* payload = data + at + 2;
        if (is_frame) {
            reading->status = parse_frame(marker, payload, length - 2, &reading->header);
            reading->ended = reading->status.error != JpegError::none;
            if (reading->ended) return begin;
            reading->have_frame = true;
        } else if (may_turn) {
            const int orientation = exif_orientation(payload, length - 2);
            reading->have_exif = orientation != 0;
            if (reading->have_exif) reading->header.orientation = orientation;
        }
        if (++reading->segments > kMaxSegments) {
            refuse(JpegError::unsupported, "over 4096 marker segments in front of the picture");
            return begin;
        }
        at += length;
    }
    return at;
}

}  // namespace

int tiff_orientation(const std::uint8_t* tiff, std::size_t size) noexcept {
    if (size < 8) return 1;
    const bool little = tiff[0] == 'I' && tiff[1] == 'I';
    if (!little && !(tiff[0] == 'M' && tiff[1] == 'M')) return 1;
    if (read16(tiff + 2, little) != 42) return 1;
    const std::size_t ifd = read32(tiff + 4, little);
    if (ifd > size || size - ifd < 2) return 1;
    const std::size_t entries = read16(tiff + ifd, little);
    for (std::size_t i = 0; i < entries; ++i) {
        const std::size_t at = ifd + 2 + 12 * i;
        if (size - ifd < 2 + 12 * (i + 1)) return 1;
        if (read16(tiff + at, little) != 0x0112) continue;
        const std::uint32_t value = read16(tiff + at + 8, little);
        const bool is_short = read16(tiff + at + 2, little) == 3;
        return is_short && value >= 1 && value <= 8 ? static_cast<int>(value) : 1;
    }
    return 1;
}

bool begins_as_jpeg(const std::uint8_t* data, std::size_t size) {
    return size >= 3 && data[0] == 0xFF && data[1] == 0xD8 && data[2] == 0xFF;
}

std::size_t read_segments(const std::uint8_t* data, std::size_t size, JpegReading* reading) noexcept {
    const std::size_t step = read_piece(data, size, reading);
    reading->walked += step;
    return step;
}

JpegStatus verdict(const JpegReading& reading) {
    if (reading.status.error != JpegError::none || reading.have_frame) return reading.status;
    return status(JpegError::truncated, "the data ends before the frame header");
}

JpegStatus parse_jpeg_header(const std::uint8_t* data, std::size_t size, JpegHeader* header) noexcept {
    JpegReading reading;
    *header = reading.header;
    if (!begins_as_jpeg(data, size))
        return status(JpegError::not_jpeg, "the data does not begin with a JPEG marker (FF D8 FF)");
    const std::size_t at = 2 + read_segments(data + 2, size - 2, &reading);
    *header = reading.header;
    JpegStatus s = verdict(reading);
    if (s.error == JpegError::truncated && !reading.ended)
        std::snprintf(s.reason, sizeof s.reason,
                      "the data ends before the frame header: got %zu bytes, expected at least %zu", size,
                      end_of_segment(data, size, at));
    return s;
}

Subsampling name_factors(int across, int down) {
    if (across == 1 && down == 1) return Subsampling::s444;
    if (across == 2 && down == 1) return Subsampling::s422;
    if (across == 2 && down == 2) return Subsampling::s420;
    if (across == 1 && down == 2) return Subsampling::s440;
    if (across == 4 && down == 1) return Subsampling::s411;
    return Subsampling::other;
}

JpegStatus status(JpegError error, const char* reason) {
    JpegStatus s{error, {}};
    std::snprintf(s.reason, sizeof s.reason, "%s", reason);
    return s;
}

}  // namespace yf
