// What the fuzz targets share: choices from an input's last bytes, and what has to hold.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>

inline void require(bool holds) {
    if (!holds) std::abort();
}

// The input's bytes from the last one on; zeros when there are no more. A JPEG decoder does not look behind
// the end of the picture, so any JPEG file is an input as it is, and an engine can change the one without the
// other.
class Choices {
  public:
    Choices(const std::uint8_t* data, std::size_t size) : data_(data), left_(size) {}
    int byte() { return left_ > 0 ? data_[--left_] : 0; }
    int below(int count) { return (byte() * 256 + byte()) % count; }
    bool one_in(int count) { return byte() % count == 1; }
    bool often() { return byte() >= 64; }

  private:
    const std::uint8_t* data_;
    std::size_t left_;
};
