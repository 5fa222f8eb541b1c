// Pictures as the renderer takes them, from files: read, decode to planes at the scale that is needed, place.
#pragma once

#include <memory>
#include <vector>

#include "core/jpeg/jpeg.hpp"
#include "core/limits.hpp"
#include "core/render/render.hpp"

namespace yf {

enum class PictureError : int {
    none = 0,
    missing,
    unreadable,
    empty,
    not_jpeg,  // the caller has to decode it
    damaged,   // a JPEG that cannot be decoded
    changed,   // another size than was expected
    out_of_memory,
    refused,  // by the fallback decoder; the reason says all
};

struct PictureStatus {
    PictureError error;
    char reason[320];
};

// Bytes that are not cleared when they grow.
class Bytes {
  public:
    void resize(std::size_t size) {
        if (size > capacity_) {
            data_.reset(new std::uint8_t[size]);
            capacity_ = size;
        }
        size_ = size;
    }
    std::uint8_t* data() { return data_.get(); }
    const std::uint8_t* data() const { return data_.get(); }
    std::size_t size() const { return size_; }

  private:
    std::unique_ptr<std::uint8_t[]> data_;
    std::size_t capacity_ = 0, size_ = 0;
};

// Planes and the memory that they lie in.
struct Picture {
    Bytes memory;
    PictureView view{};
};

// What is known of an image before it is opened.
struct PictureRequest {
    int height, width;  // upright, as indexed
    int cover;          // the longer side needed, in pixels; a smaller picture is taken as it is
    JpegDecoder decoder;
};

// The whole of a regular file, into `bytes`.
PictureStatus read_file(const char* path, Bytes& bytes) noexcept;

// The place (see PictureView) of stored planes: w x h pixels before they were reduced by `scale`, to be
// turned by EXIF orientation 1..8.
void place_stored(int orientation, double w, double h, double scale, double* place);

// The planes of a JPEG at the smallest DCT scale M/8 that covers the request.
PictureStatus decode_picture(const std::uint8_t* data, std::size_t size, const PictureRequest& request,
                             Picture& out) noexcept;

// 4:4:4 planes (JFIF, BT.601 full range) of packed RGB rows. May throw std::bad_alloc.
void convert_rgb(ConstImage rgb, Picture& out);

// The same picture with the longer side of `y` at most `cover` and chroma factors of at least `factor_x`,
// `factor_y` (each 1, 2 or 4), by averaging areas. May throw std::bad_alloc.
void reduce_picture(const PictureView& picture, int cover, int factor_x, int factor_y, Picture& out);

// What a cache keeps of a picture: its longer side at most `side`, chroma 4:2:0 (4:1:1, which is as small
// already, stays). May throw std::bad_alloc.
void compact_picture(const PictureView& picture, int side, Picture& out);

}  // namespace yf
