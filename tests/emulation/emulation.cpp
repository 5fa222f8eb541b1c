#include "emulation.hpp"

#include <ucontext.h>

#include <array>
#include <cstring>
#include <memory>
#include <random>
#include <vector>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

// Where all shared memory is: see shared_memory.ld, without which there is none.
extern "C" {
__attribute__((weak, visibility("hidden"))) extern char yf_shared_begin[], yf_shared_end[];
}

namespace yf::emulation {

Here here;

namespace {

constexpr std::size_t kStack = 256 * 1024;
constexpr unsigned kWarp = 32, kMostThreads = 1024;

std::vector<std::unique_ptr<char[]>> stacks;  // of fibers of the past

// A stack on which threads run, one after the other until one of them has to wait.
struct Fiber {
    Fiber() {
        if (stacks.empty()) {
            stack.reset(new char[kStack]);
        } else {
            stack = std::move(stacks.back());
            stacks.pop_back();
        }
#if defined(__SANITIZE_ADDRESS__)
        __asan_unpoison_memory_region(stack.get(), kStack);
#endif
    }
    ~Fiber() { stacks.push_back(std::move(stack)); }
    Fiber(const Fiber&) = delete;
    Fiber& operator=(const Fiber&) = delete;

    ucontext_t context{};
    std::unique_ptr<char[]> stack;
    void* fake_stack = nullptr;
};

struct Thread {
    Exchange waits = Exchange::none;
    bool begun = false, ended = false;
    unsigned mask = 0;
    std::uint64_t brought = 0;
    std::source_location at;  // where it waits
    std::array<std::uint64_t, kWarp> found{};
    Fiber* fiber = nullptr;  // on which it waits
};

bool same_place(const std::source_location& a, const std::source_location& b) {
    return a.line() == b.line() && a.column() == b.column() && std::strcmp(a.file_name(), b.file_name()) == 0;
}

struct Copy {
    void* to;
    const void* from;
    std::size_t bytes;
};

bool copies_are_late = false;
std::vector<Copy> late_copies;

cudaError_t last_error = cudaSuccess;
const char* reason = "no error";
std::mt19937_64 random_bits{0};

// One block at work. Fibers come back to `home` when their thread waits, or when there is none to begin.
class Block {
  public:
    Block(unsigned threads, const std::function<void()>& body) : body_(body), threads_(threads) {}

    bool run() {
        for (;;) {
            if (given_up_) return false;
            collect_ready();
            if (ready_.empty()) {
                if (std::all_of(threads_.begin(), threads_.end(), [](const Thread& t) { return t.ended; }))
                    return true;
                if (!release_block() && !release_warps() && !given_up_) {
                    reason = "threads wait for one another: a barrier or an exchange that not all reach";
                    return false;
                }
                continue;
            }
            step();
        }
    }

    void wait(Exchange kind, unsigned mask, std::uint64_t brought, const std::source_location& at) {
        Thread& thread = threads_[current_];
        thread.at = at;
        thread.waits = kind;
        thread.mask = mask;
        thread.brought = brought;
        Fiber* const fiber = running_;
        thread.fiber = fiber;
        leave(*fiber);
    }

    const std::uint64_t* found() const { return threads_[current_].found.data(); }
    unsigned lane() const { return current_ % kWarp; }

    void give_up(const char* why) {
        reason = why;
        given_up_ = true;
    }

  private:
    void collect_ready() {
        ready_.clear();
        for (unsigned i = 0; i < threads_.size(); ++i)
            if (!threads_[i].ended && threads_[i].waits == Exchange::none) ready_.push_back(i);
        std::shuffle(ready_.begin(), ready_.end(), random_bits);
    }

    // Runs all that are ready, each until it waits or ends.
    void step() {
        while (!ready_.empty()) {
            const unsigned next = ready_.back();
            if (threads_[next].begun) {
                ready_.pop_back();
                current_ = next;
                Fiber* const fiber = threads_[next].fiber;
                threads_[next].fiber = nullptr;
                enter(*fiber);
            } else {
                enter(free_fiber());
            }
        }
    }

    Fiber& free_fiber() {
        if (free_.empty()) free_.push_back(new_fiber());
        Fiber* const fiber = free_.back();
        free_.pop_back();
        return *fiber;
    }

    Fiber* new_fiber() {
        fibers_.push_back(std::make_unique<Fiber>());
        ucontext_t& context = fibers_.back()->context;
        getcontext(&context);
        context.uc_stack.ss_sp = fibers_.back()->stack.get();
        context.uc_stack.ss_size = kStack;
        makecontext(&context, &Block::serve, 0);
        return fibers_.back().get();
    }

    static void serve();

    void begin_threads();

    void enter(Fiber& fiber) {
        running_ = &fiber;
        here.thread = dim3(current_, 0, 0);
#if defined(__SANITIZE_ADDRESS__)
        void* fake = nullptr;
        __sanitizer_start_switch_fiber(&fake, fiber.stack.get(), kStack);
#endif
        swapcontext(&home_, &fiber.context);
#if defined(__SANITIZE_ADDRESS__)
        __sanitizer_finish_switch_fiber(fake, nullptr, nullptr);
#endif
    }

    void leave(Fiber& fiber) {
#if defined(__SANITIZE_ADDRESS__)
        __sanitizer_start_switch_fiber(&fiber.fake_stack, home_stack_, home_size_);
#endif
        swapcontext(&fiber.context, &home_);
        arrived(fiber);
    }

    void arrived([[maybe_unused]] Fiber& fiber) {
#if defined(__SANITIZE_ADDRESS__)
        __sanitizer_finish_switch_fiber(fiber.fake_stack, &home_stack_, &home_size_);
#endif
    }

    bool release_block() {
        const Thread* first = nullptr;
        for (const Thread& thread : threads_) {
            if (thread.ended) continue;
            if (thread.waits != Exchange::barrier) return false;
            if (first == nullptr) first = &thread;
            if (!same_place(thread.at, first->at)) {
                give_up("threads wait at different barriers");
                return false;
            }
        }
        for (Thread& thread : threads_) thread.waits = Exchange::none;
        return true;
    }

    // Lets those lanes go on whose partners have all come to the same exchange.
    bool release_warps() {
        bool any = false;
        for (unsigned first = 0; first < threads_.size(); first += kWarp)
            for (unsigned lane = 0; lane < kWarp && first + lane < threads_.size(); ++lane)
                any |= release_lane(first, lane);
        return any;
    }

    bool release_lane(unsigned first, unsigned lane) {
        const Thread& one = threads_[first + lane];
        if (one.waits == Exchange::none || one.waits == Exchange::barrier) return false;
        const unsigned mask = one.mask;
        const Exchange kind = one.waits;
        std::array<std::uint64_t, kWarp> all{};
        for (unsigned other = 0; other < kWarp; ++other) {
            if ((mask >> other & 1) == 0) continue;
            if (first + other >= threads_.size()) return false;
            const Thread& partner = threads_[first + other];
            if (partner.waits != kind || partner.mask != mask || !same_place(partner.at, one.at))
                return false;
            all[other] = partner.brought;
        }
        if ((mask >> lane & 1) == 0) return false;  // its own lane is not in the mask
        for (unsigned other = 0; other < kWarp; ++other) {
            if ((mask >> other & 1) == 0) continue;
            threads_[first + other].found = all;
            threads_[first + other].waits = Exchange::none;
        }
        return true;
    }

    const std::function<void()>& body_;
    std::vector<Thread> threads_;
    std::vector<unsigned> ready_;
    std::vector<std::unique_ptr<Fiber>> fibers_;
    std::vector<Fiber*> free_;
    ucontext_t home_{};
    const void* home_stack_ = nullptr;
    std::size_t home_size_ = 0;
    Fiber* running_ = nullptr;
    unsigned current_ = 0;
    bool given_up_ = false;
};

Block* block = nullptr;

// A fiber's life: threads that are next and have not begun, then a rest until it is asked for again.
void Block::serve() { block->begin_threads(); }

void Block::begin_threads() {
    Fiber& fiber = *running_;
    arrived(fiber);
    for (;;) {
        while (running_ == &fiber && !ready_.empty() && !threads_[ready_.back()].begun) {
            current_ = ready_.back();
            ready_.pop_back();
            threads_[current_].begun = true;
            here.thread = dim3(current_, 0, 0);
            body_();
            threads_[current_].ended = true;
        }
        free_.push_back(&fiber);
        leave(fiber);
    }
}

// What a block finds in shared memory is what others left there.
void spoil_shared_memory() {
#if !defined(__SANITIZE_ADDRESS__)  // which guards the gaps between variables
    if (yf_shared_begin == nullptr) return;
    std::memset(yf_shared_begin, static_cast<int>(random_bits() & 0xFF),
                static_cast<std::size_t>(yf_shared_end - yf_shared_begin));
#endif
}

void copy_now() {
    for (const Copy& copy : late_copies) std::memcpy(copy.to, copy.from, copy.bytes);
    late_copies.clear();
}

}  // namespace

cudaError_t run(dim3 blocks, unsigned threads, const std::function<void()>& body) {
    const std::size_t count = std::size_t{blocks.x} * blocks.y * blocks.z;
    copy_now();
    if (count == 0 || blocks.x > 0x7FFFFFFF || blocks.y > 65535 || blocks.z > 65535 || threads == 0 ||
        threads > kMostThreads) {
        reason = "invalid configuration: an empty or too large grid or block";
        return last_error = cudaErrorInvalidConfiguration;
    }
    std::vector<std::size_t> order(count);
    for (std::size_t i = 0; i < count; ++i) order[i] = i;
    std::shuffle(order.begin(), order.end(), random_bits);
    here.blocks = blocks;
    here.threads = dim3(threads);
    for (const std::size_t i : order) {
        here.block = dim3(static_cast<unsigned>(i % blocks.x), static_cast<unsigned>(i / blocks.x % blocks.y),
                          static_cast<unsigned>(i / blocks.x / blocks.y));
        spoil_shared_memory();
        Block one(threads, body);
        block = &one;
        const bool whole = one.run();
        block = nullptr;
        if (!whole) return last_error = cudaErrorLaunchFailure;
    }
    return cudaSuccess;
}

void wait_for_block(const std::source_location& at) { block->wait(Exchange::barrier, 0, 0, at); }

const std::uint64_t* exchange(Exchange kind, unsigned mask, std::uint64_t brought,
                              const std::source_location& at) {
    block->wait(kind, mask, brought, at);
    return block->found();
}

void give_up(const char* why) { block->give_up(why); }

unsigned lane() { return block->lane(); }

void choose_seed(std::uint64_t seed) { random_bits.seed(seed); }

void copy_late(bool late) { copies_are_late = late; }

}  // namespace yf::emulation

cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t) {
    using namespace yf::emulation;
    if (bytes == 0) return cudaSuccess;
    late_copies.push_back({to, from, bytes});
    if (!copies_are_late || kind != cudaMemcpyHostToDevice) copy_now();
    return cudaSuccess;
}

cudaError_t cudaMemsetAsync(void* to, int value, std::size_t bytes, cudaStream_t) {
    yf::emulation::copy_now();
    if (bytes != 0) std::memset(to, value, bytes);
    return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t) {
    yf::emulation::copy_now();
    return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr, int) {
    *value = yf::emulation::copies_are_late ? 1 : 0;
    return cudaSuccess;
}

cudaError_t cudaPeekAtLastError() { return yf::emulation::last_error; }

cudaError_t cudaGetLastError() {
    const cudaError_t error = yf::emulation::last_error;
    yf::emulation::last_error = cudaSuccess;
    return error;
}

const char* cudaGetErrorString(cudaError_t error) {
    return error == cudaSuccess ? "no error" : yf::emulation::reason;
}
