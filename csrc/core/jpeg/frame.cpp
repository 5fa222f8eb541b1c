// See frame.hpp.
#include "core/jpeg/frame.hpp"

#include <algorithm>
#include <cstring>
#include <numeric>

namespace yf {
namespace {

constexpr int kStartOfScan = 0xDA;

// A marker segment's payload, read front to back; a read past its end gives zeros and spoils it.
class Segment {
  public:
    Segment(const std::uint8_t* data, std::size_t size) : at_(data), left_(size) {}

    int byte() {
        const std::uint8_t* p = bytes(1);
        return p != nullptr ? *p : 0;
    }
    int word() {
        const int high = byte();
        return high << 8 | byte();
    }
    // The next `count` bytes, or nullptr when there are fewer.
    const std::uint8_t* bytes(std::size_t count) {
        if (count > left_) {
            good_ = false;
            left_ = 0;
            return nullptr;
        }
        const std::uint8_t* p = at_;
        at_ += count;
        left_ -= count;
        return p;
    }
    std::size_t left() const { return left_; }
    bool good() const { return good_; }

  private:
    const std::uint8_t* at_;
    std::size_t left_;
    bool good_ = true;
};

// What the application segments say of the colours.
struct Colours {
    bool jfif = false, adobe = false;
    int transform = 0;
};

class FrameReader {
  public:
    FrameReader(const std::uint8_t* data, std::size_t size, Frame* frame)
        : data_(data), size_(size), frame_(*frame) {
        std::memset(frame, 0, sizeof *frame);
    }

    bool read() {
        if (size_ < 4 || data_[0] != 0xFF || data_[1] != 0xD8) return false;
        std::size_t at = 2;
        for (;;) {
            if (size_ - at < 4 || data_[at] != 0xFF) return false;
            const int marker = data_[at + 1];
            const std::size_t length = static_cast<std::size_t>(data_[at + 2] << 8 | data_[at + 3]);
            if (length < 2 || length > size_ - at - 2) return false;
            Segment segment(data_ + at + 4, length - 2);
            at += 2 + length;
            if (!take(marker, segment)) return false;
            if (marker != kStartOfScan) continue;
            frame_.scan = at;
            return at < size_;
        }
    }

  private:
    bool take(int marker, Segment& s) {
        switch (marker) {
            case 0xC0:
            case 0xC1:
                return take_frame(s);
            case 0xC4:
                return take_codes(s);
            case 0xDB:
                return take_quantisers(s);
            case 0xDD:
                frame_.restart_interval = s.word();
                return s.good() && s.left() == 0;
            case kStartOfScan:
                return take_scan(s);
            case 0xE0: {
                const std::uint8_t* p = s.bytes(14);
                colours_.jfif |= p != nullptr && std::memcmp(p, "JFIF", 5) == 0;
                return true;
            }
            case 0xEE: {
                const std::uint8_t* p = s.bytes(12);
                if (p == nullptr || std::memcmp(p, "Adobe", 5) != 0) return true;
                colours_.adobe = true;
                colours_.transform = p[11];
                return true;
            }
            default:  // other application segments and comments say nothing of the pixels
                return (marker >= 0xE1 && marker <= 0xEF) || marker == 0xFE;
        }
    }

    bool take_frame(Segment& s) {
        if (frame_.count != 0) return false;
        const int precision = s.byte();
        frame_.height = s.word();
        frame_.width = s.word();
        frame_.count = s.byte();
        if (precision != 8 || frame_.height == 0 || frame_.width == 0) return false;
        // 65500 is libjpeg's own limit.
        if (frame_.height > 65500 || frame_.width > 65500) return false;
        if (frame_.count != 1 && frame_.count != 3) return false;
        for (int i = 0; i < frame_.count; ++i) {
            FrameComponent& c = frame_.components[i];
            ids_[i] = s.byte();
            const int sampling = s.byte();
            c.h = sampling >> 4;
            c.v = sampling & 15;
            c.quantiser = s.byte();
            if (c.h < 1 || c.h > 4 || c.v < 1 || c.v > 4 || c.quantiser > 3) return false;
            for (int j = 0; j < i; ++j)
                if (ids_[j] == ids_[i]) return false;
        }
        if (frame_.count == 1) frame_.components[0].h = frame_.components[0].v = 1;
        for (int i = 0; i < frame_.count; ++i) {
            const FrameComponent& c = frame_.components[i];
            frame_.max_h = c.h > frame_.max_h ? c.h : frame_.max_h;
            frame_.max_v = c.v > frame_.max_v ? c.v : frame_.max_v;
        }
        return s.good() && s.left() == 0;
    }

    bool take_codes(Segment& s) {
        while (s.left() > 0) {
            const int which = s.byte();
            const std::uint8_t* counts = s.bytes(16);
            if (counts == nullptr || (which & ~0x13) != 0) return false;
            HuffmanCode& code = (which & 0x10 ? frame_.ac : frame_.dc)[which & 3];
            std::memcpy(code.counts, counts, sizeof code.counts);
            const std::size_t sum = std::accumulate(code.counts, code.counts + 16, std::size_t{0});
            const std::uint8_t* symbols = sum <= sizeof code.symbols ? s.bytes(sum) : nullptr;
            if (symbols == nullptr) return false;
            std::memcpy(code.symbols, symbols, sum);
            code.is_set = true;
        }
        return true;
    }

    bool take_quantisers(Segment& s) {
        while (s.left() > 0) {
            const int which = s.byte();
            const std::uint8_t* values = s.bytes(64);
            if (values == nullptr || which > 3) return false;  // 16-bit tables are not for baseline files
            for (int k = 0; k < 64; ++k) frame_.quantisers[which][kNatural[k]] = values[k];
            frame_.quantisers_set[which] = true;
        }
        return true;
    }

    bool take_scan(Segment& s) {
        if (frame_.count == 0 || s.byte() != frame_.count) return false;
        int blocks = 0;
        for (int i = 0; i < std::min(frame_.count, 3); ++i) {
            FrameComponent& c = frame_.components[i];
            if (s.byte() != ids_[i]) return false;
            const int tables = s.byte();
            c.dc = tables >> 4;
            c.ac = tables & 15;
            if (c.dc > 3 || c.ac > 3) return false;
            if (!frame_.dc[c.dc].is_set || !frame_.ac[c.ac].is_set) return false;
            if (!frame_.quantisers_set[c.quantiser]) return false;
            blocks += c.h * c.v;
        }
        // Sequential: all coefficients at once, at full precision.
        if (s.byte() != 0 || s.byte() != 63 || s.byte() != 0) return false;
        return s.good() && s.left() == 0 && blocks <= 10 && is_ycc();
    }

    // Whether the components are Y, or Y, Cb and Cr, by the rules of libjpeg.
    bool is_ycc() const {
        if (frame_.count == 1 || colours_.jfif) return true;
        if (colours_.adobe) return colours_.transform == 1;
        return !(ids_[0] == 'R' && ids_[1] == 'G' && ids_[2] == 'B');
    }

    const std::uint8_t* data_;
    std::size_t size_;
    Frame& frame_;
    Colours colours_;
    int ids_[3] = {};
};

}  // namespace

bool read_frame(const std::uint8_t* data, std::size_t size, Frame* frame) noexcept {
    FrameReader reader(data, size, frame);
    return reader.read();
}

}  // namespace yf
