"""One pixel path: the same image at the same size gives the same network input wherever it is used."""

from __future__ import annotations

import tempfile
import zlib
from pathlib import Path

import cv2
import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from support.coloured_dataset import KINDS, encoded, exif
from support.property_tests import examples

from yolofast.config import YOLOConfig
from yolofast.evaluate import YOLOEvaluator
from yolofast.formats.data_yaml import read_data_yaml
from yolofast.load import create_loader
from yolofast.pipeline import letterboxed_images
from yolofast.predict import predict_images

SIZE = 64


class Recorder(torch.nn.Module):
    """Detects nothing, and keeps what it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[torch.Tensor] = []

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.seen.extend(images.clone())
        return torch.zeros(len(images), 5, 3)


def busy_image(seed: int, height: int, width: int) -> NDArray[np.uint8]:
    """Edges and grain: two ways to reduce it give clearly different pixels."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (height // 8 + 1, width // 8 + 1, 3), dtype=np.uint8)
    image = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC).astype(int)
    grain = rng.integers(-20, 20, (height, width, 1))
    return (image + grain).clip(0, 255).astype(np.uint8)


def png_with_exif(data: bytes, orientation: int) -> bytes:
    """A PNG with an eXIf chunk, behind the header."""
    content = exif(orientation)[10:]
    chunk = b"eXIf" + content
    added = len(content).to_bytes(4, "big") + chunk + zlib.crc32(chunk).to_bytes(4, "big")
    return data[:33] + added + data[33:]


def image_file(seed: int, height: int, width: int, kind: str) -> bytes:
    """The bytes of a busy image as one of `KINDS`, or as 'png exif'."""
    if kind == "png exif":
        return png_with_exif(encoded(busy_image(seed, height, width), "png"), 6)
    return encoded(busy_image(seed, height, width), kind)


def write_images(root: Path, images: list[tuple[int, int, str]]) -> Path:
    """data.yaml of a dataset of `images`: (height, width, kind) of each."""
    (root / "images").mkdir(parents=True)
    for number, (height, width, kind) in enumerate(images):
        path = root / "images" / f"{number:03}.{'png' if 'png' in kind else 'jpg'}"
        path.write_bytes(image_file(number, height, width, kind))
    (root / "data.yaml").write_text("path: .\ntrain: images\nval: images\nnames: [thing]\n")
    return root / "data.yaml"


def inputs_of_val(data: Path, rect: bool, batch: int) -> dict[str, torch.Tensor]:
    """What the model sees of each path in an evaluation."""
    config = YOLOConfig().replace(data=data, imgsz=SIZE, batch=batch, rect=rect, workers=0, device="cpu")
    loader = create_loader(config, "valid", augment=False, shuffle=False)
    model = Recorder()
    YOLOEvaluator(model, class_names=("thing",)).evaluate_dataset(loader, progress=False)
    paths = [path for each in loader for path in each.paths]
    return dict(zip(paths, model.seen, strict=True))


sides = st.one_of(st.integers(2, 200), st.integers(60, 68), st.sampled_from([511, 512, 513, 1000, 1030]))
images = st.lists(st.tuples(sides, sides, st.sampled_from([*KINDS, "png exif"])), min_size=1, max_size=4)


@examples(40)
@given(images, st.booleans(), st.integers(1, 3))
def test_val_predict_and_export_see_the_same_pixels(
    shapes: list[tuple[int, int, str]], rect: bool, batch: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        data = write_images(Path(folder), shapes)
        evaluated = inputs_of_val(data, rect, batch)
        model = Recorder()
        found = predict_images(model, list(evaluated), imgsz=SIZE, batch=batch, rect=rect)
        for (path, _), predicted in zip(list(found), model.seen, strict=True):
            assert torch.equal(predicted, evaluated[str(path)])
        assert len(model.seen) == len(evaluated) == len(shapes)
        if not rect:
            exported = letterboxed_images(read_data_yaml(data), SIZE)
            for path, image in zip(sorted(evaluated), exported, strict=True):
                assert torch.equal(torch.from_numpy(image).float() / 255, evaluated[path])


def test_rectangular_prediction_pads_little(tmp_path: Path) -> None:
    data = write_images(tmp_path, [(100, 400, "420"), (100, 390, "png")])
    model = Recorder()
    list(predict_images(model, sorted((data.parent / "images").iterdir()), imgsz=128, rect=True))
    assert {tuple(image.shape) for image in model.seen} == {(3, 64, 160)}
