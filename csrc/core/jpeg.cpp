// JPEG decoding over libjpeg-turbo. See jpeg.hpp for the contract and README.md for the safety rules.
#include "jpeg.hpp"

#include <csetjmp>
#include <cstdio>
#include <cstring>

#include "jpeg_header.hpp"
#include "ycc.hpp"

// clang-format off: jpeglib.h needs <cstdio> before it, and jerror.h (the message codes) comes after it.
#include <jpeglib.h>
#include <jerror.h>
// clang-format on

#ifndef LIBJPEG_TURBO_VERSION_NUMBER
#error "yolofast needs libjpeg-turbo (Debian: libjpeg62-turbo-dev), not another libjpeg"
#endif

namespace yf {
namespace {

constexpr int kMaxScans = 500;  // a real progressive file has about ten; more is a bomb

// One libjpeg run. Everything that must outlive a longjmp lives here, in the caller's frame; every buffer
// comes from libjpeg's own pools, so `jpeg_destroy_decompress` frees all of it and no destructor is ever
// jumped over.
struct Session {
    jpeg_decompress_struct cinfo;
    jpeg_error_mgr errors;
    jpeg_progress_mgr progress;
    std::jmp_buf jump;
    bool strict;
    JpegStatus status;
};

Session* session_of(j_common_ptr cinfo) { return static_cast<Session*>(cinfo->client_data); }

[[noreturn]] void fail(Session* s, JpegError error, const char* reason) {
    s->status = status(error, reason);
    std::longjmp(s->jump, 1);
}

JpegError classify(int code) {
    switch (code) {
        case JERR_OUT_OF_MEMORY:
            return JpegError::out_of_memory;
        case JERR_INPUT_EMPTY:
        case JERR_NO_IMAGE:
        case JWRN_JPEG_EOF:
        case JWRN_HIT_MARKER:
            return JpegError::truncated;
        case JERR_BAD_PRECISION:
        case JERR_SOF_UNSUPPORTED:
        case JERR_CONVERSION_NOTIMPL:
        case JERR_FRACT_SAMPLE_NOTIMPL:
        case JERR_CCIR601_NOTIMPL:
        case JERR_NOT_COMPILED:
            return JpegError::unsupported;
        default:
            return JpegError::corrupt;
    }
}

[[noreturn]] void fail_with_message(j_common_ptr cinfo) {
    char message[JMSG_LENGTH_MAX];
    cinfo->err->format_message(cinfo, message);
    fail(session_of(cinfo), classify(cinfo->err->msg_code), message);
}

// libjpeg calls lost data a warning and paints over it; by default that is an error here.
void on_message(j_common_ptr cinfo, int level) {
    if (level >= 0 || !session_of(cinfo)->strict) return;
    switch (cinfo->err->msg_code) {
        case JWRN_JPEG_EOF:
        case JWRN_HIT_MARKER:
        case JWRN_HUFF_BAD_CODE:
        case JWRN_ARITH_BAD_CODE:
        case JWRN_MUST_RESYNC:
            fail_with_message(cinfo);
        default:
            return;  // stray bytes, odd version numbers: every pixel is still there
    }
}

void on_progress(j_common_ptr cinfo) {
    if (reinterpret_cast<j_decompress_ptr>(cinfo)->input_scan_number > kMaxScans)
        fail(session_of(cinfo), JpegError::unsupported, "more than 500 scans");
}

// Runs `body` with libjpeg's errors caught. `body` and all it calls hold trivially destructible values only.
template <typename Body>
JpegStatus guarded(const JpegRequest& request, Body body) {
    Session s;
    std::memset(&s, 0, sizeof s);
    s.strict = !request.salvage;
    s.cinfo.err = jpeg_std_error(&s.errors);
    s.cinfo.client_data = &s;
    s.errors.error_exit = fail_with_message;
    s.errors.emit_message = on_message;
    s.progress.progress_monitor = on_progress;
    if (setjmp(s.jump) == 0) {
        jpeg_create_decompress(&s.cinfo);
        s.cinfo.progress = &s.progress;
        body(&s);
    }
    jpeg_destroy_decompress(&s.cinfo);
    return s.status;
}

int dct_size(const jpeg_component_info& c) {
#if JPEG_LIB_VERSION >= 70
    return c.DCT_v_scaled_size;
#else
    return c.DCT_scaled_size;
#endif
}

int min_dct_size(const jpeg_decompress_struct& cinfo) {
#if JPEG_LIB_VERSION >= 70
    return cinfo.min_DCT_v_scaled_size;
#else
    return cinfo.min_DCT_scaled_size;
#endif
}

// Subsampling of the planes that `jpeg_read_raw_data` will give at the chosen scale (libjpeg may scale chroma
// less than luma), or `other` when they are not plain YCbCr planes and have to be made from converted rows.
Subsampling raw_subsampling(const jpeg_decompress_struct& cinfo) {
    if (cinfo.jpeg_color_space == JCS_GRAYSCALE) return Subsampling::gray;
    if (cinfo.jpeg_color_space != JCS_YCbCr) return Subsampling::other;
    const jpeg_component_info &y = cinfo.comp_info[0], &cb = cinfo.comp_info[1], &cr = cinfo.comp_info[2];
    if (y.h_samp_factor != cinfo.max_h_samp_factor || y.v_samp_factor != cinfo.max_v_samp_factor ||
        dct_size(y) != min_dct_size(cinfo) || cb.h_samp_factor != cr.h_samp_factor ||
        cb.v_samp_factor != cr.v_samp_factor || dct_size(cb) != dct_size(cr))
        return Subsampling::other;
    const int y_across = y.h_samp_factor * dct_size(y), y_down = y.v_samp_factor * dct_size(y);
    const int c_across = cb.h_samp_factor * dct_size(cb), c_down = cb.v_samp_factor * dct_size(cb);
    if (y_across % c_across != 0 || y_down % c_down != 0) return Subsampling::other;
    return name_factors(y_across / c_across, y_down / c_down);
}

// Reads the header, chooses scale and output colours, and fills the plan; `request` is trusted.
void open(Session* s, const std::uint8_t* data, std::size_t size, const JpegRequest& request,
          const JpegHeader& header, JpegPlan* plan) {
    jpeg_decompress_struct& cinfo = s->cinfo;
    jpeg_mem_src(&cinfo, data, static_cast<unsigned long>(size));
    jpeg_read_header(&cinfo, TRUE);
    if (static_cast<int>(cinfo.image_width) != header.width ||
        static_cast<int>(cinfo.image_height) != header.height)
        fail(s, JpegError::corrupt, "two frame headers disagree");

    const bool turned = request.orient && header.orientation >= 5;
    const int min_w = turned ? request.min_height : request.min_width;
    const int min_h = turned ? request.min_width : request.min_height;
    cinfo.scale_denom = 8;
    cinfo.scale_num = 8;
    if (min_w > 0 || min_h > 0) {
        cinfo.scale_num = 1;
        while (cinfo.scale_num < 8 &&
               (static_cast<int>((cinfo.image_width * cinfo.scale_num + 7) / 8) < min_w ||
                static_cast<int>((cinfo.image_height * cinfo.scale_num + 7) / 8) < min_h))
            ++cinfo.scale_num;
    }

    const bool ink = cinfo.jpeg_color_space == JCS_CMYK || cinfo.jpeg_color_space == JCS_YCCK;
    switch (request.layout) {
        case JpegLayout::rgb:
            cinfo.out_color_space = ink ? JCS_CMYK : JCS_RGB;
            break;
        case JpegLayout::bgr:
            cinfo.out_color_space = ink ? JCS_CMYK : JCS_EXT_BGR;
            break;
        case JpegLayout::gray:
            cinfo.out_color_space = ink ? JCS_CMYK : JCS_GRAYSCALE;
            break;
        case JpegLayout::ycc:
            cinfo.out_color_space = ink ? JCS_CMYK : cinfo.jpeg_color_space;
            break;
    }
    jpeg_calc_output_dimensions(&cinfo);

    std::memset(plan, 0, sizeof *plan);
    plan->scale = static_cast<int>(cinfo.scale_num);
    plan->orientation = 1;
    plan->channels = 1;
    plan->outputs = 1;
    const int width = static_cast<int>(cinfo.output_width), height = static_cast<int>(cinfo.output_height);
    if (request.layout != JpegLayout::ycc) {
        plan->subsampling = header.subsampling;
        plan->channels = request.layout == JpegLayout::gray ? 1 : 3;
        if (request.orient) plan->orientation = header.orientation;
        plan->width[0] = turned ? height : width;
        plan->height[0] = turned ? width : height;
        return;
    }
    const Subsampling raw = raw_subsampling(cinfo);
    cinfo.raw_data_out = raw != Subsampling::other;
    plan->subsampling = cinfo.raw_data_out ? raw : Subsampling::s444;
    plan->outputs = raw == Subsampling::gray ? 1 : 3;
    for (int i = 0; i < plan->outputs; ++i) {
        const jpeg_component_info& c = cinfo.comp_info[i];
        plan->width[i] = cinfo.raw_data_out ? static_cast<int>(c.downsampled_width) : width;
        plan->height[i] = cinfo.raw_data_out ? static_cast<int>(c.downsampled_height) : height;
    }
}

std::uint8_t* take(Session* s, std::size_t size) {
    j_common_ptr common = reinterpret_cast<j_common_ptr>(&s->cinfo);
    return static_cast<std::uint8_t*>(s->cinfo.mem->alloc_large(common, JPOOL_IMAGE, size));
}

// The planes as libjpeg's inverse DCT leaves them. It writes whole blocks, so each row of MCUs goes through a
// strip that is as wide and high as the blocks, and only the true part is copied out.
void decode_planes(Session* s, const JpegPlan& plan, const JpegOutput* outputs) {
    jpeg_decompress_struct& cinfo = s->cinfo;
    JSAMPARRAY strips[3] = {nullptr, nullptr, nullptr};
    int done[3] = {0, 0, 0};
    for (int i = 0; i < plan.outputs; ++i) {
        const jpeg_component_info& c = cinfo.comp_info[i];
        const JDIMENSION h = static_cast<JDIMENSION>(c.h_samp_factor);
        const JDIMENSION blocks = (c.width_in_blocks + h - 1) / h * h;
        strips[i] = cinfo.mem->alloc_sarray(reinterpret_cast<j_common_ptr>(&cinfo), JPOOL_IMAGE,
                                            blocks * static_cast<JDIMENSION>(dct_size(c)),
                                            static_cast<JDIMENSION>(c.v_samp_factor * dct_size(c)));
    }
    const JDIMENSION lines = static_cast<JDIMENSION>(cinfo.max_v_samp_factor * min_dct_size(cinfo));
    while (cinfo.output_scanline < cinfo.output_height) {
        if (jpeg_read_raw_data(&cinfo, strips, lines) == 0)
            fail(s, JpegError::corrupt, "the decoder stopped early");
        for (int i = 0; i < plan.outputs; ++i) {
            const jpeg_component_info& c = cinfo.comp_info[i];
            const int rows = c.v_samp_factor * dct_size(c);
            for (int r = 0; r < rows && done[i] < plan.height[i]; ++r, ++done[i])
                std::memcpy(outputs[i].data + done[i] * outputs[i].stride, strips[i][r],
                            static_cast<std::size_t>(plan.width[i]));
        }
    }
}

// Adobe's CMYK is stored inverted (255 = no ink); like most readers, take every 4-component file so.
void ink_to_rgb(std::uint8_t* row, int width) {
    for (int x = 0; x < width; ++x) {
        const std::uint8_t* in = row + 4 * x;
        const int c = in[0], m = in[1], y = in[2], k = in[3];
        row[3 * x] = static_cast<std::uint8_t>((c * k + 127) / 255);
        row[3 * x + 1] = static_cast<std::uint8_t>((m * k + 127) / 255);
        row[3 * x + 2] = static_cast<std::uint8_t>((y * k + 127) / 255);
    }
}

void rgb_to_ycc(std::uint8_t* row, int width) {
    for (int x = 0; x < width; ++x, row += 3) {
        const int r = row[0], g = row[1], b = row[2];
        row[0] = luma_of(r, g, b);
        row[1] = cb_of(r, g, b);
        row[2] = cr_of(r, g, b);
    }
}

// A decoded row (libjpeg's colours) to the layout asked for, in place.
void convert_row(const jpeg_decompress_struct& cinfo, JpegLayout layout, std::uint8_t* row) {
    const int width = static_cast<int>(cinfo.output_width);
    if (cinfo.out_color_space == JCS_CMYK) {
        ink_to_rgb(row, width);
        if (layout == JpegLayout::bgr)
            for (int x = 0; x < width; ++x) {
                const std::uint8_t red = row[3 * x];
                row[3 * x] = row[3 * x + 2];
                row[3 * x + 2] = red;
            }
        if (layout == JpegLayout::gray)
            for (int x = 0; x < width; ++x) {
                const std::uint8_t* p = row + 3 * x;
                row[x] = luma_of(p[0], p[1], p[2]);
            }
    }
    if (layout == JpegLayout::ycc && cinfo.out_color_space != JCS_YCbCr) rgb_to_ycc(row, width);
}

// Rows through libjpeg's upsampling and colour conversion, turned upright on the way out.
void decode_rows(Session* s, const JpegRequest& request, const JpegPlan& plan, const JpegOutput* outputs) {
    jpeg_decompress_struct& cinfo = s->cinfo;
    const int o = plan.orientation, channels = plan.channels;
    const int width = static_cast<int>(cinfo.output_width);
    const bool planar = plan.outputs == 3;
    const bool converted = cinfo.out_color_space == JCS_CMYK || planar;
    // Stored pixel (x, y) goes to origin + x * step_x + y * step_y.
    const bool mirror_x = o == 2 || o == 3 || o == 6 || o == 7,
               mirror_y = o == 3 || o == 4 || o == 7 || o == 8;
    const std::ptrdiff_t across = mirror_x ? -channels : channels,
                         down = mirror_y ? -outputs[0].stride : outputs[0].stride;
    std::uint8_t* origin = outputs[0].data;
    if (mirror_x) origin += static_cast<std::ptrdiff_t>(plan.width[0] - 1) * channels;
    if (mirror_y) origin += static_cast<std::ptrdiff_t>(plan.height[0] - 1) * outputs[0].stride;
    const std::ptrdiff_t step_x = o >= 5 ? down : across, step_y = o >= 5 ? across : down;

    const bool direct = step_x == channels && !converted && !planar;
    std::uint8_t* scratch = direct ? nullptr : take(s, 4 * static_cast<std::size_t>(width));
    while (cinfo.output_scanline < cinfo.output_height) {
        const std::ptrdiff_t y = cinfo.output_scanline;
        JSAMPROW row = direct ? origin + y * step_y : scratch;
        if (jpeg_read_scanlines(&cinfo, &row, 1) == 0)
            fail(s, JpegError::corrupt, "the decoder stopped early");
        if (direct) continue;
        if (converted) convert_row(cinfo, request.layout, scratch);
        if (planar) {
            for (int i = 0; i < 3; ++i) {
                std::uint8_t* dst = outputs[i].data + y * outputs[i].stride;
                for (int x = 0; x < width; ++x) dst[x] = scratch[3 * x + i];
            }
            continue;
        }
        std::uint8_t* dst = origin + y * step_y;
        const std::uint8_t* src = scratch;
        for (int x = 0; x < width; ++x, dst += step_x, src += channels)
            for (int c = 0; c < channels; ++c) dst[c] = src[c];
    }
}

// Facts that need no decoder: supported at all, small enough, and (strict) at least one bit for each MCU.
JpegStatus check(const std::uint8_t* data, std::size_t size, const JpegRequest& request, JpegHeader* header) {
    JpegStatus s = parse_jpeg_header(data, size, header);
    if (s.error != JpegError::none) return s;
    const std::int64_t pixels = static_cast<std::int64_t>(header->width) * header->height;
    if (pixels > request.max_pixels) {
        s.error = JpegError::too_large;
        std::snprintf(s.reason, sizeof s.reason, "%d x %d pixels is over the limit of %lld", header->width,
                      header->height, static_cast<long long>(request.max_pixels));
    } else if (!request.salvage && !header->arithmetic &&
               pixels / (32 * 32) / 8 > static_cast<std::int64_t>(size)) {
        s = status(JpegError::truncated, "too few bytes for a picture of that size");
    }
    return s;
}

}  // namespace

JpegStatus plan_jpeg(const std::uint8_t* data, std::size_t size, const JpegRequest& request,
                     JpegPlan* plan) noexcept {
    JpegHeader header;
    const JpegStatus checked = check(data, size, request, &header);
    if (checked.error != JpegError::none) return checked;
    return guarded(request, [&](Session* s) { open(s, data, size, request, header, plan); });
}

JpegStatus decode_jpeg(const std::uint8_t* data, std::size_t size, const JpegRequest& request,
                       const JpegPlan& plan, const JpegOutput* outputs) noexcept {
    JpegHeader header;
    const JpegStatus checked = check(data, size, request, &header);
    if (checked.error != JpegError::none) return checked;
    return guarded(request, [&](Session* s) {
        JpegPlan again;
        open(s, data, size, request, header, &again);
        // The caller sized its arrays by `plan`; bytes that changed since must not write past them.
        if (std::memcmp(&again, &plan, sizeof again) != 0)
            fail(s, JpegError::changed, "the data changed while it was being decoded");
        jpeg_start_decompress(&s->cinfo);
        if (s->cinfo.raw_data_out)
            decode_planes(s, plan, outputs);
        else
            decode_rows(s, request, plan, outputs);
    });
}

}  // namespace yf
