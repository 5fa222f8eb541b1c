// The types in which images come out of csrc/cuda.
#pragma once

namespace yf::cuda {

// kByte holds levels 0..255; the others level / 255, the float32 quotient rounded to the type.
enum class PixelType { kByte, kHalf, kBfloat16, kFloat };

}  // namespace yf::cuda
