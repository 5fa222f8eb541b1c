"""Test-time augmentation: a detector that finds the same in every view gives each object once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from yolofast.errors import ConfigError
from yolofast.evaluate import YOLOEvaluator
from yolofast.evaluate.augmented import with_augmented_views
from yolofast.evaluate.detect import find_detections
from yolofast.evaluate.inference import inference, nms_threshold
from yolofast.evaluate.predict import predict_batches
from yolofast.kernels import box_iou
from yolofast.models import build_model
from yolofast.types import Batch, Detections

SIDE = (96, 160)
BOXES = {0: (12, 20, 52, 50), 1: (60, 8, 130, 40), 2: (100, 60, 148, 88)}
"""The painted square of each class, xyxy pixels, one per colour channel."""


class SquareFinder(torch.nn.Module):
    """Finds the square that is painted in each channel: its area of half brightness and more."""

    class_names = ("red", "green", "blue")

    def __init__(self, *, end_to_end: bool = False) -> None:
        super().__init__()
        self.end_to_end = end_to_end
        self.seen: list[tuple[int, ...]] = []

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.seen.append(tuple(images.shape[2:]))
        raw = torch.zeros(len(images), 4 + 3, 3)
        for i, image in enumerate(images):
            for c in range(3):
                y, x = torch.nonzero(image[c] > 0.5, as_tuple=True)
                low, high = torch.stack((x.min(), y.min())), torch.stack((x.max(), y.max())) + 1
                raw[i, :4, c] = torch.cat(((low + high) / 2, high - low))
                raw[i, 4 + c, c] = 0.9
        return raw


def painted(boxes: dict[int, tuple[int, int, int, int]] = BOXES) -> Batch:
    image = torch.zeros(1, 3, *SIDE, dtype=torch.uint8)
    for c, (x1, y1, x2, y2) in boxes.items():
        image[0, c, y1:y2, x1:x2] = 255
    rows = [(0, c, (x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1) for c, (x1, y1, x2, y2) in boxes.items()]
    targets = torch.tensor(rows) / torch.tensor([1, 1, SIDE[1], SIDE[0], SIDE[1], SIDE[0]])
    return Batch(image, targets, ("a.png",), np.array([SIDE], np.int64))


def found(model: Any, batch: Batch, **settings: Any) -> Detections:
    ((_, detections),) = predict_batches(model, [batch], **settings)
    return detections


@pytest.mark.parametrize("end_to_end", [False, True])
def test_each_object_is_found_once_and_where_it_is(end_to_end: bool) -> None:
    model = SquareFinder(end_to_end=end_to_end)
    plain = found(model, painted())
    model.seen.clear()
    augmented = found(model, painted(), augment=True)
    assert model.seen == [SIDE, (96, 160), (64, 128)]  # 96 x 0.83 = 80 and 160 x 0.83 = 133, in whole strides
    assert np.array_equal(augmented.boxes, plain.boxes)
    assert np.array_equal(augmented.boxes, np.array(list(BOXES.values()), np.float32))
    assert augmented.classes.tolist() == plain.classes.tolist() == [0, 1, 2]
    assert augmented.scores == pytest.approx(plain.scores)


def test_the_candidates_of_every_view_are_in_pixels_of_the_image() -> None:
    model, batch = SquareFinder(), painted()
    images = batch.images.float() / 255
    raw = with_augmented_views(model(images), model, images)
    assert raw.shape == (1, 4 + 3, 9)
    centre, size = raw[0, :2], raw[0, 2:4]
    corners = torch.cat((centre - size / 2, centre + size / 2)).T.reshape(3, 3, 4)
    wanted = torch.tensor(list(BOXES.values()), dtype=torch.float32).expand(3, 3, 4)
    assert torch.equal(corners[0], wanted[0])
    assert (corners - wanted).abs().max() <= 1.0  # half a pixel of the smallest view is 0.75 of the image
    assert torch.equal(raw[0, 4:], 0.9 * torch.eye(3).repeat(1, 3))


def test_an_object_that_only_a_smaller_view_shows_is_found() -> None:
    class Small(SquareFinder):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            raw = super().forward(images)
            raw[:, 4:] *= 1.0 if images.shape[3] < SIDE[1] else 0.0
            return raw

    assert len(found(Small(), painted())) == 0
    boxes = found(Small(), painted(), augment=True).boxes
    assert np.abs(boxes - np.array(list(BOXES.values()))).max() <= 1.0


def test_the_evaluation_is_that_of_the_merged_boxes() -> None:
    def evaluated(*, augment: bool) -> Any:
        evaluator = YOLOEvaluator(SquareFinder(), class_names=SquareFinder.class_names, augment=augment)
        return evaluator.evaluate_dataset([painted()], progress=False)

    plain, augmented = evaluated(augment=False), evaluated(augment=True)
    assert augmented.map50_95 == plain.map50_95 == pytest.approx(1)
    assert augmented.totals.detections == plain.totals.detections == 3


@pytest.mark.parametrize("name", ["p", "yolo26n"])
@pytest.mark.parametrize("half", [False, True])
def test_detectors_run_and_no_two_boxes_of_a_class_overlap(name: str, half: bool) -> None:
    model = build_model(name, 3, class_names=("red", "green", "blue"), seed=0)
    images = painted().images.float() / 255
    with inference(model, "cpu", half=half):
        raw = with_augmented_views(model(images), model, images)
        iou = nms_threshold(model, 0.5, augment=True)
        (detections,) = find_detections(raw, conf=0.0, iou=iou, max_det=300)
    same = detections.classes[:, None] == detections.classes[None]
    overlap = box_iou(detections.boxes, detections.boxes) * same
    np.fill_diagonal(overlap, 0)
    assert len(detections) > 10
    assert overlap.max() <= 0.5 + 1e-5


def test_the_loss_is_that_of_the_images_themselves() -> None:
    model = build_model("p", 3, class_names=("red", "green", "blue"), seed=0)
    losses = [
        YOLOEvaluator(model, class_names=model.class_names, augment=augment)
        .evaluate_dataset([painted()], progress=False)
        .overall_metrics["loss"]
        for augment in (False, True)
    ]
    assert losses[0] == losses[1] > 0


def test_a_model_of_one_size_is_refused_by_name() -> None:
    model = SquareFinder()
    model.fixed_size = SIDE  # type: ignore[assignment]
    with pytest.raises(ConfigError, match=r"augment: this model takes images of 96 x 160 only.*dynamic"):
        found(model, painted(), augment=True)
