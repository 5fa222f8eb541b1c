// Memory that a caller hands in, laid out in parts; and how many blocks a count takes.
#pragma once

#include <cstddef>
#include <cstdint>

namespace yf::cuda {

constexpr std::size_t kWorkspaceAlign =
    256;  // of a workspace and of each of its parts, as fresh device memory is

// Bytes that `count` values take in a workspace.
template <typename T>
constexpr std::size_t part_bytes(std::size_t count) {
    return (count * sizeof(T) + kWorkspaceAlign - 1) / kWorkspaceAlign * kWorkspaceAlign;
}

// Lays out parts one after the other; from null, it only measures.
class Workspace {
  public:
    explicit Workspace(void* base) : base_(static_cast<char*>(base)) {}

    template <typename T>
    T* take(std::size_t count) {
        char* const part = base_ == nullptr ? nullptr : base_ + used_;
        used_ += part_bytes<T>(count);
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
