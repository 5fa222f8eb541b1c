// Fuzz target for the JPEG decoder: any bytes, every layout, never a crash, never a write past an output.
//
// With libFuzzer, link it as it is. With any compiler, add replay_main.cpp, which feeds it files.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>

#include "jpeg.hpp"
#include "jpeg_header.hpp"

namespace {

constexpr std::int64_t kMaxPixels = 1 << 22;  // keeps one input under a second or so

void decode(const std::uint8_t* data, std::size_t size, const yf::JpegRequest& request) {
    yf::JpegPlan plan;
    if (yf::plan_jpeg(data, size, request, &plan).error != yf::JpegError::none) return;
    // Exactly the bytes that the plan asks for, so that the sanitizer sees one byte too many.
    std::unique_ptr<std::uint8_t[]> memory[3];
    yf::JpegOutput outputs[3] = {};
    for (int i = 0; i < plan.outputs; ++i) {
        const std::ptrdiff_t stride = static_cast<std::ptrdiff_t>(plan.width[i]) * plan.channels;
        if (plan.width[i] < 1 || plan.height[i] < 1) std::abort();
        memory[i] = std::make_unique<std::uint8_t[]>(static_cast<std::size_t>(stride) * plan.height[i]);
        outputs[i] = {memory[i].get(), stride};
    }
    yf::decode_jpeg(data, size, request, plan, outputs);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    yf::JpegHeader header;
    yf::parse_jpeg_header(data, size, &header);
    if (header.orientation < 1 || header.orientation > 8) std::abort();
    // The last byte chooses among the request's options; every layout is tried each time.
    const unsigned choice = size > 0 ? data[size - 1] : 0;
    for (const yf::JpegLayout layout :
         {yf::JpegLayout::rgb, yf::JpegLayout::bgr, yf::JpegLayout::gray, yf::JpegLayout::ycc}) {
        const int side = choice & 1 ? 1 << (choice >> 4) : 0;
        const yf::JpegRequest request{layout, side, side, (choice & 2) == 0, (choice & 4) == 0, kMaxPixels};
        decode(data, size, request);
    }
    return 0;
}
