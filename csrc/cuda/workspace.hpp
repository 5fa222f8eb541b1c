// Memory that a caller hands in, cut into parts; and how many blocks a count takes.
#pragma once

#include <cstddef>
#include <cstdint>

namespace yf::cuda {

// Parts of one piece of memory, each aligned to 256 bytes; from null, it only measures.
class Carver {
  public:
    explicit Carver(void* base) : base_(static_cast<char*>(base)) {}

    template <typename T>
    T* take(std::size_t count) {
        char* const part = base_ == nullptr ? nullptr : base_ + used_;
        used_ += (count * sizeof(T) + 255) / 256 * 256;
        return reinterpret_cast<T*>(part);
    }
    std::size_t used() const { return used_; }

  private:
    char* base_;
    std::size_t used_ = 0;
};

inline unsigned blocks_of(std::int64_t count, std::int64_t size) {
    return static_cast<unsigned>((count + size - 1) / size);
}

}  // namespace yf::cuda
