// How an operator's file registers its schema and its kernels. Each file is compiled once per library:
//
//   library             macros                                     schemas   kernels
//   _torch_ops          none                                       yes       yolofast, CPU
//   _torch_ops_cuda     YOLOFAST_TORCH_CUDA                        no        yolofast, CUDA
//   tests/emulation     YOLOFAST_TORCH_CUDA, YOLOFAST_EMULATED     yes       yolofast_emulated, CPU
//
// The CUDA library is loaded after the CPU's, whose schemas it uses. The emulation runs csrc/cuda on the
// host.
#pragma once

#include <torch/csrc/stable/library.h>

#if defined(YOLOFAST_EMULATED)
#define YF_OPERATORS yolofast_emulated
#define YF_DISPATCH_KEY CPU
#elif defined(YOLOFAST_TORCH_CUDA)
#define YF_OPERATORS yolofast
#define YF_DISPATCH_KEY CUDA
#else
#define YF_OPERATORS yolofast
#define YF_DISPATCH_KEY CPU
#endif

#define YF_EXPAND(macro, ...) macro(__VA_ARGS__)

// YF_SCHEMAS(m) { m.def("..."); } and YF_KERNELS(m) { m.impl("...", TORCH_BOX(&...)); }
#if defined(YOLOFAST_TORCH_CUDA) && !defined(YOLOFAST_EMULATED)
#define YF_SCHEMAS(m)           \
    template <typename Library> \
    [[maybe_unused]] static void schemas_of_the_cpu_library(Library& m)
#else
#define YF_SCHEMAS(m) YF_EXPAND(STABLE_TORCH_LIBRARY_FRAGMENT, YF_OPERATORS, m)
#endif
#define YF_KERNELS(m) YF_EXPAND(STABLE_TORCH_LIBRARY_IMPL, YF_OPERATORS, YF_DISPATCH_KEY, m)
