"""Prediction on arrays and files: the network sees the pixels of the same image as a PNG file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from yolofast.errors import DataError, DatasetNotFoundError, ImageError
from yolofast.predict import open_source, predict


class Watcher(torch.nn.Module):
    """Keeps what it was given, and finds nothing."""

    class_names = ("a", "b")

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[torch.Tensor] = []

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.seen.append(images.clone())
        return torch.zeros(len(images), 4 + 2, 3)


def noise(height: int, width: int) -> np.ndarray:
    """As smooth as a photograph."""
    levels = np.random.default_rng(height).integers(0, 256, (height, width, 3), np.uint8)
    return cv2.GaussianBlur(levels, (0, 0), 3)


def written(path: Path, image: np.ndarray) -> Path:
    cv2.imwrite(str(path), image[:, :, ::-1])
    return path


@pytest.mark.parametrize("rect", [False, True])
@pytest.mark.parametrize("shape", [(64, 100), (301, 127), (20, 33)])
def test_an_array_gives_the_pixels_of_its_png(tmp_path: Path, shape: tuple[int, int], rect: bool) -> None:
    image = noise(*shape)
    planes = torch.from_numpy(image).permute(2, 0, 1)
    model = Watcher()
    path = written(tmp_path / "a.png", image)
    results = [
        result
        for source in (path, image, planes, planes.float() / 255, planes[None])
        for result in predict(model, source, imgsz=96, rect=rect, device="cpu")
    ]
    assert [result.path for result in results] == [str(path)] + ["image0"] * 4
    for seen, result in zip(model.seen, results, strict=True):
        assert torch.equal(seen, model.seen[0])
        assert np.array_equal(result.image, image)
        assert result.names == ("a", "b")


def test_files_and_arrays_mix_in_order_and_a_bad_file_is_skipped(tmp_path: Path) -> None:
    good = written(tmp_path / "good.png", noise(30, 40))
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no image")
    errors: list[tuple[Path, ImageError]] = []
    found = predict(
        Watcher(),
        [good, noise(10, 10), bad, good],
        imgsz=32,
        device="cpu",
        batch=2,
        on_error=lambda path, error: errors.append((path, error)),
    )
    assert [result.path for result in found] == [str(good), "image1", str(good)]
    assert [path for path, _ in errors] == [bad]


def test_lists_and_patterns_name_files(tmp_path: Path) -> None:
    files = [written(tmp_path / f"{name}.png", noise(8, 8)) for name in "ab"]
    listed = tmp_path / "list.txt"
    listed.write_text("b.png\n\na.png\n")
    assert [picture for _, picture in open_source(str(tmp_path / "*.png"))] == files
    assert [picture for _, picture in open_source(listed)] == files[::-1]
    assert [picture for _, picture in open_source(tmp_path)] == files


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (np.zeros((4, 4, 3)), r"float64 \[4, 4, 3\], expected uint8"),
        (np.zeros((4, 4, 4), np.uint8), r"uint8 \[4, 4, 4\]"),
        (torch.full((3, 4, 4), 2.0), r"in 2\.\.2, expected floats in 0\.\.1"),
        (torch.zeros(4, 4, 3), r"expected \[3, H, W\]"),
        (torch.zeros(3, 4, 4, dtype=torch.int64), "expected uint8 or float"),
        ([], "at least one"),
        (object(), "got object"),
    ],
)
def test_a_wrong_source_is_named(source: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        open_source(source)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetNotFoundError, match="pattern"):
        open_source(tmp_path / "*.png")


def test_a_slice_of_a_source_is_a_source(tmp_path: Path) -> None:
    for number in range(3):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.full((8, 8, 3), number, np.uint8))
    whole = open_source(tmp_path)
    assert open_source(whole[:2]) == whole[:2] == list(whole)[:2]
    assert open_source([whole[1:], tmp_path / "0.png"]) == [*list(whole)[1:], whole[0]]


def test_lines_with_a_scheme_are_urls(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("https://example.org/a.jpg\nrtsp://me:secret@host/x\n")
    with pytest.raises(DataError, match="beside 1 others") as refused:
        open_source(tmp_path / "list.txt")
    assert "secret" not in str(refused.value)
    (tmp_path / "list.txt").write_text("http://\n")
    with pytest.raises(DataError, match="expected a URL"):
        open_source(tmp_path / "list.txt")


def test_a_name_that_is_too_long_is_no_file() -> None:
    with pytest.raises(DatasetNotFoundError, match="too long"):
        open_source("a" * 300)


def test_a_url_alone_that_cannot_be_read_reaches_on_error() -> None:
    seen: list[object] = []
    address = "http://127.0.0.1:9/x.jpg"
    found = predict(Watcher(), address, imgsz=64, on_error=lambda name, _: seen.append(name))
    assert list(found) == []
    assert seen == ["http://127.0.0.1:9/x.jpg"]
