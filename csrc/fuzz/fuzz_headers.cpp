// Any bytes as an image file: its header must come without a read outside, be the same however the bytes are
// cut, and a JPEG's must be what its own parser finds in the whole.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "core/files/image_header.hpp"
#include "core/jpeg/header.hpp"
#include "fuzz/choices.hpp"

namespace {

// A file in memory. It may say another size than it has, end early, or fail at a place.
class Memory final : public yf::ByteSource {
  public:
    Memory(const std::uint8_t* data, std::size_t size, std::uint64_t stated, std::size_t fails_at)
        : data_(data), size_(size), stated_(stated), fails_at_(fails_at) {}
    std::ptrdiff_t read(std::uint64_t offset, std::uint8_t* to, std::size_t count) noexcept override {
        require(++reads_ <= 4 + 2 * (size_ / 1024 + 1) + 12);  // a few, or as many as its length asks for
        if (offset >= fails_at_) return -5;
        if (offset >= size_) return 0;
        const std::size_t given = std::min<std::size_t>(count, size_ - static_cast<std::size_t>(offset));
        std::memcpy(to, data_ + offset, given);
        return static_cast<std::ptrdiff_t>(given);
    }
    std::uint64_t size() const noexcept override { return stated_; }

  private:
    const std::uint8_t* data_;
    std::size_t size_;
    std::uint64_t stated_;
    std::size_t fails_at_;
    std::size_t reads_ = 0;
};

yf::ImageHeader header_of(const std::vector<std::uint8_t>& file, std::uint64_t stated, std::size_t fails_at) {
    Memory memory(file.data(), file.size(), stated, fails_at);
    const yf::ImageHeader header = yf::read_image_header(memory);
    if (header.status == yf::HeaderStatus::fine) {
        require(header.width > 0 && header.height > 0 && header.bits >= 0 && header.bits <= 255);
        require(header.orientation >= 1 && header.orientation <= 8);
        require(header.format != yf::ImageFormat::unknown);
        require(header.pixels >= std::int64_t{header.width} * header.height);
    }
    require(header.pixels >= 0 && header.depth >= 0);
    require((header.status == yf::HeaderStatus::unreadable) == (header.error != 0));
    return header;
}

void check_jpeg(const std::vector<std::uint8_t>& file, const yf::ImageHeader& header) {
    yf::JpegHeader whole;
    const yf::JpegStatus status = yf::parse_jpeg_header(file.data(), file.size(), &whole);
    require((header.format == yf::ImageFormat::jpeg) == (status.error != yf::JpegError::not_jpeg));
    if (header.format != yf::ImageFormat::jpeg) return;
    require((header.status == yf::HeaderStatus::fine) == (status.error == yf::JpegError::none));
    require((header.status == yf::HeaderStatus::refused) == (status.error != yf::JpegError::none));
    if (status.error != yf::JpegError::none) return;
    const bool turned = whole.orientation >= 5;
    require(header.orientation == whole.orientation);
    require(header.width == (turned ? whole.height : whole.width));
    require(header.height == (turned ? whole.width : whole.height));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    Choices choices(data, size);
    const std::size_t filler = choices.one_in(2) ? static_cast<std::size_t>(choices.below(65536)) : 0;
    const std::size_t place = static_cast<std::size_t>(choices.below(256));
    std::vector<std::uint8_t> file(data, data + size);
    // A long file from a short input: what is looked for lies behind the first read.
    if (filler > 0) file.insert(file.begin() + static_cast<std::ptrdiff_t>(std::min(place, size)), filler, 0);

    const std::size_t never = SIZE_MAX;
    const yf::ImageHeader header = header_of(file, file.size(), never);
    require(header.bytes == file.size() && header.status != yf::HeaderStatus::unreadable);
    check_jpeg(file, header);
    const yf::ImageHeader whole = yf::read_image_header(file.data(), file.size());
    require(whole.status == header.status && whole.orientation == header.orientation);
    require(whole.width == header.width && whole.height == header.height);
    require(whole.pixels == header.pixels && whole.depth == header.depth);
    header_of(file, file.size() + filler, never);                                  // it shrank
    header_of(file, file.size() / 2, never);                                       // it grew
    header_of(file, UINT64_MAX, never);                                            // nonsense
    header_of(file, file.size(), static_cast<std::size_t>(choices.below(32768)));  // the disk fails
    return 0;
}
