// What an image file says about itself, whatever its format: read from a few of its bytes, nothing decoded.
//
// The bytes come through a small interface, so that a file costs one read, or two where its end matters. They
// are other people's: every offset is checked, and what is unusual is left to a real decoder.
#pragma once

#include <cstddef>
#include <cstdint>

namespace yf {

// The bytes of a file, anywhere in it.
class ByteSource {
  public:
    virtual ~ByteSource() = default;
    // Up to `count` bytes from `offset` on into `to`; fewer only where the file ends, -errno when reading
    // fails.
    virtual std::ptrdiff_t read(std::uint64_t offset, std::uint8_t* to, std::size_t count) noexcept = 0;
    virtual std::uint64_t size() const noexcept = 0;
};

enum class HeaderStatus : std::int8_t {
    fine = 0,
    unreadable,  // `error` is the errno
    empty,
    unknown_format,  // none of the formats below
    refused,         // a JPEG that no decoder of ours reads
    unusual,         // of `format`, but only a decoder can say more
};

enum class ImageFormat : std::int8_t { unknown = 0, jpeg, png, bmp, webp, tiff };

enum class PixelMode : std::int8_t { gray = 0, gray_alpha, rgb, rgba, palette, cmyk };

struct ImageHeader {
    HeaderStatus status = HeaderStatus::fine;
    ImageFormat format = ImageFormat::unknown;
    PixelMode mode = PixelMode::rgb;
    std::int8_t orientation =
        1;                  // EXIF's, or a TIFF's own: height and width are those of the upright picture
    bool complete = true;   // false where the file certainly stops early
    std::int32_t bits = 8;  // of a sample
    std::int32_t height = 0, width = 0;
    std::int64_t pixels = 0;  // that a decoder may have to hold, also of an unusual file; 0: not stated
    std::int64_t depth = 24;  // bits of a pixel as it is stored
    std::int32_t error = 0;
    std::uint64_t bytes = 0;
};

ImageHeader read_image_header(ByteSource& source) noexcept;
ImageHeader read_image_header(const std::uint8_t* data, std::size_t size) noexcept;

}  // namespace yf
