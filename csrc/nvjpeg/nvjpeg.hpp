// JPEG files to planes in device memory by nvJPEG, many at a time.
//
// Which of nvJPEG's ways, by its documentation: `nvjpegDecodeBatched` is the only one to the hardware decoder
// of a card that has one, takes baseline files of any sizes together, and on other cards decodes Huffman
// codes on the GPU when there are enough of them. All other files go through the decoupled calls, whose host
// phase of one file runs while the device phase of the one before is under way: two pinned buffers, taken in
// turn.
//
// nvJPEG is given no file that our own readers do not find whole and ordinary, and whose planes it does not
// say to be of the very sizes that memory is laid out for. It says only one thing of a whole batch; where
// that is a failure, each file is tried by itself.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/pictures/packed_pictures.hpp"
#include "core/pictures/picture.hpp"
#include "nvjpeg/memory.hpp"

namespace yf::nvjpeg {

// A file: its path, or its bytes where there is no path.
struct Source {
    const char* path;
    const std::uint8_t* data;
    std::size_t size;
};

// Not safe to use from two threads at a time. The CUDA context that is current when it is created is made
// current for each call.
class Decoder {
  public:
    // Null and the reason when nvJPEG does not work on the current device. `threads` read and check files.
    static std::unique_ptr<Decoder> create(std::shared_ptr<const Library> library, int threads,
                                           std::string& reason);
    ~Decoder();
    Decoder(const Decoder&) = delete;
    Decoder& operator=(const Decoder&) = delete;

    bool has_hardware() const { return has_hardware_; }

    // Reads and checks files, and lays out their planes. `shapes` [count, 2], height and width of the upright
    // pictures, may be null; a picture of another shape is refused. Sources may go when this is done. May
    // throw std::bad_alloc.
    void prepare(const Source* sources, std::size_t count, const std::int32_t* shapes);

    // What was prepared: bytes that all planes take, a row of PictureColumns and a place for each file, and
    // why it was refused, or "". All columns of a refused file are -1.
    std::size_t bytes() const { return bytes_; }
    const std::vector<std::int64_t>& rows() const { return rows_; }
    const std::vector<double>& places() const { return places_; }
    const std::vector<std::string>& reasons() const { return reasons_; }

    // Decodes what was prepared to `planes`, on a stream, and waits for it: rows of files that failed become
    // -1. Returns 0, or the driver's error. May throw std::bad_alloc.
    int decode(std::uint8_t* planes, void* stream);

  private:
    Decoder(std::shared_ptr<const Library> library, int threads);
    int start();
    std::int64_t* row(std::size_t i) { return rows_.data() + kPictureColumns * i; }
    const std::int64_t* row(std::size_t i) const { return rows_.data() + kPictureColumns * i; }
    bool is_gray(std::size_t i) const { return row(i)[kOffsetCb] < 0; }
    void check(std::size_t i, const std::int32_t* shape);
    void lay_out(std::size_t i);
    bool agrees(std::size_t i) const;
    Image image_of(std::size_t i, std::uint8_t* planes) const;
    int decode_together(const std::vector<std::size_t>& files, bool gray, std::uint8_t* planes, void* stream,
                        std::vector<std::size_t>& left);
    int run_batch(const std::size_t* files, std::size_t count, bool gray, std::uint8_t* planes, void* stream);
    int decode_alone(std::size_t i, std::uint8_t* planes, void* stream);
    void refuse(std::size_t i, const char* reason);

    template <typename Work>
    void share(std::size_t count, const Work& work) const;

    // A state of nvJPEG's batched calls, and what it was set up for.
    struct Batch {
        Handle state = nullptr;
        std::size_t count = 0;
    };
    // What one file of the decoupled calls occupies until its transfer to the device is done.
    struct Slot {
        Handle pinned = nullptr, jpeg = nullptr;
    };

    // Makes a context current in this thread while it lives.
    class Current {
      public:
        Current(const Library& library, void* context) : library_(library) {
            is_pushed_ = library_.cuCtxPushCurrent_v2(context) == 0;
        }
        ~Current() {
            void* popped;
            if (is_pushed_) library_.cuCtxPopCurrent_v2(&popped);
        }
        Current(const Current&) = delete;
        Current& operator=(const Current&) = delete;

      private:
        const Library& library_;
        bool is_pushed_;
    };

    std::shared_ptr<const Library> library_;
    const int threads_;
    void* context_ = nullptr;
    Pool device_, pinned_;
    Allocator device_allocator_, pinned_allocator_;
    bool has_hardware_ = false;
    Handle handle_ = nullptr, parsed_ = nullptr, parameters_ = nullptr;
    Handle decoder_ = nullptr, state_ = nullptr, device_buffer_ = nullptr;
    Batch colour_, gray_;
    Slot slots_[2];
    unsigned turn_ = 0;

    std::vector<yf::Bytes> contents_;  // of files that were read
    std::uint8_t* staged_ = nullptr;   // all files' bytes, pinned: not changed by other threads any more
    std::vector<std::size_t> begins_, sizes_, plane_bytes_;
    std::vector<std::int64_t> rows_;
    std::vector<double> places_;
    std::vector<std::string> reasons_;
    std::size_t bytes_ = 0;
};

}  // namespace yf::nvjpeg
