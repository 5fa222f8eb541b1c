#include "core/coco/json.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <limits>
#include <stdexcept>

namespace yf::coco {
namespace {

constexpr std::size_t kDeepest = 1000;

bool digit(char c) { return c >= '0' && c <= '9'; }

constexpr double kPowersOfTen[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                   1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

void append_utf8(std::string& out, std::uint32_t code) {
    const auto byte = [&out](std::uint32_t value) { out.push_back(static_cast<char>(value)); };
    if (code < 0x80) {
        byte(code);
    } else if (code < 0x800) {
        byte(0xC0 | code >> 6);
        byte(0x80 | (code & 0x3F));
    } else if (code < 0x10000) {
        byte(0xE0 | code >> 12);
        byte(0x80 | (code >> 6 & 0x3F));
        byte(0x80 | (code & 0x3F));
    } else {
        byte(0xF0 | code >> 18);
        byte(0x80 | (code >> 12 & 0x3F));
        byte(0x80 | (code >> 6 & 0x3F));
        byte(0x80 | (code & 0x3F));
    }
}

// The four hexadecimal digits behind \u, or -1.
std::int32_t hex4(const char* at, const char* end) {
    std::uint32_t value = 0;
    if (end - at < 4) return -1;
    const auto [stop, error] = std::from_chars(at, at + 4, value, 16);
    return error == std::errc() && stop == at + 4 ? static_cast<std::int32_t>(value) : -1;
}

}  // namespace

void Json::fail(const std::string& what) {
    const auto line = 1 + std::count(data_, at_, '\n');
    const char* begin = at_;
    while (begin > data_ && begin[-1] != '\n') --begin;
    throw std::invalid_argument("line " + std::to_string(line) + ", column " +
                                std::to_string(at_ - begin + 1) + ": expected " + what);
}

void Json::expect(char wanted) {
    if (!take(wanted)) fail(std::string("'") + wanted + "'");
}

std::string_view Json::string(std::string& scratch) {
    expect('"');
    const char* const begin = at_;
    while (at_ < end_ && *at_ != '"' && *at_ != '\\') ++at_;
    if (at_ < end_ && *at_ == '"') return {begin, static_cast<std::size_t>(at_++ - begin)};
    scratch.assign(begin, at_);
    while (at_ < end_ && *at_ != '"') {
        if (*at_ != '\\') {
            scratch.push_back(*at_++);
            continue;
        }
        if (end_ - at_ < 2) break;
        const char escape = at_[1];
        constexpr std::string_view kNames = "\"\\/bfnrt", kValues = "\"\\/\b\f\n\r\t";
        if (escape == 'u') {
            std::int32_t code = hex4(at_ + 2, end_);
            if (code < 0) fail("four hexadecimal digits behind \\u");
            at_ += 6;
            if (code >= 0xD800 && code < 0xDC00 && end_ - at_ >= 6 && at_[0] == '\\' && at_[1] == 'u') {
                const std::int32_t low = hex4(at_ + 2, end_);
                if (low >= 0xDC00 && low < 0xE000) {
                    code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
                    at_ += 6;
                }
            }
            append_utf8(scratch, static_cast<std::uint32_t>(code));
        } else {
            const std::size_t which = kNames.find(escape);
            if (which == std::string_view::npos) fail("an escape that JSON knows");
            scratch.push_back(kValues[which]);
            at_ += 2;
        }
    }
    if (at_ >= end_ || *at_ != '"') fail("the end of a string");
    ++at_;
    return scratch;
}

std::string_view Json::key(std::string& scratch) {
    const std::string_view name = string(scratch);
    expect(':');
    return name;
}

double Json::number() {
    const char first = peek();
    const char* const begin = at_;
    const bool negative = first == '-';
    const char* p = at_ + (negative ? 1 : 0);
    if (p < end_ && (*p == 'I' || *p == 'N')) {
        const std::string_view rest(p, static_cast<std::size_t>(end_ - p));
        if (rest.starts_with("Infinity")) {
            at_ = p + 8;
            return negative ? -std::numeric_limits<double>::infinity()
                            : std::numeric_limits<double>::infinity();
        }
        if (!negative && rest.starts_with("NaN")) {
            at_ = p + 3;
            return std::numeric_limits<double>::quiet_NaN();
        }
    }
    if (p == end_ || !digit(*p)) fail("a number");
    std::uint64_t mantissa = 0;
    std::int64_t digits = 0;  // without leading zeros
    const auto take_digits = [&] {
        for (; p < end_ && digit(*p); ++p) {
            mantissa = mantissa * 10 + static_cast<std::uint64_t>(*p - '0');
            digits += digits > 0 || *p != '0';
        }
    };
    const char* const whole = p;
    take_digits();
    if (*whole == '0' && p - whole > 1) fail("a number without leading zeros");
    std::int64_t exponent = 0;
    if (p < end_ && *p == '.') {
        const char* const fraction = ++p;
        take_digits();
        if (p == fraction) fail("digits behind the decimal point");
        exponent = -(p - fraction);
    }
    if (p < end_ && (*p == 'e' || *p == 'E')) {
        ++p;
        const bool down = p < end_ && *p == '-';
        if (p < end_ && (*p == '-' || *p == '+')) ++p;
        if (p == end_ || !digit(*p)) fail("digits in the exponent");
        // More than any number of digits can make up for.
        constexpr std::int64_t kLargest = std::int64_t{1} << 50;
        std::int64_t value = 0;
        for (; p < end_ && digit(*p); ++p) value = std::min(value * 10 + (*p - '0'), kLargest);
        exponent += down ? -value : value;
    }
    at_ = p;
    // Both factors are exact, so the one rounding of the product or quotient is the right one (Clinger 1990).
    if (digits <= 19 && mantissa <= std::uint64_t{1} << 53 && exponent >= -22 && exponent <= 22) {
        const double value = static_cast<double>(mantissa);
        const double scaled = exponent < 0 ? value / kPowersOfTen[-exponent] : value * kPowersOfTen[exponent];
        return negative ? -scaled : scaled;
    }
    double value = 0;
    if (std::from_chars(begin, p, value).ec == std::errc::result_out_of_range) {
        // Too large or too small: the place of the first digit tells which.
        const std::int64_t magnitude = digits + exponent;
        value = magnitude > 0 ? std::numeric_limits<double>::infinity() : 0.0;
        if (negative) value = -value;
    }
    return value;
}

std::int64_t Json::integer() {
    const bool negative = peek() == '-';
    const char* const first = at_ + negative;
    if (end_ - first >= 2 && *first == '0' && digit(first[1])) fail("a number without leading zeros");
    std::int64_t value = 0;
    const auto [stop, error] = std::from_chars(at_, end_, value);
    if (error == std::errc() && (stop == end_ || (*stop != '.' && *stop != 'e' && *stop != 'E'))) {
        at_ = stop;
        return value;
    }
    const char* const begin = at_;
    const double real = error == std::errc::result_out_of_range ? std::nan("") : number();
    if (!(std::abs(real) < 9007199254740992.0) || real != std::floor(real)) {
        at_ = begin;
        fail("a whole number of up to 64 bits");
    }
    return static_cast<std::int64_t>(real);
}

bool Json::whole(std::int64_t& value) {
    const char first = peek();
    if (first != '-' && !digit(first)) return false;
    const char* const digits = at_ + (first == '-');
    if (end_ - digits >= 2 && *digits == '0' && digit(digits[1])) return false;
    const auto [stop, error] = std::from_chars(at_, end_, value);
    if (error != std::errc() || (stop < end_ && (*stop == '.' || *stop == 'e' || *stop == 'E'))) return false;
    at_ = stop;
    return true;
}

bool Json::flag() {
    const char first = peek();
    const std::string_view rest(at_, static_cast<std::size_t>(end_ - at_));
    for (const std::string_view word : {"true", "false", "null"}) {
        if (rest.starts_with(word)) {
            at_ += word.size();
            return word == "true";
        }
    }
    const char* const begin = at_;
    const double value = first == '-' || digit(first) ? number() : -1;
    if (value != 0 && value != 1) {
        at_ = begin;
        fail("0, 1, true or false");
    }
    return value == 1;
}

bool Json::null() {
    if (peek() != 'n' || end_ - at_ < 4 || std::memcmp(at_, "null", 4) != 0) return false;
    at_ += 4;
    return true;
}

void Json::skip() {
    std::string open;  // the brackets to close
    do {
        const char c = peek();
        if (c == '"') {
            for (++at_; at_ < end_ && *at_ != '"'; ++at_) {
                if (*at_ == '\\' && at_ + 1 < end_) ++at_;
            }
            if (at_ >= end_) {
                at_ = end_;
                fail("the end of a string");
            }
            ++at_;
        } else if (c == '[' || c == '{') {
            if (open.size() == kDeepest) fail("at most 1000 nested brackets");
            open.push_back(c == '[' ? ']' : '}');
            ++at_;
        } else if (c == ']' || c == '}') {
            if (open.empty() || open.back() != c) fail("a value");
            open.pop_back();
            ++at_;
        } else if (c == ',' || c == ':') {
            if (open.empty()) fail("a value");
            ++at_;
        } else {
            // A number or a word, or a list of them inside brackets.
            const char* const begin = at_;
            while (at_ < end_ && (digit(*at_) || (*at_ >= 'a' && *at_ <= 'z') ||
                                  (*at_ >= 'A' && *at_ <= 'Z') || *at_ == '-' || *at_ == '+' || *at_ == '.'))
                ++at_;
            if (at_ == begin) fail("a value");
        }
    } while (!open.empty());
}

}  // namespace yf::coco
