"""predictions.json beside the ground truth that `convert` writes: COCO's own tools say what `val` says."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from yolofast.config import YOLOConfig
from yolofast.evaluate import evaluate_coco
from yolofast.pipeline import evaluate_run
from yolofast.prepare import convert_dataset
from yolofast.sample import CLASSES


class Roughly(torch.nn.Module):
    """Knows the labels, and is a little wrong: shifted boxes, missed objects, confused classes."""

    class_names = CLASSES

    def with_loss(self, images: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        height, width = images.shape[2:]
        raw = torch.zeros(len(images), 4 + len(CLASSES), 64)
        for row, (sample, label, *box) in enumerate(targets.tolist()):
            luck = np.random.default_rng([round(1e6 * value) for value in box])
            if luck.random() < 0.15:
                continue
            label = int(label) if luck.random() < 0.85 else (int(label) + 1) % len(CLASSES)
            sides = np.array(box) * [width, height, width, height] * luck.uniform(0.9, 1.1, 4)
            raw[int(sample), :4, row % 64] = torch.tensor(sides, dtype=torch.float32)
            raw[int(sample), 4 + label, row % 64] = luck.uniform(0.1, 0.9)
        return raw, torch.ones(4)


@pytest.fixture
def dataset(sample_yolo: Path, tmp_path: Path) -> Path:
    """A validation split in two folders with equal names, one image that is none and one that is cut."""
    root = tmp_path / "set"
    shutil.copytree(sample_yolo.parent, root)
    images = sorted((root / "valid" / "images").iterdir())
    (root / "more" / "images").mkdir(parents=True)
    (root / "more" / "labels").mkdir()
    for image, other in zip(images[:4], images[4:], strict=True):
        label = root / "valid" / "labels" / f"{other.stem}.txt"
        label.rename(root / "more" / "labels" / f"{image.stem}.txt")
        other.rename(root / "more" / "images" / image.name)
    images[1].write_bytes(b"not an image")
    cut = cv2.imread(str(images[2]))
    data = cv2.imencode(".jpg", cut)[1].tobytes()
    images[2].unlink()
    images[2].write_bytes(data[: len(data) * 2 // 3])
    text = (root / "data.yaml").read_text()
    (root / "data.yaml").write_text(text.replace("val: valid/images", "val: [valid/images, more/images]"))
    return root


def test_ids_and_categories_fit_the_converted_ground_truth(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rectangular batches have their images in another order than the files."""
    monkeypatch.setattr("yolofast.models.load_weights", lambda path: Roughly())
    truth = convert_dataset(dataset, to="coco").root / "annotations" / "instances_val.json"
    config = YOLOConfig().replace(data=dataset, imgsz=320, batch=3, rect=True, workers=0, device="cpu")
    out = tmp_path / "val"
    evaluation = evaluate_run(Path("w"), config, split="val", save_dir=out)
    assert evaluation.totals.images == 6, "neither of the bad images, and none twice"
    assert 0.1 < evaluation.overall_metrics["map50"] < 0.9

    # The cut image is in the ground truth, without detections: leave its objects out.
    document = json.loads(truth.read_text())
    results = json.loads((out / "predictions.json").read_text())
    done = {entry["image_id"] for entry in results}
    images = {image["id"]: image for image in document["images"]}
    assert len(images) == 7
    assert set(images) < set(range(1, 9)), "an image that is left out keeps its number"
    assert {e["file_name"][:10] for e in results} == {images[i]["file_name"][:10] for i in done}
    document["annotations"] = [a for a in document["annotations"] if a["image_id"] in done]
    stats = evaluate_coco(document, out / "predictions.json").stats
    np.testing.assert_allclose(stats, evaluation.metrics.stats, atol=1e-6)

    coco = pytest.importorskip("pycocotools.coco")
    judge = pytest.importorskip("pycocotools.cocoeval")
    with contextlib.redirect_stdout(io.StringIO()):
        ground_truth = coco.COCO()
        ground_truth.dataset = document
        ground_truth.createIndex()
        theirs = judge.COCOeval(ground_truth, ground_truth.loadRes(str(out / "predictions.json")), "bbox")
        theirs.evaluate()
        theirs.accumulate()
        theirs.summarize()
    np.testing.assert_allclose(theirs.stats, evaluation.metrics.stats, atol=1e-6)
    assert json.loads((out / "metrics.json").read_text())["coco"]["AP"] == pytest.approx(theirs.stats[0])
