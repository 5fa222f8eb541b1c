// Memory that the engine packs pictures into, which goes to a device in one copy.
#pragma once

#include "core/pictures/packed_pictures.hpp"

namespace yf {

// All of it is the caller's; `used` is guarded by the engine's lock. Rows of planes are packed.
struct Staging {
    std::uint8_t* memory;
    std::size_t capacity;
    std::int64_t* rows;   // [count, kPictureColumns]; the row of a picture that is not there stays as it was
    double* places;       // [count, kPlaceValues]
    std::int64_t* sizes;  // [count] bytes that the picture takes, even if it did not fit
    std::size_t used = 0;
};

}  // namespace yf
