// Fuzz target that holds our own JPEG decoder against libjpeg-turbo: the same files taken, the same kind of
// error, the same pixels, to the bit, in every layout; and a region is what cutting it out of the whole
// gives.
//
// With libFuzzer, link it as it is. With any compiler, add replay_main.cpp, which feeds it files. At its end
// it says how many decodes there were, and how many our own decoder did to their end: none means that nothing
// was compared.
#include <cstdio>
#include <utility>

#include "core/jpeg/baseline.hpp"
#include "core/jpeg/header.hpp"
#include "core/jpeg/plan.hpp"
#include "fuzz/jpeg_inputs.hpp"

namespace {

constexpr std::int64_t kMaxPixels = 1 << 18;  // keeps one input to some milliseconds
constexpr int kOurs = 0xA5, kTheirs = 0x5A;

struct Tally {
    long decodes = 0, own = 0;
    ~Tally() { std::fprintf(stderr, "%ld decodes, %ld by our own decoder\n", decodes, own); }
} tally;

struct Decoded {
    yf::JpegStatus status;
    yf::JpegPlan plan;
    std::unique_ptr<ExactOutputs> pixels;  // when there is no error

    bool good() const { return status.error == yf::JpegError::none; }
};

Decoded decode(const std::uint8_t* data, std::size_t size, yf::JpegRequest request, yf::JpegDecoder decoder) {
    request.decoder = decoder;
    Decoded d{};
    d.status = yf::plan_jpeg(data, size, request, &d.plan);
    if (!d.good()) return d;
    auto pixels = std::make_unique<ExactOutputs>(d.plan, decoder == yf::JpegDecoder::turbo ? kTheirs : kOurs);
    d.status = yf::decode_jpeg(data, size, request, d.plan, pixels->outputs);
    if (d.good()) d.pixels = std::move(pixels);
    return d;
}

void require_same_pixels(const Decoded& ours, const Decoded& theirs) {
    require(std::memcmp(&ours.plan, &theirs.plan, sizeof ours.plan) == 0);
    for (int i = 0; i < ours.plan.outputs; ++i)
        require(std::memcmp(ours.pixels->memory[i].get(), theirs.pixels->memory[i].get(),
                            ours.pixels->bytes[i]) == 0);
}

// What is salvaged of, or why not: alike but for the place, which only our own decoder tells.
bool same_reason(const yf::JpegStatus& ours, const yf::JpegStatus& theirs) {
    return std::strncmp(ours.reason, theirs.reason, std::strlen(theirs.reason)) == 0 &&
           (ours.reason[0] != '\0') == (theirs.reason[0] != '\0');
}

// The whole picture: alike in every respect.
void require_same(const Decoded& ours, const Decoded& theirs) {
    require(ours.status.error == theirs.status.error && same_reason(ours.status, theirs.status));
    if (ours.good()) require_same_pixels(ours, theirs);
}

// `part` against the same pixels of `whole`.
void require_cut(const Decoded& part, const Decoded& whole, const yf::Region& region) {
    const yf::JpegPlan &p = part.plan, &w = whole.plan;
    for (int i = 0; i < p.outputs; ++i) {
        const yf::ChromaFactors f = i == 0 ? yf::ChromaFactors{1, 1} : yf::chroma_factors(w.subsampling);
        const std::ptrdiff_t part_row = p.width[i] * p.channels, whole_row = w.width[i] * w.channels;
        const std::uint8_t* from =
            whole.pixels->memory[i].get() + region.y0 / f.y * whole_row + region.x0 / f.x * w.channels;
        for (int y = 0; y < p.height[i]; ++y)
            require(std::memcmp(part.pixels->memory[i].get() + y * part_row, from + y * whole_row,
                                static_cast<std::size_t>(part_row)) == 0);
    }
}

// A region. Neither decoder reads all of the file for it, and ours leaves out more, so it may not see some
// damage that libjpeg-turbo sees; the pixels are the same all the same.
void check_region(const std::uint8_t* data, std::size_t size, yf::JpegRequest request, const Decoded& whole,
                  Choices& choices) {
    request.region = choose_region(whole.plan, choices);
    const Decoded ours = decode(data, size, request, yf::JpegDecoder::automatic);
    Decoded theirs = decode(data, size, request, yf::JpegDecoder::turbo);
    if (ours.good() && !theirs.good()) {
        request.salvage = true;
        theirs = decode(data, size, request, yf::JpegDecoder::turbo);
    }
    require(ours.status.error == theirs.status.error);
    if (!ours.good()) return;
    require_same_pixels(ours, theirs);
    if (whole.status.reason[0] == '\0') require_cut(ours, whole, request.region);
}

void count(const std::uint8_t* data, std::size_t size, const yf::JpegRequest& request,
           const yf::JpegHeader& header, const yf::JpegPlan& plan) {
    const ExactOutputs again(plan, kOurs);
    std::size_t offset = 0;
    ++tally.decodes;
    tally.own += yf::decode_baseline(data, size, request, header, plan, again.outputs, &offset) ==
                 yf::BaselineResult::done;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    Choices choices(data, size);
    yf::JpegHeader header;
    if (yf::parse_jpeg_header(data, size, &header).error != yf::JpegError::none) return 0;
    yf::JpegRequest request = choose_request(header, kMaxPixels, choices);
    bool counted = false;
    for (const yf::JpegLayout layout :
         {yf::JpegLayout::ycc, yf::JpegLayout::rgb, yf::JpegLayout::bgr, yf::JpegLayout::gray}) {
        request.layout = layout;
        const Decoded ours = decode(data, size, request, yf::JpegDecoder::automatic);
        require_same(ours, decode(data, size, request, yf::JpegDecoder::turbo));
        if (!ours.good()) continue;
        if (!counted) count(data, size, request, header, ours.plan);
        counted = true;
        check_region(data, size, request, ours, choices);
        if (header.progressive) break;  // libjpeg-turbo decodes those, whoever is asked
    }
    return 0;
}
