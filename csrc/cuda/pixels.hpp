// How kernels write pixels: levels 0..255 as uint8, or divided by 255 as float16, bfloat16 or float32.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <cstdint>

#include "pixel_type.hpp"

namespace yf::cuda {

constexpr int kPixels = 4;  // neighbours that one thread writes at once

// level / 255, rounded once: the quotient by the reciprocal, put right by its remainder (true of all 256).
__device__ inline float unit_level(std::uint32_t level) {
    constexpr float kReciprocal = 1.0f / 255.0f;
    const float value = static_cast<float>(level);
    const float near = value * kReciprocal;
    return fmaf(fmaf(-255.0f, near, value), kReciprocal, near);
}

__device__ inline std::uint32_t level_at(std::uint32_t levels, int k) { return levels >> 8 * k & 0xFF; }

// A byte of ones for each bit of `pixels`.
__device__ inline std::uint32_t bytes_of_bits(unsigned pixels) {
    return (pixels * 0x00204081u & 0x01010101u) * 0xFFu;
}

__device__ inline void write_one(std::uint8_t* at, std::uint32_t level) {
    *at = static_cast<std::uint8_t>(level);
}
__device__ inline void write_one(float* at, std::uint32_t level) { *at = unit_level(level); }
__device__ inline void write_one(__half* at, std::uint32_t level) {
    *at = __float2half_rn(unit_level(level));
}
__device__ inline void write_one(__nv_bfloat16* at, std::uint32_t level) {
    *at = __float2bfloat16_rn(unit_level(level));
}

template <typename T>
struct alignas(kPixels * sizeof(T)) Run {
    T values[kPixels];
};

// Four levels, a byte each, lowest first, to `at`, of which the first `count` are inside. `wide` says that
// whole runs are aligned.
template <typename T>
__device__ inline void write_levels(T* at, std::uint32_t levels, int count, bool wide) {
    if (wide) {
        Run<T> run;
        for (int k = 0; k < kPixels; ++k) write_one(run.values + k, level_at(levels, k));
        *reinterpret_cast<Run<T>*>(at) = run;
        return;
    }
    for (int k = 0; k < kPixels; ++k)
        if (k < count) write_one(at + k, level_at(levels, k));
}

// Whether rows of `width` pixels from `out` on are all aligned to whole runs, and made of them.
template <typename T>
bool rows_of_runs(const T* out, int width) {
    return width % kPixels == 0 && reinterpret_cast<std::uintptr_t>(out) % sizeof(Run<T>) == 0;
}

}  // namespace yf::cuda
