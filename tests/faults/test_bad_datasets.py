"""What a user sees for something that is not a usable dataset: one clear error each."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from support.dataset_files import write_image, write_json, write_text, write_voc, write_yolo

from yolofast.analyze import check_data_quality, validate_dataset_input
from yolofast.errors import DataError, DatasetNotFoundError
from yolofast.prepare import prepare_dataset

ROW = "0 0.5 0.5 0.2 0.2\n"


def empty_folder(root: Path) -> None:
    root.mkdir()


def a_file(root: Path) -> None:
    write_text(root, "x")


def no_images(root: Path) -> None:
    write_text(root / "notes.txt", "x")


def no_labels(root: Path) -> None:
    write_image(root / "a.jpg")


def captions(root: Path) -> None:
    write_image(root / "a.jpg")
    write_text(root / "a.txt", "a cat on a mat\n")


def other_json(root: Path) -> None:
    write_image(root / "a.jpg")
    write_json(root / "a.json", {"shapes": []})


def names_and_nc_disagree(root: Path) -> None:
    write_yolo(root, {"train/images/a.jpg": ROW}, "train: train\nnc: 2\nnames: [a]\n")


def folder_missing(root: Path) -> None:
    write_yolo(root, {"train/images/a.jpg": ROW}, "train: train\nval: valid\nnames: [a]\n")


def only_broken_xml(root: Path) -> None:
    write_voc(root, {"a": []})
    write_text(root / "Annotations/a.xml", "<annotation><object></annotation>")


def broken_json(root: Path) -> None:
    write_image(root / "a.jpg")
    write_text(root / "c.json", '{"images": [],\n"annotations": [{"bbox": 1}],\n"categories": oops}')


BAD: list[tuple[Callable[[Path], None], str]] = [
    (empty_folder, "set: the folder is empty. Put images and labels into it."),
    (a_file, "set: got a file, expected a dataset folder"),
    (no_images, "set: no images here or in folders below. Expected files such as .bmp, .jfif, .jpeg, .jpg"),
    (no_labels, "set: got 1 images but no labels. Expected YOLO .txt"),
    (captions, "set: got labels of an unknown format (for example a.txt). Expected YOLO .txt"),
    (other_json, "set: got labels of an unknown format (for example a.json)"),
    (names_and_nc_disagree, "data.yaml:2: nc is 2 but names (line 3) has 1 classes. Correct one"),
    (folder_missing, "data.yaml:2: val: no such folder"),
    (only_broken_xml, "a.xml:1: error: not valid XML: mismatched tag"),
    (broken_json, "c.json:3: not valid JSON"),
]


@pytest.mark.parametrize(("make", "expected"), BAD, ids=[make.__name__ for make, _ in BAD])
def test_validate_and_prepare_refuse_clearly(
    tmp_path: Path, make: Callable[[Path], None], expected: str
) -> None:
    root = tmp_path / "set"
    make(root)
    with pytest.raises(DataError) as caught:
        validate_dataset_input(root)
    assert expected in str(caught.value)
    with pytest.raises(DataError, match="set"):
        prepare_dataset(root)
    assert [p.name for p in tmp_path.iterdir()] == ["set"]


def test_missing_folder(tmp_path: Path) -> None:
    for stage in (validate_dataset_input, check_data_quality, prepare_dataset):
        with pytest.raises(DatasetNotFoundError, match=r"gone: no such folder\. Give the folder"):
            stage(tmp_path / "gone")
    with pytest.raises(FileNotFoundError):
        validate_dataset_input(tmp_path / "gone")


def test_good_folder_passes(tmp_path: Path) -> None:
    validate_dataset_input(write_yolo(tmp_path, {"a.jpg": ROW}))


@pytest.mark.parametrize("bad", ["0 .5 .5 .2", "0 nan .5 .2 .2", "3 .5 .5 .2 .2", "0 .5 .5 0 .2"])
def test_only_bad_rows_give_the_first_reason(tmp_path: Path, bad: str) -> None:
    root = write_yolo(tmp_path / "set", {"a.jpg": bad, "b.jpg": bad})
    write_text(root / "classes.txt", "x\n")
    with pytest.raises(DataError, match=r"no usable box in 2 images. The first problem: .*a\.txt:1: error"):
        prepare_dataset(root)


def test_unwritable_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_yolo(tmp_path / "set", {"a.jpg": ROW, "b.jpg": ROW})
    with pytest.raises(DataError, match=r"file/out: cannot be written: .*folder \(--out\)"):
        prepare_dataset(root, write_text(tmp_path / "file", "") / "out")

    def refuse(self: Path, *_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self))

    monkeypatch.setattr(Path, "mkdir", refuse)  # permissions do not stop root, who may run these tests
    with pytest.raises(DataError, match=r"cannot be written: Permission denied .*folder \(--out\)"):
        prepare_dataset(root)
