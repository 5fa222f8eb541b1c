// What reading image headers shares: a file's bytes as numbers, and the header as far as it is known.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <utility>

#include "core/files/image_header.hpp"

namespace yf {

constexpr std::uint64_t kMaxHeaderSide = std::numeric_limits<std::int32_t>::max();

// Bytes in either order; reading past the end gives zeros, so that callers check once.
class Fields {
  public:
    Fields(const std::uint8_t* data, std::size_t size, bool little)
        : data_(data), size_(size), little_(little) {}
    bool little() const { return little_; }
    bool says(std::size_t at, const char* text, std::size_t length) const {
        return has(at, length) && std::memcmp(data_ + at, text, length) == 0;
    }
    std::uint64_t number(std::size_t at, std::size_t bytes) const {
        std::uint64_t value = 0;
        if (!has(at, bytes)) return 0;
        for (std::size_t i = 0; i < bytes; ++i)
            value |= std::uint64_t{data_[at + i]} << (8 * (little_ ? i : bytes - 1 - i));
        return value;
    }
    std::uint8_t byte(std::size_t at) const { return static_cast<std::uint8_t>(number(at, 1)); }
    bool has(std::size_t at, std::size_t bytes) const { return at <= size_ && size_ - at >= bytes; }

  private:
    const std::uint8_t* data_;
    std::size_t size_;
    bool little_;
};

// A file's first bytes, and the way to the others.
struct HeaderFile {
    ByteSource& source;
    const std::uint8_t* head;
    std::size_t head_size;
    ImageHeader header;

    Fields fields(bool little) const { return {head, head_size, little}; }

    ImageHeader end(HeaderStatus status) {
        header.status = status;
        return header;
    }
    ImageHeader fail(std::ptrdiff_t got) {
        header.error = static_cast<std::int32_t>(-got);
        return end(HeaderStatus::unreadable);
    }
    // Copies `count` bytes from anywhere; false when they are not all there. `failed` is -errno, if any.
    bool fetch(std::uint64_t at, std::uint8_t* to, std::size_t count, std::ptrdiff_t* failed) {
        if (at > header.bytes || header.bytes - at < count) return false;
        if (at <= head_size && head_size - at >= count) {
            std::memcpy(to, head + at, count);
            return true;
        }
        const std::ptrdiff_t got = source.read(at, to, count);
        if (got < 0) *failed = got;
        return got >= 0 && static_cast<std::size_t>(got) == count;
    }
    // A decoder may have to hold this many pixels: the picture, a tile of it.
    void holds(std::uint64_t width, std::uint64_t height) {
        constexpr auto kMost = std::uint64_t{std::numeric_limits<std::int64_t>::max()};
        std::uint64_t pixels;
        if (__builtin_mul_overflow(width, height, &pixels)) pixels = kMost;
        header.pixels = std::max(header.pixels, static_cast<std::int64_t>(std::min(pixels, kMost)));
    }
    // The end of the header: both sides as stored, which the orientation may swap. `unusual` when there can
    // be no such picture.
    ImageHeader sized(std::uint64_t width, std::uint64_t height) {
        holds(width, height);
        if (header.orientation >= 5) std::swap(width, height);
        if (width == 0 || height == 0 || width > kMaxHeaderSide || height > kMaxHeaderSide)
            return end(HeaderStatus::unusual);
        header.width = static_cast<std::int32_t>(width);
        header.height = static_cast<std::int32_t>(height);
        return end(HeaderStatus::fine);
    }
};

ImageHeader read_tiff(HeaderFile& file, bool little, bool big);

}  // namespace yf
