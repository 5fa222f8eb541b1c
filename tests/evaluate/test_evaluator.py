"""YOLOEvaluator: figures, files and errors, with a model that knows the answers and a real one."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from yolofast.errors import DataError
from yolofast.evaluate import JudgedImage, YOLOEvaluator
from yolofast.models import build_model
from yolofast.types import Batch, Letterbox

SIZE = 96
NAMES = ("disc", "square", "never")
SHAPES = [(48, 192), (200, 100), (96, 96), (33, 47), (120, 90)]
TRUTH: list[tuple[int, list[float]]] = [
    (0, [10.0, 4.0, 30.0, 40.0]),
    (1, [2.0, 100.0, 90.0, 190.0]),
    (1, [50.0, 20.0, 80.0, 90.0]),
    (0, [1.0, 2.0, 20.0, 30.0]),
    (1, [30.0, 30.0, 85.0, 118.0]),
]
"""A class and a box in original pixels for each image of `SHAPES`."""


def network_boxes(images: Sequence[int]) -> NDArray[np.float32]:
    """The true boxes of some images as centre boxes in network pixels."""
    boxes = [Letterbox.fit(SHAPES[i], (SIZE, SIZE)).to_target(np.array(TRUTH[i][1])) for i in images]
    low, high = np.array(boxes)[:, :2], np.array(boxes)[:, 2:]
    return np.concatenate(((low + high) / 2, high - low), axis=1)


def loader(batch: int = 2) -> list[Batch]:
    batches = []
    for start in range(0, len(SHAPES), batch):
        part = list(range(start, min(start + batch, len(SHAPES))))
        images = torch.full((len(part), 3, SIZE, SIZE), 90, dtype=torch.uint8)
        images[:, 0] = torch.tensor(part)[:, None, None]  # lets `Oracle` know which image it sees
        rows = [
            [i, TRUTH[image][0], *box]
            for i, (image, box) in enumerate(zip(part, network_boxes(part) / SIZE, strict=True))
        ]
        batches.append(
            Batch(
                images,
                torch.tensor(np.array(rows), dtype=torch.float32),
                tuple(f"folder/image_{i}.png" for i in part),
                torch.tensor([SHAPES[i] for i in part]),
            )
        )
    return batches


class Oracle(torch.nn.Module):
    """Answers with the truth, and with the box of image `wrong` in a place where nothing is."""

    def __init__(self, classes: int = 3, wrong: int | None = None) -> None:
        super().__init__()
        self.classes, self.wrong = classes, wrong

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        assert not self.training
        assert 0 <= images.min() <= images.max() <= 1
        raw = torch.zeros(len(images), 4 + self.classes, 7)
        for i, image in enumerate((images[:, 0, 0, 0] * 255).round().int().tolist()):
            raw[i, :4, 2] = torch.from_numpy(network_boxes([image])[0])
            raw[i, 4 + min(TRUTH[image][0], self.classes - 1), 2] = 0.9 - image / 100
            if image == self.wrong:
                raw[i, :4, 2] = torch.tensor([5.0, 5.0, 4.0, 4.0])
        return raw


class OracleWithLoss(Oracle):
    def with_loss(self, images: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        assert targets.shape[1] == 6
        return self(images), torch.tensor([1.0, 2.0, 3.0, 0.5]) * len(images)


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_perfect_detections_in_original_pixels(batch: int) -> None:
    model = Oracle().train()
    result = YOLOEvaluator(model, class_names=NAMES).evaluate_dataset(loader(batch), progress=False)
    assert result.overall_metrics["map50"] == pytest.approx(1.0)
    assert result.overall_metrics["map50_95"] == pytest.approx(1.0)
    assert (result.totals.images, result.totals.boxes, result.totals.detections) == (5, 5, 5)
    assert set(result.totals.seconds) == {"inference", "nms", "matching"}
    assert all(seconds > 0 for seconds in result.totals.seconds.values())
    assert result.class_metrics["square"].boxes == 3
    assert math.isnan(result.class_metrics["never"].ap50)
    assert "loss" not in result.overall_metrics
    assert result.files == {}
    assert model.training, "the model is handed back in the mode it had"


def test_a_wrong_box_costs_its_class_only() -> None:
    result = YOLOEvaluator(Oracle(wrong=0), class_names=NAMES).evaluate_dataset(loader(), progress=False)
    assert result.class_metrics["square"].ap50 == pytest.approx(1.0)
    assert 0 < result.class_metrics["disc"].ap50 < 0.6


def test_the_confusion_matrix_counts_what_is_taken_for_what() -> None:
    perfect = YOLOEvaluator(Oracle(), class_names=NAMES).evaluate_dataset(loader(), progress=False)
    np.testing.assert_array_equal(perfect.confusion.matrix, np.diag([2, 3, 0, 0]))
    wrong = YOLOEvaluator(Oracle(wrong=0), class_names=NAMES).evaluate_dataset(loader(), progress=False)
    np.testing.assert_array_equal(
        wrong.confusion.matrix, [[1, 0, 0, 1], [0, 3, 0, 0], [0, 0, 0, 0], [1, 0, 0, 0]]
    )


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_loss_is_that_of_all_images_together(batch: int) -> None:
    model = OracleWithLoss()
    result = YOLOEvaluator(model, class_names=NAMES).evaluate_dataset(loader(batch), progress=False)
    got = [result.overall_metrics[name] for name in ("box", "cls", "dfl", "loss")]
    assert got == pytest.approx([2.0, 4.0, 6.0, 12.0])  # five images' sums over five images' weights


def test_table_and_dict_show_every_class() -> None:
    result = YOLOEvaluator(Oracle(), class_names=NAMES).evaluate_dataset(loader(), progress=False)
    lines = result.table().splitlines()
    assert lines[0].split() == ["class", "images", "boxes", "P", "R", "mAP50", "mAP50-95"]
    assert [line.split()[0] for line in lines[1:]] == ["all", *NAMES]
    assert lines[-1].split()[-2:] == ["-", "-"], "no figure where there is no ground truth"
    assert len({len(line) for line in lines}) == 1, "the columns line up"
    plain = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert plain["classes"]["never"]["ap50"] is None
    assert plain["overall"]["map50"] == pytest.approx(1.0)


def test_coco_figures_are_the_same_in_table_dict_and_metrics() -> None:
    result = YOLOEvaluator(Oracle(wrong=2), class_names=NAMES).evaluate_dataset(loader(), progress=False)
    names = ["AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl"]
    assert list(result.coco) == names
    assert list(result.coco.values()) == result.metrics.stats.tolist()
    assert result.coco["AP50"] == result.overall_metrics["map50"] < 1
    assert result.coco["APl"] == -1, "no box is large"
    head, *lines = (line.split() for line in result.coco_table().splitlines())
    assert head == ["COCO", "IoU", "area", "max", "dets", "value"]
    assert [line[0] for line in lines] == names
    assert [line[-1] for line in lines] == [f"{value:.3f}" for value in result.metrics.stats]
    assert lines[7][1:4] == ["0.50:0.95", "all", "10"]
    assert json.loads(json.dumps(result.to_dict()))["coco"] == result.coco


def test_figures_do_not_depend_on_the_batches() -> None:
    whole, *parts = (
        YOLOEvaluator(Oracle(wrong=0), class_names=NAMES).evaluate_dataset(loader(batch), progress=False)
        for batch in (5, 2, 1)
    )
    assert 0 < whole.coco["AP"] < 1
    for part in parts:
        assert part.coco == whole.coco
        assert part.class_metrics["disc"] == whole.class_metrics["disc"]


def test_saved_predictions_are_coco_results(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    folder = tmp_path / "new" / "evaluation"
    evaluator = YOLOEvaluator(Oracle(), class_names=NAMES)
    result = evaluator.evaluate_dataset(loader(), save_predictions=True, save_dir=folder, progress=False)
    entries = json.loads((folder / "predictions.json").read_text(encoding="utf-8"))
    assert [e["image_id"] for e in entries] == [1, 2, 3, 4, 5]
    assert [e["file_name"] for e in entries] == [f"image_{i}.png" for i in range(5)]
    for entry, (label, (x1, y1, x2, y2)) in zip(entries, TRUTH, strict=True):
        assert set(entry) == {"image_id", "category_id", "bbox", "score", "file_name"}
        assert entry["category_id"] == label + 1, "categories count from 1, as in COCO"
        assert entry["bbox"] == pytest.approx([x1, y1, x2 - x1, y2 - y1], abs=0.01)
    assert np.float32(entries[0]["score"]) == np.float32(0.9)
    names = {"predictions.json", "metrics.json", "predictions.jpg", "pr_curves.png", "curves.png"}
    names |= {"confusion_matrix.png", "confusion_counts.png"}
    assert {p.name for p in folder.iterdir()} == names
    assert set(result.files.values()) == set(folder.iterdir())


def test_without_pictures_only_json_is_written(tmp_path: Path) -> None:
    evaluator = YOLOEvaluator(Oracle(), class_names=NAMES)
    result = evaluator.evaluate_dataset(
        loader(), save_predictions=True, save_dir=tmp_path, progress=False, plots=False
    )
    assert set(result.files.values()) == set(tmp_path.iterdir())
    assert {path.name for path in tmp_path.iterdir()} == {"predictions.json", "metrics.json"}


def test_images_of_a_file_keep_their_ids_in_any_order(tmp_path: Path) -> None:
    ids = {f"folder/image_{i}.png": 10 * i + 7 for i in range(5)}
    evaluator = YOLOEvaluator(Oracle(), class_names=NAMES)
    for name, batches in (("a", loader(2)), ("b", loader(2)[::-1])):
        evaluator.evaluate_dataset(batches, True, tmp_path / name, False, plots=False, image_ids=ids)
        entries = json.loads((tmp_path / name / "predictions.json").read_text())
        assert {e["file_name"]: e["image_id"] for e in entries} == {Path(p).name: i for p, i in ids.items()}


def test_an_image_in_place_of_an_unreadable_one_counts_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    once, again = loader(1), loader(1)
    evaluator = YOLOEvaluator(Oracle(wrong=0), class_names=NAMES)
    expected = evaluator.evaluate_dataset(once, progress=False)
    result = evaluator.evaluate_dataset([*again, again[0], again[3]], True, tmp_path, False, plots=False)
    assert result.coco == expected.coco
    assert (result.totals.images, result.totals.boxes) == (5, 5)
    assert len(json.loads((tmp_path / "predictions.json").read_text())) == 5
    assert "2 of 7 samples repeat an image" in caplog.text


def test_only_the_chosen_classes_are_evaluated() -> None:
    whole = YOLOEvaluator(Oracle(wrong=0), class_names=NAMES).evaluate_dataset(loader(), progress=False)
    part = YOLOEvaluator(Oracle(wrong=0), class_names=NAMES, classes=(1,)).evaluate_dataset(
        loader(), progress=False
    )
    assert part.class_metrics == {"square": whole.class_metrics["square"]}
    assert part.overall_metrics["map50_95"] == whole.class_metrics["square"].ap50_95
    assert (part.totals.boxes, part.totals.detections) == (3, 3)
    assert [line.split()[0] for line in part.table().splitlines()] == ["class", "all", "square"]
    assert part.confusion.matrix.sum() == 3
    with pytest.raises(DataError, match=r"classes: got \[3\], expected 0 to 2"):
        YOLOEvaluator(Oracle(), class_names=NAMES, classes=(3,))


def test_the_confusion_matrix_says_its_threshold_and_counts() -> None:
    """Scores of the oracle are 0.90, 0.89, ... 0.86."""
    usual = YOLOEvaluator(Oracle(), class_names=NAMES).evaluate_dataset(loader(), progress=False)
    assert usual.to_dict()["confusion"] == {
        "confidence": 0.25,
        "iou": 0.45,
        "classes": [*NAMES, "background"],
        "counts": [[2, 0, 0, 0], [0, 3, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]],
    }
    strict = YOLOEvaluator(Oracle(), class_names=NAMES, conf=0.875).evaluate_dataset(loader(), progress=False)
    assert strict.confusion.thresholds == "confidence 0.875 and IoU 0.45"
    assert (np.trace(strict.confusion.matrix), strict.totals.detections) == (3, 3)


def judged(batches: Sequence[Batch], folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[JudgedImage]:
    """What goes into predictions.jpg."""
    seen: list[JudgedImage] = []
    target = "yolofast.evaluate.evaluator.plot_errors"
    monkeypatch.setattr(target, lambda images, *rest, **more: seen.extend(images))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)  # no matplotlib: no other pictures
    YOLOEvaluator(Oracle(wrong=0), class_names=NAMES).evaluate_dataset(batches, True, folder, progress=False)
    return seen


def test_images_that_are_scaled_already_are_taken_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scaled = [replace(batch, images=batch.images.float() / 255) for batch in loader()]
    for one, other in zip(
        judged(scaled, tmp_path, monkeypatch), judged(loader(), tmp_path, monkeypatch), strict=True
    ):
        assert one.image.dtype == np.uint8
        np.testing.assert_array_equal(one.image, other.image)


def test_the_picture_shows_the_worst_first_without_padding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wide, *others = judged(loader()[::-1], tmp_path, monkeypatch)
    assert wide.title == "image_0.png", "the one with a wrong box"
    assert wide.image.shape == (24, 96, 3)
    np.testing.assert_allclose(wide.missed.boxes, [[5, 2, 15, 20]], atol=1e-3)
    assert (len(wide.right), len(wide.wrong)) == (0, 1)
    for image in others:
        assert (len(image.right), len(image.wrong), len(image.missed)) == (1, 0, 0)


def test_an_interrupted_evaluation_leaves_no_file(tmp_path: Path) -> None:
    model = Oracle().train()

    def broken_loader() -> object:
        yield loader()[0]
        raise RuntimeError("disk gone")

    evaluator = YOLOEvaluator(model, class_names=NAMES)
    with pytest.raises(RuntimeError, match="disk gone"):
        evaluator.evaluate_dataset(broken_loader(), save_predictions=True, save_dir=tmp_path, progress=False)
    assert not list(tmp_path.iterdir())
    assert model.training


def test_bad_input_is_one_clear_error(tmp_path: Path) -> None:
    good = YOLOEvaluator(Oracle(), class_names=NAMES)
    with pytest.raises(DataError, match="no images"):
        good.evaluate_dataset([], progress=False)
    with pytest.raises(DataError, match="save_dir"):
        good.evaluate_dataset(loader(), save_predictions=True, progress=False)
    (tmp_path / "file").write_text("mine")
    with pytest.raises(DataError, match="cannot be written"):
        good.evaluate_dataset(loader(), True, tmp_path / "file", progress=False)
    with pytest.raises(DataError, match="predicts 5 classes, but the dataset has 3"):
        YOLOEvaluator(Oracle(5), class_names=NAMES).evaluate_dataset(loader(), progress=False)
    with pytest.raises(DataError, match=r"image_1\.png.*class 1, expected 0 to 0"):
        YOLOEvaluator(Oracle(1), class_names=("disc",)).evaluate_dataset(loader(1), progress=False)


@pytest.mark.parametrize("half", [False, True])
def test_a_real_model_runs(half: bool, tmp_path: Path) -> None:
    model = build_model("p", 3, class_names=NAMES, seed=0)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    result = YOLOEvaluator(model, class_names=NAMES, conf=1e-6, half=half).evaluate_dataset(
        loader(), save_predictions=True, save_dir=tmp_path, progress=False, plots=False
    )
    assert result.totals.detections > 0
    assert math.isfinite(result.overall_metrics["loss"])
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(value.dtype == before[name].dtype for name, value in model.state_dict().items())
