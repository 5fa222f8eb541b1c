// What the operators are registered as: torch.ops.yolofast.*; with YOLOFAST_EMULATED, those of csrc/cuda run
// on the host, as torch.ops.yolofast_emulated.* on CPU tensors.
#pragma once

#if defined(YOLOFAST_EMULATED)
#define YF_OPERATORS yolofast_emulated
#define YF_DISPATCH_KEY CPU
#else
#define YF_OPERATORS yolofast
#define YF_DISPATCH_KEY CUDA
#endif
// Gives a macro its arguments expanded.
#define YF_APPLY(macro, ...) macro(__VA_ARGS__)
