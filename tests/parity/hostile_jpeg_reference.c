/* What libjpeg-turbo alone makes of JPEG files: the reference of test_hostile_jpeg.py. Paths come on standard
   input, a line each.

   A line of output each: "fatal" (an error ended it), "huge" (over 2^28 pixels, not decoded), "lost" or "good";
   the Adler-32 of the rows; and whether coefficients are missing and were guessed from the blocks around.
   "lost" is a warning after which pixels were made up, as on_message in csrc/core/jpeg.cpp has it. All others
   (stray bytes between markers, odd version numbers, an inconsistent progression) leave every pixel as coded. */
#include <setjmp.h>
#include <stdio.h>
#include <string.h>
#include <jpeglib.h>
#include <jerror.h>

static jmp_buf jump;
static int lost;

static void on_error(j_common_ptr cinfo) { longjmp(jump, 1); }

static void on_message(j_common_ptr cinfo, int level) {
    if (level >= 0) return;
    switch (cinfo->err->msg_code) {
        case JWRN_JPEG_EOF: case JWRN_HIT_MARKER: case JWRN_HUFF_BAD_CODE: case JWRN_ARITH_BAD_CODE:
        case JWRN_MUST_RESYNC: lost = 1;
    }
}

static const char *decode(const char *path, int smoothing, unsigned long *sum) {
    struct jpeg_decompress_struct cinfo;
    struct jpeg_error_mgr errors;
    unsigned long a = 1, b = 0;
    const char *volatile outcome = "fatal";
    FILE *volatile file = fopen(path, "rb");
    memset(&cinfo, 0, sizeof cinfo);
    lost = 0;
    cinfo.err = jpeg_std_error(&errors);
    errors.error_exit = on_error;
    errors.emit_message = on_message;
    if (!setjmp(jump)) {
        jpeg_create_decompress(&cinfo);
        jpeg_stdio_src(&cinfo, file);
        jpeg_read_header(&cinfo, TRUE);
        if ((double)cinfo.image_width * cinfo.image_height > 268435456.0) {
            outcome = "huge";
            longjmp(jump, 2);
        }
        if (cinfo.out_color_space == JCS_GRAYSCALE) cinfo.out_color_space = JCS_RGB;
        cinfo.do_block_smoothing = smoothing;
        jpeg_start_decompress(&cinfo);
        const JDIMENSION bytes = cinfo.output_width * cinfo.output_components;
        JSAMPARRAY row = cinfo.mem->alloc_sarray((j_common_ptr)&cinfo, JPOOL_IMAGE, bytes, 1);
        while (cinfo.output_scanline < cinfo.output_height) {
            jpeg_read_scanlines(&cinfo, row, 1);
            for (JDIMENSION i = 0; i < bytes; ++i) {
                a = (a + row[0][i]) % 65521;
                b = (b + a) % 65521;
            }
        }
        outcome = lost ? "lost" : "good";
    }
    jpeg_destroy_decompress(&cinfo);
    fclose(file);
    *sum = b << 16 | a;
    return outcome;
}

#define TEXT(x) #x
#define NAME(x) TEXT(x)

int main(void) {
    static char path[4096];
    unsigned long rough, smooth;
    printf("%s\n", NAME(LIBJPEG_TURBO_VERSION));
    while (fgets(path, sizeof path, stdin)) {
        path[strcspn(path, "\n")] = 0;
        decode(path, 0, &rough);
        const char *outcome = decode(path, 1, &smooth);
        printf("%s %lu %d\n", outcome, smooth, smooth != rough);
    }
    return 0;
}
