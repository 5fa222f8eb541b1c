// See picture.hpp.
#include "core/pictures/picture.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <new>

#include "core/image/rgb_rows.hpp"
#include "core/jpeg/header.hpp"
#include "core/jpeg/plan.hpp"

namespace yf {
namespace {

PictureStatus picture_status(PictureError error, const char* reason) {
    PictureStatus s{error, {}};
    std::snprintf(s.reason, sizeof s.reason, "%s", reason);
    return s;
}

constexpr PictureStatus kFine{PictureError::none, {}};

// A file descriptor that is closed whatever happens.
struct File {
    int descriptor;
    ~File() {
        if (descriptor >= 0) ::close(descriptor);
    }
};

PictureStatus system_error(int code) {
    return picture_status(
        code == ENOENT || code == ENOTDIR ? PictureError::missing : PictureError::unreadable,
        std::strerror(code));
}

// Lays out the planes row by row: each row of y is followed by the chroma rows that are sampled with it, so
// that what a renderer reads together lies together. `chroma` is false for gray.
void lay_planes(Picture& out, int height, int width, int c_height, int c_width, bool chroma) {
    // Either each row of y has both chroma rows behind it, or it has one of them: cb, cr, cb, cr, ...
    const bool both = !chroma || c_height == height;
    const std::ptrdiff_t stride = width + (chroma ? (both ? 2 : 1) * c_width : 0);
    const int rows = both ? height : std::max(height, 2 * c_height);
    out.memory.resize(static_cast<std::size_t>(stride) * static_cast<std::size_t>(rows));
    const std::uint8_t* memory = out.memory.data();
    out.view.y = {memory, stride, height, width};
    out.view.cb = out.view.cr = {nullptr, 0, 0, 0};
    if (!chroma) return;
    out.view.cb = {memory + width, both ? stride : 2 * stride, c_height, c_width};
    out.view.cr = {memory + width + (both ? c_width : stride), out.view.cb.stride, c_height, c_width};
}

std::uint8_t* writable(Picture& out, const PlaneView& plane) {
    return out.memory.data() + (plane.data - out.memory.data());
}

}  // namespace

void place_stored(int orientation, double w, double h, double scale, double* place) {
    const double table[8][6] = {
        {1, 0, 0, 0, 1, 0}, {-1, 0, w, 0, 1, 0}, {-1, 0, w, 0, -1, h}, {1, 0, 0, 0, -1, h},
        {0, 1, 0, 1, 0, 0}, {0, 1, 0, -1, 0, h}, {0, -1, w, -1, 0, h}, {0, -1, w, 1, 0, 0},
    };
    for (int i = 0; i < 6; ++i) place[i] = table[orientation - 1][i] * scale;
}

PictureStatus read_file(const char* path, Bytes& bytes) noexcept try {
    const File file{::open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
    if (file.descriptor < 0) return system_error(errno);
    struct stat facts;
    if (::fstat(file.descriptor, &facts) != 0) return system_error(errno);
    if (!S_ISREG(facts.st_mode)) return picture_status(PictureError::unreadable, "not a regular file");
    if (facts.st_size == 0) return picture_status(PictureError::empty, "the file is empty");
    if (static_cast<std::size_t>(facts.st_size) > kMaxFileBytes)
        return picture_status(PictureError::unreadable, "the file is larger than 1 GiB");
    bytes.resize(static_cast<std::size_t>(facts.st_size));
    std::size_t done = 0;
    while (done < bytes.size()) {
        const ssize_t got = ::read(file.descriptor, bytes.data() + done, bytes.size() - done);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return system_error(errno);
        if (got == 0) break;  // it shrank meanwhile
        done += static_cast<std::size_t>(got);
    }
    if (done == 0) return picture_status(PictureError::empty, "the file is empty");
    bytes.resize(done);
    return kFine;
} catch (const std::bad_alloc&) {
    return picture_status(PictureError::out_of_memory, "out of memory");
}

PictureStatus decode_picture(const std::uint8_t* data, std::size_t size, const PictureRequest& request,
                             Picture& out) noexcept try {
    JpegHeader header;
    JpegStatus status = parse_jpeg_header(data, size, &header);
    if (status.error == JpegError::not_jpeg) return picture_status(PictureError::not_jpeg, status.reason);
    if (status.error != JpegError::none) return picture_status(PictureError::damaged, status.reason);
    const bool turned = header.orientation >= 5;
    const int height = turned ? header.width : header.height, width = turned ? header.height : header.width;
    if (height != request.height || width != request.width) {
        PictureStatus s{PictureError::changed, {}};
        std::snprintf(s.reason, sizeof s.reason,
                      "got %d x %d pixels, expected %d x %d as when it was indexed", width, height,
                      request.width, request.height);
        return s;
    }
    const double gain = std::min(1.0, static_cast<double>(request.cover) / std::max(height, width));
    // 0 is full size, said so because a side below 8 pixels is as many pixels at scale 7/8.
    const auto min_side = [&](int side) { return gain < 1 ? static_cast<int>(std::ceil(side * gain)) : 0; };
    const JpegRequest wanted{JpegLayout::ycc, min_side(height), min_side(width), true, false, kMaxPixels, {},
                             request.decoder};
    JpegPlan plan;
    status = plan_jpeg(data, size, wanted, &plan);
    if (status.error == JpegError::none) {
        lay_planes(out, plan.height[0], plan.width[0], plan.height[1], plan.width[1], plan.outputs == 3);
        JpegOutput outputs[3] = {};
        const PlaneView* planes[3] = {&out.view.y, &out.view.cb, &out.view.cr};
        for (int i = 0; i < plan.outputs; ++i) outputs[i] = {writable(out, *planes[i]), planes[i]->stride};
        status = decode_jpeg(data, size, wanted, plan, outputs);
    }
    if (status.error != JpegError::none) {
        PictureStatus s{
            status.error == JpegError::out_of_memory ? PictureError::out_of_memory : PictureError::damaged,
            {}};
        std::snprintf(s.reason, sizeof s.reason, "cannot decode JPEG: %s", status.reason);
        return s;
    }
    const ChromaFactors factors = chroma_factors(plan.subsampling);
    out.view.factor_x = factors.x;
    out.view.factor_y = factors.y;
    place_stored(header.orientation, header.width, header.height, plan.scale / 8.0, out.view.place);
    return kFine;
} catch (const std::bad_alloc&) {
    return picture_status(PictureError::out_of_memory, "out of memory");
}

void convert_rgb(ConstImage rgb, Picture& out) {
    lay_planes(out, rgb.height, rgb.width, rgb.height, rgb.width, true);
    out.view.factor_x = out.view.factor_y = 1;
    place_stored(1, rgb.width, rgb.height, 1.0, out.view.place);
    for (int row = 0; row < rgb.height; ++row)
        convert_row(rgb.data + row * rgb.stride, rgb.width,
                    writable(out, out.view.y) + row * out.view.y.stride,
                    writable(out, out.view.cb) + row * out.view.cb.stride,
                    writable(out, out.view.cr) + row * out.view.cr.stride);
}

// ---------------------------------------------------------------------------------- reduction
namespace {

// Which source samples an output sample averages along one axis, and with which weights (they add up to 1).
struct Areas {
    std::vector<int> first, count;
    std::vector<float> weights;  // `span` per output sample
    int span;

    // Output sample i covers [i * gain, (i + 1) * gain) of `source` samples.
    Areas(int outputs, double gain, int source) : first(outputs), count(outputs) {
        span = static_cast<int>(std::ceil(gain)) + 1;
        weights.resize(static_cast<std::size_t>(outputs) * static_cast<std::size_t>(span));
        for (int i = 0; i < outputs; ++i) {
            const double low = std::min(i * gain, source - 1.0),
                         high = std::min((i + 1) * gain, 1.0 * source);
            first[i] = static_cast<int>(low);
            count[i] = std::max(1, std::min(static_cast<int>(std::ceil(high)) - first[i], span));
            float* weight = weights.data() + static_cast<std::size_t>(i) * span;
            double sum = 0;
            for (int k = 0; k < count[i]; ++k) {
                const double from = std::max(low, first[i] + k * 1.0);
                const double to = std::min(high, first[i] + k + 1.0);
                weight[k] = static_cast<float>(std::max(to - from, 1e-6));
                sum += weight[k];
            }
            for (int k = 0; k < count[i]; ++k) weight[k] = static_cast<float>(weight[k] / sum);
        }
    }
};

YF_MULTIVERSION void add_row(const std::uint8_t* __restrict row, float weight, int width,
                             float* __restrict line) {
    for (int x = 0; x < width; ++x) line[x] += weight * row[x];
}

void average_areas(const PlaneView& in, double gain_x, double gain_y, const PlaneView& shape,
                   std::uint8_t* out) {
    const Areas columns(shape.width, gain_x, in.width), rows(shape.height, gain_y, in.height);
    std::vector<float> line(static_cast<std::size_t>(in.width));
    for (int y = 0; y < shape.height; ++y) {
        std::uint8_t* to = out + y * shape.stride;
        std::fill(line.begin(), line.end(), 0.0f);
        for (int k = 0; k < rows.count[y]; ++k) {
            const float weight = rows.weights[static_cast<std::size_t>(y) * rows.span + k];
            add_row(in.data + (rows.first[y] + k) * in.stride, weight, in.width, line.data());
        }
        for (int x = 0; x < shape.width; ++x) {
            float sum = 0.5f;
            const float* weight = columns.weights.data() + static_cast<std::size_t>(x) * columns.span;
            for (int k = 0; k < columns.count[x]; ++k) sum += weight[k] * line[columns.first[x] + k];
            to[x] = static_cast<std::uint8_t>(std::min(sum, 255.0f));
        }
    }
}

}  // namespace

void reduce_picture(const PictureView& picture, int cover, int factor_x, int factor_y, Picture& out) {
    const int longest = std::max(picture.y.height, picture.y.width);
    const double gain =
        std::max(1.0, static_cast<double>(longest) / cover);  // source pixels per output pixel
    const auto reduced = [&](int side) {
        return std::max(1, static_cast<int>(std::ceil(side / gain - 1e-9)));
    };
    const int height = reduced(picture.y.height), width = reduced(picture.y.width);
    factor_x = std::max(factor_x, picture.factor_x);
    factor_y = std::max(factor_y, picture.factor_y);
    const bool chroma = picture.cb.data != nullptr;
    lay_planes(out, height, width, ceil_div(height, factor_y), ceil_div(width, factor_x), chroma);
    out.view.factor_x = chroma ? factor_x : 1;
    out.view.factor_y = chroma ? factor_y : 1;
    for (int i = 0; i < 6; ++i) out.view.place[i] = picture.place[i] / gain;
    average_areas(picture.y, gain, gain, out.view.y, writable(out, out.view.y));
    if (!chroma) return;
    const double gain_x = gain * factor_x / picture.factor_x, gain_y = gain * factor_y / picture.factor_y;
    average_areas(picture.cb, gain_x, gain_y, out.view.cb, writable(out, out.view.cb));
    average_areas(picture.cr, gain_x, gain_y, out.view.cr, writable(out, out.view.cr));
}

void compact_picture(const PictureView& picture, int side, Picture& out) {
    reduce_picture(picture, side, 2, picture.factor_x == 4 ? 1 : 2, out);
}

}  // namespace yf
