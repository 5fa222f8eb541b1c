"""YOLODataset: labels stay on their objects whatever the augmentation does, and samples repeat."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from support.dataset_files import write_yolo

from yolofast.config import AugmentConfig, YOLOConfig
from yolofast.errors import ConfigError, DataError
from yolofast.load import (
    LazyDataset,
    YOLODataset,
    create_dataloader,
    create_loader,
    stream_process_dataset,
)
from yolofast.load.tensors import collate

RED = np.array([230, 20, 30])


@pytest.fixture(scope="module")
def red_boxes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """data.yaml of 12 gray images of odd sizes, each with one red rectangle that is its only label."""
    root = tmp_path_factory.mktemp("red")
    rng = np.random.default_rng(0)
    for folder in ("images", "labels"):
        (root / "train" / folder).mkdir(parents=True)
    for number in range(12):
        height, width = (int(v) for v in rng.integers(90, 400, size=2))
        image = np.full((height, width, 3), 60, dtype=np.uint8)
        x0, x1 = np.sort(rng.choice(np.arange(4, width - 4), 2, replace=False))
        y0, y1 = np.sort(rng.choice(np.arange(4, height - 4), 2, replace=False))
        x1, y1 = max(x1, x0 + 30), max(y1, y0 + 30)
        x1, y1 = min(x1, width), min(y1, height)
        image[y0:y1, x0:x1] = RED
        form = ".png" if number % 3 == 0 else ".jpg"
        path = root / "train" / "images" / f"{number}{form}"
        assert cv2.imwrite(str(path), image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 98])
        box = (x0 + x1) / 2 / width, (y0 + y1) / 2 / height, (x1 - x0) / width, (y1 - y0) / height
        label = root / "train" / "labels" / f"{number}.txt"
        label.write_text("0 " + " ".join(f"{v:.9f}" for v in box) + "\n")
    (root / "data.yaml").write_text("path: .\ntrain: train/images\nval: train/images\nnames: [red]\n")
    return root / "data.yaml"


@pytest.mark.parametrize("cache", ["none", "ram"])
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
def test_pictures_of_all_formats_are_turned_with_their_boxes(
    tmp_path: Path, suffix: str, cache: Literal["none", "ram"]
) -> None:
    """Boxes are those of the upright picture, as viewers and labelling tools show it."""
    upright = np.full((60, 30, 3), 60, dtype=np.uint8)
    upright[40:60, 0:30] = RED
    exif = Image.Exif()
    exif[0x0112] = 6
    options: dict[str, Any] = {"tiffinfo": {274: 6}} if suffix == "tif" else {"exif": exif}
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
    Image.fromarray(np.ascontiguousarray(np.rot90(upright))).save(tmp_path / f"images/a.{suffix}", **options)
    (tmp_path / "labels/a.txt").write_text("0 0.5 0.833333 1 0.333333\n")
    (tmp_path / "data.yaml").write_text("path: .\ntrain: images\nval: images\nnames: [red]\n")
    sample = YOLODataset(tmp_path / "data.yaml", "train", imgsz=60, cache=cache)[0]
    assert sample.shape == (60, 30)
    left, top, right, bottom = 15, 40, 45, 60
    assert red_mask(sample.image)[top + 3 : bottom - 3, left + 3 : right - 3].all()
    assert not red_mask(sample.image)[: top - 3].any()
    np.testing.assert_allclose(sample.labels[0, 1:], [0.5, 50 / 60, 0.5, 20 / 60], atol=1e-4)


def red_mask(image: NDArray[np.uint8]) -> NDArray[np.bool_]:
    red, green, blue = image.astype(int)
    return (red - np.maximum(green, blue)) > 60


PLAIN = {"hsv_h": 0, "hsv_s": 0, "hsv_v": 0}


@pytest.mark.parametrize(
    ("augment", "looseness"),
    [
        (None, 0.0),
        (AugmentConfig.none(), 0.0),
        (AugmentConfig(**PLAIN, mosaic=0, fliplr=1, flipud=1, scale=0.3), 0.0),
        (AugmentConfig(**PLAIN, mosaic=1, scale=0.3), 0.0),
        (AugmentConfig(**PLAIN, mosaic=0, degrees=20, shear=5, translate=0.05, scale=0.1), 0.35),
    ],
    ids=["letterbox", "no-op", "flips", "mosaic", "rotation"],
)
def test_labels_lie_on_their_objects(
    red_boxes: Path, augment: AugmentConfig | None, looseness: float
) -> None:
    """Every red pixel is in a box; every box reaches its red pixels on all four sides.

    A turned rectangle touches its box with its corners only, and the frame may cut those off: then a
    side may be `looseness` of the box away.
    """
    size = 256
    dataset = YOLODataset(red_boxes, "train", imgsz=size, augment=augment, shuffle=augment is not None)
    boxes_seen = 0
    for sample in dataset:
        assert sample.image.shape == (3, size, size)
        mask = red_mask(sample.image)
        covered = np.zeros_like(mask)
        for _, cx, cy, w, h in sample.labels:
            x0, x1 = (cx - w / 2) * size, (cx + w / 2) * size
            y0, y1 = (cy - h / 2) * size, (cy + h / 2) * size
            inside = np.s_[max(0, int(y0 - 1)) : int(y1 + 2), max(0, int(x0 - 1)) : int(x1 + 2)]
            covered[inside] = True
            for axis, length in enumerate(mask[inside].shape):
                red = np.flatnonzero(mask[inside].any(1 - axis))
                assert red[0] <= 4 + looseness * length
                assert length - red[-1] <= 5 + looseness * length
            boxes_seen += 1
        # A sliver whose box was dropped by the visibility rule may stay red; nothing larger may.
        assert (mask & ~covered).sum() < 0.02 * size * size
    assert boxes_seen >= len(dataset)


def test_same_sample_again_and_another_one_next_epoch(red_boxes: Path) -> None:
    options = {"imgsz": 128, "augment": AugmentConfig(), "shuffle": True, "seed": 5}
    first, second = YOLODataset(red_boxes, "train", **options), YOLODataset(red_boxes, "train", **options)
    np.testing.assert_array_equal(first[3, 4].image, second[3, 4].image)
    np.testing.assert_array_equal(first[3, 4].labels, second[3, 4].labels)
    assert not np.array_equal(first[3, 4].image, first[4, 4].image)
    second.set_epoch(3)
    np.testing.assert_array_equal(first[3, 4].image, second[4].image)


def test_mosaic_closes_for_the_last_epochs(red_boxes: Path) -> None:
    augment = AugmentConfig(mosaic=1, scale=0, translate=0, close_mosaic=2)
    dataset = YOLODataset(red_boxes, "train", imgsz=128, augment=augment, epochs=10)
    assert max(len(dataset[7, i].labels) for i in range(12)) > 1
    assert max(len(dataset[8, i].labels) for i in range(12)) == 1


@pytest.mark.parametrize("workers", [0, 2])
def test_torch_loader_gives_the_same_samples_in_any_number_of_processes(
    red_boxes: Path, workers: int
) -> None:
    config = YOLOConfig().replace(data=red_boxes, imgsz=96, batch=5, workers=workers)
    loader = create_dataloader(config, "train")
    loader.set_epoch(2)
    batches = list(loader)
    dataset = YOLODataset(red_boxes, "train", imgsz=96, augment=config.augment, shuffle=True)
    expected = collate([dataset[2, i] for i in range(12)])
    assert [len(b) for b in batches] == [5, 5, 2]
    images = np.concatenate([b.images.numpy() for b in batches])
    np.testing.assert_array_equal(images, expected.images)
    targets = np.concatenate([b.targets.numpy() for b in batches])
    np.testing.assert_array_equal(targets[:, 1:], expected.targets[:, 1:])
    assert sum((b.paths for b in batches), ()) == expected.paths
    np.testing.assert_array_equal(np.concatenate([b.shapes.numpy() for b in batches]), expected.shapes)


def test_single_class_and_drop_last(red_boxes: Path) -> None:
    config = YOLOConfig().replace(
        data=red_boxes, imgsz=96, batch=5, workers=0, drop_last=True, single_cls=True
    )
    loader = create_dataloader(config, "train")
    assert len(loader) == 2
    assert loader.dataset.class_names == ("object",)
    assert len(create_dataloader(config, "valid", augment=False, shuffle=False)) == 3


def test_a_damaged_image_is_reported_once_and_replaced(
    red_boxes: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = red_boxes.parent / "train"
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
    whole = (source / "images" / "1.jpg").read_bytes()
    (tmp_path / "images" / "1.jpg").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "images" / "2.jpg").write_bytes((source / "images" / "2.jpg").read_bytes())
    for number in (1, 2):
        text = (source / "labels" / f"{number}.txt").read_text()
        (tmp_path / "labels" / f"{number}.txt").write_text(text)
    (tmp_path / "data.yaml").write_text("path: .\ntrain: images\nval: images\nnames: [red]\n")
    dataset = YOLODataset(tmp_path / "data.yaml", "train", imgsz=64, max_bad_share=0.5)
    damaged, good = dataset[0], dataset[1]
    np.testing.assert_array_equal(damaged.image, good.image)
    np.testing.assert_array_equal(damaged.labels, good.labels)
    assert (damaged.path, damaged.shape) == (good.path, good.shape)
    assert len(good.labels) == 1
    dataset[0]
    assert caplog.text.count("1.jpg") == 1
    assert len(dataset.bad_images) == 1
    assert (tmp_path / "images" / "1.jpg").read_bytes() == whole[: len(whole) // 2]


def test_a_split_without_any_box_is_reported(
    red_boxes: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "images").mkdir()
    source = red_boxes.parent / "train" / "images" / "1.jpg"
    (tmp_path / "images" / "1.jpg").write_bytes(source.read_bytes())
    (tmp_path / "data.yaml").write_text("path: .\ntrain: images\nval: images\nnames: [red]\n")
    assert len(YOLODataset(tmp_path / "data.yaml", "train", imgsz=64)[0].labels) == 0
    assert "no box for any of 1 images" in caplog.text


def test_missing_data_and_empty_split_are_clear(red_boxes: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"Add --data DATA\.yaml"):
        create_dataloader(YOLOConfig())
    (tmp_path / "images").mkdir()
    (tmp_path / "data.yaml").write_text("path: .\ntrain: images\nval: images\nnames: [red]\n")
    with pytest.raises(DataError, match="no "):
        YOLODataset(tmp_path / "data.yaml", "train")


def test_a_split_is_named_as_in_data_yaml_or_as_its_folder(tmp_path: Path) -> None:
    images = {
        f"{split}/images/{split}{i}.jpg": "0 0.5 0.5 0.1 0.1\n" for split in ("train", "val") for i in "ab"
    }
    data = write_yolo(tmp_path, images, "train: train\nval: val\nnames: [a]\n") / "data.yaml"
    expected = ["vala.jpg", "valb.jpg"]
    for split in ("val", "valid", "validation"):
        dataset = YOLODataset(data, split, imgsz=32)
        assert (dataset.split, [Path(path).name for path in dataset.paths]) == ("valid", expected)
        assert len(LazyDataset(data, split, imgsz=32)) == 2
        (batch,) = stream_process_dataset(data, split=split, imgsz=32)
        assert [Path(path).name for path in batch.paths] == expected
        config = YOLOConfig().replace(data=data, imgsz=32, batch=2, workers=0)
        assert [
            Path(path).name for path in next(iter(create_loader(config, split, False, False))).paths
        ] == expected
    with pytest.raises(
        ConfigError, match=r"split: got 'vla', expected train, val \(or valid\) or test.*'val'"
    ):
        YOLODataset(data, "vla")
    with pytest.raises(DataError, match="no 'test:' split; it has: train, valid"):
        YOLODataset(data, "test")
