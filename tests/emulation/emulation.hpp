// CUDA on the host, as far as csrc/cuda uses it: so that the kernels run in tests where there is no GPU.
//
// A launch runs its blocks one after the other, in random order; the threads of a block are fibers that run,
// in random order too, each until it meets a barrier or an exchange within its warp. So code that lacks a
// barrier gives other results from one seed to the next. Shared memory is garbage when a block begins, if the
// kernels are linked with shared_memory.ld. What it cannot show: data races between blocks, memory ordering,
// alignment, speed.
//
// A barrier that not all threads reach or that is not the same for all, lanes of a warp in different
// exchanges, a lane that an exchange waits for in vain, or one that reads from a lane outside of the mask:
// the launch is given up and says cudaErrorLaunchFailure.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <source_location>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __noinline__
#define __launch_bounds__(...)
#define __shared__ static
#define __constant__ static

struct dim3 {
    unsigned x, y, z;
    constexpr dim3(unsigned across = 1, unsigned down = 1, unsigned deep = 1) : x(across), y(down), z(deep) {}
};

struct alignas(8) int2 {
    int x, y;
};
struct alignas(16) int4 {
    int x, y, z, w;
};
struct alignas(8) float2 {
    float x, y;
};
struct alignas(16) float4 {
    float x, y, z, w;
};
struct alignas(4) uchar4 {
    unsigned char x, y, z, w;
};
inline int2 make_int2(int x, int y) { return {x, y}; }
inline float2 make_float2(float x, float y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }

// --- the runtime

enum cudaError_t : int {
    cudaSuccess = 0,
    cudaErrorInvalidValue = 1,
    cudaErrorInvalidConfiguration = 9,
    cudaErrorLaunchFailure = 719
};
enum cudaMemcpyKind : int {
    cudaMemcpyHostToHost,
    cudaMemcpyHostToDevice,
    cudaMemcpyDeviceToHost,
    cudaMemcpyDeviceToDevice,
    cudaMemcpyDefault
};
using cudaStream_t = struct EmulatedStream*;

enum cudaDeviceAttr : int { cudaDevAttrPageableMemoryAccessUsesHostPageTables = 100 };

cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream);
cudaError_t cudaMemsetAsync(void* to, int value, std::size_t bytes, cudaStream_t stream);
cudaError_t cudaStreamSynchronize(cudaStream_t stream);
inline cudaError_t cudaGetDevice(int* device) {
    *device = 0;
    return cudaSuccess;
}
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device);
cudaError_t cudaGetLastError();  // and forget it
cudaError_t cudaPeekAtLastError();
const char* cudaGetErrorString(cudaError_t error);  // what went wrong in the last launch that failed

// --- inside a kernel

namespace yf::emulation {

enum class Exchange : int { none, barrier, warp, ballot, shuffle };

struct Here {
    dim3 thread, block, threads, blocks;
};
extern Here here;  // of the thread that runs

// Runs `body` once for each thread of each block.
cudaError_t run(dim3 blocks, unsigned threads, const std::function<void()>& body);
// Waits for all threads of the block that have not ended, at the same place of the source.
void wait_for_block(const std::source_location& at);
// Waits for the lanes of `mask`, this one among them, at the same place of the source; what each of them
// brought, by lane, until the next call.
const std::uint64_t* exchange(Exchange kind, unsigned mask, std::uint64_t brought,
                              const std::source_location& at);
unsigned lane();
void give_up(const char* why);  // the launch
void choose_seed(std::uint64_t seed);
// Whether copies from the host wait until somebody needs them, as those of a device may that reads the host's
// memory by itself.
void copy_late(bool late);

template <typename T>
std::uint64_t packed(T value) {
    static_assert(sizeof(T) <= sizeof(std::uint64_t));
    std::uint64_t bits = 0;
    std::memcpy(&bits, &value, sizeof(T));
    return bits;
}

template <typename T>
T unpacked(std::uint64_t bits) {
    T value;
    std::memcpy(&value, &bits, sizeof(T));
    return value;
}

template <typename T>
T shuffle(unsigned mask, T value, unsigned from, const std::source_location& at) {
    const std::uint64_t* const all = exchange(Exchange::shuffle, mask, packed(value), at);
    if (from >= 32) return value;
    if ((mask >> from & 1) == 0) give_up("a lane reads from one that takes no part in the exchange");
    return unpacked<T>(all[from]);
}

}  // namespace yf::emulation

#define threadIdx (::yf::emulation::here.thread)
#define blockIdx (::yf::emulation::here.block)
#define blockDim (::yf::emulation::here.threads)
#define gridDim (::yf::emulation::here.blocks)

inline void __syncthreads(const std::source_location& at = std::source_location::current()) {
    yf::emulation::wait_for_block(at);
}
inline void __syncwarp(unsigned mask = 0xffffffff,
                       const std::source_location& at = std::source_location::current()) {
    yf::emulation::exchange(yf::emulation::Exchange::warp, mask, 0, at);
}
inline unsigned __ballot_sync(unsigned mask, int predicate,
                              const std::source_location& at = std::source_location::current()) {
    const std::uint64_t* const all =
        yf::emulation::exchange(yf::emulation::Exchange::ballot, mask, predicate != 0, at);
    unsigned votes = 0;
    for (unsigned lane = 0; lane < 32; ++lane)
        if ((mask >> lane & 1) != 0 && all[lane] != 0) votes |= 1u << lane;
    return votes;
}
inline int __any_sync(unsigned mask, int predicate,
                      const std::source_location& at = std::source_location::current()) {
    return __ballot_sync(mask, predicate, at) != 0;
}
inline int __all_sync(unsigned mask, int predicate,
                      const std::source_location& at = std::source_location::current()) {
    return __ballot_sync(mask, predicate, at) == mask;
}
template <typename T>
T __shfl_sync(unsigned mask, T value, int from,
              const std::source_location& at = std::source_location::current()) {
    return yf::emulation::shuffle(mask, value, static_cast<unsigned>(from) % 32, at);
}
template <typename T>
T __shfl_xor_sync(unsigned mask, T value, int bits,
                  const std::source_location& at = std::source_location::current()) {
    return yf::emulation::shuffle(mask, value, yf::emulation::lane() ^ static_cast<unsigned>(bits), at);
}
template <typename T>
T __shfl_up_sync(unsigned mask, T value, unsigned by,
                 const std::source_location& at = std::source_location::current()) {
    return yf::emulation::shuffle(mask, value, yf::emulation::lane() - by, at);
}
template <typename T>
T __shfl_down_sync(unsigned mask, T value, unsigned by,
                   const std::source_location& at = std::source_location::current()) {
    return yf::emulation::shuffle(mask, value, yf::emulation::lane() + by, at);
}

template <typename T>
T atomicAdd(T* at, T value) {
    const T old = *at;
    *at = old + value;
    return old;
}
template <typename T>
T atomicOr(T* at, T value) {
    const T old = *at;
    *at = old | value;
    return old;
}
template <typename T>
T atomicAnd(T* at, T value) {
    const T old = *at;
    *at = old & value;
    return old;
}
template <typename T>
T atomicMax(T* at, T value) {
    const T old = *at;
    *at = std::max(old, value);
    return old;
}
template <typename T>
T atomicMin(T* at, T value) {
    const T old = *at;
    *at = std::min(old, value);
    return old;
}
template <typename T>
T atomicCAS(T* at, T compare, T value) {
    const T old = *at;
    if (old == compare) *at = value;
    return old;
}

inline int __ffs(int bits) { return std::countr_zero(static_cast<unsigned>(bits)) % 32 + (bits != 0); }
inline int __ffsll(long long bits) {
    return bits == 0 ? 0 : std::countr_zero(static_cast<unsigned long long>(bits)) + 1;
}
inline int __popc(unsigned bits) { return std::popcount(bits); }
inline int __popcll(unsigned long long bits) { return std::popcount(bits); }
inline int __clz(int bits) { return std::countl_zero(static_cast<unsigned>(bits)); }
inline int __clzll(long long bits) { return std::countl_zero(static_cast<unsigned long long>(bits)); }
inline float __uint_as_float(unsigned bits) { return std::bit_cast<float>(bits); }
inline int __vimin_s32_relu(int a, int b) { return std::max(std::min(a, b), 0); }
// Bytes of a (0..3) and b (4..7), chosen by the nibbles of `selector`.
inline unsigned __byte_perm(unsigned a, unsigned b, unsigned selector) {
    const std::uint64_t both = static_cast<std::uint64_t>(b) << 32 | a;
    unsigned result = 0;
    for (int k = 0; k < 4; ++k)
        result |= static_cast<unsigned>(both >> 8 * (selector >> 4 * k & 7) & 0xFF) << 8 * k;
    return result;
}
inline unsigned __funnelshift_r(unsigned low, unsigned high, unsigned shift) {
    return static_cast<unsigned>((static_cast<std::uint64_t>(high) << 32 | low) >> (shift & 31));
}
// The halves of a times the two lower bytes of b, and c.
inline unsigned __dp2a_lo(unsigned a, unsigned b, unsigned c) {
    return c + (a & 0xFFFF) * (b & 0xFF) + (a >> 16) * (b >> 8 & 0xFF);
}
template <typename T>
T __ldg(const T* at) {
    return *at;
}
using std::max;
using std::min;

namespace yf::cuda {

template <typename... Parameters, typename... Arguments>
cudaError_t launch(void (*kernel)(Parameters...), dim3 grid, unsigned threads, cudaStream_t,
                   Arguments... arguments) {
    return emulation::run(grid, threads, [=] { kernel(static_cast<Parameters>(arguments)...); });
}

}  // namespace yf::cuda
