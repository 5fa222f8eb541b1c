"""Which split a path, a folder, a list or a column names, for every label format."""

from __future__ import annotations

from pathlib import Path, PurePath

import pytest
from support.dataset_files import (
    Box,
    coco_json,
    codes,
    read_all,
    voc_xml,
    write_image,
    write_json,
    write_text,
    write_voc,
    write_yolo,
)

from yolofast.errors import ConfigError
from yolofast.formats.splits import as_split, split_of
from yolofast.prepare import prepare_dataset

ROW = "0 0.5 0.5 0.1 0.1\n"
BOXES: list[Box] = [("cat", 10, 10, 50, 40)]


def splits(root: Path) -> dict[str, str | None]:
    _, images, _ = read_all(root)
    return {Path(name).stem: item.record.split for name, item in images.items() if item.record}


def write_csv(root: Path, rows: list[str], header: str = "filename,split,class,xmin,ymin,xmax,ymax") -> Path:
    for stem in sorted({row.split(",")[0].removesuffix(".jpg") for row in rows}):
        write_image(root / "images" / f"{stem}.jpg")
    return write_text(root / "labels.csv", "\n".join([header, *rows]) + "\n")


def shape(left: float) -> dict[str, object]:
    return {"label": "cat", "shape_type": "rectangle", "points": [[left, 10], [left + 20, 30]]}


@pytest.mark.parametrize(
    ("path", "split"),
    [
        ("Test-1/train/images/a.jpg", "train"),
        ("training_data/val/a.jpg", "valid"),
        ("train/test/a.jpg", "test"),
        ("my_test_project_train.json", "train"),
        ("images/val2017/a.jpg", "valid"),
        ("VALIDATION/a.jpg", "valid"),
        ("contest/trained/a.jpg", None),
    ],
)
def test_the_innermost_word_counts(path: str, split: str | None) -> None:
    assert split_of(PurePath(path)) == split


def test_a_split_has_several_names_and_others_are_refused() -> None:
    assert [as_split(name) for name in ("train", "val", "valid", "Validation", "test")] == [
        "train", "valid", "valid", "valid", "test"
    ]  # fmt: skip
    with pytest.raises(ConfigError, match=r"split: got 'vald', expected train, val \(or valid\) or test"):
        as_split("vald")


@pytest.mark.parametrize("kind", ["yolo", "voc", "coco", "labelme"])
@pytest.mark.parametrize(
    "listed", ["images/{}.jpg", "./images/{}.jpg", "C:\\data\\images\\{}.jpg", "{}", "{}.jpg"]
)
def test_lists_at_the_root_are_splits_of_every_format(tmp_path: Path, kind: str, listed: str) -> None:
    stems = {"train": "abc", "val": "de", "test": "f"}
    for stem in "abcdef":
        write_image(tmp_path / "images" / f"{stem}.jpg")
        if kind == "yolo":
            write_text(tmp_path / "labels" / f"{stem}.txt", ROW)
        elif kind == "voc":
            write_text(tmp_path / "annotations" / f"{stem}.xml", voc_xml(BOXES))
        elif kind == "labelme":
            content = {"imagePath": f"../images/{stem}.jpg", "shapes": [shape(10)]}
            write_json(tmp_path / "json" / f"{stem}.json", content)
    if kind == "coco":
        content = coco_json({f"{stem}.jpg": [(1, [10, 10, 20, 20])] for stem in "abcdef"}, {1: "cat"})
        write_json(tmp_path / "labels.json", content)
    for split, names in stems.items():
        write_text(tmp_path / f"{split}.txt", "".join(listed.format(name) + "\n" for name in names))
    dataset, _, items = read_all(tmp_path)
    assert splits(tmp_path) == {
        "a": "train",
        "b": "train",
        "c": "train",
        "d": "valid",
        "e": "valid",
        "f": "test",
    }
    assert dataset.splits == ("train", "valid", "test")
    assert dataset.splits_from == "train.txt, val.txt, test.txt"
    assert codes(items) == []
    assert dataset.findings == ()


def test_lists_of_images_with_their_xml_files(tmp_path: Path) -> None:
    for stem in "abcd":
        write_image(tmp_path / "images" / f"{stem} 1.jpg")
        write_text(tmp_path / "annotations" / f"label_{stem}.xml", voc_xml(BOXES, filename="gone.jpg"))
    for name, listed in {"train": "abc", "valid": "d"}.items():
        lines = (f"./images/{stem} 1.jpg ./annotations/label_{stem}.xml\n" for stem in listed)
        write_text(tmp_path / f"{name}.txt", "".join(lines))
    assert splits(tmp_path) == {"a 1": "train", "b 1": "train", "c 1": "train", "d 1": "valid"}
    assert codes(read_all(tmp_path)[2]) == []


def test_image_sets_with_suffixes_and_folders(tmp_path: Path) -> None:
    lists = {"train": ["a.jpg", "JPEGImages/b.jpg 1"], "val": ["JPEGImages/c.jpg", "d -1"]}
    write_voc(tmp_path, dict.fromkeys("abcd", BOXES), lists)
    dataset, _, items = read_all(tmp_path)
    assert splits(tmp_path) == {"a": "train", "b": "train", "c": "valid", "d": "valid"}
    assert dataset.splits_from == "ImageSets/Main/train.txt, ImageSets/Main/val.txt"
    assert codes(items) == []


def test_image_sets_count_for_yolo_labels_too(tmp_path: Path) -> None:
    write_yolo(tmp_path, {f"images/{stem}.jpg": ROW for stem in "abc"})
    write_text(tmp_path / "ImageSets" / "train.txt", "a\nb\n")
    write_text(tmp_path / "ImageSets" / "val.txt", "c\n")
    assert splits(tmp_path) == {"a": "train", "b": "train", "c": "valid"}


def test_lists_count_before_folders(tmp_path: Path) -> None:
    write_yolo(tmp_path, {f"train/images/{stem}.jpg": ROW for stem in "abc"} | {"test/images/d.jpg": ROW})
    write_text(tmp_path / "train.txt", "train/images/a.jpg\n")
    write_text(tmp_path / "val.txt", "train/images/b.jpg\n")
    # c is in the folder of train, but the author's list of train does not have it; nothing lists test
    assert splits(tmp_path) == {"a": "train", "b": "valid", "c": None, "d": "test"}
    assert read_all(tmp_path)[0].splits_from == "train.txt, val.txt and folder names"


def test_lists_of_test_images_in_the_folder_of_train(tmp_path: Path) -> None:
    """AlexeyAB/darknet#2693: test.txt lists images below ./train/obj."""
    write_yolo(tmp_path, {f"train/obj/img_{i}.jpg": ROW for i in range(4)})
    write_text(tmp_path / "train.txt", "".join(f"./train/obj/img_{i}.jpg\n" for i in (0, 1, 2)))
    write_text(tmp_path / "test.txt", "./train/obj/img_3.jpg\n")
    assert splits(tmp_path) == {"img_0": "train", "img_1": "train", "img_2": "train", "img_3": "test"}


def test_a_list_never_takes_the_image_of_another_split(tmp_path: Path) -> None:
    write_yolo(tmp_path, {"train/1.jpg": ROW, "train/2.jpg": ROW, "val/3.jpg": ROW})
    write_text(tmp_path / "train.txt", "train/1.jpg\ntrain/2.jpg\n")
    write_text(tmp_path / "val.txt", "val/1.jpg\nval/3.jpg\n")
    dataset, _, _ = read_all(tmp_path)
    assert splits(tmp_path) == {"1": "train", "2": "train", "3": "valid"}
    assert [f.code for f in dataset.findings] == ["image-missing"]


def test_lists_of_names_that_images_of_two_folders_have(tmp_path: Path) -> None:
    """KITTI numbers training/ and testing/ alike; the lists divide training/."""
    write_yolo(tmp_path, {f"{folder}/{i}.jpg": ROW for folder in ("training", "testing") for i in range(3)})
    write_text(tmp_path / "ImageSets" / "train.txt", "0\n1\n")
    write_text(tmp_path / "ImageSets" / "val.txt", "2\n")
    dataset, _, items = read_all(tmp_path)
    found = {i.image.parent.name + i.image.stem: i.record.split for i in items if i.image and i.record}
    assert {name: split for name, split in found.items() if name.startswith("training")} == {
        "training0": "train",
        "training1": "train",
        "training2": "valid",
    }
    assert {split for name, split in found.items() if name.startswith("testing")} == {"test"}
    assert dataset.findings == ()


@pytest.mark.parametrize("how", ["list", "folder"])
def test_what_is_not_set_apart_is_train(tmp_path: Path, how: str) -> None:
    stem = "val/c" if how == "folder" else "c"
    write_yolo(tmp_path, {f"images/{name}.jpg": ROW for name in ("a", "b", stem)})
    if how == "list":
        write_text(tmp_path / "val.txt", "images/c.jpg\n")
    dataset, _, _ = read_all(tmp_path)
    assert splits(tmp_path) == {"a": "train", "b": "train", "c": "valid"}
    source = "val.txt" if how == "list" else "folder names"
    assert dataset.splits_from == f"{source}; the images without one are train"
    done = prepare_dataset(tmp_path, tmp_path.with_name("out"))
    assert done.images == {"train": 2, "valid": 1, "test": 0}


def test_trainval_counts_without_train_and_val_alone(tmp_path: Path) -> None:
    write_yolo(tmp_path, {f"images/{name}.jpg": ROW for name in "abc"})
    write_text(tmp_path / "trainval.txt", "a\nb\n")
    write_text(tmp_path / "test.txt", "c\n")
    assert splits(tmp_path) == {"a": "train", "b": "train", "c": "test"}
    write_text(tmp_path / "train.txt", "a\n")
    write_text(tmp_path / "val.txt", "b\n")
    assert splits(tmp_path) == {"a": "train", "b": "valid", "c": "test"}


def test_labels_of_images_named_after_a_split_are_no_lists(tmp_path: Path) -> None:
    write_yolo(tmp_path, {f"images/{name}.jpg": ROW for name in ("train_1", "train_2", "test_1")})
    assert read_all(tmp_path)[0].splits == ()


@pytest.mark.parametrize("column", ["split", "Set", "ML_USE", "subset"])
def test_csv_split_column(tmp_path: Path, column: str) -> None:
    rows = [
        f"{n}.jpg,{s},cat,10,10,40,40" for n, s in zip("abcd", ["TRAIN", "train", "val", "test"], strict=True)
    ]
    write_csv(tmp_path, rows, f"filename,{column},class,xmin,ymin,xmax,ymax")
    dataset, _, _ = read_all(tmp_path)
    assert splits(tmp_path) == {"a": "train", "b": "train", "c": "valid", "d": "test"}
    assert dataset.splits_from == "the split column of labels.csv"


def test_csv_splits_that_are_unclear_have_their_line(tmp_path: Path) -> None:
    rows = ["a.jpg,train,cat,10,10,40,40", "a.jpg,val,cat,20,10,40,40", "b.jpg,held out,cat,10,10,40,40"]
    path = write_csv(tmp_path, [*rows, "c.jpg,val,cat,10,10,40,40"])
    dataset, _, _ = read_all(tmp_path)
    assert splits(tmp_path) == {"a": "train", "b": None, "c": "valid"}
    assert [str(f) for f in dataset.findings] == [
        f"{path}:4: warning: got 'held out' as a split, expected train, val or test [split-unknown]",
        f"{path}:3: warning: image 'a.jpg' has rows of two splits: it stays in train [split-overlap]",
    ]


def test_coco_files_state_splits_and_lists_the_rest(tmp_path: Path) -> None:
    for stem in "abc":
        write_image(tmp_path / "images" / f"{stem}.jpg")
    for name, stems in {"instances_val": "a", "more": "bc"}.items():
        content = coco_json({f"{stem}.jpg": [(1, [10, 10, 20, 20])] for stem in stems}, {1: "cat"})
        write_json(tmp_path / f"{name}.json", content)
    dataset, _, _ = read_all(tmp_path)
    assert splits(tmp_path) == {"a": "valid", "b": "train", "c": "train"}
    assert dataset.splits_from == "the paths of the COCO files; the images without one are train"


def test_prepare_says_where_the_splits_come_from(tmp_path: Path) -> None:
    write_yolo(
        tmp_path / "set", {f"Test-1/{s}/images/{s}{i}.jpg": ROW for s in ("train", "val") for i in "ab"}
    )
    for _ in range(2):  # the second time it is up to date
        done = prepare_dataset(tmp_path / "set")
        assert done.images == {"train": 2, "valid": 2, "test": 0}
        assert [f.message for f in done.noticed] == ["splits from folder names"]
    assert "test:" not in done.data_yaml.read_text()


@pytest.mark.parametrize("stray", [False, True])
def test_prepare_says_when_it_draws_and_when_it_ignores(tmp_path: Path, stray: bool) -> None:
    write_yolo(tmp_path / "set", {f"val/images/{i}.jpg": ROW for i in range(4)})
    if stray:
        write_yolo(tmp_path / "set", {f"val/images/{i}.jpg": ROW for i in range(4, 9)} | {"logo.jpg": None})
    done = prepare_dataset(tmp_path / "set")
    assert [f.message for f in done.noticed if f.code.startswith("split")] == [
        "splits from folder names are not used: no image is in train, only in valid",
        f"valid: {'2 of 10' if stray else '1 of 4'} training images, drawn with seed 0: the source does not "
        "split its images into train and valid",
    ]


def test_a_list_of_other_images_is_not_used(tmp_path: Path) -> None:
    write_yolo(tmp_path, {"train/images/a.jpg": ROW, "val/images/b.jpg": ROW})
    lists = [write_text(tmp_path / f"{name}.txt", "x.jpg\ny.jpg\n") for name in ("train", "test")]
    dataset, _, _ = read_all(tmp_path)
    assert splits(tmp_path) == {"a": "train", "b": "valid"}
    assert [str(f) for f in dataset.findings] == [
        f"{path}: warning: none of the 2 images that it lists is here: it is not used [split-list-unused]"
        for path in lists
    ]


def test_a_listed_xml_file_without_its_image_is_reported_once(tmp_path: Path) -> None:
    write_voc(tmp_path, dict.fromkeys("abc", BOXES), {"train": ["a", "b.jpg 1", "gone"], "val": ["c"]})
    (tmp_path / "JPEGImages" / "b.jpg").unlink()
    assert codes(read_all(tmp_path)[2]) == ["box-no-image", "image-missing", "image-missing"]
