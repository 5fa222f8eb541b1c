// See restart.hpp for the contract and README.md for the safety rules.
//
// libjpeg-turbo reads and writes the coefficients: a second Huffman encoder would not earn its place.
#include "core/jpeg/restart.hpp"

#include <algorithm>
#include <exception>

#include "core/jpeg/scans.hpp"
#include "core/jpeg/turbo_session.hpp"

namespace yf {
namespace {

constexpr unsigned kMaxInterval = 65535;      // MCUs, in 16 bits of the DRI segment
constexpr std::size_t kFirstBytes = 1 << 12;  // of the output, to begin with

// libjpeg's own memory destination keeps its buffer where nobody can free it after an error. This one fills a
// vector of the caller's.
struct Destination {
    jpeg_destination_mgr manager;
    std::vector<std::uint8_t>* bytes;
};

struct RewriteSession : TurboRun {
    jpeg_decompress_struct in, written;
    jpeg_compress_struct out;
    Destination destination;

    void destroy() {
        jpeg_destroy_compress(&out);
        jpeg_destroy_decompress(&written);
        jpeg_destroy_decompress(&in);
    }
};

// An exception must not travel through libjpeg's frames.
bool resize(std::vector<std::uint8_t>* bytes, std::size_t size) noexcept {
    try {
        bytes->resize(size);
    } catch (const std::exception&) {
        return false;
    }
    return true;
}

// Appends `more` bytes of room and points libjpeg at them.
void add_room(j_compress_ptr cinfo, std::size_t more) {
    Destination* d = reinterpret_cast<Destination*>(cinfo->dest);
    const std::size_t used = d->bytes->size();
    if (!resize(d->bytes, used + more))
        fail(run_of(reinterpret_cast<j_common_ptr>(cinfo)), JpegError::out_of_memory, "out of memory");
    d->manager.next_output_byte = d->bytes->data() + used;
    d->manager.free_in_buffer = more;
}

void on_start(j_compress_ptr cinfo) { add_room(cinfo, kFirstBytes); }

boolean on_full(j_compress_ptr cinfo) {
    add_room(cinfo, reinterpret_cast<Destination*>(cinfo->dest)->bytes->size());
    return TRUE;
}

void on_end(j_compress_ptr cinfo) {
    Destination* d = reinterpret_cast<Destination*>(cinfo->dest);
    d->bytes->resize(d->bytes->size() - d->manager.free_in_buffer);  // shrinking never throws
}

// Reads all coefficients of the file. Refuses what a sequential file of one scan could not say alike.
jvirt_barray_ptr* read_input(RewriteSession* s, const std::uint8_t* data, std::size_t size,
                             const JpegPlan& plan) {
    jpeg_decompress_struct& in = s->in;
    start_decompressor(s, &in, data, size);
    jpeg_read_header(&in, TRUE);
    if (static_cast<int>(in.image_width) != plan.width[0] ||
        static_cast<int>(in.image_height) != plan.height[0])
        fail(s, JpegError::changed, kChanged);
    int blocks = 0;
    for (int i = 0; i < in.num_components; ++i)
        blocks += in.comp_info[i].h_samp_factor * in.comp_info[i].v_samp_factor;
    if (in.num_components > 1 && blocks > C_MAX_BLOCKS_IN_MCU)
        fail(s, JpegError::unsupported, "its components do not fit into one scan");
    jvirt_barray_ptr* coefficients = jpeg_read_coefficients(&in);
    if (lacks_scans(in)) fail(s, JpegError::truncated, kScansMissing);
    return coefficients;
}

// The rows between two restarts: those asked for, or as many as the format can count.
int allowed_rows(const jpeg_decompress_struct& in, int rows) {
    const unsigned mcu_width = static_cast<unsigned>(in.max_h_samp_factor) * DCTSIZE;
    const unsigned across = in.num_components == 1 ? in.comp_info[0].width_in_blocks
                                                   : (in.image_width + mcu_width - 1) / mcu_width;
    return std::min(rows, static_cast<int>(kMaxInterval / across));
}

void write_output(RewriteSession* s, jvirt_barray_ptr* coefficients, const std::uint8_t* data,
                  std::size_t size, int restart_rows, std::vector<std::uint8_t>* bytes) {
    jpeg_compress_struct& out = s->out;
    out.err = &s->errors;
    out.client_data = s;
    jpeg_create_compress(&out);
    s->destination.manager.init_destination = on_start;
    s->destination.manager.empty_output_buffer = on_full;
    s->destination.manager.term_destination = on_end;
    s->destination.bytes = bytes;
    out.dest = &s->destination.manager;
    jpeg_copy_critical_parameters(&s->in, &out);
    out.optimize_coding = TRUE;
    out.arith_code = FALSE;
    out.restart_in_rows = allowed_rows(s->in, restart_rows);
    // The file's own segments are written as they are, JFIF and Adobe among them; none is added, so that
    // readers make the same guess at the colours.
    out.write_JFIF_header = FALSE;
    out.write_Adobe_marker = FALSE;
    jpeg_write_coefficients(&out, coefficients);
    // In one pass: libjpeg's own list of saved segments is walked from its beginning for each that is added.
    for_each_segment(data, size, [&](int marker, const std::uint8_t* payload, std::size_t length) {
        if ((marker >= 0xE0 && marker <= 0xEF) || marker == 0xFE)
            jpeg_write_marker(&out, marker, payload, static_cast<unsigned>(length));
        return true;
    });
    jpeg_finish_compress(&out);
}

bool same_component(const jpeg_component_info& a, const jpeg_component_info& b) {
    return a.component_id == b.component_id && a.h_samp_factor == b.h_samp_factor &&
           a.v_samp_factor == b.v_samp_factor && a.width_in_blocks == b.width_in_blocks &&
           a.height_in_blocks == b.height_in_blocks && b.quant_table != nullptr &&
           (a.quant_table == nullptr ||  // the component is in no scan
            std::memcmp(a.quant_table->quantval, b.quant_table->quantval, sizeof b.quant_table->quantval) ==
                0);
}

// Whether both files hold the same picture: sizes, colours, tables and every coefficient.
bool same_picture(RewriteSession* s, jvirt_barray_ptr* before, jvirt_barray_ptr* after) {
    jpeg_decompress_struct &a = s->in, &b = s->written;
    if (a.image_width != b.image_width || a.image_height != b.image_height ||
        a.num_components != b.num_components || a.jpeg_color_space != b.jpeg_color_space)
        return false;
    for (int i = 0; i < a.num_components; ++i) {
        if (!same_component(a.comp_info[i], b.comp_info[i])) return false;
        const std::size_t row_bytes = a.comp_info[i].width_in_blocks * sizeof(JBLOCK);
        for (JDIMENSION y = 0; y < a.comp_info[i].height_in_blocks; ++y) {
            const JBLOCKROW one =
                a.mem->access_virt_barray(reinterpret_cast<j_common_ptr>(&a), before[i], y, 1, FALSE)[0];
            const JBLOCKROW other =
                b.mem->access_virt_barray(reinterpret_cast<j_common_ptr>(&b), after[i], y, 1, FALSE)[0];
            if (std::memcmp(one, other, row_bytes) != 0) return false;
        }
    }
    return true;
}

int orientation_of(RewriteSession* s, const std::uint8_t* data, std::size_t size) {
    JpegHeader header;
    const JpegStatus parsed = parse_jpeg_header(data, size, &header);
    if (parsed.error != JpegError::none) fail(s, parsed.error, parsed.reason);
    return header.orientation;
}

}  // namespace

JpegStatus add_restarts(const std::uint8_t* data, std::size_t size, int restart_rows, std::int64_t max_pixels,
                        std::vector<std::uint8_t>* out) noexcept {
    // Planning a decode refuses, before memory is taken, what cannot be decoded or is too large.
    JpegRequest request{};
    request.layout = JpegLayout::ycc;
    request.max_pixels = max_pixels;
    request.decoder = JpegDecoder::turbo;
    JpegPlan plan;
    const JpegStatus planned = plan_jpeg(data, size, request, &plan);
    if (planned.error != JpegError::none) return planned;
    out->clear();
    return guarded<RewriteSession>(true, [&](RewriteSession* s) {
        jvirt_barray_ptr* before = read_input(s, data, size, plan);
        write_output(s, before, data, size, restart_rows, out);
        start_decompressor(s, &s->written, out->data(), out->size());
        jpeg_read_header(&s->written, TRUE);
        // Segments that stood behind the picture come before it now, where they may say something new.
        if (s->in.jpeg_color_space != s->written.jpeg_color_space ||
            orientation_of(s, data, size) != orientation_of(s, out->data(), out->size()))
            fail(s, JpegError::unsupported, "it has colour or EXIF segments behind the picture");
        if (!same_picture(s, before, jpeg_read_coefficients(&s->written)))
            fail(s, JpegError::corrupt, "the coefficients written are not those that were read");
    });
}

}  // namespace yf
