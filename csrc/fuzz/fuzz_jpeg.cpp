// Fuzz target for the JPEG decoders: any bytes, every layout, never a crash, never a write past an output,
// also when the bytes change between the plan and the decode.
//
// With libFuzzer, link it as it is. With any compiler, add replay_main.cpp, which feeds it files.
#include <vector>

#include "core/jpeg/header.hpp"
#include "core/jpeg/structure.hpp"
#include "fuzz/jpeg_inputs.hpp"

namespace {

constexpr std::int64_t kMaxPixels = 1 << 20;  // keeps one input under a second or so

void check_reason(const yf::JpegStatus& status) {
    require(std::memchr(status.reason, 0, sizeof status.reason) != nullptr);
    if (status.error != yf::JpegError::none) require(status.reason[0] != '\0');
}

// Into memory of its own, by a plan that may have been made for other bytes.
yf::JpegStatus decode(const std::uint8_t* data, std::size_t size, const yf::JpegRequest& request,
                      const yf::JpegPlan& plan) {
    const ExactOutputs made(plan, 0xA5);
    const yf::JpegStatus status = yf::decode_jpeg(data, size, request, plan, made.outputs);
    check_reason(status);
    return status;
}

// A copy with one byte changed, somewhere in the headers or anywhere.
std::vector<std::uint8_t> changed(const std::uint8_t* data, std::size_t size, Choices& choices) {
    std::vector<std::uint8_t> copy(data, data + size);
    const std::size_t most = choices.one_in(2) || size < 700 ? size : 700;
    const std::size_t at = static_cast<std::size_t>(choices.below(65536)) % most;
    copy[at] = static_cast<std::uint8_t>(choices.byte());
    return copy;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    Choices choices(data, size);
    yf::JpegHeader header;
    check_reason(yf::parse_jpeg_header(data, size, &header));
    require(header.orientation >= 1 && header.orientation <= 8);
    const yf::JpegStatus structure = yf::check_structure(data, size);
    check_reason(structure);
    require(structure.error != yf::JpegError::none || (header.height > 0 && header.width > 0));
    const auto lacks_scans = [](const yf::JpegStatus& status) {
        return std::strcmp(status.reason, yf::kScansMissing) == 0;
    };
    yf::JpegRequest request = choose_request(header, kMaxPixels, choices);
    request.decoder = choices.one_in(4) ? yf::JpegDecoder::turbo : yf::JpegDecoder::automatic;
    const bool part = choices.one_in(2), race = choices.one_in(8);
    for (const yf::JpegLayout layout :
         {yf::JpegLayout::rgb, yf::JpegLayout::bgr, yf::JpegLayout::gray, yf::JpegLayout::ycc}) {
        request.layout = layout;
        request.region = {};
        yf::JpegPlan plan;
        yf::JpegStatus status = yf::plan_jpeg(data, size, request, &plan);
        check_reason(status);
        if (status.error != yf::JpegError::none) continue;
        if (part) {
            request.region = choose_region(plan, choices);
            status = yf::plan_jpeg(data, size, request, &plan);
            check_reason(status);
            require(status.error == yf::JpegError::none || status.error == yf::JpegError::bad_region);
            if (status.error != yf::JpegError::none) continue;
        }
        status = decode(data, size, request, plan);
        // Both see the same scans: whoever finds the structure whole misses none when it decodes.
        require(structure.error != yf::JpegError::none || !lacks_scans(status));
        require(!lacks_scans(structure) || status.error != yf::JpegError::none || request.salvage);
        if (race && size > 0) {
            const std::vector<std::uint8_t> other = changed(data, size, choices);
            decode(other.data(), other.size(), request, plan);
        }
        if (header.progressive) break;  // hundreds of scans are slow, and the layouts share what reads them
    }
    return 0;
}
