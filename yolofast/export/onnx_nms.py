"""NMS as ONNX operators, appended to a detector's raw output.

A model that includes NMS runs anywhere without postprocessing code. The nodes are built with
`onnx.helper` because the torch exporter has no NMS without torchvision.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import onnx

DETECTIONS = "detections"
PREFIX = "nms_"
"""Prefix of the added tensors' names, so that they cannot collide with names of the model."""


class _Nodes:
    """Collects nodes and constants; each method returns the name of the tensor it adds."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []

    def constant(self, name: str, value: Any, dtype: type = np.int64) -> str:
        from onnx import numpy_helper

        self.initializers.append(numpy_helper.from_array(np.asarray(value, dtype), PREFIX + name))
        return PREFIX + name

    def add(self, operator: str, inputs: list[str], *outputs: str, **attributes: Any) -> str:
        from onnx import helper

        names = [PREFIX + o for o in outputs]
        self.nodes.append(helper.make_node(operator, inputs, names, name=names[0] + "_node", **attributes))
        return names[0]


def append_nms(
    model: onnx.ModelProto, *, num_classes: int, anchors: int, conf: float, iou: float, max_det: int
) -> None:
    """Replace the output of `model` by `detections` float32 [batch, max_det, 6], in place.

    The graph's only output must be raw float32 [batch, 4 + num_classes, anchors]: xywh (centre) in
    network pixels, then scores. A row of `detections` is x1, y1, x2, y2, score, class, best score
    first; rows past the last detection are zero. The result is that of
    `yolofast.kernels.postprocess(..., multi_label=True, agnostic=False)`: a box is a candidate for
    every class it scores above `conf` in, and is dropped when its IoU with a better one of the same
    class is above `iou`.

    Kept scores are scattered back into a dense [batch, anchors * classes] table, zero elsewhere, so one
    TopK gives the best of each image for any batch size.
    """
    from onnx import TensorProto, helper

    raw = model.graph.output[0].name
    batch = model.graph.output[0].type.tensor_type.shape.dim[0]
    kept = min(max_det, num_classes * anchors)
    g = _Nodes()

    boxes = g.add(
        "Slice",
        [raw, g.constant("zero", [0]), g.constant("four", [4]), g.constant("channels", [1])],
        "xywh",
    )
    xywh = g.add("Transpose", [boxes], "xywh_last", perm=[0, 2, 1])
    scores = g.add(
        "Slice", [raw, PREFIX + "four", g.constant("end", [4 + num_classes]), PREFIX + "channels"], "scores"
    )
    selected = g.add(
        "NonMaxSuppression",
        [
            xywh,
            scores,
            g.constant("max_det", [max_det]),
            g.constant("iou", [iou], np.float32),
            g.constant("conf", [conf], np.float32),
        ],
        "selected",
        center_point_box=1,
    )

    # Selected rows are (sample, class, anchor). The table's columns are anchor * classes + class: TopK
    # takes the first of equal scores, which is then the lowest anchor, as in `postprocess`.
    weights = g.constant("row_weights", [[1, 0], [0, 1], [0, num_classes]])
    cells = g.add("MatMul", [selected, weights], "cells")
    by_anchor = g.add("Transpose", [scores], "scores_last", perm=[0, 2, 1])
    table = g.add("Reshape", [by_anchor, g.constant("table_shape", [0, num_classes * anchors])], "table")
    updates = g.add("GatherND", [table, cells], "kept_scores")
    zeros = g.add(
        "ConstantOfShape",
        [g.add("Shape", [table], "table_size")],
        "zeros",
        value=helper.make_tensor("zero_value", TensorProto.FLOAT, [1], [0.0]),
    )
    sparse = g.add("ScatterND", [zeros, cells, updates], "kept_table")
    best = g.add("TopK", [sparse, g.constant("top", [kept])], "best", "best_cell", axis=1)

    class_count = g.constant("classes", num_classes)
    anchor = g.add("Div", [PREFIX + "best_cell", class_count], "anchor")
    classes = g.add("Mod", [PREFIX + "best_cell", class_count], "class")
    last = g.constant("last", [2])
    index = g.add("Unsqueeze", [anchor, last], "anchor_index")
    chosen = g.add("GatherND", [xywh, index], "chosen", batch_dims=1)

    centre = g.add("Slice", [chosen, PREFIX + "zero", g.constant("two", [2]), last], "centre")
    size = g.add("Slice", [chosen, PREFIX + "two", PREFIX + "four", last], "size")
    half = g.add("Mul", [size, g.constant("half", 0.5, np.float32)], "half_size")
    top_left = g.add("Sub", [centre, half], "top_left")
    bottom_right = g.add("Add", [centre, half], "bottom_right")
    score_column = g.add("Unsqueeze", [best, last], "score_column")
    class_column = g.add(
        "Unsqueeze",
        [g.add("Cast", [classes], "class_float", to=TensorProto.FLOAT), last],
        "class_column",
    )
    rows = g.add("Concat", [top_left, bottom_right, score_column, class_column], "rows", axis=2)
    filled = g.add("Greater", [score_column, g.constant("no_score", 0.0, np.float32)], "filled")
    result = g.add("Where", [filled, rows, PREFIX + "no_score"], "detected")
    padding = g.constant("padding", [0, 0, 0, 0, max_det - kept, 0])
    g.nodes.append(helper.make_node("Pad", [result, padding], [DETECTIONS], name=PREFIX + "pad_node"))

    model.graph.node.extend(g.nodes)
    model.graph.initializer.extend(g.initializers)
    del model.graph.output[:]
    size_of_batch = batch.dim_param or batch.dim_value
    model.graph.output.append(
        helper.make_tensor_value_info(DETECTIONS, TensorProto.FLOAT, [size_of_batch, max_det, 6])
    )
