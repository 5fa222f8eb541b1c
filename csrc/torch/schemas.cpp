// The schemas of torch.ops.yolofast.*, for every device.
#include <torch/csrc/stable/library.h>

#include "torch/names.hpp"

YF_APPLY(STABLE_TORCH_LIBRARY, YF_OPERATORS, m) {
    // a [N, 4], b [M, 4] xyxy, float32 or float64 -> [N, M]; [N] when elementwise
    m.def("box_iou(Tensor a, Tensor b, *, str kind='iou', bool elementwise=False) -> Tensor");

    // boxes [N, 4] xyxy, float32 or float64; matrix [3, 3] or [2, 3]; clip (width, height) -> [N, 4]
    m.def("transform_boxes(Tensor boxes, Tensor matrix, float[]? clip=None) -> Tensor");

    // boxes float32 [N, 4] xyxy, scores float32 [N], classes int64 [N] -> indices int64 [K]
    m.def("nms(Tensor boxes, Tensor scores, float iou_threshold) -> Tensor");
    m.def("batched_nms(Tensor boxes, Tensor scores, Tensor classes, float iou_threshold) -> Tensor");

    // -> indices int64 [K], scores float32 [K]
    m.def(
        "soft_nms(Tensor boxes, Tensor scores, Tensor? classes=None, *, str method='linear', float "
        "sigma=0.5, "
        "float iou_threshold=0.3, float score_threshold=0.001) -> (Tensor, Tensor)");

    // raw float32 [B, 4 + C, A] -> boxes float32 [B, max_det, 4], scores float32 [B, max_det],
    // classes int64 [B, max_det], counts int64 [B]
    m.def(
        "postprocess(Tensor raw, *, float conf=0.001, float iou=0.7, int max_det=300, int[]? classes=None, "
        "bool agnostic=False, bool multi_label=True, int max_candidates=30000) "
        "-> (Tensor, Tensor, Tensor, Tensor)");

    // boxes [B, D, 4] and gt_boxes [B, G, 4] xyxy, float32 or float64; scores float32, classes int64 [B, D];
    // gt_classes int64 [B, G]; counts and gt_counts int64 [B]; flags bool; T thresholds
    // -> ranks int64 [B, D], ground_truths int64 [B, D, T], ignored bool [B, D, T]
    m.def(
        "match_detections(Tensor boxes, Tensor scores, Tensor classes, Tensor counts, Tensor gt_boxes, "
        "Tensor gt_classes, Tensor gt_counts, float[] thresholds, Tensor? gt_crowd=None, "
        "Tensor? gt_ignore=None, Tensor? dt_ignore=None, *, int max_det=100) -> (Tensor, Tensor, Tensor)");

    // out uint8, float16, bfloat16 or float32 [B, 3, H, W] and planes uint8 [N] on the device, all else on
    // the CPU: pictures int64 [P, 11] = offset_y, offset_cb, offset_cr (both -1 when gray), stride_y,
    // stride_c, height, width, c_height, c_width, factor_x, factor_y; places float64 [P, 2, 3]; tile_sample,
    // tile_picture, tile_layer int64 [T]; tile_matrix float64 [T, 3, 3]; tile_window float64 [T, 4]; mix
    // float64 [B]; colour float64 [B, 3, 4]
    m.def(
        "render_(Tensor(a!) out, Tensor planes, Tensor pictures, Tensor places, Tensor tile_sample, "
        "Tensor tile_picture, Tensor tile_layer, Tensor tile_matrix, Tensor tile_window, Tensor mix, "
        "Tensor colour) -> ()");

    // out as above; images uint8 [H, W, 3] on the device, each of its own size; placed int64 [B, 4] on the
    // CPU = height, width, top, left of each picture in its target
    m.def("letterbox_(Tensor(a!) out, Tensor[] images, Tensor placed, int fill=114) -> ()");
}
