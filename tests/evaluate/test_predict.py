"""predict_images: boxes in each file's own pixels; a bad file does not stop the others."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from yolofast.errors import DataError, ImageError
from yolofast.evaluate import predict_images
from yolofast.images import read_image


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


@pytest.mark.parametrize("batch", [1, 2, 16])
def test_boxes_are_in_pixels_of_the_file(files: list[Path], batch: int) -> None:
    model = WhiteFinder().train()
    found = list(predict_images(model, files, imgsz=160, batch=batch))
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


def test_pictures_are_drawn_beside_each_other_and_sources_stay(files: list[Path], tmp_path: Path) -> None:
    twin = tmp_path / "other" / "wide.png"
    twin.parent.mkdir()
    twin.write_bytes(files[0].read_bytes())
    before = {path: path.read_bytes() for path in [*files, twin]}
    out = tmp_path / "drawn"
    paths = [*files, twin]
    list(predict_images(WhiteFinder(), paths, imgsz=64, save_dir=out, class_names=("a", "b")))
    assert sorted(p.name for p in out.iterdir()) == ["small.png", "tall.png", "wide-2.png", "wide.png"]
    assert max(read_image(out / "small.png").shape) >= 600, "small pictures are enlarged"
    assert {path: path.read_bytes() for path in paths} == before
    with pytest.raises(DataError, match="never written to"):
        list(predict_images(WhiteFinder(), files, imgsz=64, save_dir=tmp_path, class_names=("a", "b")))
