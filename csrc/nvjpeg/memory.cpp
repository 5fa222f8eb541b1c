// See memory.hpp.
#include "nvjpeg/memory.hpp"

#include <algorithm>
#include <new>

namespace yf::nvjpeg {
namespace {

// A quarter of a power of two at most is wasted, and blocks of about one size are interchangeable.
std::size_t rounded(std::size_t size) {
    std::size_t step = 4096;
    while (step * 8 < size) step *= 2;
    return (size + step - 1) / step * step;
}

constexpr unsigned kPortable = 1;  // CU_MEMHOSTALLOC_PORTABLE
constexpr std::size_t kMax = std::size_t{1} << 40;

}  // namespace

void Pool::clear() {
    const std::lock_guard lock(mutex_);
    for (const auto& [memory, size] : sizes_) release(memory);
    sizes_.clear();
    free_.clear();
    given_.clear();
}

void* Pool::take(std::size_t size) {
    if (size > kMax) return nullptr;
    const std::lock_guard lock(mutex_);
    size = rounded(size);
    auto best = free_.end();
    for (auto it = free_.begin(); it != free_.end(); ++it)
        if (it->size >= size && it->size <= 2 * size && (best == free_.end() || it->size < best->size))
            best = it;
    if (best != free_.end()) {
        void* memory = best->memory;
        free_.erase(best);
        return memory;
    }
    void* memory = allocate(size);
    if (memory == nullptr && !free_.empty()) {  // unused blocks may be what is missing
        for (const Block& block : free_) {
            release(block.memory);
            sizes_.erase(block.memory);
        }
        free_.clear();
        memory = allocate(size);
    }
    if (memory != nullptr) sizes_[memory] = size;
    return memory;
}

void Pool::give(void* memory) {
    if (memory == nullptr) return;
    const std::lock_guard lock(mutex_);
    const auto found = sizes_.find(memory);
    if (found != sizes_.end()) given_.push_back({found->second, memory});
}

void Pool::settle() {
    const std::lock_guard lock(mutex_);
    free_.insert(free_.end(), given_.begin(), given_.end());
    given_.clear();
}

void* Pool::allocate(std::size_t size) {
    if (kind_ == Kind::pinned) {
        void* memory = nullptr;
        return library_.cuMemHostAlloc(&memory, size, kPortable) == 0 ? memory : nullptr;
    }
    std::uint64_t memory = 0;
    return library_.cuMemAlloc_v2(&memory, size) == 0 ? reinterpret_cast<void*>(memory) : nullptr;
}

void Pool::release(void* memory) {
    if (kind_ == Kind::pinned)
        library_.cuMemFreeHost(memory);
    else
        library_.cuMemFree_v2(reinterpret_cast<std::uint64_t>(memory));
}

Allocator Pool::allocator() {
    const auto allocate = [](void* context, void** memory, std::size_t size, void*) -> int {
        try {
            *memory = static_cast<Pool*>(context)->take(size);
        } catch (const std::bad_alloc&) {
            *memory = nullptr;
        }
        return *memory != nullptr ? 0 : 2;  // cudaErrorMemoryAllocation
    };
    const auto release = [](void* context, void* memory, std::size_t, void*) -> int {
        try {
            static_cast<Pool*>(context)->give(memory);
        } catch (const std::bad_alloc&) {  // then it stays taken until the pool goes
        }
        return 0;
    };
    return {allocate, release, this};
}

}  // namespace yf::nvjpeg
