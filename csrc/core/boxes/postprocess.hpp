// From a detector's raw output to detections: threshold, best candidates, corners, NMS, best first.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/boxes/overlap.hpp"

namespace yf {

struct PostprocessOptions {
    float conf = 0.001f;                 // candidates have a score above this; at least 0
    double iou = 0.7;                    // a box goes when its IoU with a better one is above this; 0 to 1
    std::size_t max_det = 300;           // detections per image, at most; at least 1
    std::size_t max_candidates = 30000;  // candidates per image that go into NMS, at most; at least 1
    bool agnostic = false;               // boxes of different classes suppress each other too
    bool multi_label = true;             // a candidate for every class above `conf`, else the best class only
    const std::uint8_t* wanted = nullptr;  // a byte per class, 0: its candidates are dropped; null: all stay
};

// A class score above the threshold. `key` orders: the larger the score, the smaller the key.
struct PostprocessCandidate {
    std::uint32_t key;
    std::uint32_t anchor;
    std::uint32_t label;
};

// Some kept boxes of a class, one array per field, and where more of them are.
struct KeptBlock {
    float x1[kBlock], y1[kBlock], x2[kBlock], y2[kBlock], area[kBlock];
    std::uint32_t used;
    std::uint32_t next;  // block, counted from 1; 0: none
};

// Memory that the images of a batch take turns to use; it starts empty.
struct PostprocessBuffers {
    std::vector<PostprocessCandidate> candidates, spare;
    std::vector<std::uint8_t> usable;  // per anchor: its box is finite
    std::vector<KeptBlock> kept;
    std::vector<std::uint32_t> latest;  // per class: its block that is being filled
    bool few_suffice = true;            // for the last image the best few candidates were enough
};

// One image. raw [4 + classes, anchors]: rows centre x, centre y, width, height, then a row of scores for
// each class. Writes at most max_det detections, best score first, equal ones by anchor, then class: boxes
// [max_det, 4] xyxy, scores [max_det], labels [max_det]; returns their number. Anchors with a non-finite box
// and NaN scores give none; without `multi_label` a NaN among an anchor's scores leaves it out.
std::size_t postprocess(const float* raw, std::size_t classes, std::size_t anchors,
                        const PostprocessOptions& options, PostprocessBuffers& buffers, float* boxes,
                        float* scores, std::int64_t* labels);

}  // namespace yf
