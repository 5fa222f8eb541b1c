#include "core/image/tap.hpp"
#include "cuda/launch.hpp"
#include "cuda/letterbox.hpp"
#include "cuda/pixels.hpp"
#include "cuda/upload.hpp"
#include "cuda/workspace.hpp"

namespace yf::cuda {
namespace {

constexpr int kThreads = 128;
constexpr int kLanes = 32;
constexpr int kColumns = kLanes * kPixels;  // of a block, and of each of its warps
constexpr int kRows = 8;                    // that a thread draws, one below the other
constexpr int kBlockRows = kThreads / kLanes * kRows;
constexpr int kChannels = 3;

// Four pixels of a source row, resampled across, in 1/128 level.
struct SourceRow {
    int row = -1;
    int levels[kChannels][kPixels];
};

// round(step * weight / 32768) of steps and weights below 32768: see resample.hpp.
__device__ inline int share(int step, int weight) { return (step * weight + 0x4000) >> 15; }

__device__ inline void sample_row(const LetterboxImage& image, const Tap* taps, int row, SourceRow& out) {
    const std::uint8_t* const from = image.data + static_cast<std::int64_t>(row) * image.width * kChannels;
    for (int k = 0; k < kPixels; ++k) {
        const std::uint8_t *const first = from + static_cast<std::int64_t>(taps[k].first) * kChannels,
                                  *const second =
                                      from + static_cast<std::int64_t>(taps[k].second) * kChannels;
        for (int c = 0; c < kChannels; ++c) {
            const int a = __ldg(first + c), b = __ldg(second + c);
            out.levels[c][k] = a * 128 + share((b - a) * 128, taps[k].weight);
        }
    }
    out.row = row;
}

// Makes `upper` and `lower` the rows of a tap, of what is held as far as it goes.
__device__ inline void hold_rows(const LetterboxImage& image, const Tap* taps, const Tap& row,
                                 SourceRow& upper, SourceRow& lower) {
    if (upper.row != row.first) {
        if (lower.row == row.first) {
            upper = lower;
        } else {
            sample_row(image, taps, row.first, upper);
        }
    }
    if (lower.row != row.second) sample_row(image, taps, row.second, lower);
}

// kColumns x kBlockRows pixels of one target.
template <typename T>
__global__ void __launch_bounds__(kThreads)
    letterbox_images(const LetterboxImage* __restrict__ images, int height, int width, unsigned strips,
                     unsigned blocks_of_image, std::uint32_t gray, bool wide, T* __restrict__ out) {
    __shared__ Tap columns[kColumns], rows[kBlockRows];
    const auto number = static_cast<std::int64_t>(blockIdx.x / blocks_of_image);
    const unsigned part = blockIdx.x % blocks_of_image, thread = threadIdx.x;
    const LetterboxImage image = images[number];
    const int left = static_cast<int>(part % strips * kColumns),
              top = static_cast<int>(part / strips * kBlockRows);
    for (int i = static_cast<int>(thread); i < kColumns + kBlockRows; i += kThreads) {
        const bool across = i < kColumns;
        const int inner = across ? image.inner_width : image.inner_height,
                  source = across ? image.width : image.height;
        const int index = across ? left + i - image.pad_x : top + i - kColumns - image.pad_y;
        const Tap tap =
            tap_at(static_cast<double>(source) / inner, 0.0, min(max(index, 0), inner - 1), source);
        (across ? columns[i] : rows[i - kColumns]) = tap;
    }
    __syncthreads();

    const int own = static_cast<int>(thread % kLanes) * kPixels, x = left + own;
    if (x >= width) return;
    const int begin = min(max(image.pad_x - x, 0), kPixels),
              end = min(max(image.pad_x + image.inner_width - x, 0), kPixels);
    const std::int64_t plane = static_cast<std::int64_t>(height) * width;
    const unsigned inside = (1u << min(width - x, kPixels)) - 1;
    SourceRow upper, lower;
    for (int i = 0; i < kRows; ++i) {
        const int row = static_cast<int>(thread / kLanes) * kRows + i, y = top + row;
        if (y >= height) return;
        std::uint32_t levels[kChannels] = {gray, gray, gray};
        if (begin < end && y >= image.pad_y && y < image.pad_y + image.inner_height) {
            hold_rows(image, columns + own, rows[row], upper, lower);
            const std::uint32_t mask = bytes_of_bits((1u << end) - (1u << begin));
            for (int c = 0; c < kChannels; ++c) {
                std::uint32_t drawn = 0;
                for (int k = 0; k < kPixels; ++k) {
                    const int a = upper.levels[c][k], b = lower.levels[c][k];
                    drawn |= static_cast<std::uint32_t>((a + share(b - a, rows[row].weight) + 64) >> 7)
                             << 8 * k;
                }
                levels[c] = (gray & ~mask) | (drawn & mask);
            }
        }
        T* const at = out + number * kChannels * plane + static_cast<std::int64_t>(y) * width + x;
        for (int c = 0; c < kChannels; ++c) write_levels(at + c * plane, levels[c], inside, wide);
    }
}

template <typename T>
cudaError_t launch_letterbox(const LetterboxImage* images, std::size_t count, int height, int width,
                             std::uint8_t fill, void* out, cudaStream_t stream) {
    const auto strips = static_cast<unsigned>((width + kColumns - 1) / kColumns),
               groups = static_cast<unsigned>((height + kBlockRows - 1) / kBlockRows);
    const unsigned of_image = strips * groups;
    if (count > 0x7FFFFFFF / of_image) return cudaErrorInvalidConfiguration;
    T* const pixels = static_cast<T*>(out);
    return launch(letterbox_images<T>, static_cast<unsigned>(of_image * count), kThreads, stream, images,
                  height, width, strips, of_image, fill * 0x01010101u, rows_of_runs(pixels, width), pixels);
}

}  // namespace

std::size_t letterbox_workspace(std::size_t count) { return part_bytes<LetterboxImage>(count); }

cudaError_t letterbox(const std::vector<LetterboxImage>& images, void* workspace, int height, int width,
                      std::uint8_t fill, PixelType type, void* out, cudaStream_t stream) {
    if (images.empty()) return cudaSuccess;
    const std::size_t count = images.size();
    LetterboxImage* const on_device = Workspace(workspace).take<LetterboxImage>(count);
    const cudaError_t status = upload(on_device, images.data(), count * sizeof(LetterboxImage), stream);
    if (status != cudaSuccess) return status;
    switch (type) {
        case PixelType::kByte:
            return launch_letterbox<std::uint8_t>(on_device, count, height, width, fill, out, stream);
        case PixelType::kHalf:
            return launch_letterbox<__half>(on_device, count, height, width, fill, out, stream);
        case PixelType::kBfloat16:
            return launch_letterbox<__nv_bfloat16>(on_device, count, height, width, fill, out, stream);
        default:
            return launch_letterbox<float>(on_device, count, height, width, fill, out, stream);
    }
}

}  // namespace yf::cuda
