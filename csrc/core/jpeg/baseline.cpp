// See baseline.hpp. The order of things: a row of MCUs is entropy-decoded, its blocks transformed as they
// come, two at a time, into strips that stay in the cache, and the strips are copied or converted into the
// outputs.
#include "core/jpeg/baseline.hpp"

#include <algorithm>
#include <cstring>
#include <memory>
#include <new>
#include <optional>
#include <vector>

#include "core/jpeg/batch.hpp"
#include "core/jpeg/entropy.hpp"
#include "core/jpeg/frame.hpp"
#include "core/jpeg/header.hpp"
#include "core/jpeg/packed.hpp"
#include "core/jpeg/plan.hpp"
#include "core/jpeg/scaling.hpp"

namespace yf {
namespace {

// A component, with what decoding one of its blocks needs.
struct Channel {
    const DcTable* dc;
    const AcTable* ac;
    const std::int16_t* quantisers;
    int h, v;  // blocks of an MCU
    int size;  // of the transform
    bool wanted;
    std::ptrdiff_t stride;  // of the strip
    std::uint8_t* strip;
    int prediction;
};

// One block of an MCU.
struct McuBlock {
    int channel;
    std::ptrdiff_t offset;  // of its samples from those of the MCU
};

class Decoder {
  public:
    // What it is given has to outlive it.
    Decoder(const std::uint8_t* data, std::size_t size, const JpegRequest& request, const JpegPlan& plan,
            const JpegOutput* outputs)
        : data_(data), size_(size), request_(request), plan_(plan), outputs_(outputs) {}

    // False when the file is not for this decoder.
    bool prepare(const JpegHeader& header) {
        if (!read_frame(data_, size_, &frame_)) return false;
        if (frame_.width != header.width || frame_.height != header.height) return false;
        scale_ = choose_scale(header, request_);
        scaling_ = choose_scaling(frame_, scale_);
        return scaling_.planes != Subsampling::other;
    }

    int scale() const { return scale_; }
    Subsampling planes() const { return scaling_.planes; }
    // Where it gave up, but for the stuffing in what lies ready.
    std::size_t offset() const {
        const std::ptrdiff_t ready = std::max<std::ptrdiff_t>(bits_left() / 8, 0);
        return source_.next() - std::min(static_cast<std::size_t>(ready), source_.next());
    }

    // True when every pixel of the plan's window was decoded and nothing was amiss. May throw std::bad_alloc.
    bool decode();

  private:
    using Run = bool (Decoder::*)(int column, int count);

    // Bits that lie ready and were not used; negative when too many were.
    std::ptrdiff_t bits_left() const {
        return 8 * (source_.end() - reader_.at) + static_cast<std::ptrdiff_t>(reader_.count & 63);
    }

    bool build_tables();
    void lay_strips();
    void choose_mcus(const Region& needed);
    bool decode_mcus();
    bool begin_segment(int index);
    bool end_segment();
    bool skip_segment();
    template <bool kKeep>
    [[gnu::always_inline]] inline bool run(int column, int count);
    template <bool kKeep>
    bool run_portable(int column, int count);
#if defined(__x86_64__)
    template <bool kKeep>
    __attribute__((target("bmi,bmi2"))) bool run_bmi2(int column, int count);
#endif
    void emit(int row);
    void emit_colours(int row);
    void emit_gray(int row);
    void emit_planes(int row);

    const std::uint8_t* data_;
    std::size_t size_;
    Frame frame_;
    int scale_ = 8;
    Scaling scaling_{};

    SegmentBytes source_;
    BitReader reader_{};
    DcTable dc_[3];
    AcTable ac_[3];
    Channel channels_[3];
    McuBlock blocks_[10];
    int block_count_ = 0;
    BlockBatch batch_;
    std::vector<std::uint8_t> strips_;

    int mcus_across_ = 0, mcus_down_ = 0;
    int first_column_ = 0, last_column_ = 0, first_row_ = 0, last_row_ = 0;  // of the MCUs that are wanted
    int segment_ = 0;

    const JpegRequest& request_;
    const JpegPlan& plan_;
    const JpegOutput* outputs_;
    Placement place_{};                 // of packed pixels
    std::optional<PackedRows> packed_;  // for colours
};

// Tables are shared by components that name the same ones.
bool Decoder::build_tables() {
    for (int i = 0; i < frame_.count; ++i) {
        const FrameComponent& c = frame_.components[i];
        channels_[i].dc = nullptr;
        channels_[i].ac = nullptr;
        for (int j = 0; j < i; ++j) {
            if (frame_.components[j].dc == c.dc) channels_[i].dc = channels_[j].dc;
            if (frame_.components[j].ac == c.ac) channels_[i].ac = channels_[j].ac;
        }
        if (channels_[i].dc == nullptr) {
            if (!build_dc_table(frame_.dc[c.dc], &dc_[i])) return false;
            channels_[i].dc = &dc_[i];
        }
        if (channels_[i].ac == nullptr) {
            if (!build_ac_table(frame_.ac[c.ac], &ac_[i])) return false;
            channels_[i].ac = &ac_[i];
        }
    }
    return true;
}

void Decoder::lay_strips() {
    mcus_across_ = ceil_div(frame_.width, 8 * frame_.max_h);
    mcus_down_ = ceil_div(frame_.height, 8 * frame_.max_v);
    std::size_t bytes = 0;
    for (int i = 0; i < frame_.count; ++i) {
        Channel& c = channels_[i];
        c.h = frame_.components[i].h;
        c.v = frame_.components[i].v;
        c.size = scaling_.size[i];
        c.quantisers = frame_.quantisers[frame_.components[i].quantiser];
        c.wanted = i == 0 || request_.layout != JpegLayout::gray;
        c.stride = static_cast<std::ptrdiff_t>(mcus_across_) * c.h * c.size;
        bytes += static_cast<std::size_t>(c.stride) * static_cast<std::size_t>(c.v * c.size);
    }
    strips_.resize(bytes);
    std::uint8_t* at = strips_.data();
    block_count_ = 0;
    for (int i = 0; i < frame_.count; ++i) {
        Channel& c = channels_[i];
        c.strip = at;
        at += c.stride * c.v * c.size;
        for (int v = 0; v < c.v; ++v)
            for (int h = 0; h < c.h; ++h) blocks_[block_count_++] = {i, (v * c.stride + h) * c.size};
    }
}

// The MCUs that hold the luma samples of a region.
void Decoder::choose_mcus(const Region& needed) {
    const int across = frame_.max_h * scale_, down = frame_.max_v * scale_;
    first_column_ = needed.x0 / across;
    last_column_ = ceil_div(needed.x1, across);
    first_row_ = needed.y0 / down;
    last_row_ = ceil_div(needed.y1, down);
}

bool Decoder::begin_segment(int index) {
    const std::size_t offset = index == 0 ? frame_.scan : source_.next() + 2;
    if (offset > size_) return false;
    segment_ = index;
    source_.begin(data_, size_, offset);
    reader_.begin(source_.start());
    for (Channel& c : channels_) c.prediction = 0;
    return true;
}

// After the last MCU of a segment: no bit too many was used and no whole byte is left, and the marker is the
// one that has to come.
bool Decoder::end_segment() {
    const std::ptrdiff_t left = bits_left();
    return source_.ended() && left >= 0 && left < 8 && source_.marker() == 0xD0 + (segment_ & 7);
}

// To the marker behind a segment of which nothing is wanted.
bool Decoder::skip_segment() {
    source_.skip();
    return source_.marker() == 0xD0 + (segment_ & 7);
}

bool Decoder::decode_mcus() {
    Run keep = &Decoder::run_portable<true>, pass = &Decoder::run_portable<false>;
#if defined(__x86_64__)
    if (__builtin_cpu_supports("bmi2") && __builtin_cpu_supports("bmi")) {
        keep = &Decoder::run_bmi2<true>;
        pass = &Decoder::run_bmi2<false>;
    }
#endif
    const std::int64_t across = mcus_across_, end = (last_row_ - 1) * across + last_column_;
    const std::int64_t interval = frame_.restart_interval > 0 ? frame_.restart_interval : across * mcus_down_;
    for (std::int64_t at = 0; at < end;) {
        if (at % interval == 0 && !begin_segment(static_cast<int>(at / interval))) return false;
        const std::int64_t segment_end = (at / interval + 1) * interval;
        const std::int64_t row = at / across, column = at % across;
        // The next MCU that is wanted, from here on, and the run of those or of others that begins here.
        const bool wanted = row >= first_row_ && column >= first_column_ && column < last_column_;
        std::int64_t stop;
        if (wanted)
            stop = row * across + last_column_;
        else if (row < first_row_)
            stop = first_row_ * across + first_column_;
        else
            stop = (column < first_column_ ? row : row + 1) * across + first_column_;
        stop = std::min(stop, segment_end);
        if (!wanted && stop == segment_end) {
            if (!skip_segment()) return false;
        } else {
            if (!(this->*(wanted ? keep : pass))(static_cast<int>(column), static_cast<int>(stop - at)))
                return false;
            if (stop == segment_end && stop < across * mcus_down_ && stop < end && !end_segment())
                return false;
        }
        if (wanted && stop == row * across + last_column_) {
            batch_.flush();
            emit(static_cast<int>(row));
        }
        at = stop;
    }
    // The last segment's bits were all there and, with the whole picture decoded, so is the end of the image.
    if (bits_left() < 0) return false;
    if (end < across * mcus_down_) return true;
    source_.skip();
    return source_.marker() == 0xD9;
}

// `count` MCUs from a column on, all in one row when they are kept.
template <bool kKeep>
inline bool Decoder::run(int column, int count) {
    BitReader reader = reader_;
    for (; count > 0; --count, ++column) {
        for (int b = 0; b < block_count_; ++b) {
            const McuBlock& place = blocks_[b];
            Channel& channel = channels_[place.channel];
            if (reader.at >= source_.refill_at()) [[unlikely]] {
                if (source_.ended()) {
                    reader_ = reader;
                    return false;
                }
                source_.refill(reader.at);
                reader.at = source_.start();
            }
            int difference = 0;
            const bool full = kKeep && channel.wanted;
            const int last =
                full ? decode_block<true>(reader, *channel.dc, *channel.ac, difference, batch_.next())
                     : decode_block<false>(reader, *channel.dc, *channel.ac, difference, nullptr);
            const int dc = channel.prediction + difference;
            if (last == kBadBlock || dc != static_cast<std::int16_t>(dc)) [[unlikely]] {
                reader_ = reader;
                return false;
            }
            channel.prediction = dc;
            if (!full) continue;
            std::uint8_t* out = channel.strip + place.offset + column * channel.h * channel.size;
            if (channel.size == 8)
                batch_.add(last, dc, channel.quantisers, out, channel.stride);
            else
                batch_.add_scaled(channel.size, dc, channel.quantisers, out, channel.stride);
        }
    }
    reader_ = reader;
    return true;
}

template <bool kKeep>
bool Decoder::run_portable(int column, int count) {
    return run<kKeep>(column, count);
}

#if defined(__x86_64__)
template <bool kKeep>
bool Decoder::run_bmi2(int column, int count) {
    return run<kKeep>(column, count);
}
#endif

// The part of a row of MCUs that is in the window, as the layout wants it.
void Decoder::emit(int row) {
    switch (request_.layout) {
        case JpegLayout::rgb:
        case JpegLayout::bgr:
            return emit_colours(row);
        case JpegLayout::gray:
            return emit_gray(row);
        case JpegLayout::ycc:
            return emit_planes(row);
    }
}

void Decoder::emit_colours(int row) {
    const int rows = channels_[0].v * channels_[0].size, first = row * rows;
    Strip strips[3] = {};
    for (int i = 0; i < frame_.count; ++i) strips[i] = {channels_[i].strip, channels_[i].stride};
    packed_->take(strips, first, std::min(rows, scaled_side(frame_.height, scale_) - first));
}

void Decoder::emit_gray(int row) {
    const Region& window = plan_.window;
    const Channel& luma = channels_[0];
    const int rows = luma.v * luma.size, first = row * rows;
    const int from = std::max(first, window.y0), to = std::min(first + rows, window.y1);
    place_.place(from - window.y0, to - from, luma.strip + (from - first) * luma.stride + window.x0,
                 luma.stride, window.x1 - window.x0);
}

// Rows of luma with those of chroma that belong to them, in which order callers lay them out.
void Decoder::emit_planes(int row) {
    const int luma_rows = channels_[0].v * channels_[0].size;
    for (int r = 0; r < luma_rows; ++r)
        for (int i = 0; i < plan_.outputs; ++i) {
            const Channel& c = channels_[i];
            const ChromaFactors f = i == 0 ? ChromaFactors{1, 1} : chroma_factors(plan_.subsampling);
            if (r % f.y != 0) continue;
            const int y = (row * luma_rows + r - plan_.window.y0) / f.y, x0 = plan_.window.x0 / f.x;
            if (row * luma_rows + r < plan_.window.y0 || y >= plan_.height[i]) continue;
            std::memcpy(outputs_[i].data + y * outputs_[i].stride, c.strip + r / f.y * c.stride + x0,
                        static_cast<std::size_t>(plan_.width[i]));
        }
}

bool Decoder::decode() {
    if (!build_tables()) return false;
    lay_strips();
    const JpegLayout layout = request_.layout;
    if (layout != JpegLayout::ycc)
        place_ = place_packed(outputs_[0].data, outputs_[0].stride, plan_.height[0], plan_.width[0],
                              plan_.channels, plan_.orientation);
    if (layout == JpegLayout::rgb || layout == JpegLayout::bgr) {
        const ChromaFactors factors = chroma_factors(scaling_.planes);
        const PlaneSizes sizes{frame_.count,
                               scaled_side(frame_.width, scale_),
                               scaled_side(frame_.height, scale_),
                               factors.x,
                               factors.y,
                               scale_ > 1};
        packed_.emplace(layout == JpegLayout::rgb ? PixelOrder::rgb : PixelOrder::bgr, sizes, plan_.window,
                        place_);
    }
    choose_mcus(packed_ ? packed_->context() : plan_.window);
    if (!decode_mcus()) return false;
    if (packed_) packed_->finish();
    return true;
}

}  // namespace

bool plan_baseline(const std::uint8_t* data, std::size_t size, const JpegRequest& request,
                   const JpegHeader& header, JpegPlan* plan, JpegStatus* planned) noexcept {
    Frame frame;
    if (!read_frame(data, size, &frame)) return false;
    if (frame.width != header.width || frame.height != header.height) return false;
    const int scale = choose_scale(header, request);
    const Scaling scaling = choose_scaling(frame, scale);
    if (scaling.planes == Subsampling::other) return false;
    *planned = make_plan(header, request, scale, scaling.planes, plan);
    return true;
}

BaselineResult decode_baseline(const std::uint8_t* data, std::size_t size, const JpegRequest& request,
                               const JpegHeader& header, const JpegPlan& plan, const JpegOutput* outputs,
                               std::size_t* offset) noexcept try {
    const auto decoder = std::make_unique<Decoder>(data, size, request, plan, outputs);
    if (!decoder->prepare(header)) return BaselineResult::not_ours;
    JpegPlan again;
    const JpegStatus planned = make_plan(header, request, decoder->scale(), decoder->planes(), &again);
    // The caller sized its arrays by `plan`; bytes that changed since must not write past them.
    if (planned.error != JpegError::none || std::memcmp(&again, &plan, sizeof again) != 0)
        return BaselineResult::changed;
    if (decoder->decode()) return BaselineResult::done;
    *offset = decoder->offset();
    return BaselineResult::gave_up;
} catch (const std::bad_alloc&) {
    return BaselineResult::out_of_memory;
}

}  // namespace yf
