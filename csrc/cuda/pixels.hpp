// How kernels write pixels: levels 0..255 as uint8, or divided by 255 as float16, bfloat16 or float32.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <cstdint>
#include <cstring>

#include "cuda/pixel_type.hpp"

namespace yf::cuda {

// Neighbours that one thread writes at once, and a bit for each of them.
constexpr int kPixels = 4;
constexpr unsigned kWholeRun = (1u << kPixels) - 1;

__device__ inline std::uint32_t level_at(std::uint32_t levels, int k) { return levels >> 8 * k & 0xFF; }

// round((first * weight + second * (32768 - weight)) / 32768) of each level.
__device__ inline std::uint32_t mix_levels(std::uint32_t first, std::uint32_t second, std::int32_t weight) {
    std::uint32_t mixed = 0;
    for (int k = 0; k < kPixels; ++k) {
        const int sum = static_cast<int>(level_at(first, k)) * weight +
                        static_cast<int>(level_at(second, k)) * (32768 - weight);
        mixed |= static_cast<std::uint32_t>((sum + 16384) >> 15) << 8 * k;
    }
    return mixed;
}

// A byte of ones for each bit of `pixels`.
__device__ inline std::uint32_t bytes_of_bits(unsigned pixels) {
    return (pixels * 0x00204081u & 0x01010101u) * 0xFFu;
}

template <typename T>
struct alignas(kPixels * sizeof(T)) Run {
    T values[kPixels];
};

// level / 255 is x + x / 255 with x = level / 256, which is exact. The product's error is too small to change
// how the sum is rounded, to float and to float16 alike (true of all 256 levels).

// Level k: the last place of a float from 32768 on is 1/256.
__device__ inline float unit_level(std::uint32_t levels, int k) {
    const float x = __uint_as_float(__byte_perm(levels, 0x47000000u, 0x7650u | k)) - 32768.0f;
    return fmaf(x, 1.0f / 255.0f, x);
}

// Levels k and k + 1: the last place of a float16 from 4 on is 1/256.
__device__ inline __half2 unit_levels(std::uint32_t levels, int k) {
    const std::uint32_t bits = __byte_perm(levels, 0x44u, 0x4040u | (k + 1) << 8 | k);
    __half2 x;
    std::memcpy(&x, &bits, sizeof x);
    x = __hsub2(x, __float2half2_rn(4.0f));
    return __hfma2(x, __float2half2_rn(1.0f / 255.0f), x);
}

// Four levels, a byte each, lowest first.
__device__ inline void convert(std::uint32_t levels, Run<std::uint8_t>& run) {
    std::memcpy(run.values, &levels, sizeof levels);
}
__device__ inline void convert(std::uint32_t levels, Run<float>& run) {
    for (int k = 0; k < kPixels; ++k) run.values[k] = unit_level(levels, k);
}
__device__ inline void convert(std::uint32_t levels, Run<__half>& run) {
    for (int k = 0; k < kPixels; k += 2) {
        const __half2 both = unit_levels(levels, k);
        std::memcpy(run.values + k, &both, sizeof both);
    }
}
__device__ inline void convert(std::uint32_t levels, Run<__nv_bfloat16>& run) {
    for (int k = 0; k < kPixels; k += 2) {
        const __nv_bfloat162 both = __floats2bfloat162_rn(unit_level(levels, k), unit_level(levels, k + 1));
        std::memcpy(run.values + k, &both, sizeof both);
    }
}

// Writes those of the four levels to `at` whose bit is set in `pixels`. `wide` says that whole runs are
// aligned.
template <typename T>
__device__ inline void write_levels(T* at, std::uint32_t levels, unsigned pixels, bool wide) {
    Run<T> run;
    convert(levels, run);
    if (wide && pixels == kWholeRun) {
        *reinterpret_cast<Run<T>*>(at) = run;
        return;
    }
    for (int k = 0; k < kPixels; ++k)
        if (pixels >> k & 1) at[k] = run.values[k];
}

// The level that was written as `value`, whose error is below half a level in every type.
__device__ inline std::uint32_t level_of(std::uint8_t value) { return value; }
__device__ inline std::uint32_t level_of(float value) {
    return static_cast<std::uint32_t>(value * 255.0f + 0.5f);
}
__device__ inline std::uint32_t level_of(__half value) { return level_of(__half2float(value)); }
__device__ inline std::uint32_t level_of(__nv_bfloat16 value) { return level_of(__bfloat162float(value)); }

// What `write_levels` wrote.
template <typename T>
__device__ inline std::uint32_t read_levels(const T* at, unsigned pixels) {
    std::uint32_t levels = 0;
    for (int k = 0; k < kPixels; ++k)
        if (pixels >> k & 1) levels |= level_of(at[k]) << 8 * k;
    return levels;
}

// Whether rows of `width` pixels from `out` on are all aligned to whole runs, and made of them.
template <typename T>
bool rows_of_runs(const T* out, int width) {
    return width % kPixels == 0 && reinterpret_cast<std::uintptr_t>(out) % sizeof(Run<T>) == 0;
}

}  // namespace yf::cuda
