// Letterboxing a batch of images on the device: the pixels of csrc/core/image/image.hpp, as planes.
//
// One launch, after the copy of a small table. The lower bound is memory traffic: the output once, and the
// bytes of the images that show once.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <vector>

#include "cuda/pixel_type.hpp"

namespace yf::cuda {

// An image on the device: interleaved uint8 [height, width, 3], rows packed; and where it goes: inner_height
// x inner_width at (pad_y, pad_x) of the target.
struct LetterboxImage {
    const std::uint8_t* data;
    int height, width;
    int inner_height, inner_width, pad_y, pad_x;
};

// How many bytes of workspace `letterbox` of `count` images needs.
std::size_t letterbox_workspace(std::size_t count);

// Writes out [images, 3, height, width] of `type`, level `fill` around the pictures. The list is copied to
// the device on the stream; when this returns it is no longer read.
cudaError_t letterbox(const std::vector<LetterboxImage>& images, void* workspace, int height, int width,
                      std::uint8_t fill, PixelType type, void* out, cudaStream_t stream);

}  // namespace yf::cuda
