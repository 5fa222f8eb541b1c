// See structure.hpp.
#include "jpeg/structure.hpp"

#include <algorithm>
#include <cstring>

#include "jpeg/header.hpp"

namespace yf {
namespace {

constexpr int kMostScans = 100;

const JpegStatus kFine{JpegError::none, {}};

JpegStatus corrupt(const char* reason) { return status(JpegError::corrupt, reason); }
JpegStatus cut_off() { return status(JpegError::truncated, "the data ends before the end marker"); }
JpegStatus unusual(const char* reason) { return status(JpegError::unsupported, reason); }

class Walk {
  public:
    Walk(const std::uint8_t* data, std::size_t size) : data_(data), size_(size) {}

    JpegStatus run() {
        if (!begins_as_jpeg(data_, size_))
            return status(JpegError::not_jpeg, "the data does not begin with a JPEG marker (FF D8 FF)");
        for (;;) {
            if (at_ >= size_) return cut_off();
            if (data_[at_] != 0xFF) return corrupt("there is something else where a marker has to be");
            while (at_ < size_ && data_[at_] == 0xFF) ++at_;
            if (at_ >= size_) return cut_off();
            const int marker = data_[at_++];
            if (marker == 0xD9) return scans_ > 0 ? kFine : corrupt("there is no scan");
            if (marker < 0xC0 || (marker >= 0xD0 && marker <= 0xD8)) return corrupt("an unexpected marker");
            if (size_ - at_ < 2) return cut_off();
            const std::size_t length = static_cast<std::size_t>(data_[at_] << 8 | data_[at_ + 1]);
            if (length < 2) return corrupt("a marker segment has an impossible length");
            if (size_ - at_ < length) return cut_off();
            JpegStatus s = take(marker, data_ + at_ + 2, length - 2);
            at_ += length;
            if (s.error == JpegError::none && marker == 0xDA) s = skip_coded();
            if (s.error != JpegError::none) return s;
        }
    }

  private:
    JpegStatus take(int marker, const std::uint8_t* payload, std::size_t size) {
        if (marker >= 0xC0 && marker <= 0xC2) return take_frame(payload, size);
        if (marker > 0xC2 && marker <= 0xCF && marker != 0xC4)
            return unusual("the coding is not baseline, extended or progressive with Huffman codes");
        if (marker == 0xDC) return unusual("the height is given behind the first scan");
        if (marker == 0xDD) {
            if (size != 2) return corrupt("the restart interval has an impossible length");
            interval_ = payload[0] << 8 | payload[1];
        }
        if (marker == 0xEE && size >= 12 && std::memcmp(payload, "Adobe", 5) == 0)
            is_adobe_ycc_ = payload[11] == 1;
        return marker == 0xDA ? take_scan(payload, size) : kFine;
    }

    JpegStatus take_frame(const std::uint8_t* p, std::size_t size) {
        if (components_ != 0) return corrupt("there is more than one frame header");
        if (size < 6) return corrupt("the frame header is too short");
        components_ = p[5];
        if (size != 6 + 3 * static_cast<std::size_t>(components_))
            return corrupt("the frame header has an impossible length");
        if (p[0] != 8) return unusual("samples are not of 8 bits");
        if (components_ != 1 && components_ != 3)
            return unusual("there are neither one nor three components");
        height_ = p[1] << 8 | p[2];
        width_ = p[3] << 8 | p[4];
        across_ = p[7] >> 4;
        down_ = p[7] & 15;
        const bool once = components_ == 1 ? p[7] == 0x11 : p[10] == 0x11 && p[13] == 0x11;
        if (height_ == 0 || width_ == 0 || across_ == 0 || down_ == 0 || across_ > 4 || down_ > 4 || !once)
            return unusual("the sampling factors or the size are not usual");
        is_named_rgb_ = components_ == 3 && p[6] == 'R' && p[9] == 'G' && p[12] == 'B';
        return kFine;
    }

    JpegStatus take_scan(const std::uint8_t* p, std::size_t size) {
        if (components_ == 0) return corrupt("a scan comes before the frame header");
        if (components_ == 3 && (!is_adobe_ycc_ || is_named_rgb_))
            return unusual("the colours are not YCbCr");
        if (size < 1 || p[0] == 0 || p[0] > components_ || size != 4 + 2 * static_cast<std::size_t>(p[0]))
            return corrupt("a scan header has an impossible length");
        if (++scans_ > kMostScans) return unusual("there are too many scans");
        scan_components_ = p[0];
        return kFine;
    }

    // Past entropy-coded bytes, to the marker behind them.
    JpegStatus skip_coded() {
        std::int64_t restarts = 0;
        for (;;) {
            const void* found = std::memchr(data_ + at_, 0xFF, size_ - at_);
            if (found == nullptr) return cut_off();
            const std::size_t marker =
                static_cast<std::size_t>(static_cast<const std::uint8_t*>(found) - data_);
            at_ = marker + 1;
            if (at_ >= size_) return cut_off();
            const int code = data_[at_];
            if (code == 0xFF) continue;
            if (code != 0 && (code < 0xD0 || code > 0xD7)) {
                at_ = marker;
                return check_restarts(restarts);
            }
            ++at_;
            if (code != 0 && (interval_ == 0 || code != 0xD0 + restarts++ % 8))
                return corrupt("a restart marker is out of order");
        }
    }

    JpegStatus check_restarts(std::int64_t restarts) const {
        if (interval_ == 0 || scan_components_ != components_) return kFine;  // others count blocks otherwise
        const std::int64_t mcus = std::int64_t{ceil_div(width_, 8 * across_)} * ceil_div(height_, 8 * down_);
        return restarts == (mcus - 1) / interval_ ? kFine
                                                  : corrupt("a restart marker is missing or too many");
    }

    const std::uint8_t* data_;
    std::size_t size_, at_ = 2;
    int components_ = 0, scan_components_ = 0, scans_ = 0, interval_ = 0;
    int height_ = 0, width_ = 0, across_ = 1, down_ = 1;
    bool is_adobe_ycc_ = true, is_named_rgb_ = false;
};

}  // namespace

JpegStatus check_structure(const std::uint8_t* data, std::size_t size) noexcept {
    return Walk(data, size).run();
}

}  // namespace yf
