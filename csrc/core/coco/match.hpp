// Matching of detections to ground truth by the COCO rule (pycocotools' evaluateImg), image by image.
//
// Boxes are left, top, width, height in double: the arithmetic is that of pycocotools' mask module, so
// the results agree with it to the last bit.
#pragma once

#include <cstddef>
#include <cstdint>

namespace yf::coco {

constexpr int kMaxThresholds = 16;
constexpr int kMaxAreas = 4;

// What matching found out about one detection. Bit t of the flags belongs to IoU threshold t; the flags
// are there once for each area range.
struct Judged {
    double score;
    std::int32_t label;
    std::uint32_t rank;  // in its image and class, 0 = best
    std::uint16_t right[kMaxAreas];
    std::uint16_t ignored[kMaxAreas];  // neither right nor wrong
};

// [n, 4] boxes, [n] scores and labels.
struct Detections {
    const double* boxes;
    const double* scores;
    const std::int32_t* labels;
};

// [m, 4] boxes, [m] labels, areas, crowd flags. `counts` is null or [m]: where it is 0, a detection that
// takes this ground truth still counts as unmatched (pycocotools, for an annotation whose id is 0).
struct Truths {
    const double* boxes;
    const std::int32_t* labels;
    const double* areas;
    const std::uint8_t* crowd;
    const std::uint8_t* counts;
};

struct Rules {
    const double* thresholds;
    int threshold_count;  // up to kMaxThresholds
    const double* areas;  // [area_count, 2], smallest and largest area, both inclusive
    int area_count;       // up to kMaxAreas
    std::size_t max_det;  // detections per class and image, at most
    std::int32_t labels;  // labels are 0 .. labels - 1
};

// Judges the detections of `images` images: rows detection_offsets[i] .. detection_offsets[i + 1] - 1 of the
// detections and likewise of the truths belong to image i. `out` has room for all detections; they are
// written image after image, by label, best score first (earlier first among equals), without those beyond
// max_det. `out_offsets` [images + 1] gets where each image's begin. Adds to `positives` [labels, area_count]
// the ground truths that count and to `images_with` [labels] the images with a ground truth that counts in
// the first area range. Throws std::invalid_argument for a NaN score or a label out of range.
void match_images(const Detections& detections, const std::int64_t* detection_offsets, const Truths& truths,
                  const std::int64_t* truth_offsets, std::size_t images, const Rules& rules, Judged* out,
                  std::int64_t* out_offsets, std::int64_t* positives, std::int64_t* images_with);

// The same for one image, telling who matched whom: `order` [n] gets the detections that count, in the
// order above, `found` [threshold_count, n] the row of the ground truth each took or -1 (rows of n),
// `ignored` likewise whether it counts as nothing. `truth_ignored` [m] and `detection_ignored` [n] stand
// for the area ranges. Returns the number of detections that count.
std::size_t match_image(const Detections& detections, const std::uint8_t* detection_ignored, std::size_t n,
                        const Truths& truths, const std::uint8_t* truth_ignored, std::size_t m,
                        const double* thresholds, std::size_t threshold_count, std::size_t max_det,
                        std::int64_t* order, std::int64_t* found, std::uint8_t* ignored);

}  // namespace yf::coco
