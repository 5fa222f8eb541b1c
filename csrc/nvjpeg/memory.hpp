// Memory for nvJPEG and for the files on their way: blocks that are kept, so that after the first batches
// nothing is allocated on the device and no pages are pinned, either of which would stall everything that
// runs there.
#pragma once

#include <cstddef>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "nvjpeg/api.hpp"

namespace yf::nvjpeg {

class Pool {
  public:
    enum class Kind { device, pinned };

    Pool(const Library& library, Kind kind) : library_(library), kind_(kind) {}
    ~Pool() { clear(); }
    Pool(const Pool&) = delete;
    Pool& operator=(const Pool&) = delete;

    // A block of `size` bytes or more; null when there is none.
    void* take(std::size_t size);
    // The block is given out again after the next `settle`: work that is queued may still use it.
    void give(void* memory);
    // Nothing that was queued is running any more.
    void settle();

    // Gives all memory back, whoever has it.
    void clear();

    // As nvJPEG wants it; the pool has to outlive the handle.
    Allocator allocator();

  private:
    void* allocate(std::size_t size);
    void release(void* memory);

    struct Block {
        std::size_t size;
        void* memory;
    };

    const Library& library_;
    const Kind kind_;
    std::mutex mutex_;
    std::unordered_map<void*, std::size_t> sizes_;  // of all blocks
    std::vector<Block> free_, given_;
};

}  // namespace yf::nvjpeg
