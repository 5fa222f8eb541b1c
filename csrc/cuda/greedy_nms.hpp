// What greedy NMS on the device is made of: the IoU test of csrc/core/boxes/overlap.hpp, and words of
// boxes.
#pragma once

#include <cuda_runtime.h>

#include "core/boxes/overlap.hpp"

namespace yf::cuda {

using Word = unsigned long long;  // one bit per box
constexpr int kBits = 64;         // boxes per word

__device__ inline Box box_of(float4 corners) { return make_box(corners.x, corners.y, corners.z, corners.w); }

// The test of csrc/core/boxes/overlap.hpp for one pair of finite boxes.
__device__ inline bool overlap_too_much(const Box& a, const Box& b, float limit) {
    const float w = fmaxf(fminf(a.x2, b.x2) - fmaxf(a.x1, b.x1), 0.0f);
    const float h = fmaxf(fminf(a.y2, b.y2) - fmaxf(a.y1, b.y1), 0.0f);
    const float inter = w * h;
    const float uni = a.area + b.area - inter;
    return inter > 0.0f && inter >= limit * uni && uni > 0.0f && inter / uni > limit;
}

// Which boxes of a word are kept: each suppresses the later ones that its row's bits name.
__device__ inline Word survivors(Word candidates, const Word* rows) {
    Word kept = 0;
    while (candidates != 0) {
        const int bit = __ffsll(static_cast<long long>(candidates)) - 1;
        kept |= Word{1} << bit;
        candidates &= ~(rows[bit] | Word{1} << bit);
    }
    return kept;
}

}  // namespace yf::cuda
