// What we use of nvJPEG and of the CUDA driver, both found when the program runs: no build needs either.
//
// The declarations are written after nvjpeg.h of CUDA 12 and 13 and cuda.h, as far as we call them: values of
// enums, layouts of structs, order and kinds of arguments. tests/gpu/test_nvjpeg_library.py compares
// those of nvJPEG with the real header where there is one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace yf::nvjpeg {

enum Status : int {
    kSuccess = 0,
    kBadJpeg = 3,
    kNotSupported = 4,
    kAllocatorFailure = 5,
    kExecutionFailed = 6,
    kArchMismatch = 7,
    kInternalError = 8,
    kIncomplete = 10,
};

enum Backend : int { kBackendDefault = 0, kBackendHybrid = 1, kBackendGpuHybrid = 2, kBackendHardware = 3 };
enum Output : int { kOutputYuv = 1, kOutputY = 2 };
enum Chroma : int {
    kChroma444 = 0,
    kChroma422 = 1,
    kChroma420 = 2,
    kChroma440 = 3,
    kChroma411 = 4,
    kChromaGray = 6
};
enum Property : int { kMajorVersion = 0, kMinorVersion = 1 };

constexpr int kMaxComponents = 4;

struct Image {
    unsigned char* channel[kMaxComponents];
    std::size_t pitch[kMaxComponents];
};

using Allocate = int (*)(void* context, void** memory, std::size_t size, void* stream);
using Release = int (*)(void* context, void* memory, std::size_t size, void* stream);

// nvjpegDevAllocatorV2_t and nvjpegPinnedAllocatorV2_t, which are alike.
struct Allocator {
    Allocate allocate;
    Release release;
    void* context;
};

using Handle = void*;
using Bytes = const unsigned char*;

// Name without "nvjpeg", and arguments. All return a status.
#define YF_NVJPEG_FUNCTIONS(F)                                                                               \
    F(GetProperty, (int property, int* value))                                                               \
    F(CreateExV2, (int backend, Allocator* device, Allocator* pinned, unsigned flags, Handle* handle))       \
    F(Destroy, (Handle handle))                                                                              \
    F(GetImageInfo, (Handle handle, Bytes data, std::size_t size, int* components, int* chroma, int* widths, \
                     int* heights))                                                                          \
    F(JpegStateCreate, (Handle handle, Handle * state))                                                      \
    F(JpegStateDestroy, (Handle state))                                                                      \
    F(DecodeBatchedInitialize, (Handle handle, Handle state, int count, int cpu_threads, int output))        \
    F(DecodeBatched, (Handle handle, Handle state, const Bytes* data, const std::size_t* sizes,              \
                      Image* images, void* stream))                                                          \
    F(DecodeBatchedSupported, (Handle handle, Handle jpeg, int* is_refused))                                 \
    F(BufferPinnedCreate, (Handle handle, void* allocator, Handle* buffer))                                  \
    F(BufferPinnedDestroy, (Handle buffer))                                                                  \
    F(BufferDeviceCreate, (Handle handle, void* allocator, Handle* buffer))                                  \
    F(BufferDeviceDestroy, (Handle buffer))                                                                  \
    F(StateAttachPinnedBuffer, (Handle state, Handle buffer))                                                \
    F(StateAttachDeviceBuffer, (Handle state, Handle buffer))                                                \
    F(JpegStreamCreate, (Handle handle, Handle * jpeg))                                                      \
    F(JpegStreamDestroy, (Handle jpeg))                                                                      \
    F(JpegStreamParse,                                                                                       \
      (Handle handle, Bytes data, std::size_t size, int save_metadata, int save_stream, Handle jpeg))        \
    F(DecodeParamsCreate, (Handle handle, Handle * parameters))                                              \
    F(DecodeParamsDestroy, (Handle parameters))                                                              \
    F(DecodeParamsSetOutputFormat, (Handle parameters, int output))                                          \
    F(DecoderCreate, (Handle handle, int backend, Handle* decoder))                                          \
    F(DecoderDestroy, (Handle decoder))                                                                      \
    F(DecoderStateCreate, (Handle handle, Handle decoder, Handle * state))                                   \
    F(DecodeJpegHost, (Handle handle, Handle decoder, Handle state, Handle parameters, Handle jpeg))         \
    F(DecodeJpegTransferToDevice, (Handle handle, Handle decoder, Handle state, Handle jpeg, void* stream))  \
    F(DecodeJpegDevice, (Handle handle, Handle decoder, Handle state, Image * image, void* stream))

// Full names in the driver's library. All return 0 or an error.
// clang-format off
#define YF_DRIVER_FUNCTIONS(F) \
    F(cuCtxGetCurrent, (void** context)) \
    F(cuCtxPushCurrent_v2, (void* context)) \
    F(cuCtxPopCurrent_v2, (void** context)) \
    F(cuStreamSynchronize, (void* stream)) \
    F(cuMemAlloc_v2, (std::uint64_t* memory, std::size_t size)) \
    F(cuMemFree_v2, (std::uint64_t memory)) \
    F(cuMemHostAlloc, (void** memory, std::size_t size, unsigned flags)) \
    F(cuMemFreeHost, (void* memory))
// clang-format on

// Both libraries' functions. They stay loaded for as long as the process lives: to unload what has threads
// and device memory of its own is asking for trouble.
struct Library {
#define YF_DECLARE(name, arguments) int(*name) arguments = nullptr;
    YF_NVJPEG_FUNCTIONS(YF_DECLARE)
    YF_DRIVER_FUNCTIONS(YF_DECLARE)
#undef YF_DECLARE
    std::string path;
    int major = 0, minor = 0;
    bool is_on_host = false;  // a stand-in whose device memory is the host's
};

constexpr int kOldestMajor = 12;

// The first of the candidates that loads, is whole and new enough; null and the reason when there is none.
std::shared_ptr<const Library> load(const std::vector<std::string>& libraries,
                                    const std::vector<std::string>& drivers, std::string& reason);

const char* explain(int status);

}  // namespace yf::nvjpeg
