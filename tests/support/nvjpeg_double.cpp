// Stands for libnvjpeg and libcuda in tests: the functions that csrc/nvjpeg/nvjpeg.hpp calls, over libjpeg,
// with the host's memory for the device's. It does what the documentation says, and, as the real library,
// decodes what there is of a file whose coded data is cut short.
//
// What a file's comment says makes it misbehave: "unknown" (does not parse), "other size" (its header is told
// otherwise), "batch fails" (batched calls with it fail), "always fails" (the others do too), "skipped" (a
// batched call says success and writes nothing). Macros: VERSION, NO_HARDWARE, NO_BACKEND, and WITHOUT_SYMBOL
// leaves one function out.
#include <atomic>
#include <csetjmp>
#include <cstdint>
#include <cstdio>  // jpeglib.h needs it before
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

// clang-format off
#include <jpeglib.h>
// clang-format on

#include "nvjpeg/api.hpp"

using namespace yf::nvjpeg;

#ifndef VERSION
#define VERSION 13
#endif
#define EXPORT extern "C" __attribute__((visibility("default")))

namespace {

constexpr int kInvalid = 2;

struct Errors {
    jpeg_error_mgr base;
    std::jmp_buf back;
};

struct Plane {
    int width = 0, height = 0;
    std::vector<std::uint8_t> bytes;
};

struct File {
    bool parsed = false, is_single_scan = false, is_progressive = false;
    int chroma = -1;
    std::string comment;
    std::vector<Plane> planes;
};

int chroma_of(const jpeg_decompress_struct& c) {
    if (c.num_components == 1) return kChromaGray;
    if (c.num_components != 3) return -1;
    const int across = c.comp_info[0].h_samp_factor / c.comp_info[1].h_samp_factor;
    const int down = c.comp_info[0].v_samp_factor / c.comp_info[1].v_samp_factor;
    if (across == 1) return down == 1 ? kChroma444 : kChroma440;
    if (across == 2) return down == 1 ? kChroma422 : kChroma420;
    return kChroma411;
}

void read_planes(jpeg_decompress_struct& c, File& file) {
    c.raw_data_out = TRUE;
    c.do_fancy_upsampling = FALSE;
    jpeg_start_decompress(&c);
    const int lines = c.max_v_samp_factor * DCTSIZE;
    std::vector<std::vector<std::uint8_t>> padded(c.num_components);
    for (int i = 0; i < c.num_components; ++i)
        padded[i].resize(std::size_t{c.comp_info[i].width_in_blocks + 4} * DCTSIZE *
                         (c.comp_info[i].height_in_blocks + 4) * DCTSIZE);
    while (c.output_scanline < c.output_height) {
        const int group = static_cast<int>(c.output_scanline) / lines;
        std::vector<std::vector<JSAMPROW>> rows(c.num_components);
        std::vector<JSAMPARRAY> arrays;
        for (int i = 0; i < c.num_components; ++i) {
            const int high = c.comp_info[i].v_samp_factor * DCTSIZE;
            const std::size_t stride = std::size_t{c.comp_info[i].width_in_blocks + 4} * DCTSIZE;
            for (int y = 0; y < high; ++y) rows[i].push_back(padded[i].data() + (group * high + y) * stride);
            arrays.push_back(rows[i].data());
        }
        jpeg_read_raw_data(&c, arrays.data(), lines);
    }
    for (int i = 0; i < c.num_components; ++i) {
        Plane& plane = file.planes[i];
        const std::size_t stride = std::size_t{c.comp_info[i].width_in_blocks + 4} * DCTSIZE;
        for (int y = 0; y < plane.height; ++y)
            plane.bytes.insert(plane.bytes.end(), padded[i].data() + y * stride,
                               padded[i].data() + y * stride + plane.width);
    }
}

File read_jpeg(Bytes data, std::size_t size, bool with_planes) {
    File file;
    jpeg_decompress_struct c{};
    Errors errors;
    c.err = jpeg_std_error(&errors.base);
    errors.base.error_exit = [](j_common_ptr info) {
        std::longjmp(reinterpret_cast<Errors*>(info->err)->back, 1);
    };
    errors.base.output_message = [](j_common_ptr) {};
    if (setjmp(errors.back) == 0) {
        jpeg_create_decompress(&c);
        jpeg_save_markers(&c, JPEG_COM, 0xFFFF);
        jpeg_mem_src(&c, data, size);
        jpeg_read_header(&c, TRUE);
        if (c.marker_list != nullptr)
            file.comment.assign(reinterpret_cast<const char*>(c.marker_list->data),
                                c.marker_list->data_length);
        file.chroma = chroma_of(c);
        file.is_progressive = c.progressive_mode;
        file.is_single_scan = !c.progressive_mode && c.comps_in_scan == c.num_components;
        for (int i = 0; i < c.num_components; ++i) {
            const jpeg_component_info& info = c.comp_info[i];
            const auto part = [](int side, int factor, int most) {
                return (side * factor + most - 1) / most;
            };
            file.planes.push_back(
                {part(static_cast<int>(c.image_width), info.h_samp_factor, c.max_h_samp_factor),
                 part(static_cast<int>(c.image_height), info.v_samp_factor, c.max_v_samp_factor),
                 {}});
        }
        if (with_planes) read_planes(c, file);
        file.parsed = file.comment != "unknown";
    } else {
        file.parsed = false;
    }
    jpeg_destroy_decompress(&c);
    return file;
}

struct Context {
    Allocator device, pinned;
};

struct State {
    int count = 0, output = 0;
    File file;  // between the phases of the decoupled calls
    Handle pinned = nullptr, device = nullptr;
    int works_since = -1;  // how often somebody had waited when the device phase was queued
};

struct Buffer {
    Context* context;
    bool is_pinned;
    void* memory;
    std::size_t size;

    int resize(std::size_t wanted) {
        if (wanted <= size) return kSuccess;
        Allocator& a = is_pinned ? context->pinned : context->device;
        if (memory != nullptr) a.release(a.context, memory, size, nullptr);
        size = wanted;
        return a.allocate(a.context, &memory, size, nullptr) == 0 ? kSuccess : kAllocatorFailure;
    }
    ~Buffer() {
        Allocator& a = is_pinned ? context->pinned : context->device;
        if (memory != nullptr) a.release(a.context, memory, size, nullptr);
    }
};

struct Stream {
    std::vector<unsigned char> data;
    File file;
};

int write(const File& file, int output, Image& image) {
    const std::size_t count = output == kOutputY ? 1 : file.planes.size();
    if (output == kOutputYuv && count != 3) return kInvalid;
    for (std::size_t i = 0; i < count; ++i) {
        const Plane& plane = file.planes[i];
        if (image.channel[i] == nullptr || image.pitch[i] < static_cast<std::size_t>(plane.width))
            return kInvalid;
        for (int y = 0; y < plane.height; ++y)
            std::memcpy(image.channel[i] + y * image.pitch[i], plane.bytes.data() + y * plane.width,
                        plane.width);
    }
    return kSuccess;
}

int allocations = 0;
std::atomic<int> contexts{0}, handles{0}, waits{0};

}  // namespace

#define NVJPEG(name, ...) EXPORT int nvjpeg##name(__VA_ARGS__)

EXPORT int yolofast_device_is_host() { return 1; }
EXPORT int double_allocations() { return allocations; }
EXPORT int double_contexts() { return contexts; }
EXPORT int double_handles() { return handles; }

NVJPEG(GetProperty, int property, int* value) {
    *value = property == kMajorVersion ? VERSION : 3;
    return kSuccess;
}
NVJPEG(CreateExV2, int backend, Allocator* device, Allocator* pinned, unsigned flags, Handle* handle) {
#ifdef NO_BACKEND
    return kExecutionFailed;
#endif
#ifdef NO_HARDWARE
    if (backend == kBackendHardware) return kArchMismatch;
#endif
    if (backend < 0 || device == nullptr || pinned == nullptr || flags != 0) return kInvalid;
    ++handles;
    *handle = new Context{*device, *pinned};
    return kSuccess;
}
NVJPEG(Destroy, Handle handle) {
    --handles;
    delete static_cast<Context*>(handle);
    return kSuccess;
}
NVJPEG(GetImageInfo, Handle, Bytes data, std::size_t size, int* components, int* chroma, int* widths,
       int* heights) {
    const File file = read_jpeg(data, size, false);
    if (!file.parsed) return kBadJpeg;
    *components = static_cast<int>(file.planes.size());
    *chroma = file.chroma;
    for (int i = 0; i < kMaxComponents; ++i) {
        const bool there = i < *components;
        widths[i] = there ? file.planes[i].width : 0;
        heights[i] = there ? file.planes[i].height : 0;
    }
    if (file.comment == "other size") heights[0] += 8;
    return kSuccess;
}
NVJPEG(JpegStateCreate, Handle, Handle* state) {
    *state = new State;
    return kSuccess;
}
NVJPEG(JpegStateDestroy, Handle state) {
    delete static_cast<State*>(state);
    return kSuccess;
}
NVJPEG(DecodeBatchedInitialize, Handle, Handle state, int count, int cpu_threads, int output) {
    if (count < 1 || cpu_threads < 1) return kInvalid;
    static_cast<State*>(state)->count = count;
    static_cast<State*>(state)->output = output;
    return kSuccess;
}
NVJPEG(DecodeBatched, Handle, Handle state, const Bytes* data, const std::size_t* sizes, Image* images,
       void*) {
    State& s = *static_cast<State*>(state);
    if (s.count < 1) std::abort();  // the real one crashes
    int result = kSuccess;
    for (int i = 0; i < s.count; ++i) {
        const File file = read_jpeg(data[i], sizes[i], true);
        const bool fails = file.comment == "batch fails" || file.comment == "always fails";
        int status = !file.parsed ? kBadJpeg : fails ? kExecutionFailed : kSuccess;
        if (status == kSuccess && file.comment != "skipped") status = write(file, s.output, images[i]);
        if (result == kSuccess) result = status;
    }
    if (result != kSuccess) s.count = 0;
    return result;
}
NVJPEG(DecodeBatchedSupported, Handle, Handle jpeg, int* is_refused) {
    const File& file = static_cast<Stream*>(jpeg)->file;
    *is_refused = !(file.is_single_scan && file.chroma != kChroma411);
    return kSuccess;
}
NVJPEG(BufferPinnedCreate, Handle handle, void*, Handle* buffer) {
    *buffer = new Buffer{static_cast<Context*>(handle), true, nullptr, 0};
    return kSuccess;
}
NVJPEG(BufferPinnedDestroy, Handle buffer) {
    delete static_cast<Buffer*>(buffer);
    return kSuccess;
}
NVJPEG(BufferDeviceCreate, Handle handle, void*, Handle* buffer) {
    *buffer = new Buffer{static_cast<Context*>(handle), false, nullptr, 0};
    return kSuccess;
}
NVJPEG(BufferDeviceDestroy, Handle buffer) {
    delete static_cast<Buffer*>(buffer);
    return kSuccess;
}
NVJPEG(StateAttachPinnedBuffer, Handle state, Handle buffer) {
    static_cast<State*>(state)->pinned = buffer;
    return kSuccess;
}
NVJPEG(StateAttachDeviceBuffer, Handle state, Handle buffer) {
    static_cast<State*>(state)->device = buffer;
    return kSuccess;
}
NVJPEG(JpegStreamCreate, Handle, Handle* jpeg) {
    *jpeg = new Stream;
    return kSuccess;
}
NVJPEG(JpegStreamDestroy, Handle jpeg) {
    delete static_cast<Stream*>(jpeg);
    return kSuccess;
}
NVJPEG(JpegStreamParse, Handle, Bytes data, std::size_t size, int, int, Handle jpeg) {
    Stream& stream = *static_cast<Stream*>(jpeg);
    stream.data.assign(data, data + size);
    stream.file = read_jpeg(data, size, false);
    return stream.file.parsed ? kSuccess : kBadJpeg;
}
NVJPEG(DecodeParamsCreate, Handle, Handle* parameters) {
    *parameters = new int(-1);
    return kSuccess;
}
NVJPEG(DecodeParamsDestroy, Handle parameters) {
    delete static_cast<int*>(parameters);
    return kSuccess;
}
NVJPEG(DecodeParamsSetOutputFormat, Handle parameters, int output) {
    *static_cast<int*>(parameters) = output;
    return kSuccess;
}
NVJPEG(DecoderCreate, Handle, int backend, Handle* decoder) {
    *decoder = new int(backend);
    return kSuccess;
}
NVJPEG(DecoderDestroy, Handle decoder) {
    delete static_cast<int*>(decoder);
    return kSuccess;
}
NVJPEG(DecoderStateCreate, Handle, Handle, Handle* state) {
    *state = new State;
    return kSuccess;
}
NVJPEG(DecodeJpegHost, Handle, Handle, Handle state, Handle parameters, Handle jpeg) {
    State& s = *static_cast<State*>(state);
    const Stream& stream = *static_cast<Stream*>(jpeg);
    if (s.pinned == nullptr) return kInvalid;
    s.file = read_jpeg(stream.data.data(), stream.data.size(), true);
    s.output = *static_cast<int*>(parameters);
    if (!s.file.parsed || s.file.comment == "always fails") return kBadJpeg;
    return static_cast<Buffer*>(s.pinned)->resize(stream.data.size() * 8);
}
NVJPEG(DecodeJpegTransferToDevice, Handle, Handle, Handle state, Handle jpeg, void*) {
    State& s = *static_cast<State*>(state);
    if (s.device == nullptr || s.works_since == waits) return kInvalid;  // the file before is not done
    return static_cast<Buffer*>(s.device)->resize(static_cast<Stream*>(jpeg)->data.size() * 8);
}
#ifndef WITHOUT_SYMBOL
NVJPEG(DecodeJpegDevice, Handle, Handle, Handle state, Image* image, void*) {
    State& s = *static_cast<State*>(state);
    s.works_since = waits;
    return write(s.file, s.output, *image);
}
#endif

EXPORT int cuCtxGetCurrent(void** context) {
    *context = &contexts;
    return 0;
}
EXPORT int cuCtxPushCurrent_v2(void* context) {
    ++contexts;
    return context == &contexts ? 0 : kInvalid;
}
EXPORT int cuCtxPopCurrent_v2(void** context) {
    --contexts;
    *context = &contexts;
    return 0;
}
EXPORT int cuStreamSynchronize(void*) {
    ++waits;
    return 0;
}
EXPORT int cuMemAlloc_v2(std::uint64_t* memory, std::size_t size) {
    ++allocations;
    *memory = reinterpret_cast<std::uint64_t>(std::malloc(size));
    return *memory != 0 ? 0 : 2;
}
EXPORT int cuMemFree_v2(std::uint64_t memory) {
    std::free(reinterpret_cast<void*>(memory));
    return 0;
}
EXPORT int cuMemHostAlloc(void** memory, std::size_t size, unsigned) {
    ++allocations;
    *memory = std::malloc(size);
    return *memory != nullptr ? 0 : 2;
}
EXPORT int cuMemFreeHost(void* memory) {
    std::free(memory);
    return 0;
}
