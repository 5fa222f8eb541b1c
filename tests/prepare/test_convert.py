"""convert_dataset: COCO and VOC folders from any format, splits unchanged, nothing lost silently."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest
from support.dataset_files import (
    coco_json,
    read_all,
    tree_digest,
    write_image,
    write_json,
    write_text,
    write_voc,
    write_yolo,
)

from yolofast.cli import main
from yolofast.errors import ConfigError, DataError, DatasetNotFoundError
from yolofast.prepare import convert_dataset, prepare_dataset

ROW = "0 0.5 0.5 0.2 0.2\n"
YAML = "train: images/train\nval: images/val\nnames: [a, b]\n"


def with_splits(root: Path) -> Path:
    return write_yolo(root, {"images/train/x.jpg": ROW, "images/val/sub/y.png": None}, YAML)


def test_coco_layout(tmp_path: Path) -> None:
    done = convert_dataset(with_splits(tmp_path / "set"), to="coco")
    assert done.root == tmp_path / "set_coco"
    assert sorted(tree_digest(done.root)) == [
        "annotations/instances_train.json",
        "annotations/instances_val.json",
        "images/train/x.jpg",
        "images/val/y.png",
        "manifest.json",
    ]
    content = json.loads((done.root / "annotations/instances_train.json").read_text())
    assert content["images"] == [{"id": 1, "file_name": "x.jpg", "width": 100, "height": 50}]
    assert [c["name"] for c in content["categories"]] == ["a", "b"]
    assert (done.format, done.class_names) == ("coco", ("a", "b"))
    assert (done.images, done.boxes) == ({"train": 1, "valid": 1}, {"train": 1, "valid": 0})


def test_voc_layout(tmp_path: Path) -> None:
    done = convert_dataset(with_splits(tmp_path / "set"), to="voc")
    assert done.root == tmp_path / "set_voc"
    assert sorted(tree_digest(done.root)) == [
        "Annotations/x.xml",
        "Annotations/y.xml",
        "ImageSets/Main/train.txt",
        "ImageSets/Main/trainval.txt",
        "ImageSets/Main/val.txt",
        "JPEGImages/x.jpg",
        "JPEGImages/y.png",
        "manifest.json",
    ]
    lists = {p.stem: p.read_text() for p in (done.root / "ImageSets/Main").iterdir()}
    assert lists == {"train": "x\n", "val": "y\n", "trainval": "x\ny\n"}
    dataset, images, _ = read_all(done.root)
    assert dataset.names == ("a",)  # a class without boxes has no place in VOC
    assert set(images) == {"x.jpg", "y.png"}


@pytest.mark.parametrize("to", ["coco", "voc"])
def test_without_splits_there_are_none(tmp_path: Path, to: Any) -> None:
    done = convert_dataset(write_yolo(tmp_path / "set", {"a.jpg": ROW, "b.jpg": ""}), to=to)
    assert done.images == {"unsplit": 2}
    dataset, images, _ = read_all(done.root)
    assert dataset.splits == ()
    assert {name: len(item.record.boxes) for name, item in images.items() if item.record} == {
        "a.jpg": 1,
        "b.jpg": 0,
    }


@pytest.mark.parametrize("to", ["coco", "voc"])
def test_an_image_in_no_split_stays_in_none(tmp_path: Path, to: Any) -> None:
    box = ("x", 1, 1, 9, 9)
    source = write_voc(tmp_path / "set", {"a": [box], "b": [box]}, {"train": ["a"]})
    done = convert_dataset(source, to=to)
    assert done.images == {"train": 1, "unsplit": 1}
    _, images, _ = read_all(done.root)
    splits = {name: item.record.split for name, item in images.items() if item.record}
    assert splits == {"a.jpg": "train", "b.jpg": None}


@pytest.mark.parametrize("to", ["coco", "voc"])
def test_every_dropped_item_is_listed_with_its_reason(tmp_path: Path, to: Any) -> None:
    rows = ROW + "0 .5 .5 .2\n0 nan .5 .2 .2\n5 .5 .5 .2 .2\n" + ROW
    source = write_yolo(tmp_path / "set", {"images/train/a.jpg": rows, "images/val/b.jpg": ROW}, YAML)
    write_text(source / "images/train/broken.jpg", "x")
    write_text(source / "labels/train/broken.txt", ROW)
    done = convert_dataset(source, to=to)
    assert [(f.code, Path(f.file or "").name, f.line) for f in done.dropped] == [
        ("box-columns", "a.txt", 2),
        ("box-nan", "a.txt", 3),
        ("box-class", "a.txt", 4),
        ("box-duplicate", "a.txt", 5),
        ("image-unreadable", "broken.jpg", None),
        ("box-no-image", "broken.txt", 1),
    ]
    manifest = json.loads((done.root / "manifest.json").read_text())
    assert (manifest["source_boxes"], manifest["kept_boxes"], manifest["dropped_boxes"]) == (7, 2, 5)
    assert manifest["dropped"][0]["file"] == "labels/train/a.txt"
    assert [f["message"] for f in manifest["dropped"]] == [f.message for f in done.dropped]
    wanted = []
    for split, name in (("train", "images/train/a.jpg"), ("valid", "images/val/b.jpg")):
        data = (source / name).read_bytes()
        entry = {"source": name, "split": split, "name": Path(name).name, "boxes": 1}
        wanted.append(entry | {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()})
    assert manifest["images"] == wanted


def test_an_image_in_two_splits_is_placed_once(tmp_path: Path) -> None:
    good = [(1, [0.0, 0.0, 5.0, 5.0])]
    write_image(tmp_path / "set/a.jpg")
    write_json(tmp_path / "set/train.json", coco_json({"a.jpg": good}, {1: "x"}))
    write_json(tmp_path / "set/val.json", coco_json({"a.jpg": good}, {1: "x"}))
    done = convert_dataset(tmp_path / "set", to="coco")
    assert done.images == {"train": 1}
    assert [f.code for f in done.dropped] == ["box-duplicate"]
    assert {"split-overlap", "images-joined"} <= {f.code for f in done.noticed}
    assert done.source_boxes == 2


@pytest.mark.parametrize("to", ["coco", "voc"])
def test_odd_and_shared_names_stay_apart(tmp_path: Path, to: Any) -> None:
    stems = ["a", "x/a", "x/A", "photo 1", "photo", "photo.jpg", "b\\c", "ü ñ", "two\nlines", " edge "]
    source = write_yolo(
        tmp_path / "set",
        {f"{stem}.jpg": f"0 0.5 0.5 0.2 {(i + 1) / 100}\n" for i, stem in enumerate(stems)},
    )
    done = convert_dataset(source, to=to)
    manifest = json.loads((done.root / "manifest.json").read_text())
    names = {entry["source"]: entry["name"] for entry in manifest["images"]}
    assert names["ü ñ.jpg"] == "ü ñ.jpg"
    assert names["photo.jpg"] == "photo.jpg"
    _, images, _ = read_all(done.root)
    for i, stem in enumerate(stems):
        found = images[names[f"{stem}.jpg"]].record
        assert found is not None
        assert found.boxes[0, 3] - found.boxes[0, 1] == pytest.approx((i + 1) / 2)
    assert len({name.casefold() for name in names.values()}) == len(stems)


def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    source = write_yolo(tmp_path / "set", {"a.jpg": ROW})
    for suffix in ("jpg", "txt"):
        os.link(
            source / f"a.{suffix}",
            os.fsencode(source) + f"/b\udcff.{suffix}".encode("utf-8", "surrogateescape"),
        )
    for to in ("coco", "voc"):
        done = convert_dataset(source, to=to)  # type: ignore[arg-type]
        _, images, _ = read_all(done.root)
        assert len(images) == 2
        assert all(name.isascii() for name in images)


@pytest.mark.parametrize("link", ["hard", "copy"])
@pytest.mark.parametrize("to", ["coco", "voc"])
def test_output_repeats(tmp_path: Path, to: Any, link: Any) -> None:
    source = with_splits(tmp_path / "set")
    done = convert_dataset(source, to=to, link=link)
    first = tree_digest(done.root)
    assert tree_digest(convert_dataset(source, to=to, link=link).root) == first
    assert (os.stat(source / "images/train/x.jpg").st_nlink > 1) == (link == "hard")  # noqa: PTH116
    assert sorted(p.name for p in tmp_path.iterdir()) == ["set", f"set_{to}"]


def test_two_formats_in_a_folder(tmp_path: Path) -> None:
    source = write_voc(tmp_path / "set", {"a": [("x", 1, 1, 9, 9)]})
    write_text(source / "JPEGImages/a.txt", ROW)
    with pytest.raises(DataError, match="labels in several formats"):
        convert_dataset(source, to="coco")
    assert convert_dataset(source, to="coco", label_format="voc").class_names == ("x",)


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("arguments", "error", "expected"),
    [
        (
            {"to": "yolo"},
            ConfigError,
            "to: got 'yolo', expected 'coco' or 'voc'. The YOLO layout is what prepare_dataset",
        ),
        ({"to": "cocoa"}, ConfigError, "Did you mean 'coco'?"),
        ({"link": "soft"}, ConfigError, "link: got 'soft', expected one of hard, copy, symlink"),
        ({"label_format": "vok"}, ConfigError, "Did you mean 'voc'"),
        ({"out": "set/out"}, DataError, "Choose an output folder outside of it (--out)"),
    ],
)
def test_wrong_arguments(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: dict[str, Any],
    error: type[Exception],
    expected: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error) as caught:
        convert_dataset(with_splits(tmp_path / "set"), **arguments)
    assert expected in str(caught.value)
    assert [p.name for p in tmp_path.iterdir()] == ["set"]


def test_no_such_folder(tmp_path: Path) -> None:
    with pytest.raises(DatasetNotFoundError, match="no such folder"):
        convert_dataset(tmp_path / "nowhere")


def test_no_usable_box(tmp_path: Path) -> None:
    source = write_yolo(tmp_path / "set", {"a.jpg": "0 .5 .5 0 0\n"})
    with pytest.raises(DataError, match=r"no usable box in 1 images\. The first problem: .*a\.txt:1: error"):
        convert_dataset(source)
    assert [p.name for p in tmp_path.iterdir()] == ["set"]


def test_class_names_that_voc_cannot_carry(tmp_path: Path) -> None:
    source = write_yolo(tmp_path / "set", {"t/a.jpg": ROW}, "train: t\nval: t\nnames: ['a ', b]\n")
    with pytest.raises(DataError, match=r"class 0: got the name 'a ', which VOC xml cannot carry"):
        convert_dataset(source, to="voc")
    assert [p.name for p in tmp_path.iterdir()] == ["set"]
    assert convert_dataset(source, to="coco").class_names == ("a ", "b")


@pytest.mark.parametrize("made", ["voc", "yolo", "foreign"])
def test_other_folders_are_not_replaced(tmp_path: Path, made: str) -> None:
    source, out = write_yolo(tmp_path / "set", {"a.jpg": ROW, "b.jpg": ROW}), tmp_path / "out"
    if made == "voc":
        convert_dataset(source, out, to="voc")
    elif made == "yolo":
        prepare_dataset(source, out)
    else:
        write_text(out / "annotations" / "mine.json", "{}")
    before = tree_digest(out)
    with pytest.raises(DataError, match=r"[Cc]hoose another output folder"):
        convert_dataset(source, out, to="coco")
    assert tree_digest(out) == before


def test_failure_keeps_the_old_dataset_and_no_litter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = with_splits(tmp_path / "set")
    before = tree_digest(convert_dataset(source, link="copy").root)

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("yolofast.prepare.convert.link_or_copy", full)
    with pytest.raises(DataError, match="cannot be written: No space left on device"):
        convert_dataset(source, link="copy")
    assert tree_digest(tmp_path / "set_coco") == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["set", "set_coco"]


# ---------------------------------------------------------------- the command


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write_yolo(tmp_path / "set", {"a.jpg": ROW + "0 .5 .5 .2\n"})
    assert main(["convert", str(source), "--to", "voc"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0] == "unsplit 1 images, 1 boxes"
    assert out[1].startswith("1 of 2 boxes dropped; every reason is in ")
    assert "a.txt:2: error: '0 .5 .5 .2': expected 5 numbers" in out[2]
    assert out[-1] == str(tmp_path / "set_voc")
    target = tmp_path / "elsewhere"
    assert main(["convert", str(source), "--to", "coco", "--out", str(target), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["root"], answer["format"], answer["source_boxes"]) == (str(target), "coco", 2)


def test_command_needs_a_format(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convert", str(tmp_path)]) == 2
    assert "--to" in capsys.readouterr().err
