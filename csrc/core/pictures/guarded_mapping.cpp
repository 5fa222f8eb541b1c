// See guarded_mapping.hpp.
#include "core/pictures/guarded_mapping.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/syscall.h>
#endif

#include <cerrno>
#include <mutex>

#include "core/limits.hpp"

namespace yf {
namespace {

constexpr std::uintptr_t kFree = 0, kTaken = 1;  // of `begin`; no mapping begins there

// The handler may read a slot at any moment: `end` is valid whenever `begin` is an address.
struct Slot {
    std::atomic<std::uintptr_t> begin{kFree}, end{0};
    MappingState state;
};

Slot slots[kMaxMappings];
std::mutex install_mutex;
struct sigaction previous;  // who had the signal before
std::atomic<bool> was_passed_on{false};

// On Linux by system call: a sanitizer that stands before the function takes it for a write of all bytes.
bool map_zeros(std::uintptr_t begin, std::size_t size) {
    constexpr int kFlags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;
#ifdef __linux__
    return ::syscall(SYS_mmap, begin, size, PROT_READ, kFlags, -1, 0) == static_cast<long>(begin);
#else
    return ::mmap(reinterpret_cast<void*>(begin), size, PROT_READ, kFlags, -1, 0) != MAP_FAILED;
#endif
}

// Puts zeros where the mapping that holds `address` was. Called by the handler: nothing here locks or
// allocates.
bool replace_by_zeros(std::uintptr_t address) {
    for (Slot& slot : slots) {
        const std::uintptr_t begin = slot.begin.load(), end = slot.end.load();
        if (begin <= kTaken || address < begin || address >= end) continue;
        slot.state.lost.store(true);  // first: whoever reads a zero must find the flag set
        return map_zeros(begin, end - begin);
    }
    return false;
}

void on_sigbus(int, siginfo_t* info, void*) {
    const int saved = errno;
    const bool is_fault = info->si_code > 0;  // else somebody sent it
    if (!is_fault || !replace_by_zeros(reinterpret_cast<std::uintptr_t>(info->si_addr))) {
        // Whoever had the signal before gets it when it comes again: a fault by itself. Only once:
        // faulthandler hands on to who came before it, which may be this handler.
        struct sigaction by_default {};
        by_default.sa_handler = SIG_DFL;
        ::sigaction(SIGBUS, was_passed_on.exchange(true) ? &by_default : &previous, nullptr);
        if (!is_fault) ::raise(SIGBUS);
    }
    errno = saved;
}

int install_handler() {
    const std::lock_guard lock(install_mutex);
    struct sigaction current {};
    if (::sigaction(SIGBUS, nullptr, &current) != 0) return errno;
    if ((current.sa_flags & SA_SIGINFO) != 0 && current.sa_sigaction == on_sigbus) return 0;
    previous = current;
    struct sigaction ours {};
    ours.sa_sigaction = on_sigbus;
    ours.sa_flags = SA_SIGINFO | SA_ONSTACK;
    ::sigemptyset(&ours.sa_mask);
    return ::sigaction(SIGBUS, &ours, nullptr) == 0 ? 0 : errno;
}

// Whether `now` is `then`, or that in coarser steps of up to two seconds. Whoever writes makes it later.
bool is_same_time(const struct timespec& now, const struct timespec& then) {
    const std::int64_t seconds = std::int64_t{then.tv_sec} - now.tv_sec;
    if (seconds < 0 || seconds > 2) return false;
    const std::int64_t lost = seconds * 1'000'000'000 + then.tv_nsec - now.tv_nsec;
    return lost >= 0 && lost < 2'000'000'000;
}

std::size_t take_slot() {
    for (std::size_t i = 0; i < kMaxMappings; ++i) {
        std::uintptr_t expected = kFree;
        if (slots[i].begin.compare_exchange_strong(expected, kTaken)) return i;
    }
    return kMaxMappings;
}

}  // namespace

int GuardedMapping::protect() noexcept { return install_handler(); }

int GuardedMapping::map(int descriptor, std::size_t size) noexcept {
    if (const int error = install_handler(); error != 0) return error;
    const std::size_t taken = take_slot();
    if (taken == kMaxMappings) return EMFILE;
    Slot& slot = slots[taken];
    struct stat facts {};
    const int kept = ::fcntl(descriptor, F_DUPFD_CLOEXEC, 0);
    const bool known = kept >= 0 && ::fstat(kept, &facts) == 0;
    void* const memory = known ? ::mmap(nullptr, size, PROT_READ, MAP_SHARED, kept, 0) : MAP_FAILED;
    if (memory == MAP_FAILED) {
        const int error = errno;
        if (kept >= 0) ::close(kept);
        slot.begin.store(kFree);
        return error;
    }
    descriptor_ = kept;
    changed_ = facts.st_mtim;
    data_ = static_cast<const std::uint8_t*>(memory);
    size_ = size;
    slot_ = taken;
    state_ = &slot.state;
    slot.state.lost.store(false);
    slot.state.damaged.store(0);
    const auto begin = reinterpret_cast<std::uintptr_t>(memory);
    slot.end.store(begin + size);
    slot.begin.store(begin);
    return 0;
}

GuardedMapping::~GuardedMapping() {
    if (data_ == nullptr) return;
    slots[slot_].begin.store(kTaken);
    ::munmap(const_cast<std::uint8_t*>(data_), size_);
    slots[slot_].begin.store(kFree);
    ::close(descriptor_);
}

bool GuardedMapping::is_whole() const noexcept {
    std::atomic<bool>& lost = state()->lost;
    if (lost.load()) return false;
    struct stat facts {};
    if (::fstat(descriptor_, &facts) == 0 && static_cast<std::size_t>(facts.st_size) == size_ &&
        is_same_time(facts.st_mtim, changed_))
        return true;
    lost.store(true);
    return false;
}

}  // namespace yf
