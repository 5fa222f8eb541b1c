// See structure.hpp.
#include "core/jpeg/structure.hpp"

#include <algorithm>
#include <cstring>
#include <numeric>

#include "core/jpeg/header.hpp"
#include "core/jpeg/huffman.hpp"

namespace yf {
namespace {

constexpr int kUsualScans = 100;
constexpr int kMaxTables = 4;
constexpr int kCoefficients = 64;
constexpr int kNoBits = 14;  // one more than a scan can leave to a later one

const JpegStatus kFine{JpegError::none, {}};

JpegStatus corrupt(const char* reason) { return status(JpegError::corrupt, reason); }
JpegStatus cut_off() { return status(JpegError::truncated, "the data ends before the end marker"); }
JpegStatus unusual(const char* reason) { return status(JpegError::unsupported, reason); }

class Walk {
  public:
    Walk(const std::uint8_t* data, std::size_t size) : data_(data), size_(size) {
        std::fill(&missing_bits_[0][0], &missing_bits_[0][0] + 3 * kCoefficients, kNoBits);
    }

    JpegStatus run() {
        if (!begins_as_jpeg(data_, size_))
            return status(JpegError::not_jpeg, "the data does not begin with a JPEG marker (FF D8 FF)");
        for (;;) {
            if (at_ >= size_) return cut_off();
            if (data_[at_] != 0xFF) return corrupt("there is something else where a marker has to be");
            while (at_ < size_ && data_[at_] == 0xFF) ++at_;
            if (at_ >= size_) return cut_off();
            const int marker = data_[at_++];
            if (marker == 0xD9) return finish();
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
        if (marker >= 0xC0 && marker <= 0xC2) return take_frame(marker, payload, size);
        if (marker == 0xC4) return take_codes(payload, size);
        if (marker == 0xDB) return take_quantisers(payload, size);
        if (marker > 0xC2 && marker <= 0xCF)
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

    // Huffman codes: for each table its class and number, how many codes there are of each length, symbols.
    JpegStatus take_codes(const std::uint8_t* p, std::size_t size) {
        while (size > 0) {
            if (size < 17) return corrupt("a table of Huffman codes is cut off");
            const int kind = p[0] >> 4, number = p[0] & 15;
            if (kind > 1 || number >= kMaxTables) return corrupt("a table of Huffman codes has a bad number");
            std::uint8_t counts[16];
            std::memcpy(counts, p + 1, sizeof counts);
            if (!is_prefix_code(counts)) return corrupt("there are more Huffman codes than fit");
            const std::size_t symbols = std::accumulate(counts, counts + 16, std::size_t{0});
            if (symbols > 256 || size - 17 < symbols) return corrupt("a table of Huffman codes is cut off");
            const std::uint8_t* const values = p + 17;
            if (kind == 0 && std::any_of(values, values + symbols, [](int value) { return value > 15; }))
                return corrupt("a Huffman code stands for what cannot be");
            (kind == 0 ? has_dc_ : has_ac_)[number] = symbols > 0;
            p += 17 + symbols;
            size -= 17 + symbols;
        }
        return kFine;
    }

    JpegStatus take_quantisers(const std::uint8_t* p, std::size_t size) {
        while (size > 0) {
            const int wide = p[0] >> 4, number = p[0] & 15;
            if (wide > 1 || number >= kMaxTables) return corrupt("a quantisation table has a bad number");
            const std::size_t length = 1 + 64 * (1 + static_cast<std::size_t>(wide));
            if (size < length) return corrupt("a quantisation table is cut off");
            has_quantisers_[number] = true;
            p += length;
            size -= length;
        }
        return kFine;
    }

    JpegStatus take_frame(int marker, const std::uint8_t* p, std::size_t size) {
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
        marker_ = marker;
        for (int i = 0; i < components_; ++i) {
            names_[i] = p[6 + 3 * i];
            quantisers_[i] = p[8 + 3 * i];
            if (quantisers_[i] >= kMaxTables) return corrupt("a component has a bad quantisation table");
            if (std::find(names_, names_ + i, names_[i]) != names_ + i)
                return corrupt("two components have one name");
        }
        return kFine;
    }

    JpegStatus take_scan(const std::uint8_t* p, std::size_t size) {
        if (components_ == 0) return corrupt("a scan comes before the frame header");
        if (components_ == 3 && (!is_adobe_ycc_ || is_named_rgb_))
            return unusual("the colours are not YCbCr");
        if (size < 1 || p[0] == 0 || p[0] > components_ || size != 4 + 2 * static_cast<std::size_t>(p[0]))
            return corrupt("a scan header has an impossible length");
        if (++scans_ > kUsualScans) return unusual("there are too many scans");
        scan_components_ = p[0];
        const int first = p[size - 3], last = p[size - 2], before = p[size - 1] >> 4, bit = p[size - 1] & 15;
        const bool progressive = marker_ == 0xC2;
        if (progressive ? first > last || last > 63 || (first == 0) != (last == 0) || bit > 13 ||
                              (first > 0 && scan_components_ > 1) || (before != 0 && before != bit + 1)
                        : first != 0 || last != 63 || p[size - 1] != 0)
            return corrupt("a scan is of coefficients that cannot be");
        for (int k = 0, next = 0; k < scan_components_; ++k) {
            const int dc = p[2 + 2 * k] >> 4, ac = p[2 + 2 * k] & 15,
                      max_tables = marker_ == 0xC0 ? 2 : kMaxTables;
            const int i =
                static_cast<int>(std::find(names_ + next, names_ + components_, p[1 + 2 * k]) - names_);
            if (i == components_)
                return corrupt("a scan is of components that are not, or not in their order");
            next = i + 1;
            if (!has_quantisers_[quantisers_[i]]) return corrupt("a quantisation table is missing");
            if (dc >= max_tables || ac >= max_tables)
                return corrupt("a scan has a bad table of Huffman codes");
            if ((first == 0 && before == 0 && !has_dc_[dc]) || (last > 0 && !has_ac_[ac]))
                return corrupt("a table of Huffman codes is missing");
            std::fill(missing_bits_[i] + first, missing_bits_[i] + last + 1, bit);
            if (first == 0) is_coded_[i] = true;
        }
        return kFine;
    }

    JpegStatus finish() const {
        if (scans_ == 0) return corrupt("there is no scan");
        for (int i = 0; i < components_; ++i) {
            if (!is_coded_[i]) return corrupt("a component is not coded");
            const bool whole = std::all_of(missing_bits_[i], missing_bits_[i] + kCoefficients,
                                           [](int bits) { return bits == 0; });
            if (!whole) return status(JpegError::truncated, kScansMissing);
        }
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
    int marker_ = 0, names_[3] = {}, quantisers_[3] = {};
    int missing_bits_[3][kCoefficients];  // of each coefficient, after the scans so far
    bool is_adobe_ycc_ = true, is_named_rgb_ = false, is_coded_[3] = {};
    bool has_dc_[kMaxTables] = {}, has_ac_[kMaxTables] = {}, has_quantisers_[kMaxTables] = {};
};

}  // namespace

JpegStatus check_structure(const std::uint8_t* data, std::size_t size) noexcept {
    return Walk(data, size).run();
}

}  // namespace yf
