// See bits.hpp.
#include "core/jpeg/bits.hpp"

#include <algorithm>

namespace yf {
namespace {

// Copies up to `size` bytes, stopping at the first 0xFF, and returns how many. Behind those, but not past
// `size`, anything may be written.
std::size_t copy_to_marker(const std::uint8_t* from, std::size_t size, std::uint8_t* to) {
    std::size_t done = 0;
    while (size - done >= 8) {
        std::uint64_t word;
        std::memcpy(&word, from + done, sizeof word);
        std::memcpy(to + done, &word, sizeof word);
        // A byte of ones is a byte of zeros inverted (the usual test for a zero byte).
        const std::uint64_t zeros = ~word;
        const std::uint64_t found = (zeros - 0x0101010101010101u) & word & 0x8080808080808080u;
        if (found != 0) break;
        done += 8;
    }
    while (done < size && from[done] != 0xFF) {
        to[done] = from[done];
        ++done;
    }
    return done;
}

}  // namespace

void SegmentBytes::refill(const std::uint8_t* at) noexcept {
    const std::size_t kept = at < end_ ? static_cast<std::size_t>(end_ - at) : 0;
    std::memmove(buffer_, at, kept);
    std::uint8_t* to = buffer_ + kept;
    std::uint8_t* const full = buffer_ + kPiece;
    while (marker_ == 0 && to < full) {
        const std::size_t room = std::min(static_cast<std::size_t>(full - to), size_ - next_);
        const std::size_t copied = copy_to_marker(data_ + next_, room, to);
        to += copied;
        next_ += copied;
        if (to == full) break;
        const int after = size_ - next_ >= 2 ? data_[next_ + 1] : kNoMarker;
        if (after == 0) {
            *to++ = 0xFF;
            next_ += 2;
        } else {
            marker_ = after;
        }
    }
    end_ = to;
    std::memset(end_, 0, kSlack);
    // With nothing more to come a reader may go on to the end, and eight bytes beyond it in its buffer.
    refill_at_ = ended() ? end_ + sizeof(std::uint64_t) : end_ - kMaxBlockBytes;
}

void SegmentBytes::skip() noexcept {
    while (marker_ == 0) {
        const void* found = next_ < size_ ? std::memchr(data_ + next_, 0xFF, size_ - next_) : nullptr;
        next_ = found != nullptr ? static_cast<std::size_t>(static_cast<const std::uint8_t*>(found) - data_)
                                 : size_;
        const int after = size_ - next_ >= 2 ? data_[next_ + 1] : kNoMarker;
        if (after == 0)
            next_ += 2;
        else
            marker_ = after;
    }
}

}  // namespace yf
