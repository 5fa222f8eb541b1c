// Bits of a scan: stuffing taken out a piece at a time, then read from a 64-bit buffer without a branch.
//
// Why no read leaves memory: the piece is followed by kSlack readable bytes. Between two checks of
// `refill_at`, one per block, no more than kMaxBlockBytes bytes can be used or loaded.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace yf {

// Entropy-coded bytes of one segment, from where it begins to the marker that ends it.
class SegmentBytes {
  public:
    // 63 coefficients and the DC, each of at most 16 bits of code and 15 of value, in bytes; and one load.
    static constexpr std::size_t kMaxBlockBytes = 64 * 31 / 8 + 8;
    static constexpr std::size_t kPiece = 4096;
    static constexpr std::size_t kSlack = 512;
    static_assert(kSlack >= kMaxBlockBytes + 2 * sizeof(std::uint64_t));

    // Begins the segment at `offset` of `data`.
    void begin(const std::uint8_t* data, std::size_t size, std::size_t offset) {
        data_ = data;
        size_ = size;
        next_ = offset;
        end_ = buffer_;
        marker_ = 0;
        refill(buffer_);
    }

    const std::uint8_t* start() const { return buffer_; }
    // A reader that has reached this address has to refill, or learns that there are no more bytes.
    const std::uint8_t* refill_at() const { return refill_at_; }
    const std::uint8_t* end() const { return end_; }
    bool ended() const { return marker_ != 0; }
    // The marker behind the segment, 0 when it has not come into sight; kNoMarker when the data ends before
    // one.
    int marker() const { return marker_; }
    // Offset of the first byte of the file that is not in the buffer: the marker's 0xFF when ended.
    std::size_t next() const { return next_; }

    static constexpr int kNoMarker = -1;

    // Moves what a reader at `at` has not used to the front and fills up. `at` is then `start()`.
    void refill(const std::uint8_t* at) noexcept;

    // On to the segment's end with all that is left of it unread.
    void skip() noexcept;

  private:
    const std::uint8_t* data_ = nullptr;
    std::size_t size_ = 0, next_ = 0;
    int marker_ = 0;
    const std::uint8_t* refill_at_ = nullptr;
    std::uint8_t* end_ = nullptr;
    alignas(64) std::uint8_t buffer_[kPiece + kSlack];
};

// The bit buffer: the next bit is the highest of `bits`; below the `count` valid ones lie more, or zeros.
struct BitReader {
    std::uint64_t bits;
    std::uint32_t count;  // at most 63
    const std::uint8_t* at;

    void begin(const std::uint8_t* start) {
        bits = 0;
        count = 0;
        at = start;
    }

    // At least 56 valid bits. Bytes that a load brings a second time fall on their own copies.
    void refill() {
        std::uint64_t word;
        std::memcpy(&word, at, sizeof word);
        if constexpr (std::endian::native == std::endian::little) word = __builtin_bswap64(word);
        bits |= word >> (count & 63);
        at += (63 - (count & 63)) >> 3;
        count |= 56;
    }

    void skip(std::uint32_t n) {
        bits <<= n & 63;
        count -= n;
    }
};

}  // namespace yf
