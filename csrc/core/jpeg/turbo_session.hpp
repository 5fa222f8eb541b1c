// How libjpeg-turbo is run without its errors leaving a mess: it reports them by `longjmp`, over every frame
// that is in between. README.md says the rules.
#pragma once

#include <csetjmp>
#include <cstdio>
#include <cstring>

#include "core/jpeg/header.hpp"
#include "core/limits.hpp"

// clang-format off: jpeglib.h needs <cstdio> before it, and jerror.h (the message codes) comes after it.
#include <jpeglib.h>
#include <jerror.h>
// clang-format on

#ifndef LIBJPEG_TURBO_VERSION_NUMBER
#error "yolofast needs libjpeg-turbo (Debian: libjpeg62-turbo-dev), not another libjpeg"
#endif

namespace yf {

// One libjpeg run: what its codec objects share. Everything that must outlive a longjmp lives in here, or in
// what derives from it, in the frame of `guarded`; every buffer comes from libjpeg's own pools, so destroying
// the codec objects frees all of it and no destructor is ever jumped over.
struct TurboRun {
    jpeg_error_mgr errors;
    jpeg_progress_mgr progress;
    std::jmp_buf jump;
    bool strict;
    JpegStatus status;
};

// A run with one decompressor.
struct DecodeSession : TurboRun {
    jpeg_decompress_struct cinfo;

    void destroy() { jpeg_destroy_decompress(&cinfo); }
};

inline TurboRun* run_of(j_common_ptr cinfo) { return static_cast<TurboRun*>(cinfo->client_data); }

[[noreturn]] inline void fail(TurboRun* run, JpegError error, const char* reason) {
    run->status = status(error, reason);
    std::longjmp(run->jump, 1);
}

inline JpegError classify(int code) {
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
        case JERR_MISMATCHED_QUANT_TABLE:
        case JERR_BAD_DCT_COEF:  // of the encoder: legal here and there, but more than it can write
            return JpegError::unsupported;
        default:
            return JpegError::corrupt;
    }
}

[[noreturn]] inline void fail_with_message(j_common_ptr cinfo) {
    char message[JMSG_LENGTH_MAX];
    cinfo->err->format_message(cinfo, message);
    fail(run_of(cinfo), classify(cinfo->err->msg_code), message);
}

// libjpeg calls lost data a warning and paints over it; by default that is an error here, else it is kept to
// be told.
inline void on_message(j_common_ptr cinfo, int level) {
    if (level >= 0) return;
    switch (cinfo->err->msg_code) {
        case JWRN_JPEG_EOF:
        case JWRN_HIT_MARKER:
        case JWRN_HUFF_BAD_CODE:
        case JWRN_ARITH_BAD_CODE:
        case JWRN_MUST_RESYNC:
            break;
        default:
            return;  // stray bytes, odd version numbers: every pixel is still there
    }
    TurboRun* run = run_of(cinfo);
    if (run->strict) fail_with_message(cinfo);
    if (run->status.reason[0] != '\0') return;
    char message[JMSG_LENGTH_MAX];
    cinfo->err->format_message(cinfo, message);
    run->status = status(JpegError::none, message);
}

// `check_scans` has counted them; this is for bytes that have changed since.
inline void on_progress(j_common_ptr cinfo) {
    if (reinterpret_cast<j_decompress_ptr>(cinfo)->input_scan_number > kMaxScans)
        fail(run_of(cinfo), JpegError::unsupported, "over 500 scans");
}

// Makes a decompressor of the run ready to read `data`.
inline void start_decompressor(TurboRun* run, jpeg_decompress_struct* cinfo, const std::uint8_t* data,
                               std::size_t size) {
    cinfo->err = &run->errors;
    cinfo->client_data = run;
    jpeg_create_decompress(cinfo);
    cinfo->progress = &run->progress;
    jpeg_mem_src(cinfo, data, static_cast<unsigned long>(size));
}

// Whether a progressive file, of which all scans have been read, does not give every bit of every
// coefficient. Decoders make up for that by smoothing, each version in its own way.
inline bool lacks_scans(const jpeg_decompress_struct& cinfo) {
    if (!cinfo.progressive_mode || cinfo.coef_bits == nullptr) return false;
    for (int i = 0; i < cinfo.num_components; ++i)
        for (int k = 0; k < DCTSIZE2; ++k)
            if (cinfo.coef_bits[i][k] != 0) return true;
    return false;
}

// Runs `body` on a `Session` (TurboRun and codec objects, all zero) with libjpeg's errors caught. `body` and
// all it calls hold trivially destructible values only.
template <typename Session, typename Body>
JpegStatus guarded(bool strict, Body body) {
    Session s;
    std::memset(&s, 0, sizeof s);
    s.strict = strict;
    jpeg_std_error(&s.errors);
    s.errors.error_exit = fail_with_message;
    s.errors.emit_message = on_message;
    s.progress.progress_monitor = on_progress;
    if (setjmp(s.jump) == 0) body(&s);
    s.destroy();  // an object that was never started is all zero, which libjpeg takes as nothing to do
    return s.status;
}

}  // namespace yf
