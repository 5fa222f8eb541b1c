"""Lists of images as splits of YOLO labels: Darknet's, without a data.yaml, and those written on Windows."""

from __future__ import annotations

from pathlib import Path

from support.dataset_files import read_all, write_text, write_yolo

ROW = "0 0.5 0.5 0.1 0.1\n"


def splits(root: Path) -> dict[str, str | None]:
    _, images, _ = read_all(root)
    return {name: item.record.split for name, item in images.items() if item.record}


def test_darknet_lists_are_splits(tmp_path: Path) -> None:
    write_yolo(tmp_path, dict.fromkeys((f"data/obj/{name}.jpg" for name in "abcde"), ROW))
    write_text(tmp_path / "data" / "obj.names", "cat\n")
    write_text(tmp_path / "train.txt", "data/obj/a.jpg\r\nC:\\work\\obj\\b.jpg\n\n/x/obj/gone.jpg\n")
    write_text(tmp_path / "valid.txt", "data/obj/c.jpg\ndata/obj/a.jpg\n")
    write_text(tmp_path / "test.txt", "data/obj/d.jpg\n")
    dataset, _, _ = read_all(tmp_path)
    assert dataset.splits == ("train", "valid", "test")
    assert dataset.splits_from == "train.txt, valid.txt, test.txt"
    assert splits(tmp_path) == {
        "a.jpg": "train",
        "b.jpg": "train",
        "c.jpg": "valid",
        "d.jpg": "test",
        "e.jpg": None,
    }
    assert [str(f) for f in dataset.findings] == [
        f"{tmp_path}/train.txt:4: error: '/x/obj/gone.jpg' is listed: no such image, or several, below the "
        "dataset's folder [image-missing]",
        f"{tmp_path}/valid.txt:2: warning: 'data/obj/a.jpg' is also in train.txt: it stays there "
        "[split-overlap]",
    ]


def test_text_that_lists_no_images_is_no_split(tmp_path: Path) -> None:
    write_yolo(tmp_path, {"a.jpg": ROW, "train.jpg": ROW, "c.jpg": ROW})
    write_text(tmp_path / "train_notes.txt", "trained on Monday\n")
    write_text(tmp_path / "val.txt", "a few pictures\n")
    dataset, _, _ = read_all(tmp_path)
    assert dataset.splits == ()
    assert set(splits(tmp_path).values()) == {None}


def test_lists_of_a_data_yaml_with_backslashes(tmp_path: Path) -> None:
    write_yolo(
        tmp_path,
        {"images/a.jpg": ROW, "images/b.jpg": ROW, "images/c\\d.jpg": ROW},
        "train: train.txt\nval: val.txt\nnames: [cat]\n",
    )
    write_text(tmp_path / "train.txt", ".\\images\\a.jpg\nimages/c\\d.jpg\n")
    write_text(tmp_path / "val.txt", "images\\b.jpg\n")
    assert splits(tmp_path) == {"a.jpg": "train", "c\\d.jpg": "train", "b.jpg": "valid"}
