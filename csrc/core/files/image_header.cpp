// See image_header.hpp.
#include "core/files/image_header.hpp"

#include <algorithm>
#include <cstring>
#include <string_view>

#include "core/files/header_fields.hpp"
#include "core/jpeg/header.hpp"

namespace yf {
namespace {

constexpr std::size_t kHeadBytes = 16 * 1024;
constexpr std::size_t kTailBytes = 4096;
constexpr std::size_t kProbeBytes = 4096;
constexpr std::size_t kExifBytes = 2048;          // of EXIF data; the first directory is at their beginning
constexpr int kMaxFarChunks = 16;                 // behind the first bytes, on the way to the EXIF data
constexpr std::size_t kSegmentBytes = 2 + 65535;  // a JPEG's longest, with its marker

// A file's last bytes.
struct Tail {
    std::uint8_t own[kTailBytes];
    std::string_view bytes;

    // 0, or -errno.
    std::ptrdiff_t read(const HeaderFile& file) {
        const auto* head = reinterpret_cast<const char*>(file.head);
        if (file.header.bytes <= file.head_size) {
            const std::size_t size = std::min(kTailBytes, file.head_size);
            bytes = {head + (file.head_size - size), size};
            return 0;
        }
        const std::uint64_t at = file.header.bytes - std::min<std::uint64_t>(file.header.bytes, kTailBytes);
        const std::ptrdiff_t got = file.source.read(at, own, kTailBytes);
        if (got < 0) return got;
        bytes = {reinterpret_cast<const char*>(own), static_cast<std::size_t>(got)};
        return 0;
    }
    bool holds(std::string_view marker) const {
        return bytes.ends_with(marker) || bytes.find(marker) != std::string_view::npos;
    }
};

// The orientation in EXIF data of `size` bytes at `at`, or -errno. The first directory is looked for among
// the first bytes.
std::ptrdiff_t orientation_at(HeaderFile& file, std::uint64_t at, std::uint64_t size) {
    std::uint8_t exif[kExifBytes];
    std::ptrdiff_t failed = 0;
    const auto taken = static_cast<std::size_t>(std::min<std::uint64_t>(size, kExifBytes));
    if (!file.fetch(at, exif, taken, &failed)) return failed < 0 ? failed : 1;
    const bool named = taken >= 6 && std::memcmp(exif, "Exif\0\0", 6) == 0;
    return named ? tiff_orientation(exif + 6, taken - 6) : tiff_orientation(exif, taken);
}

// ---------------------------------------------------------------------------------------------- JPEG

// Goes on behind the first bytes: from segment to segment, past those that say nothing. 0, or -errno.
std::ptrdiff_t read_further(HeaderFile& file, std::uint64_t at, JpegReading* reading) {
    std::uint8_t window[kSegmentBytes];
    std::size_t want = kProbeBytes;
    while (!reading->ended && at < file.header.bytes) {
        const std::ptrdiff_t got = file.source.read(at, window, want);
        if (got < 0) return got;
        const std::size_t step = read_segments(window, static_cast<std::size_t>(got), reading);
        if (static_cast<std::size_t>(got) < want) break;
        want = step == 0 ? kSegmentBytes : kProbeBytes;
        at += step;
    }
    return 0;
}

ImageHeader read_jpeg(HeaderFile& file) {
    JpegReading reading;
    const std::size_t step = read_segments(file.head + 2, file.head_size - 2, &reading);
    if (!reading.ended && file.header.bytes > file.head_size) {
        const std::ptrdiff_t failed = read_further(file, 2 + std::uint64_t{step}, &reading);
        if (failed < 0) return file.fail(failed);
    }
    if (verdict(reading).error != JpegError::none) return file.end(HeaderStatus::refused);
    Tail tail;
    const std::ptrdiff_t failed = tail.read(file);
    if (failed < 0) return file.fail(failed);
    const JpegHeader& jpeg = reading.header;
    file.header.complete = tail.holds("\xFF\xD9");
    file.header.orientation = static_cast<std::int8_t>(jpeg.orientation);
    file.header.depth = 8 * std::int64_t{jpeg.components};
    file.header.mode = jpeg.components == 1   ? PixelMode::gray
                       : jpeg.components == 3 ? PixelMode::rgb
                                              : PixelMode::cmyk;
    return file.sized(static_cast<std::uint64_t>(jpeg.width), static_cast<std::uint64_t>(jpeg.height));
}

// ----------------------------------------------------------------------------------------------- PNG

std::uint64_t big_endian(std::string_view bytes, std::size_t at, std::size_t count) {
    return Fields(reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size(), false).number(at, count);
}

// Whether whole chunks follow one another from `at` on, up to the end of the picture.
bool chunks_lead_to_end(std::string_view bytes, std::uint64_t at) {
    while (at <= bytes.size() && bytes.size() - at >= 8) {
        const auto here = static_cast<std::size_t>(at);
        const std::uint64_t length = big_endian(bytes, here, 4);
        if (bytes.substr(here + 4, 4) == "IEND") return length == 0;
        at += 12 + length;
    }
    return false;
}

// The orientation in the EXIF chunk, or -errno. It stands in front of the pixels; where it comes behind them
// it is found among the file's last bytes, if it is small enough to lie there.
std::ptrdiff_t png_orientation(HeaderFile& file, std::string_view tail) {
    std::uint8_t head[8];
    std::ptrdiff_t failed = 0;
    std::uint64_t at = 8;
    for (int far = 0; far<kMaxFarChunks; far += at> file.head_size) {
        if (!file.fetch(at, head, sizeof head, &failed)) return failed < 0 ? failed : 1;
        const std::uint64_t length = Fields(head, sizeof head, false).number(0, 4);
        if (std::memcmp(head + 4, "eXIf", 4) == 0) return orientation_at(file, at + 8, length);
        if (std::memcmp(head + 4, "IDAT", 4) == 0) break;
        at += 12 + length;
    }
    for (std::size_t found = tail.find("eXIf", 4); found != std::string_view::npos;
         found = tail.find("eXIf", found + 1)) {
        const std::uint64_t length = big_endian(tail, found - 4, 4);
        if (!chunks_lead_to_end(tail, found + 4 + length + 4)) continue;
        const std::string_view exif = tail.substr(found + 4, static_cast<std::size_t>(length));
        return tiff_orientation(reinterpret_cast<const std::uint8_t*>(exif.data()), exif.size());
    }
    return 1;
}

ImageHeader read_png(HeaderFile& file) {
    const Fields head = file.fields(false);
    if (!head.says(12, "IHDR", 4) || !head.has(16, 10)) return file.end(HeaderStatus::unusual);
    constexpr std::int64_t kSamples[] = {1, 0, 3, 1, 2, 0, 4};  // by the type of colour
    switch (head.byte(25)) {
        case 0:
            file.header.mode = PixelMode::gray;
            break;
        case 2:
            file.header.mode = PixelMode::rgb;
            break;
        case 3:
            file.header.mode = PixelMode::palette;
            break;
        case 4:
            file.header.mode = PixelMode::gray_alpha;
            break;
        case 6:
            file.header.mode = PixelMode::rgba;
            break;
        default:
            return file.end(HeaderStatus::unusual);
    }
    file.header.bits = head.byte(24);
    file.header.depth = file.header.bits * kSamples[head.byte(25)];
    Tail tail;
    const std::ptrdiff_t failed = tail.read(file);
    if (failed < 0) return file.fail(failed);
    file.header.complete = tail.holds("IEND");
    const std::ptrdiff_t orientation = png_orientation(file, tail.bytes);
    if (orientation < 0) return file.fail(orientation);
    file.header.orientation = static_cast<std::int8_t>(orientation);
    return file.sized(head.number(16, 4), head.number(20, 4));
}

// ----------------------------------------------------------------------------------------------- BMP

// Whether a palette of `count` entries, `entry` bytes each, holds an even scale of grays.
bool is_gray_scale(const Fields& head, std::size_t at, std::size_t count, std::size_t entry) {
    if (!head.has(at, count * entry)) return false;
    for (std::size_t i = 0; i < count; ++i) {
        const std::size_t level = count == 2 ? 255 * i : i;
        for (std::size_t k = 0; k < 3; ++k)
            if (head.byte(at + i * entry + k) != level) return false;
    }
    return true;
}

ImageHeader read_bmp(HeaderFile& file) {
    const Fields head = file.fields(true);
    if (!head.has(0, 26)) return file.end(HeaderStatus::unusual);
    const std::uint64_t header_size = head.number(14, 4);
    const bool old = header_size == 12;
    const auto width = static_cast<std::int64_t>(
        old ? head.number(18, 2) : static_cast<std::uint64_t>(static_cast<std::int32_t>(head.number(18, 4))));
    auto height = static_cast<std::int64_t>(
        old ? head.number(20, 2) : static_cast<std::uint64_t>(static_cast<std::int32_t>(head.number(22, 4))));
    if (height < 0) height = -height;  // rows are stored top first
    if (width <= 0) return file.end(HeaderStatus::unusual);

    const std::uint64_t depth = head.number(old ? 24 : 28, 2);
    file.header.depth = static_cast<std::int64_t>(depth);
    const std::uint64_t coding = old ? 0 : head.number(30, 4);
    if (depth == 1 || depth == 4 || depth == 8) {
        const std::uint64_t stated = old ? 0 : head.number(46, 4);
        const std::size_t colours = std::size_t{1} << depth;
        const std::size_t count = stated > 0 && stated < colours ? static_cast<std::size_t>(stated) : colours;
        const bool is_common = header_size <= 124;
        const bool gray =
            is_common && is_gray_scale(head, static_cast<std::size_t>(14 + header_size), count, old ? 3 : 4);
        file.header.mode = gray ? PixelMode::gray : PixelMode::palette;
        file.header.bits = static_cast<std::int32_t>(depth);
    } else if (depth == 32 && coding == 3 && header_size >= 56 && head.number(66, 4) != 0) {
        file.header.mode = PixelMode::rgba;  // it has a mask for alpha
    }
    if (coding == 0 || coding == 3) {  // uncompressed; the last row may lack its padding
        const auto row = (static_cast<std::uint64_t>(width) * depth + 7) / 8;
        const auto rows = static_cast<std::uint64_t>(height);
        const std::uint64_t stride = (row + 3) / 4 * 4;
        // 2^31 pixels of at most 2^16 bits and as many rows: no overflow below 2^64 when one is divided out.
        const std::uint64_t start = head.number(10, 4);
        const std::uint64_t room = file.header.bytes > start ? file.header.bytes - start : 0;
        file.header.complete =
            rows == 0 || (room >= row && (room - row) / std::max<std::uint64_t>(stride, 1) >= rows - 1);
    }
    return file.sized(static_cast<std::uint64_t>(width), static_cast<std::uint64_t>(height));
}

// ---------------------------------------------------------------------------------------------- WebP

constexpr std::int64_t kAnimationBits = 96;  // a decoder holds three canvases of RGBA

// The orientation in the EXIF chunk, or -errno. It comes behind the pixels.
std::ptrdiff_t webp_orientation(HeaderFile& file) {
    std::uint8_t head[8];
    std::ptrdiff_t failed = 0;
    std::uint64_t at = 12;
    for (int far = 0; far<kMaxFarChunks; far += at> file.head_size) {
        if (!file.fetch(at, head, sizeof head, &failed)) return failed < 0 ? failed : 1;
        const std::uint64_t length = Fields(head, sizeof head, true).number(4, 4);
        if (std::memcmp(head, "EXIF", 4) == 0) return orientation_at(file, at + 8, length);
        at += 8 + length + length % 2;
    }
    return 1;
}

ImageHeader read_webp(HeaderFile& file) {
    const Fields head = file.fields(true);
    // The chunks follow the size of all that comes; a file that is longer only has something behind it.
    file.header.complete = head.number(4, 4) + 8 <= file.header.bytes;
    if (head.says(12, "VP8X", 4) && head.has(20, 10)) {
        file.header.mode = (head.byte(20) & 0x10) != 0 ? PixelMode::rgba : PixelMode::rgb;
        if ((head.byte(20) & 0x02) != 0) file.header.depth = kAnimationBits;
        if ((head.byte(20) & 0x08) != 0) {
            const std::ptrdiff_t orientation = webp_orientation(file);
            if (orientation < 0) return file.fail(orientation);
            file.header.orientation = static_cast<std::int8_t>(orientation);
        }
        return file.sized(head.number(24, 3) + 1, head.number(27, 3) + 1);
    }
    if (head.says(12, "VP8L", 4) && head.has(20, 5) && head.byte(20) == 0x2F) {
        const std::uint64_t bits = head.number(21, 4);
        if (bits >> 29 != 0) return file.end(HeaderStatus::unusual);  // a version that is not out yet
        file.header.mode = (bits >> 28 & 1) != 0 ? PixelMode::rgba : PixelMode::rgb;
        return file.sized((bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1);
    }
    if (head.says(12, "VP8 ", 4) && head.says(23, "\x9D\x01\x2A", 3) && head.has(26, 4) &&
        (head.byte(20) & 1) == 0)  // a key frame
        return file.sized(head.number(26, 2) & 0x3FFF, head.number(28, 2) & 0x3FFF);
    return file.end(HeaderStatus::unusual);
}

// A file that has been read.
class MemorySource final : public ByteSource {
  public:
    MemorySource(const std::uint8_t* data, std::size_t size) : data_(data), size_(size) {}
    std::ptrdiff_t read(std::uint64_t offset, std::uint8_t* to, std::size_t count) noexcept override {
        if (offset >= size_) return 0;
        const std::size_t given = std::min(count, size_ - static_cast<std::size_t>(offset));
        std::memcpy(to, data_ + offset, given);
        return static_cast<std::ptrdiff_t>(given);
    }
    std::uint64_t size() const noexcept override { return size_; }

  private:
    const std::uint8_t* data_;
    std::size_t size_;
};

}  // namespace

ImageHeader read_image_header(const std::uint8_t* data, std::size_t size) noexcept {
    MemorySource source(data, size);
    return read_image_header(source);
}

ImageHeader read_image_header(ByteSource& source) noexcept {
    std::uint8_t head[kHeadBytes];
    HeaderFile file{source, head, 0, {}};
    file.header.bytes = source.size();
    const std::ptrdiff_t got = source.read(0, head, sizeof head);
    if (got < 0) return file.fail(got);
    if (got == 0) return file.end(HeaderStatus::empty);
    file.head_size = static_cast<std::size_t>(got);
    // It may have grown or shrunk since its size was taken.
    if (file.head_size < sizeof head || file.header.bytes < file.head_size)
        file.header.bytes = file.head_size;

    const Fields text = file.fields(false);
    const auto format = [&](ImageFormat name) { file.header.format = name; };
    if (begins_as_jpeg(head, file.head_size)) {
        format(ImageFormat::jpeg);
        return read_jpeg(file);
    }
    if (text.says(0, "\x89PNG\r\n\x1a\n", 8)) {
        format(ImageFormat::png);
        return read_png(file);
    }
    if (text.says(0, "BM", 2)) {
        format(ImageFormat::bmp);
        return read_bmp(file);
    }
    if (text.says(0, "RIFF", 4) && text.says(8, "WEBP", 4)) {
        format(ImageFormat::webp);
        return read_webp(file);
    }
    const bool little = text.says(0, "II\x2A\0", 4) || text.says(0, "II\x2B\0", 4);
    if (little || text.says(0, "MM\0\x2A", 4) || text.says(0, "MM\0\x2B", 4)) {
        format(ImageFormat::tiff);
        return read_tiff(file, little, head[little ? 2 : 3] == 0x2B);
    }
    return file.end(HeaderStatus::unknown_format);
}

}  // namespace yf
