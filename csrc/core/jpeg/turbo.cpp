// See turbo.hpp, and README.md for the safety rules.
#include "core/jpeg/turbo.hpp"

#include <cstring>

#include "core/image/ycc.hpp"
#include "core/jpeg/header.hpp"
#include "core/jpeg/packed.hpp"
#include "core/jpeg/plan.hpp"
#include "core/jpeg/scans.hpp"
#include "core/jpeg/turbo_session.hpp"

namespace yf {
namespace {

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
// less than luma), or `other` when they are not ordinary YCbCr planes and have to be made from converted
// rows.
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
void open(DecodeSession* s, const std::uint8_t* data, std::size_t size, const JpegRequest& request,
          const JpegHeader& header, JpegPlan* plan) {
    jpeg_decompress_struct& cinfo = s->cinfo;
    start_decompressor(s, &cinfo, data, size);
    jpeg_read_header(&cinfo, TRUE);
    if (static_cast<int>(cinfo.image_width) != header.width ||
        static_cast<int>(cinfo.image_height) != header.height)
        fail(s, JpegError::corrupt, "two frame headers disagree");

    cinfo.scale_denom = 8;
    cinfo.scale_num = static_cast<unsigned>(choose_scale(header, request));

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

    Subsampling planes = Subsampling::other;
    if (request.layout == JpegLayout::ycc) {
        planes = raw_subsampling(cinfo);
        cinfo.raw_data_out = planes != Subsampling::other;
    }
    const JpegStatus planned = make_plan(header, request, static_cast<int>(cinfo.scale_num), planes, plan);
    if (planned.error != JpegError::none) fail(s, planned.error, planned.reason);
}

// A file of one scan is decoded as it is read, so its bytes bound the work.
void require_few_scans(DecodeSession* s, const std::uint8_t* data, std::size_t size) {
    jpeg_decompress_struct& cinfo = s->cinfo;
    if (!jpeg_has_multiple_scans(&cinfo)) return;
    ScannedComponent components[MAX_COMPONENTS];
    for (int i = 0; i < cinfo.num_components; ++i) {
        const jpeg_component_info& c = cinfo.comp_info[i];
        components[i] = {c.component_id, std::int64_t{c.width_in_blocks} * c.height_in_blocks};
    }
    const JpegStatus scans = check_scans(data, size, components, cinfo.num_components);
    if (scans.error != JpegError::none) fail(s, scans.error, scans.reason);
}

std::uint8_t* take(DecodeSession* s, std::size_t size) {
    j_common_ptr common = reinterpret_cast<j_common_ptr>(&s->cinfo);
    return static_cast<std::uint8_t*>(s->cinfo.mem->alloc_large(common, JPOOL_IMAGE, size));
}

// The planes as libjpeg's inverse DCT leaves them. It writes whole blocks, so each row of MCUs goes through a
// strip that is as wide and high as the blocks, and only the true part, or the window's, is copied out.
void decode_planes(DecodeSession* s, const JpegPlan& plan, const JpegOutput* outputs) {
    jpeg_decompress_struct& cinfo = s->cinfo;
    JSAMPARRAY strips[3] = {nullptr, nullptr, nullptr};
    for (int i = 0; i < plan.outputs; ++i) {
        const jpeg_component_info& c = cinfo.comp_info[i];
        const JDIMENSION h = static_cast<JDIMENSION>(c.h_samp_factor);
        const JDIMENSION blocks = (c.width_in_blocks + h - 1) / h * h;
        strips[i] = cinfo.mem->alloc_sarray(reinterpret_cast<j_common_ptr>(&cinfo), JPOOL_IMAGE,
                                            blocks * static_cast<JDIMENSION>(dct_size(c)),
                                            static_cast<JDIMENSION>(c.v_samp_factor * dct_size(c)));
    }
    const JDIMENSION lines = static_cast<JDIMENSION>(cinfo.max_v_samp_factor * min_dct_size(cinfo));
    int first[3] = {0, 0, 0};
    while (static_cast<int>(cinfo.output_scanline) < plan.window.y1) {
        if (jpeg_read_raw_data(&cinfo, strips, lines) == 0)
            fail(s, JpegError::corrupt, "the decoder stopped early");
        for (int i = 0; i < plan.outputs; ++i) {
            const jpeg_component_info& c = cinfo.comp_info[i];
            const ChromaFactors f = i == 0 ? ChromaFactors{1, 1} : chroma_factors(plan.subsampling);
            const int x0 = plan.window.x0 / f.x, y0 = plan.window.y0 / f.y;
            const int rows = c.v_samp_factor * dct_size(c);
            for (int r = 0; r < rows; ++r) {
                const int y = first[i] + r - y0;
                if (y < 0 || y >= plan.height[i]) continue;
                std::memcpy(outputs[i].data + y * outputs[i].stride, strips[i][r] + x0,
                            static_cast<std::size_t>(plan.width[i]));
            }
            first[i] += rows;
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
void decode_rows(DecodeSession* s, const JpegRequest& request, const JpegPlan& plan,
                 const JpegOutput* outputs) {
    jpeg_decompress_struct& cinfo = s->cinfo;
    const int width = static_cast<int>(cinfo.output_width), channels = plan.channels;
    const Region& window = plan.window;
    const int part = window.x1 - window.x0;
    const bool planar = plan.outputs == 3;
    const bool converted = cinfo.out_color_space == JCS_CMYK || planar;
    const Placement place = place_packed(outputs[0].data, outputs[0].stride, plan.height[0], plan.width[0],
                                         channels, plan.orientation);
    const bool direct = place.in_place() && !converted && part == width;
    std::uint8_t* scratch = take(s, 4 * static_cast<std::size_t>(width));
    while (static_cast<int>(cinfo.output_scanline) < window.y1) {
        const int y = static_cast<int>(cinfo.output_scanline) - window.y0;
        JSAMPROW row = direct && y >= 0 ? place.row(y) : scratch;
        if (jpeg_read_scanlines(&cinfo, &row, 1) == 0)
            fail(s, JpegError::corrupt, "the decoder stopped early");
        if (y < 0 || direct) continue;
        if (converted) convert_row(cinfo, request.layout, scratch);
        if (!planar) {
            place.place(y, 1, scratch + window.x0 * channels, 0, part);
            continue;
        }
        for (int i = 0; i < 3; ++i) {
            std::uint8_t* dst = outputs[i].data + y * outputs[i].stride;
            for (int x = 0; x < part; ++x) dst[x] = scratch[3 * (window.x0 + x) + i];
        }
    }
}

}  // namespace

JpegStatus plan_turbo(const std::uint8_t* data, std::size_t size, const JpegRequest& request,
                      const JpegHeader& header, JpegPlan* plan) noexcept {
    return guarded<DecodeSession>(!request.salvage, [&](DecodeSession* s) {
        open(s, data, size, request, header, plan);
        require_few_scans(s, data, size);
    });
}

JpegStatus decode_turbo(const std::uint8_t* data, std::size_t size, const JpegRequest& request,
                        const JpegHeader& header, const JpegPlan& plan, const JpegOutput* outputs) noexcept {
    return guarded<DecodeSession>(!request.salvage, [&](DecodeSession* s) {
        JpegPlan again;
        open(s, data, size, request, header, &again);
        // The caller sized its arrays by `plan`; bytes that changed since must not write past them.
        if (std::memcmp(&again, &plan, sizeof again) != 0) fail(s, JpegError::changed, kChanged);
        jpeg_start_decompress(&s->cinfo);
        if (lacks_scans(s->cinfo)) {
            if (s->strict) fail(s, JpegError::truncated, kScansMissing);
            if (s->status.reason[0] == '\0') s->status = status(JpegError::none, kScansMissing);
        }
        if (s->cinfo.raw_data_out)
            decode_planes(s, plan, outputs);
        else
            decode_rows(s, request, plan, outputs);
    });
}

}  // namespace yf
