"""Prediction: boxes in each file's own pixels, a plot of its own for each file, and bad files are named."""

from __future__ import annotations

import json
import weakref
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from support.dataset_files import write_image
from support.weights_files import write_unsure_weights

from yolofast.errors import ConfigError, DataError, ImageError
from yolofast.images import read_image
from yolofast.predict import batches, class_numbers, images_of, predict, predict_images, predict_run


class WhiteFinder(torch.nn.Module):
    """Detects the bounding box of the white pixels, so a prediction can be checked against the picture."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        assert not self.training
        raw = torch.zeros(len(images), 4 + 2, 3)
        for i, image in enumerate(images):
            y, x = torch.nonzero(image.amin(0) > 0.9, as_tuple=True)
            low, high = torch.stack((x.min(), y.min())), torch.stack((x.max(), y.max())) + 1
            raw[i, :4, 1] = torch.cat(((low + high) / 2, high - low))
            raw[i, 5, 1] = 0.9
        return raw


def picture(path: Path, width: int, height: int, box: tuple[int, int, int, int]) -> Path:
    image = np.full((height, width, 3), 40, np.uint8)
    image[box[1] : box[3], box[0] : box[2]] = 255
    cv2.imwrite(str(path), image)
    return path


SHAPES = {
    "wide.png": (320, 160, (40, 20, 120, 100)),
    "tall.png": (96, 200, (10, 100, 90, 180)),
    "small.png": (40, 40, (8, 8, 32, 24)),
}


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    return [picture(tmp_path / name, *shape) for name, shape in SHAPES.items()]


@pytest.mark.parametrize("rect", [False, True])
@pytest.mark.parametrize("batch", [1, 2, 16])
def test_boxes_are_in_pixels_of_the_file(files: list[Path], batch: int, rect: bool) -> None:
    model = WhiteFinder().train()
    found = list(predict_images(model, files, imgsz=160, batch=batch, rect=rect))
    assert [path for path, _ in found] == files
    for (path, detections), (width, height, box) in zip(found, SHAPES.values(), strict=True):
        assert read_image(path).shape == (height, width, 3)
        slack = max(width, height) / 160 + 0.5  # a pixel of the network's input
        np.testing.assert_allclose(detections.boxes, [box], atol=slack)
        assert detections.classes.tolist() == [1]
        assert detections.scores == pytest.approx(0.9)
    assert model.training, "the model is handed back in the mode it had"


def test_unreadable_images_are_reported_and_the_others_go_on(
    files: list[Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    broken, missing = tmp_path / "broken.jpg", tmp_path / "missing.png"
    broken.write_bytes(b"not a picture")
    paths = [broken, files[0], missing, files[1]]
    found = list(predict_images(WhiteFinder(), paths, imgsz=64, batch=1))
    assert [path for path, _ in found] == files[:2]
    assert "broken.jpg" in caplog.text
    assert "missing.png" in caplog.text

    reported: list[tuple[Path, ImageError]] = []
    list(predict_images(WhiteFinder(), paths, imgsz=64, on_error=lambda *e: reported.append(e)))
    assert [path for path, _ in reported] == [broken, missing]


def test_pictures_are_drawn_beside_each_other_and_sources_stay(
    files: list[Path], weights: Path, tmp_path: Path
) -> None:
    twin = tmp_path / "other" / "wide.png"
    twin.parent.mkdir()
    twin.write_bytes(files[0].read_bytes())
    paths = [*files, twin]
    before = {path: path.read_bytes() for path in paths}
    out = tmp_path / "drawn"
    list(predict_run(weights, paths, out, imgsz=64, device="cpu"))
    names = ["detections.json", "small.png", "tall.png", "wide-2.png", "wide.png"]
    assert sorted(p.name for p in out.iterdir()) == names
    assert max(read_image(out / "small.png").shape) >= 600, "small pictures are enlarged"
    assert {path: path.read_bytes() for path in paths} == before
    with pytest.raises(DataError, match="never written to"):
        list(predict_run(weights, files, tmp_path, imgsz=64, device="cpu"))


def test_few_images_are_held_at_full_size(files: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is that of four batches of originals, however many images there are."""
    alive: list[weakref.ref[np.ndarray]] = []
    most = 0

    def read(path: Path) -> np.ndarray:
        nonlocal most
        image = read_image(path)
        alive.append(weakref.ref(image))
        most = max(most, sum(each() is not None for each in alive))
        return image

    monkeypatch.setattr(batches, "read_image", read)
    found = predict(WhiteFinder(), files * 20, imgsz=64, batch=2, device="cpu")
    assert sum(1 for _ in found) == 60
    assert len(alive) == 60
    assert most <= 4 * 2 + 1, "the last result is still held by the one who had it"
    monkeypatch.setattr(batches, "BATCH_PIXELS", 1)  # as if each image were very large
    alive.clear()
    most = 0
    assert sum(1 for _ in predict(WhiteFinder(), files * 20, imgsz=64, batch=16, device="cpu")) == 60
    assert most <= 5


def test_augmented_prediction_finds_each_object_once(files: list[Path]) -> None:
    plain = list(predict(WhiteFinder(), files, imgsz=160, device="cpu"))
    augmented = list(predict(WhiteFinder(), files, imgsz=160, device="cpu", augment=True))
    for one, other in zip(plain, augmented, strict=True):
        assert len(one) == len(other) == 1
        np.testing.assert_allclose(one.boxes.xyxy, other.boxes.xyxy, atol=6)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of size p with the classes cat and dog, whose scores are all about one half."""
    return write_unsure_weights(tmp_path_factory.mktemp("weights") / "w.safetensors", ("cat", "dog"))


def test_images_that_failed_are_in_the_result_with_the_reason(
    files: list[Path], weights: Path, tmp_path: Path
) -> None:
    cut = cv2.imencode(".jpg", np.full((90, 120, 3), 80, np.uint8))[1].tobytes()
    (tmp_path / "cut.jpg").write_bytes(cut[: len(cut) // 2])
    (tmp_path / "no.jpg").write_bytes(b"not a picture")
    out = tmp_path / "out"
    result = list(predict_run(weights, tmp_path, out, imgsz=64, conf=0.1, device="cpu", batch=2))
    assert json.loads((out / "detections.json").read_text()) == result
    assert [Path(entry["path"]).name for entry in result] == [
        *("cut.jpg", "no.jpg", "small.png", "tall.png", "wide.png")
    ]
    assert "cannot decode JPEG" in result[0]["error"]
    assert "not an image, or damaged" in result[1]["error"]
    for entry in result[:2]:
        assert entry["detections"] == []
        assert entry["path"] not in entry["error"], "the path is said once"
    assert all(entry["error"] is None and entry["detections"] for entry in result[2:])
    assert sorted(p.name for p in out.iterdir()) == [
        *("detections.json", "small.png", "tall.png", "wide.png")
    ]
    for path in files:
        path.unlink()
    with pytest.raises(DataError, match=r"none of the 2 images could be read. The first: .*cut\.jpg"):
        list(predict_run(weights, tmp_path, tmp_path / "none", imgsz=64, device="cpu"))
    assert len(json.loads((tmp_path / "none" / "detections.json").read_text())) == 2


def test_only_the_chosen_classes_are_detected(files: list[Path], weights: Path, tmp_path: Path) -> None:
    settings = {"imgsz": 64, "conf": 0.1, "device": "cpu", "max_det": 5}
    for chosen, name in ((("dog",), "dog"), (("0",), "cat")):
        result = list(predict_run(weights, files[0], tmp_path / name, classes=chosen, **settings))
        assert [found["name"] for found in result[0]["detections"]] == [name] * 5
    assert class_numbers(("dog", "0"), ("cat", "dog")) == [1, 0]
    with pytest.raises(ConfigError, match=r"classes: got 'dig', .* \(cat, dog\)\. Did you mean 'dog'\?"):
        list(predict_run(weights, files[0], tmp_path / "x", classes=("dig",), **settings))
    with pytest.raises(ConfigError, match="classes: got '2'"):
        class_numbers(("2",), ("cat", "dog"))
    assert not (tmp_path / "x").exists()


def test_images_that_are_not_read_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_image(tmp_path / "a.jpg")
    (tmp_path / "b.heic").write_bytes(b"x")
    assert images_of(tmp_path) == [tmp_path / "a.jpg"]
    assert "b.heic" in caplog.text
