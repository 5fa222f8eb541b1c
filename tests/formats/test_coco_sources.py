"""COCO files as tools really write them: ids per file, root categories, several files of one image, masks."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.dataset_files import coco_json, codes, read_all, write_image, write_json, write_text
from support.property_tests import examples

from yolofast.analyze import analyze_dataset, check_data_quality
from yolofast.errors import DataError
from yolofast.formats.coco.masks import mask_box
from yolofast.prepare import prepare_dataset

BOX = [10, 10, 20, 20]
Content = dict[str, list[dict[str, Any]]]


def write_coco(root: Path, files: dict[str, Content]) -> Path:
    """COCO files by path, and the images that they name, beside the file or in the folder `images`."""
    for name, content in files.items():
        path = write_json(root / name, content)
        for image in content["images"]:
            write_image(path.parent / image["file_name"])
    return root


def labels(root: Path) -> dict[str, list[str]]:
    """Image name -> the class names of its boxes."""
    dataset, images, _ = read_all(root)
    records = {name: item.record for name, item in images.items()}
    return {name: [dataset.names[i] for i in record.classes] for name, record in records.items() if record}


# ---------------------------------------------------------------- classes


def test_files_that_number_the_same_names_differently(tmp_path: Path) -> None:
    train = coco_json({"t.jpg": [(1, BOX), (2, BOX)]}, {1: "cat", 2: "dog"})
    valid = coco_json({"v.jpg": [(3, BOX), (4, BOX)]}, {3: "cat", 4: "dog"})
    write_coco(tmp_path, {"train/a.json": train, "valid/a.json": valid})
    dataset, _, items = read_all(tmp_path)
    assert dataset.names == ("cat", "dog")
    assert labels(tmp_path) == {"t.jpg": ["cat", "dog"], "v.jpg": ["cat", "dog"]}
    assert [f.code for f in dataset.findings] == ["names-mapped"]
    assert codes(items) == []


def test_one_id_with_two_names_in_two_files(tmp_path: Path) -> None:
    train = coco_json({"t.jpg": [(1, BOX)]}, {1: "cat", 2: "bird"})
    valid = coco_json({"v.jpg": [(1, BOX), (2, BOX)]}, {1: "dog", 2: "cat"})
    write_coco(tmp_path, {"train/a.json": train, "valid/a.json": valid})
    assert labels(tmp_path) == {"t.jpg": ["cat"], "v.jpg": ["dog", "cat"]}
    dataset, _, _ = read_all(tmp_path)
    assert dataset.names == ("cat", "bird", "dog")  # those of train first
    assert "category 1 is 'dog' here and 'cat' in a.json" in dataset.findings[0].message


def test_ids_without_a_name(tmp_path: Path) -> None:
    """They may borrow names from files that agree; among files that do not, they are refused."""
    train = coco_json({"t.jpg": [(1, BOX)]}, {1: "cat"})
    bare = coco_json({"v.jpg": [(1, BOX)]}, {})
    write_coco(tmp_path, {"train/a.json": train, "valid/a.json": bare})
    assert labels(tmp_path) == {"t.jpg": ["cat"], "v.jpg": ["cat"]}
    write_coco(tmp_path, {"test/a.json": coco_json({"s.jpg": [(1, BOX)]}, {1: "dog"})})
    with pytest.raises(DataError, match=r"valid/a\.json: uses category ids without naming them.*"):
        read_all(tmp_path)


def roboflow(name: str, categories: list[str], used: list[int]) -> Content:
    """A file as Roboflow exports it: id 0 is the project, above all others."""
    content = coco_json({name: [(i, BOX) for i in used]}, {})
    above = "helmet"
    content["categories"] = [{"id": 0, "name": above, "supercategory": "none"}] + [
        {"id": i, "name": each, "supercategory": above} for i, each in enumerate(categories, 1)
    ]
    return content


def test_roboflow_root_category_is_no_class(tmp_path: Path) -> None:
    """Here the project is called as one of the classes, which made two classes of one name."""
    both = ["helmet", "vest"]
    files = {"train/a.json": roboflow("t.jpg", both, [1, 2]), "valid/a.json": roboflow("v.jpg", both, [2])}
    write_coco(tmp_path / "set", files)
    done = prepare_dataset(tmp_path / "set")
    info = analyze_dataset(tmp_path / "set")
    assert done.class_names == info.class_names == ("helmet", "vest")
    assert info.class_counts == {"helmet": 1, "vest": 2}
    assert [f.code for f in info.findings] == ["category-root"]
    assert "category-root" in [f.code for f in done.noticed]


def test_a_root_category_with_boxes_is_a_class(tmp_path: Path) -> None:
    write_coco(tmp_path, {"a.json": roboflow("t.jpg", ["vest", "boot"], [0, 1, 2])})
    assert labels(tmp_path) == {"t.jpg": ["helmet", "vest", "boot"]}


def test_categories_of_one_name(tmp_path: Path) -> None:
    content = coco_json({"a.jpg": [(2, BOX)]}, {1: "cat", 2: "cat", 3: "dog"})
    write_coco(tmp_path, {"a.json": content})
    dataset, _, _ = read_all(tmp_path)
    assert dataset.names == ("cat", "dog")
    assert [(f.code, f.message[:37]) for f in dataset.findings] == [
        ("names-repeated", "categories 1, 2 are all called 'cat':")
    ]
    write_json(tmp_path / "a.json", coco_json({"a.jpg": [(2, BOX), (1, BOX)]}, {1: "cat", 2: "cat"}))
    with pytest.raises(DataError, match=r"a\.json: categories 1, 2 are all called 'cat'.*Rename them"):
        read_all(tmp_path)


# ---------------------------------------------------------------- several files of one image


def test_boxes_of_one_image_in_two_files_are_joined(tmp_path: Path) -> None:
    """One file per class or annotator; `check` and `prepare` count the same."""
    names = [f"{i}.jpg" for i in range(3)]
    cars = coco_json({name: [(1, BOX)] for name in names}, {1: "car"})
    people = coco_json({name: [(2, [60, 10, 20, 20])] for name in names}, {2: "person"})
    root = write_coco(tmp_path / "set", {"cars.json": cars, "people.json": people})
    assert labels(root) == {name: ["car", "person"] for name in names}
    done = prepare_dataset(root)
    assert (sum(done.boxes.values()), done.dropped) == (6, ())
    report = check_data_quality(root)
    assert report.statistics.boxes == 6
    for findings in (report.findings, done.noticed):
        assert [f.message for f in findings if f.code == "images-joined"] == [
            "3 images are listed several times (cars.json, people.json): they have all these boxes"
        ]


def test_repeats_in_joined_files_are_dropped(tmp_path: Path) -> None:
    """A file of all images beside those of the splits: the splits win, and no box counts twice."""
    train, valid = coco_json({"t.jpg": [(1, BOX)]}, {1: "x"}), coco_json({"v.jpg": [(1, BOX)]}, {1: "x"})
    both = coco_json({"t.jpg": [(1, BOX)], "v.jpg": [(1, BOX), (1, [0, 0, 9, 9])]}, {1: "x"})
    write_coco(tmp_path, {"all.json": both, "train.json": train, "valid.json": valid})
    dataset, images, items = read_all(tmp_path)
    assert dataset.splits == ("train", "valid")
    assert {n: i.record and (i.record.split, len(i.record.boxes)) for n, i in images.items()} == {
        "t.jpg": ("train", 1),
        "v.jpg": ("valid", 2),
    }
    repeats = [f for item in items for f in item.dropped]
    assert [f.code for f in repeats] == ["box-duplicate"] * 2
    assert all(str(f.file).endswith("all.json") and "train.json" in f.message for f in repeats[:1])


def test_a_file_of_all_images_beside_one_split_is_no_contradiction(tmp_path: Path) -> None:
    """Only valid is named: the other images are for training, and those of both files stay in valid."""
    valid = coco_json({"v.jpg": [(1, BOX)]}, {1: "x"})
    both = coco_json({"t.jpg": [(1, BOX)], "v.jpg": [(1, [0, 0, 9, 9])]}, {1: "x"})
    write_coco(tmp_path, {"all.json": both, "instances_val.json": valid})
    _, images, items = read_all(tmp_path)
    assert {n: i.record and (i.record.split, len(i.record.boxes)) for n, i in images.items()} == {
        "t.jpg": ("train", 1),
        "v.jpg": ("valid", 2),
    }
    assert codes(items) == ["images-joined"]


def test_one_image_twice_in_a_file_and_one_unreadable(tmp_path: Path) -> None:
    content = coco_json({"a.jpg": [(1, BOX)], "b.jpg": [(1, BOX)]}, {1: "x"})
    content["images"].append({"id": 77, "file_name": "a.jpg"})
    content["annotations"].append({"id": 9, "image_id": 77, "category_id": 1, "bbox": [0, 0, 5, 5]})
    write_coco(tmp_path, {"a.json": content, "b.json": coco_json({"b.jpg": [(1, BOX)]}, {1: "x"})})
    write_text(tmp_path / "b.jpg", "no image")
    _, images, items = read_all(tmp_path)
    assert [len(item.record.boxes) for item in images.values() if item.record] == [2]
    assert codes(items) == ["box-no-image", "box-no-image", "image-unreadable", "images-joined"]


# ---------------------------------------------------------------- boxes


def test_shares_in_one_file_alone(tmp_path: Path) -> None:
    """Another tool wrote the labels of valid."""
    write_coco(
        tmp_path,
        {
            "train.json": coco_json({"t.jpg": [(1, [10, 10, 20, 20])]}, {1: "x"}),
            "valid.json": coco_json({"v.jpg": [(1, [0.1, 0.2, 0.5, 0.4])]}, {1: "x"}),
        },
    )
    dataset, images, _ = read_all(tmp_path)
    boxes = {name: i.record.boxes.tolist() for name, i in images.items() if i.record}
    assert boxes["t.jpg"] == [[10, 10, 30, 30]]
    np.testing.assert_allclose(boxes["v.jpg"], [[10, 10, 60, 30]])
    said = [(f.code, Path(f.file or "").name) for f in dataset.findings]
    assert said == [("boxes-normalised", "valid.json")]


def test_coordinates_from_0_to_1_are_shares(tmp_path: Path) -> None:
    write_coco(tmp_path, {"a.json": coco_json({"a.jpg": [(1, [0.1, 0.2, 0.3, 0.4])]}, {1: "x"})})
    dataset, images, _ = read_all(tmp_path)
    np.testing.assert_allclose(images["a.jpg"].record.boxes, [[10, 10, 40, 30]])  # type: ignore[union-attr]
    assert [f.code for f in dataset.findings] == ["boxes-normalised"]


@pytest.mark.parametrize("boxes", [[[0, 0, 1, 1]], [[0.2, 0.2, 0.5, 0.5], [40, 20, 10, 10]]])
def test_small_boxes_in_pixels_stay(tmp_path: Path, boxes: list[list[float]]) -> None:
    write_coco(tmp_path, {"a.json": coco_json({"a.jpg": [(1, box) for box in boxes]}, {1: "x"})})
    dataset, images, _ = read_all(tmp_path)
    corners = [[x, y, x + w, y + h] for x, y, w, h in boxes]
    np.testing.assert_allclose(images["a.jpg"].record.boxes, corners)  # type: ignore[union-attr]
    assert dataset.findings == ()


TRIANGLE = [10, 20, 40, 20, 40, 45]
RUNS = {"size": [50, 100], "counts": [10 * 50 + 20, 5, 45, 5, 50 * 100 - 10 * 50 - 75]}


@pytest.mark.parametrize(
    ("segmentation", "box"),
    [
        ([TRIANGLE], [10, 20, 30, 25]),
        ([TRIANGLE, [0, 0, 1, 0, 1, 1]], [0, 0, 40, 45]),
        (TRIANGLE, [10, 20, 30, 25]),
        ([[10, 20], [40, 20], [40, 45]], [10, 20, 30, 25]),
        (RUNS, [10, 20, 2, 5]),
        ([], None),
        ([[]], None),
        ([[1, 2, 3, 4]], None),
        ([[1, 2, 3, 4, 5, 6, 7]], None),
        ([["1", 2, 3, 4, 5, 6]], None),
        ([[1, 2, float("nan"), 4, 5, 6]], None),
        ({"size": [50, 100], "counts": [6000]}, None),
        ({"size": [50, 100], "counts": [-1, 4]}, None),
        ({"size": [50], "counts": [1, 1]}, None),
        ({"size": [50, 100], "counts": "\x00"}, None),
        ({"size": [50, 100], "counts": None}, None),
        ({"size": [0, 100], "counts": [0]}, None),
        ("text", None),
        (None, None),
    ],
)
def test_box_around_a_segmentation(segmentation: object, box: list[float] | None) -> None:
    assert mask_box(segmentation) == box


def compressed(runs: list[int]) -> str:
    """COCO's text of run lengths, written from its description: 5 bits per character, least first."""
    text = ""
    for number, run in enumerate(runs):
        value = run - (runs[number - 2] if number > 2 else 0)
        more = True
        while more:
            bits = value & 0x1F
            value >>= 5
            more = value != (-1 if bits & 0x10 else 0)
            text += chr(bits + (0x20 if more else 0) + 48)
    return text


@given(st.integers(1, 40), st.integers(1, 40), st.data())
@examples(100)
def test_run_lengths_are_the_box_of_their_pixels(height: int, width: int, data: st.DataObject) -> None:
    pixels = np.array(data.draw(st.lists(st.booleans(), min_size=height * width, max_size=height * width)))
    runs: list[int] = []
    for value, group in itertools.groupby(pixels.tolist()):
        if value and not runs:
            runs.append(0)
        runs.append(len(list(group)))
    mask = pixels.reshape(width, height).T
    ys, xs = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    expected = [xs[0], ys[0], xs[-1] + 1 - xs[0], ys[-1] + 1 - ys[0]] if len(xs) else None
    for counts in (runs, compressed(runs)):
        assert mask_box({"size": [height, width], "counts": counts}) == expected


@pytest.mark.parametrize("bbox", [[], None, "missing", [1, 2, 3], [0, 0, 0, 0], [5, 5, 0, 7.5]])
def test_annotations_without_a_box_take_that_of_their_mask(tmp_path: Path, bbox: Any) -> None:
    content = coco_json({"a.jpg": [(1, bbox), (1, bbox)]}, {1: "x"})
    for entry, mask in zip(content["annotations"], ([TRIANGLE], RUNS), strict=True):
        entry["segmentation"] = mask
        if bbox == "missing":
            del entry["bbox"]
    write_coco(tmp_path, {"a.json": content})
    dataset, images, items = read_all(tmp_path)
    assert images["a.jpg"].record.boxes.tolist() == [[10, 20, 40, 45], [10, 20, 12, 25]]  # type: ignore[union-attr]
    assert (codes(items), [f.code for f in dataset.findings]) == ([], ["boxes-from-masks"])


def test_a_box_without_area_and_without_a_mask_stays_what_it_is(tmp_path: Path) -> None:
    content = coco_json({"a.jpg": [(1, BOX), (1, [5, 5, 0, 7])]}, {1: "x"})
    write_coco(tmp_path, {"a.json": content})
    _, _, items = read_all(tmp_path)
    assert [f.message for item in items for f in item.dropped] == [
        "annotation 101: box (5, 5, 5, 12): no area"
    ]


def test_a_mask_that_cannot_be_read_says_what_was_expected(tmp_path: Path) -> None:
    content = coco_json({"a.jpg": [(1, BOX), (1, [])]}, {1: "x"})
    content["annotations"][1]["segmentation"] = [[1, 2]]
    write_coco(tmp_path, {"a.json": content})
    _, _, items = read_all(tmp_path)
    assert [f.message for item in items for f in item.dropped] == [
        "annotation 101: bbox []: expected [x, y, width, height] in pixels, or a segmentation of polygons "
        "of 3 or more points or COCO's run lengths"
    ]
