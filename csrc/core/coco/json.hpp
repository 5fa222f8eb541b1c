// A JSON reader that walks a buffer once and builds nothing: the caller asks for what it expects.
//
// It takes what Python's json module takes (NaN and Infinity too) and checks what it reads; of values that
// the caller skips only strings, brackets and their nesting are checked. Errors are std::invalid_argument
// with line and column.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace yf::coco {

class Json {
  public:
    Json(const char* data, std::size_t size, std::size_t start = 0)
        : data_(data), at_(data + start), end_(data + size) {}

    std::size_t offset() const { return static_cast<std::size_t>(at_ - data_); }

    // The next byte that is not blank, 0 at the end; it is not taken.
    char peek() {
        while (at_ < end_ && (*at_ == ' ' || *at_ == '\n' || *at_ == '\t' || *at_ == '\r')) ++at_;
        return at_ < end_ ? *at_ : '\0';
    }
    bool at_end() { return peek() == '\0' && at_ == end_; }

    // Takes `wanted` if it is next.
    bool take(char wanted) {
        if (peek() != wanted || at_ == end_) return false;
        ++at_;
        return true;
    }
    void expect(char wanted);

    // Whether there is another element before `close`; takes the comma before it, or `close`. `first` is true
    // before the first element and is cleared.
    bool next(char close, bool& first) {
        if (take(close)) return false;
        if (!first) expect(',');
        first = false;
        return true;
    }

    // A member's name, and the colon behind it. Points into the buffer, or into `scratch` when the name has
    // escapes.
    std::string_view key(std::string& scratch);
    std::string_view string(std::string& scratch);
    double number();
    // A whole number; 7.0 is one too.
    std::int64_t integer();
    // Takes a whole number of up to 64 bits if one is next, written as such: 7.0 and 7e0 are none.
    bool whole(std::int64_t& value);
    // 0, 1, true, false or null.
    bool flag();
    // Takes `null` if it is next.
    bool null();
    void skip();

    // Ends with `what` was expected at the current place.
    [[noreturn]] void fail(const std::string& what);

  private:
    const char* data_;
    const char* at_;
    const char* end_;
};

}  // namespace yf::coco
