// What every core file shares: the run-time SIMD switch and image views.
#pragma once

#include <cstddef>
#include <cstdint>

#if defined(__linux__)
#include <features.h>  // defines __GLIBC__
#endif

// A function marked YF_MULTIVERSION is compiled for plain x86-64 and for AVX2; the loader picks one when
// the library is opened. So one build runs on any x86-64 and is fast on the usual ones. Sanitizers cannot
// follow that indirection, hence YOLOFAST_NO_MULTIVERSION.
#if defined(__x86_64__) && defined(__ELF__) && defined(__GLIBC__) && defined(__GNUC__) && \
    !defined(__clang__) && !defined(YOLOFAST_NO_MULTIVERSION)
#define YF_MULTIVERSION __attribute__((target_clones("avx2", "default")))
#else
#define YF_MULTIVERSION
#endif

// A function in which independent scalar loads and stores stay what they are.
#if defined(__GNUC__) && !defined(__clang__)
#define YF_SCALAR __attribute__((optimize("no-tree-vectorize")))
#else
#define YF_SCALAR
#endif

// A function that is always inlined; and one that csrc/cuda calls too.
#define YF_INLINE inline __attribute__((always_inline))
#if defined(__CUDACC__)
#define YF_HOST_DEVICE __host__ __device__
#else
#define YF_HOST_DEVICE
#endif

namespace yf {

// Rows of interleaved bytes, `stride` bytes apart (it may be negative); pixels in a row are contiguous.
struct ConstImage {
    const std::uint8_t* data;
    std::ptrdiff_t stride;
    int height;
    int width;
};

struct Image {
    std::uint8_t* data;
    std::ptrdiff_t stride;
    int height;
    int width;
};

// Three planes of bytes, `plane` bytes apart; rows `stride` bytes apart; bytes in a row are contiguous.
struct ConstPlanes {
    const std::uint8_t* data;
    std::ptrdiff_t plane;
    std::ptrdiff_t stride;
    int height;
    int width;
};

struct Planes {
    std::uint8_t* data;
    std::ptrdiff_t plane;
    std::ptrdiff_t stride;
    int height;
    int width;
};

constexpr int ceil_div(int a, int b) { return (a + b - 1) / b; }

// Columns [x0, x1), rows [y0, y1) of a picture.
struct Region {
    int x0, y0, x1, y1;
};

}  // namespace yf
