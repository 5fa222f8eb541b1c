// See nvjpeg.hpp.
#include "nvjpeg/nvjpeg.hpp"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <new>
#include <thread>

#include "core/jpeg/header.hpp"
#include "core/jpeg/plan.hpp"
#include "core/jpeg/structure.hpp"

namespace yf::nvjpeg {
namespace {

constexpr std::size_t kFileAlign = 64;  // of each file's bytes among those of all

std::size_t aligned(std::size_t size) { return (size + kFileAlign - 1) / kFileAlign * kFileAlign; }

int chroma_of(Subsampling subsampling) {
    switch (subsampling) {
        case Subsampling::s444:
            return kChroma444;
        case Subsampling::s422:
            return kChroma422;
        case Subsampling::s420:
            return kChroma420;
        case Subsampling::s440:
            return kChroma440;
        case Subsampling::s411:
            return kChroma411;
        case Subsampling::gray:
            return kChromaGray;
        default:
            return -1;
    }
}

Subsampling subsampling_of(const std::int64_t* row) {
    return row[kOffsetCb] < 0
               ? Subsampling::gray
               : name_factors(static_cast<int>(row[kFactorX]), static_cast<int>(row[kFactorY]));
}

}  // namespace

std::unique_ptr<Decoder> Decoder::create(std::shared_ptr<const Library> library, int threads,
                                         std::string& reason) {
    std::unique_ptr<Decoder> decoder(new Decoder(std::move(library), threads));
    const int status = decoder->start();
    if (status == kSuccess) return decoder;
    reason =
        decoder->library_->path + " does not start on this device (status " + std::to_string(status) + ")";
    return nullptr;
}

Decoder::Decoder(std::shared_ptr<const Library> library, int threads)
    : library_(std::move(library)),
      threads_(std::max(1, threads)),
      device_(*library_, Pool::Kind::device),
      pinned_(*library_, Pool::Kind::pinned),
      device_allocator_(device_.allocator()),
      pinned_allocator_(pinned_.allocator()) {}

int Decoder::start() {
    const Library& l = *library_;
    if (l.cuCtxGetCurrent(&context_) != 0) return kExecutionFailed;
    int status = kSuccess;
    for (const int backend : {kBackendHardware, kBackendGpuHybrid, kBackendDefault}) {
        status = l.CreateExV2(backend, &device_allocator_, &pinned_allocator_, 0, &handle_);
        has_hardware_ = status == kSuccess && backend == kBackendHardware;
        if (status == kSuccess) break;
        handle_ = nullptr;
    }
    const auto then = [&](auto&& call) {
        if (status == kSuccess) status = call();
    };
    then([&] { return l.JpegStateCreate(handle_, &colour_.state); });
    then([&] { return l.JpegStateCreate(handle_, &gray_.state); });
    then([&] { return l.JpegStreamCreate(handle_, &parsed_); });
    then([&] { return l.DecodeParamsCreate(handle_, &parameters_); });
    then([&] { return l.DecoderCreate(handle_, kBackendHybrid, &decoder_); });
    then([&] { return l.DecoderStateCreate(handle_, decoder_, &state_); });
    then([&] { return l.BufferDeviceCreate(handle_, nullptr, &device_buffer_); });
    then([&] { return l.StateAttachDeviceBuffer(state_, device_buffer_); });
    for (Slot& slot : slots_) {
        then([&] { return l.BufferPinnedCreate(handle_, nullptr, &slot.pinned); });
        then([&] { return l.JpegStreamCreate(handle_, &slot.jpeg); });
    }
    return status;
}

Decoder::~Decoder() {
    const Current current(*library_, context_);  // the collector may run in any thread
    const Library& l = *library_;
    for (Slot& slot : slots_) {
        if (slot.jpeg != nullptr) l.JpegStreamDestroy(slot.jpeg);
        if (slot.pinned != nullptr) l.BufferPinnedDestroy(slot.pinned);
    }
    if (device_buffer_ != nullptr) l.BufferDeviceDestroy(device_buffer_);
    if (state_ != nullptr) l.JpegStateDestroy(state_);
    if (decoder_ != nullptr) l.DecoderDestroy(decoder_);
    if (parameters_ != nullptr) l.DecodeParamsDestroy(parameters_);
    if (parsed_ != nullptr) l.JpegStreamDestroy(parsed_);
    for (Batch* batch : {&colour_, &gray_})
        if (batch->state != nullptr) l.JpegStateDestroy(batch->state);
    if (handle_ != nullptr) l.Destroy(handle_);
    device_.clear();
    pinned_.clear();
}

// ---------------------------------------------------------------------------------- before decoding

// Calls work(i) for all i < count, in threads.
template <typename Work>
void Decoder::share(std::size_t count, const Work& work) const {
    std::atomic<std::size_t> next{0};
    std::atomic<bool> is_out_of_memory{false};
    const auto take = [&] {
        try {
            for (std::size_t i; (i = next++) < count;) work(i);
        } catch (const std::bad_alloc&) {
            is_out_of_memory = true;
        }
    };
    std::vector<std::thread> others;
    const std::size_t helpers = std::min(static_cast<std::size_t>(threads_), count);
    try {
        for (std::size_t i = 1; i < helpers; ++i) others.emplace_back(take);
    } catch (const std::exception&) {  // no more threads: the existing ones do the work
    }
    take();
    for (std::thread& other : others) other.join();
    if (is_out_of_memory) throw std::bad_alloc();
}

void Decoder::prepare(const Source* sources, std::size_t count, const std::int32_t* shapes) {
    const Current current(*library_, context_);
    rows_.assign(count * kPictureColumns, -1);
    places_.assign(count * kPlaceValues, 0.0);
    plane_bytes_.assign(count, 0);
    reasons_.assign(count, "");
    begins_.assign(count, 0);
    sizes_.assign(count, 0);
    bytes_ = 0;
    if (contents_.size() < count) contents_.resize(count);
    share(count, [&](std::size_t i) {
        sizes_[i] = sources[i].size;
        if (sources[i].path == nullptr) return;
        const PictureStatus status = read_file(sources[i].path, contents_[i]);
        if (status.error == PictureError::out_of_memory) throw std::bad_alloc();
        if (status.error != PictureError::none) reasons_[i] = status.reason;
        sizes_[i] = status.error == PictureError::none ? contents_[i].size() : 0;
    });
    std::size_t total = 0;
    for (std::size_t i = 0; i < count; ++i) {
        begins_[i] = total;
        total += aligned(sizes_[i]);
    }
    pinned_.give(staged_);
    pinned_.settle();  // `decode` has waited for all that was queued
    staged_ = total > 0 ? static_cast<std::uint8_t*>(pinned_.take(total)) : nullptr;
    if (total > 0 && staged_ == nullptr) throw std::bad_alloc();
    share(count, [&](std::size_t i) {
        const Source& source = sources[i];
        if (!reasons_[i].empty()) return;
        if (sizes_[i] > 0) {
            const std::uint8_t* data = source.path != nullptr ? contents_[i].data() : source.data;
            std::memcpy(staged_ + begins_[i], data, sizes_[i]);
        }
        check(i, shapes != nullptr ? shapes + 2 * i : nullptr);
    });
    for (std::size_t i = 0; i < count; ++i)
        if (reasons_[i].empty()) lay_out(i);
}

// What our own readers say of a file: its row without offsets, its place, or why it is refused.
void Decoder::check(std::size_t i, const std::int32_t* shape) {
    const std::uint8_t* data = staged_ + begins_[i];
    const std::size_t size = sizes_[i];
    JpegHeader header;
    JpegPlan plan;
    const JpegRequest request{JpegLayout::ycc, 0, 0, false, false, kMaxPixels, {}, JpegDecoder::automatic};
    JpegStatus status = parse_jpeg_header(data, size, &header);
    if (status.error == JpegError::none) status = check_structure(data, size);
    if (status.error == JpegError::none) status = plan_jpeg(data, size, request, &plan);
    if (status.error != JpegError::none) return refuse(i, status.reason);
    const bool turned = header.orientation >= 5;
    const int height = turned ? header.width : header.height, width = turned ? header.height : header.width;
    if (shape != nullptr && (shape[0] != height || shape[1] != width))
        return refuse(i, "another size than was expected");
    if (plan.subsampling != header.subsampling || chroma_of(plan.subsampling) < 0 ||
        plan.height[0] != header.height || plan.width[0] != header.width)
        return refuse(i, "the planes are not as they are stored");
    const ChromaFactors factors = chroma_factors(plan.subsampling);
    const bool chroma = plan.outputs == 3;
    plane_bytes_[i] = lay_out_picture({plan.height[0], plan.width[0], chroma ? plan.height[1] : 0,
                                       chroma ? plan.width[1] : 0, factors.x, factors.y},
                                      1, row(i));
    place_stored(header.orientation, header.width, header.height, 1.0, places_.data() + kPlaceValues * i);
}

// Gives a file's planes their part of memory, if nvJPEG will write what we expect.
void Decoder::lay_out(std::size_t i) {
    if (!agrees(i)) return refuse(i, "nvJPEG: the header does not say the same to nvJPEG");
    move_picture(row(i), bytes_);
    bytes_ += plane_bytes_[i];
}

bool Decoder::agrees(std::size_t i) const {
    const std::int64_t* const row = this->row(i);
    int components = 0, chroma = -1, widths[kMaxComponents] = {}, heights[kMaxComponents] = {};
    const int status = library_->GetImageInfo(handle_, staged_ + begins_[i], sizes_[i], &components, &chroma,
                                              widths, heights);
    if (status != kSuccess || components != (is_gray(i) ? 1 : 3) || chroma != chroma_of(subsampling_of(row)))
        return false;
    bool same = widths[0] == row[kWidth] && heights[0] == row[kHeight];
    for (int plane = 1; plane < components; ++plane)
        same = same && widths[plane] == row[kWidthC] && heights[plane] == row[kHeightC];
    return same;
}

void Decoder::refuse(std::size_t i, const char* reason) {
    reasons_[i] = reason;
    std::fill_n(row(i), static_cast<int>(kPictureColumns), -1);
}

// ---------------------------------------------------------------------------------- decoding

Image Decoder::image_of(std::size_t i, std::uint8_t* planes) const {
    const std::int64_t* const row = this->row(i);
    Image image{};
    image.channel[0] = planes + row[kOffsetY];
    image.pitch[0] = static_cast<std::size_t>(row[kStrideY]);
    if (is_gray(i)) return image;
    image.channel[1] = planes + row[kOffsetCb];
    image.channel[2] = planes + row[kOffsetCr];
    image.pitch[1] = image.pitch[2] = static_cast<std::size_t>(row[kStrideC]);
    return image;
}

int Decoder::decode(std::uint8_t* planes, void* stream) {
    const Current current(*library_, context_);
    // The hardware decoder writes when it is called, whatever is queued before it in the stream (observed by
    // others with nvJPEG 12.3 to 13.2; against the documentation): so all of that has to be done first.
    int error = library_->cuStreamSynchronize(stream);
    if (error != 0) return error;
    std::vector<std::size_t> colour, gray, alone;
    for (std::size_t i = 0; i < reasons_.size(); ++i) {
        if (!reasons_[i].empty()) continue;
        int is_refused = 1;
        const bool parsed =
            library_->JpegStreamParse(handle_, staged_ + begins_[i], sizes_[i], 0, 0, parsed_) == kSuccess;
        if (!parsed) {
            refuse(i, explain(kBadJpeg));
            continue;
        }
        const int status = library_->DecodeBatchedSupported(handle_, parsed_, &is_refused);
        const bool together = status == kSuccess && is_refused == 0;
        (!together ? alone : is_gray(i) ? gray : colour).push_back(i);
    }
    error = decode_together(colour, false, planes, stream, alone);
    if (error == 0) error = decode_together(gray, true, planes, stream, alone);
    if (error != 0) return error;
    for (const std::size_t i : alone) {
        const int status = decode_alone(i, planes, stream);
        if (status != kSuccess) refuse(i, explain(status));
    }
    error = library_->cuStreamSynchronize(stream);
    device_.settle();
    return error;
}

// Those that fail go to `left`.
int Decoder::decode_together(const std::vector<std::size_t>& files, bool gray, std::uint8_t* planes,
                             void* stream, std::vector<std::size_t>& left) {
    if (files.empty()) return 0;
    if (run_batch(files.data(), files.size(), gray, planes, stream) == kSuccess) return 0;
    for (const std::size_t& file : files) {
        const int error = library_->cuStreamSynchronize(stream);
        if (error != 0) return error;
        if (run_batch(&file, 1, gray, planes, stream) != kSuccess) left.push_back(file);
    }
    return library_->cuStreamSynchronize(stream);
}

int Decoder::run_batch(const std::size_t* files, std::size_t count, bool gray, std::uint8_t* planes,
                       void* stream) {
    Batch& batch = gray ? gray_ : colour_;
    if (batch.count != count) {
        const int output = gray ? kOutputY : kOutputYuv;
        const int number = static_cast<int>(count);
        const int status = library_->DecodeBatchedInitialize(handle_, batch.state, number, threads_, output);
        batch.count = status == kSuccess ? count : 0;
        if (status != kSuccess) return status;
    }
    std::vector<Bytes> data(count);
    std::vector<std::size_t> sizes(count);
    std::vector<Image> images(count);
    for (std::size_t k = 0; k < count; ++k) {
        data[k] = staged_ + begins_[files[k]];
        sizes[k] = sizes_[files[k]];
        images[k] = image_of(files[k], planes);
    }
    const int status =
        library_->DecodeBatched(handle_, batch.state, data.data(), sizes.data(), images.data(), stream);
    if (status != kSuccess) batch.count = 0;  // a failed state has to be set up anew
    return status;
}

int Decoder::decode_alone(std::size_t i, std::uint8_t* planes, void* stream) {
    const Library& l = *library_;
    Slot& slot = slots_[turn_++ % 2];
    Image image = image_of(i, planes);
    int status = l.JpegStreamParse(handle_, staged_ + begins_[i], sizes_[i], 0, 0, slot.jpeg);
    const auto then = [&](auto&& call) {
        if (status == kSuccess) status = call();
    };
    then([&] { return l.DecodeParamsSetOutputFormat(parameters_, is_gray(i) ? kOutputY : kOutputYuv); });
    then([&] { return l.StateAttachPinnedBuffer(state_, slot.pinned); });
    then([&] { return l.DecodeJpegHost(handle_, decoder_, state_, parameters_, slot.jpeg); });
    // The state and its device buffer serve one file at a time, and a transfer may make the buffer larger:
    // the file before has to be done, as in NVIDIA's own programs. Then the other slot is free again, too.
    if (l.cuStreamSynchronize(stream) != 0) return kExecutionFailed;
    then([&] { return l.DecodeJpegTransferToDevice(handle_, decoder_, state_, slot.jpeg, stream); });
    then([&] { return l.DecodeJpegDevice(handle_, decoder_, state_, &image, stream); });
    return status;
}

}  // namespace yf::nvjpeg
