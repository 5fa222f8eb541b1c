"""NMS inside an ONNX file against the kernel that does it outside."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from yolofast.export.onnx_nms import append_nms
from yolofast.export.verify import unmatched_detections
from yolofast.kernels import postprocess

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

CLASSES, ANCHORS = 4, 120


def random_raw(seed: int, batch: int, kind: str = "crowded") -> NDArray[np.float32]:
    """Raw outputs [batch, 4 + CLASSES, ANCHORS] with many overlapping boxes."""
    rng = np.random.default_rng(seed)
    centre = rng.uniform(0, 100, (batch, 2, ANCHORS))
    size = rng.uniform(10, 60, (batch, 2, ANCHORS))
    scores = rng.uniform(0, 1, (batch, CLASSES, ANCHORS)) ** 2
    if kind == "nothing":
        scores[:] = 0.01
    if kind == "one empty image":
        scores[0] = 0.0
    if kind == "equal scores":
        scores = np.round(scores, 1)
    return np.concatenate((centre, size, scores), axis=1).astype(np.float32)


def run_nms(raw: NDArray[np.float32], conf: float, iou: float, max_det: int) -> NDArray[np.float32]:
    """`append_nms` behind a graph that hands its input through, run by onnxruntime."""
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    shape = ["batch", 4 + CLASSES, ANCHORS]
    graph = helper.make_graph(
        [helper.make_node("Identity", ["images"], ["output0"])],
        "raw",
        [helper.make_tensor_value_info("images", kind, shape)],
        [helper.make_tensor_value_info("output0", kind, shape)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    append_nms(model, num_classes=CLASSES, anchors=ANCHORS, conf=conf, iou=iou, max_det=max_det)
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    assert [output.name for output in session.get_outputs()] == ["detections"]
    result: NDArray[np.float32] = session.run(None, {"images": raw})[0]
    return result


@pytest.mark.parametrize("kind", ["crowded", "nothing", "one empty image", "equal scores"])
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize(
    ("conf", "iou", "max_det"),
    [(0.25, 0.7, 300), (0.001, 0.45, 20), (0.5, 0.0, 5), (0.0, 1.0, 1000)],
)
def test_equals_the_kernel(kind: str, batch: int, conf: float, iou: float, max_det: int) -> None:
    raw = random_raw(batch, batch, kind)
    got = run_nms(raw, conf, iou, max_det)
    assert got.shape == (batch, max_det, 6)
    assert got.dtype == np.float32
    for rows, reference in zip(got, postprocess(raw, conf=conf, iou=iou, max_det=max_det), strict=True):
        filled = len(reference)
        np.testing.assert_allclose(rows[:filled, :4], reference.boxes, atol=1e-4)
        np.testing.assert_array_equal(rows[:filled, 4], reference.scores)
        np.testing.assert_array_equal(rows[:filled, 5], reference.classes)
        assert not rows[filled:].any(), "rows past the last detection are zero"


def test_difference_is_counted() -> None:
    raw = random_raw(0, 1)
    rows = run_nms(raw, 0.25, 0.7, 300)[0]
    (reference,) = postprocess(raw, conf=0.25, iou=0.7, max_det=300)
    assert len(reference) > 10
    assert unmatched_detections(rows, reference) == 0
    moved = rows.copy()
    moved[3, 0] += 1.0  # a box elsewhere
    moved[5, 5] += 1.0  # another class
    moved[7] = 0.0  # a detection missing
    assert unmatched_detections(moved, reference) == 3
