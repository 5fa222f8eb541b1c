// A file mapped for reading that may be cut short or written to meanwhile, or lie on a disk that fails. A
// read that finds no bytes is a SIGBUS, which would end the process: here it is answered with zeros and a
// flag. What a read cannot notice (the rest of the last page, other bytes in the same place) the file's size
// and time say.
//
// A signal handler belongs to the process, so this is the one part of core that has globals: a table of the
// mappings that the handler looks into. It is installed with the first mapping, and again by `protect`; a
// SIGBUS of anybody else goes to who had the signal before (Python's faulthandler, torch, or the default).
#pragma once

#include <time.h>

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace yf {

// What was noticed about the bytes of a mapping. It stays where it is as long as the program runs.
struct MappingState {
    std::atomic<bool> lost{false};          // it is not what was mapped any more; it may read as zeros
    std::atomic<std::uint32_t> damaged{0};  // pictures whose checksum was wrong
};

class GuardedMapping {
  public:
    GuardedMapping() = default;
    GuardedMapping(const GuardedMapping&) = delete;
    GuardedMapping& operator=(const GuardedMapping&) = delete;
    ~GuardedMapping();

    // Maps the first `size` bytes of a file, once. Returns 0, or an errno: EMFILE when the table is full.
    int map(int descriptor, std::size_t size) noexcept;
    // Takes the signal again if somebody took it since the mapping was made, as faulthandler does when it is
    // enabled and torch's DataLoader in its processes. Returns 0, or an errno.
    static int protect() noexcept;
    const std::uint8_t* data() const noexcept { return data_; }
    MappingState* state() const noexcept { return state_; }
    // Whether all that was read so far was in the file as it was mapped; else it is lost. One system call.
    // A time that lost digits is no change: network disks and backups give it back in coarser steps.
    bool is_whole() const noexcept;

  private:
    const std::uint8_t* data_ = nullptr;
    std::size_t size_ = 0;
    std::size_t slot_ = 0;
    MappingState* state_ = nullptr;  // in the table of the library that mapped: each has its own
    int descriptor_ = -1;
    struct timespec changed_ {};
};

}  // namespace yf
