"""Datasets as they were described in public bug reports of other tools, each with what is right for it.

Every test makes the dataset of one report and looks at what `prepare` writes: images per split, class
names, boxes. The report is named in the test's docstring.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.dataset_files import coco_json, voc_xml, write_image, write_json, write_text, write_yolo

from yolofast.errors import DataError
from yolofast.formats.data_yaml import list_images, read_data_yaml
from yolofast.formats.yolo.split import iter_yolo_records
from yolofast.prepare import prepare_dataset
from yolofast.types import ImageRecord, PreparedDataset

ROW = "0 0.5 0.5 0.2 0.2\n"
ORIENTATION = 274


def records(done: PreparedDataset) -> dict[str, ImageRecord]:
    """The prepared images by file name."""
    data, found = read_data_yaml(done.data_yaml), {}
    for split in data.splits:
        for record, _ in iter_yolo_records(data, split):
            assert record is not None
            found[record.path.name] = record
    return found


def named(done: PreparedDataset) -> dict[str, list[str]]:
    """File name -> names of its boxes."""
    names = read_data_yaml(done.data_yaml).names
    return {name: [names[i] for i in record.classes] for name, record in records(done).items()}


def write_rotated(path: Path, width: int, height: int) -> None:
    """A JPEG stored as `width` x `height` whose EXIF says: turn by 90 degrees."""
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    pixels = np.random.default_rng(list(path.name.encode())).integers(0, 255, (height, width, 3), np.uint8)
    Image.fromarray(pixels).save(path, exif=exif)


def test_coco_states_the_raw_size_but_upright_boxes(tmp_path: Path) -> None:
    """label-studio#6608: width and height are those of the file, the boxes those of the upright picture."""
    images, annotations = [], []
    for i in range(4):
        write_rotated(tmp_path / "set/images" / f"{i}.jpg", 200, 100)
        images.append({"id": i, "file_name": f"images/{i}.jpg", "width": 200, "height": 100})
        box = [10, 120, 50, 60]  # outside of 200x100, inside of 100x200
        annotations.append({"id": i, "image_id": i, "category_id": 0, "bbox": box})
    content = {"images": images, "annotations": annotations, "categories": [{"id": 0, "name": "a"}]}
    write_json(tmp_path / "set/result.json", content)
    for record in records(prepare_dataset(tmp_path / "set")).values():
        assert (record.width, record.height) == (100, 200)
        np.testing.assert_allclose(record.boxes, [[10, 120, 60, 180]], atol=1e-4)


def test_coco_files_number_their_categories_otherwise(tmp_path: Path) -> None:
    """ISAT_with_segment_anything#36, EasyCV#37: B is 1 in train and 2 in val."""
    root = tmp_path / "set"
    for split, names in (("train", {0: "A", 1: "B", 2: "C"}), ("val", {0: "A", 1: "C", 2: "B"})):
        files = {f"{split}{i}.jpg": [(i, [10.0, 10.0, 20.0, 20.0])] for i in range(3)}
        for name in files:
            write_image(root / split / name)
        write_json(root / split / f"{split}_COCO.json", coco_json(files, names))
    assert named(prepare_dataset(root)) == {
        "train0.jpg": ["A"],
        "train1.jpg": ["B"],
        "train2.jpg": ["C"],
        "val0.jpg": ["A"],
        "val1.jpg": ["C"],
        "val2.jpg": ["B"],
    }


@pytest.mark.parametrize("filename", ["{}.jpg", "{}", "{}.xml", "C:\\pictures\\{}.png"])
def test_voc_filename_with_a_wrong_suffix(tmp_path: Path, filename: str) -> None:
    """cvat#54 (.jpg for a .png), label-studio#2360 (no suffix), X-AnyLabeling#1023 (.xml)."""
    for i in range(4):
        write_image(tmp_path / "set/JPEGImages" / f"{i}.png")
        xml = voc_xml([("a", 10, 10, 30, 30)], filename=filename.format(i))
        write_text(tmp_path / "set/Annotations" / f"{i}.xml", xml)
    assert sum(prepare_dataset(tmp_path / "set").boxes.values()) == 4


def test_voc_annotation_named_after_the_whole_image_name(tmp_path: Path) -> None:
    """PaddleDetection#1362: mixed_20.jpg.xml beside mixed_20.jpg."""
    for i in range(4):
        write_image(tmp_path / "set" / f"mixed_{i}.jpg")
        xml = voc_xml([("a", 10, 10, 30, 30)], filename=f"mixed_{i}.jpg")
        write_text(tmp_path / "set" / f"mixed_{i}.jpg.xml", xml)
    assert sum(prepare_dataset(tmp_path / "set").boxes.values()) == 4


def test_stems_with_dots(tmp_path: Path) -> None:
    """pylabel#49: image.webp.jpg has its labels in image.webp.txt."""
    write_yolo(tmp_path / "set", {f"images/{i}.webp.jpg": ROW for i in range(4)})
    done = prepare_dataset(tmp_path / "set")
    assert sum(done.boxes.values()) == 4


def test_one_label_file_for_two_hashed_images_is_given_to_neither(tmp_path: Path) -> None:
    """label-studio-converter#132: 0000_7436.jpeg and 0000_6dd1.jpeg, and one 0000.txt."""
    root = tmp_path / "set"
    write_yolo(root, {f"images/{i}.jpg": ROW for i in range(4)})
    for name in ("0000_7436.jpeg", "0000_6dd1.jpeg"):
        write_image(root / "images" / name)
    write_text(root / "labels/0000.txt", ROW)
    done = prepare_dataset(root)
    assert sum(done.boxes.values()) == 4
    assert any("0000.txt" in str(finding) for finding in done.dropped)


def test_coco_box_as_an_object(tmp_path: Path) -> None:
    """imglab#126: bbox is an object with x, y, width and height: read, or refused by name."""
    for i in range(4):
        write_image(tmp_path / "set" / f"{i}.jpg")
    content = coco_json({f"{i}.jpg": [(1, [0.0, 0.0, 1.0, 1.0])] for i in range(4)}, {1: "a"})
    for annotation in content["annotations"]:
        annotation["bbox"] = {"x": 10, "y": 10, "width": 20, "height": 20, "cx": 20, "cy": 20}
    write_json(tmp_path / "set/a.json", content)
    with pytest.raises(DataError, match="bbox"):
        prepare_dataset(tmp_path / "set")


def test_coco_images_without_a_size(tmp_path: Path) -> None:
    """pylabel#33: images have an id and a file_name only."""
    for i in range(4):
        write_image(tmp_path / "set" / f"{i}.jpg")
    content = coco_json({f"{i}.jpg": [(1, [10.0, 10.0, 20.0, 20.0])] for i in range(4)}, {1: "a"})
    for image in content["images"]:
        del image["width"], image["height"]
    write_json(tmp_path / "set/a.json", content)
    assert sum(prepare_dataset(tmp_path / "set").boxes.values()) == 4


@pytest.mark.parametrize(
    "yaml",
    [
        "path: ./\ntrain: train/images\nval: valid/images\nnames: [jetski]\n",
        "path: ../datasets/set\ntrain: train/images\nval: valid/images\ntest: test/images\nnames: [jetski]\n",
        "train: set/train/images\nval: set/valid/images\ntest: ../test/images\nnc: 1\nnames: ['jetski']\n",
        "train: ../train/images\nval: ../valid/images\nnc: 1\nnames: ['jetski']\n",
    ],
    ids=["dot", "elsewhere", "own-name", "parent"],
)
def test_data_yaml_of_an_export(tmp_path: Path, yaml: str) -> None:
    """ultralytics#18323, ultralytics#11852, roboflow notebooks#306, yolov5#5107."""
    images = {f"{split}/images/{split}{i}.jpg": ROW for split in ("train", "valid") for i in range(2)}
    write_yolo(tmp_path / "set", images, yaml)
    data = read_data_yaml(tmp_path / "set/data.yaml")
    assert {split: len(list_images(data, split)) for split in ("train", "valid")} == {"train": 2, "valid": 2}
    assert prepare_dataset(tmp_path / "set").boxes["valid"] == 2


def test_validation_is_the_training_folder(tmp_path: Path) -> None:
    """yolov5#8773, yolov5#5242: train and val name one folder: nothing is counted twice, and it is said."""
    yaml = "train: images\nval: images\nnames: [a]\n"
    done = prepare_dataset(write_yolo(tmp_path / "set", {f"images/{i}.jpg": ROW for i in range(10)}, yaml))
    assert sum(done.images.values()) == 10
    assert any(finding.code == "split-overlap" for finding in done.noticed)
    assert done.images["valid"] > 0


def test_empty_validation_folder(tmp_path: Path) -> None:
    """digitalsreeni-image-annotator#83: all images in train, val/ exists and is empty."""
    root = write_yolo(tmp_path / "set", {f"images/train/{i}.jpg": ROW for i in range(10)})
    (root / "images/val").mkdir()
    (root / "labels/val").mkdir()
    write_text(root / "data.yaml", "train: images/train\nval: images/val\nnames: [a]\n")
    done = prepare_dataset(root)
    assert done.images["valid"] > 0
    assert sum(done.boxes.values()) == 10


def test_train_and_test_without_validation(tmp_path: Path) -> None:
    """ultralytics#24031: a dataset with train and test only: test stays test."""
    images = {f"train/images/t{i}.jpg": ROW for i in range(8)}
    images |= {f"test/images/x{i}.jpg": ROW for i in range(2)}
    done = prepare_dataset(write_yolo(tmp_path / "set", images))
    assert done.images["test"] == 2
    assert {name for name in records(done) if name.startswith("x")} == {"x0.jpg", "x1.jpg"}


def test_boxes_and_polygons_in_one_file(tmp_path: Path) -> None:
    """ultralytics#14862, ultralytics#1502: rows of 5 numbers and rows of a polygon in one label file."""
    text = "0 0.5 0.5 0.2 0.2\n0 0.1 0.1 0.3 0.1 0.3 0.5 0.2 0.6\n"
    done = prepare_dataset(write_yolo(tmp_path / "set", {f"images/{i}.jpg": text for i in range(4)}))
    for record in records(done).values():
        np.testing.assert_allclose(record.boxes, [[40, 20, 60, 30], [10, 5, 30, 30]], atol=1e-4)


def test_swapped_corners(tmp_path: Path) -> None:
    """VoTT#760: ymax holds another value, above ymin; the box is put right, or refused in these words."""
    for i in range(4):
        write_image(tmp_path / "set" / f"{i}.jpg")
        box = ("a", 10, 40, 30, 15) if i == 0 else ("a", 10, 10, 30, 30)
        write_text(tmp_path / "set" / f"{i}.xml", voc_xml([box], filename=f"{i}.jpg"))
    done = prepare_dataset(tmp_path / "set")
    findings = [str(finding) for finding in (*done.dropped, *done.noticed)]
    assert any("corner" in text and "0.xml" in text for text in findings)


def test_box_tags_in_another_order(tmp_path: Path) -> None:
    """raccoon_dataset#74: ymin before xmin in bndbox."""
    for i in range(4):
        write_image(tmp_path / "set" / f"{i}.jpg")
        xml = voc_xml([("a", 10, 20, 30, 40)], filename=f"{i}.jpg")
        xml = xml.replace("<xmin>10</xmin><ymin>20</ymin>", "<ymin>20</ymin><xmin>10</xmin>")
        write_text(tmp_path / "set" / f"{i}.xml", xml)
    for record in records(prepare_dataset(tmp_path / "set")).values():
        np.testing.assert_allclose(record.boxes, [[10, 20, 30, 40]], atol=1.01)


def test_classes_above_the_declared_count(tmp_path: Path) -> None:
    """FastSAM#167, ultralytics#1256: one class is declared, most labels use others: never background."""
    rows = {f"images/train/{i}.jpg": f"{i % 5} 0.5 0.5 0.2 0.2\n" for i in range(10)}
    rows |= {"images/val/v.jpg": ROW}
    yaml = "train: images/train\nval: images/val\nnc: 1\nnames: [a]\n"
    done = prepare_dataset(write_yolo(tmp_path / "set", rows, yaml))
    assert sum(done.boxes.values()) == 3
    assert sum(done.images.values()) == 3
    assert sum(f.code == "box-class" for f in done.dropped) == 8


def test_a_size_of_zero_states_nothing(tmp_path: Path) -> None:
    """labelImg and converters write width 0 and height 0: the image counts, the boxes are kept."""
    for i in range(4):
        write_image(tmp_path / "set" / f"{i}.jpg")
        xml = voc_xml([("a", 10, 20, 30, 40)], width=0, height=0, filename=f"{i}.jpg")
        write_text(tmp_path / "set" / f"{i}.xml", xml)
    for record in records(prepare_dataset(tmp_path / "set")).values():
        assert len(record.boxes) == 1


def test_upper_case_suffixes_in_voc(tmp_path: Path) -> None:
    """Safety-Helmet-Wearing-Dataset#22: files end in .JPG, the xml says .jpg."""
    for i in range(4):
        write_image(tmp_path / "set/JPEGImages" / f"{i}.JPG")
        xml = voc_xml([("hat", 10, 10, 30, 30)], filename=f"{i}.jpg")
        write_text(tmp_path / "set/Annotations" / f"{i}.xml", xml)
    assert sum(prepare_dataset(tmp_path / "set").boxes.values()) == 4


def test_names_changed_by_the_labelling_tool(tmp_path: Path) -> None:
    """labelU#233: 'a#1.jpg' has its labels in 'a_1.txt': not guessed, and both ends are named."""
    root = write_yolo(tmp_path / "set", {f"images/{i}.jpg": ROW for i in range(4)})
    write_image(root / "images/a#1.jpg")
    write_text(root / "labels/a_1.txt", ROW)
    done = prepare_dataset(root)
    said = json.loads((done.root / "manifest.json").read_text())
    assert "a_1.txt" in json.dumps(said)
    assert "a#1.jpg" in json.dumps(said)
