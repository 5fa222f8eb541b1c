"""prepare_dataset: the YOLO layout from any format, nothing lost silently, nothing of the source changed."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import numpy as np
import pytest
from support.dataset_files import (
    coco_json,
    image_bytes,
    tree_digest,
    write_image,
    write_json,
    write_text,
    write_voc,
    write_yolo,
)

from yolofast.errors import ConfigError, DataError
from yolofast.formats.data_yaml import list_images, read_data_yaml
from yolofast.formats.discover import scan_dataset
from yolofast.formats.registry import open_dataset
from yolofast.formats.yolo.split import iter_yolo_records
from yolofast.prepare import prepare_dataset
from yolofast.types import ImageRecord, PreparedDataset

ROW = "0 0.5 0.5 0.2 0.2\n"
YAML = "train: images/train\nval: images/val\nnames: [a, b]\n"


def records(done: PreparedDataset) -> dict[str, ImageRecord]:
    data = read_data_yaml(done.data_yaml)
    found = {}
    for split in data.splits:
        for record, findings in iter_yolo_records(data, split):
            assert record is not None
            assert findings == ()
            found[record.path.name] = record
    return found


def flat(root: Path, count: int = 10) -> Path:
    return write_yolo(root, {f"{i}.jpg": ROW for i in range(count)})


def balanced(done: PreparedDataset) -> bool:
    dropped = sum(f.code.startswith("box-") for f in done.dropped)
    return done.source_boxes == sum(done.boxes.values()) + dropped


def test_layout_and_data_yaml(tmp_path: Path) -> None:
    source = write_yolo(tmp_path / "set", {"images/train/x.jpg": ROW, "images/val/y.png": None}, YAML)
    done = prepare_dataset(source)
    assert done.root == tmp_path / "set_yolo"
    assert sorted(tree_digest(done.root)) == [
        "data.yaml",
        "manifest.json",
        "train/images/x.jpg",
        "train/labels/x.txt",
        "valid/images/y.png",
        "valid/labels/y.txt",
    ]
    assert all((done.root / "test" / kind).is_dir() for kind in ("images", "labels"))
    assert (done.root / "train/labels/x.txt").read_text() == ROW
    assert (done.root / "valid/labels/y.txt").read_text() == ""
    keys = [line.split(":")[0] for line in done.data_yaml.read_text().splitlines()[:5]]
    assert keys == ["path", "train", "val", "nc", "names"]  # no test: there is no image for it
    assert (done.images, done.boxes) == (
        {"train": 1, "valid": 1, "test": 0},
        {"train": 1, "valid": 0, "test": 0},
    )


def test_works_after_the_prepared_folder_moves(tmp_path: Path) -> None:
    done = prepare_dataset(flat(tmp_path / "set"))
    moved = done.root.rename(tmp_path / "elsewhere")
    assert len(list_images(read_data_yaml(moved / "data.yaml"), "train")) == 8


@pytest.mark.parametrize("kind", ["voc", "coco", "yolo"])
def test_boxes_agree_with_the_source(tmp_path: Path, kind: str) -> None:
    source = tmp_path / kind
    boxes = [(10.25, 5.5, 60.125, 40.0), (0.0, 0.0, 100.0, 50.0), (33.3, 11.1, 34.9, 12.2)]
    if kind == "voc":
        write_voc(source, {str(i): [("x", *b) for b in boxes] for i in range(3)})
    elif kind == "coco":
        rows = [(7, [a, b, c - a, d - b]) for a, b, c, d in boxes]
        write_json(source / "c.json", coco_json({f"{i}.jpg": rows for i in range(3)}, {7: "x"}))
        for i in range(3):
            write_image(source / f"{i}.jpg")
    else:
        text = "".join(
            f"0 {(a + c) / 200!r} {(b + d) / 100!r} {(c - a) / 100!r} {(d - b) / 50!r}\n"
            for a, b, c, d in boxes
        )
        write_yolo(source, {f"{i}.jpg": text for i in range(3)})
    done = prepare_dataset(source)
    for record in records(done).values():
        np.testing.assert_allclose(record.boxes, boxes, rtol=0, atol=1e-6)
    assert balanced(done)


def test_every_dropped_item_is_listed_with_its_reason(tmp_path: Path) -> None:
    rows = ROW + "0 .5 .5 .2\n0 nan .5 .2 .2\n5 .5 .5 .2 .2\n" + ROW
    source = write_yolo(tmp_path / "set", {"images/train/a.jpg": rows, "images/val/b.jpg": ROW}, YAML)
    write_text(source / "images/train/broken.jpg", "x")
    write_text(source / "labels/train/broken.txt", ROW + ROW)
    done = prepare_dataset(source)
    assert [(f.code, Path(f.file or "").name, f.line) for f in done.dropped] == [
        ("box-columns", "a.txt", 2),
        ("box-nan", "a.txt", 3),
        ("box-class", "a.txt", 4),
        ("box-duplicate", "a.txt", 5),
        ("image-unreadable", "broken.jpg", None),
        ("box-no-image", "broken.txt", 1),
        ("box-no-image", "broken.txt", 2),
    ]
    assert (done.source_boxes, balanced(done)) == (8, True)
    manifest = json.loads((done.root / "manifest.json").read_text())
    assert (manifest["source_boxes"], manifest["kept_boxes"], manifest["dropped_boxes"]) == (8, 2, 6)
    assert manifest["source"] == str(source)
    assert manifest["dropped"][0]["file"] == "labels/train/a.txt"
    assert [f["message"] for f in manifest["dropped"]] == [f.message for f in done.dropped]


@pytest.mark.parametrize("link", ["hard", "copy"])
def test_source_is_untouched_and_output_repeats(tmp_path: Path, link: str) -> None:
    source = flat(tmp_path / "set")
    before = tree_digest(source)
    first = tree_digest(prepare_dataset(source, link=link).root)  # type: ignore[arg-type]
    assert (os.stat(source / "0.jpg").st_nlink > 1) == (link == "hard")  # noqa: PTH116
    assert tree_digest(prepare_dataset(source, link=link).root) == first  # type: ignore[arg-type]
    assert tree_digest(source) == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["set", "set_yolo"]


def test_copies_where_links_cannot_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    done = prepare_dataset(flat(tmp_path / "set"))
    copy = next((done.root / "train/images").iterdir())
    assert copy.read_bytes() == image_bytes(100, 50, seed=copy.name)
    assert not copy.is_symlink()


def test_symlinked_images_become_real_files(tmp_path: Path) -> None:
    source = flat(tmp_path / "set", 4)
    real = (source / "0.jpg").rename(tmp_path / "real.jpg")
    (source / "0.jpg").symlink_to(real)
    done = prepare_dataset(source)
    assert not any(p.is_symlink() for p in done.root.rglob("*"))


# ---------------------------------------------------------------- splits


def test_split_depends_on_names_and_seed_only(tmp_path: Path) -> None:
    done = prepare_dataset(flat(tmp_path / "a", 50), val_fraction=0.3)
    assert (done.images["train"], done.images["valid"]) == (35, 15)

    def chosen(done: PreparedDataset) -> set[str]:
        return {p.name for p in (done.root / "valid/images").iterdir()}

    again = write_yolo(tmp_path / "b", {f"{i}.jpg": ROW for i in reversed(range(50))})
    assert chosen(prepare_dataset(again, val_fraction=0.3)) == chosen(done)
    assert chosen(prepare_dataset(again, val_fraction=0.3, seed=1)) != chosen(done)
    labels = {p.stem for p in (done.root / "valid/labels").iterdir()}
    assert labels == {Path(name).stem for name in chosen(done)}


def test_valid_is_taken_from_train_when_the_source_has_none(tmp_path: Path) -> None:
    images = {f"train/{i}.jpg": ROW for i in range(10)} | {"test/t.jpg": ROW}
    done = prepare_dataset(write_yolo(tmp_path / "set", images))
    assert done.images == {"train": 8, "valid": 2, "test": 1}


def test_splits_without_train_are_ignored(tmp_path: Path) -> None:
    done = prepare_dataset(write_yolo(tmp_path / "set", {f"val2017/{i}.jpg": ROW for i in range(10)}))
    assert done.images == {"train": 8, "valid": 2, "test": 0}


def test_images_outside_the_splits_are_listed(tmp_path: Path) -> None:
    lists = {"train": ["a"], "val": ["b"]}
    box = ("x", 1, 1, 9, 9)
    done = prepare_dataset(write_voc(tmp_path / "set", {"a": [box], "b": [box], "c": [box]}, lists))
    assert [f.code for f in done.dropped] == ["image-unlisted", "box-no-image"]
    assert balanced(done)


def test_an_image_in_two_splits_is_placed_once(tmp_path: Path) -> None:
    write_image(tmp_path / "set/a.jpg")
    write_image(tmp_path / "set/b.jpg")
    good = [(1, [0.0, 0.0, 5.0, 5.0])]
    write_json(tmp_path / "set/train.json", coco_json({"a.jpg": good}, {1: "x"}))
    write_json(tmp_path / "set/val.json", coco_json({"a.jpg": good, "b.jpg": good}, {1: "x"}))
    done = prepare_dataset(tmp_path / "set")
    assert done.images == {"train": 1, "valid": 1, "test": 0}
    assert [f.code for f in done.dropped] == ["box-duplicate"]
    assert {"split-overlap", "images-joined"} <= {f.code for f in done.noticed}
    assert balanced(done)


def test_same_file_names_get_stable_suffixes(tmp_path: Path) -> None:
    images = {"train/x/a.jpg": ROW, "train/y/A.png": ROW, "train/z/b.jpg": ROW, "val/x/a.jpg": ROW}
    done = prepare_dataset(write_yolo(tmp_path / "set", images))
    names = sorted(p.name for p in done.root.glob("*/images/*"))
    assert len(names) == 4
    assert "b.jpg" in names
    assert len({Path(name).stem.casefold() for name in names}) == 4
    assert all(name.casefold().startswith(("a-", "b.")) for name in names)
    assert len(records(done)) == 4


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize("out", ["set", "set/out", ".", "link/out"])
def test_output_in_the_source_is_refused(tmp_path: Path, out: str) -> None:
    source = flat(tmp_path / "set")
    (tmp_path / "link").symlink_to(source)
    before = tree_digest(source)
    with pytest.raises(DataError, match=r"Choose an output folder outside of it \(--out\)"):
        prepare_dataset(source, tmp_path / out)
    assert tree_digest(source) == before


def test_foreign_output_folder_is_refused(tmp_path: Path) -> None:
    source, out = flat(tmp_path / "set"), tmp_path / "out"
    write_text(out / "thesis.txt", "precious")
    with pytest.raises(DataError, match=r"not empty and was not made by .*thesis\.txt"):
        prepare_dataset(source, out)
    assert (out / "thesis.txt").read_text() == "precious"


def test_user_files_in_a_prepared_folder_are_not_lost(tmp_path: Path) -> None:
    source = flat(tmp_path / "set")
    done = prepare_dataset(source)
    write_text(done.root / "train" / "labels.cache", "")
    prepare_dataset(source)
    write_text(done.root / "train" / "images" / ".hidden", "")
    write_text(done.root / "train" / "images" / "a.npy", "")
    prepare_dataset(source, seed=1)
    for name in ("valid/labels/mine.txt", "train/images/mine.jpg", "notes.txt"):
        write_text(done.root / name, "precious")
        with pytest.raises(DataError, match=f"contains '{name}', which preparing again would delete"):
            prepare_dataset(source)
        assert (done.root / name).read_text() == "precious"


def test_failure_keeps_the_old_dataset_and_no_litter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = flat(tmp_path / "set")
    before = tree_digest(prepare_dataset(source, link="copy").root)
    calls = iter(range(100))

    def full(*_: object) -> tuple[int, bytes]:
        if next(calls) == 5:
            raise OSError(errno.ENOSPC, "No space left on device")
        return 0, b""

    monkeypatch.setattr("yolofast.prepare.image_writer._copy", full)
    with pytest.raises(DataError, match="cannot be written: No space left on device"):
        prepare_dataset(source, link="copy", seed=1)
    assert tree_digest(tmp_path / "set_yolo") == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["set", "set_yolo"]


def test_failure_of_the_last_rename_keeps_the_old_dataset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = flat(tmp_path / "set")
    before = tree_digest(prepare_dataset(source).root)
    rename = Path.rename

    def refuse(path: Path, target: Path) -> Path:
        if target.name == "set_yolo" and path.name == "new":
            raise PermissionError(errno.EACCES, "Permission denied")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(DataError, match="cannot be written: Permission denied"):
        prepare_dataset(source, seed=1)
    assert tree_digest(tmp_path / "set_yolo") == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["set", "set_yolo"]


def test_user_folders_of_any_name_stay(tmp_path: Path) -> None:
    source = flat(tmp_path / "set")
    names = (".set_yolo.building", ".set_yolo.old", ".set_yolo.building-1")
    for name in names:
        write_text(tmp_path / name / "mine.txt", "precious")
    for _ in range(2):
        prepare_dataset(source)
    assert all((tmp_path / name / "mine.txt").read_text() == "precious" for name in names)


def test_repeated_long_names_are_shortened(tmp_path: Path) -> None:
    long, wide = "n" * 250, "ü" * 125
    images = {f"{folder}/{stem}.jpg": None for folder in ("train", "val") for stem in (long, wide)}
    source = write_yolo(tmp_path / "set", images | {"train/a.jpg": ROW})
    done = prepare_dataset(source)
    assert done.images == {"train": 3, "valid": 2, "test": 0}
    names = {p.name for p in done.root.glob("*/images/*")}
    assert len(names) == 5
    assert all(len(os.fsencode(name)) <= 255 for name in names)


@pytest.mark.parametrize(
    ("arguments", "error", "expected"),
    [
        ({"val_fraction": 0}, ConfigError, "val_fraction: got 0"),
        ({"val_fraction": 1.0}, ConfigError, "val_fraction: got 1.0"),
        ({"link": "soft"}, ConfigError, "link: got 'soft', expected one of hard, copy, symlink"),
        ({"seed": "one"}, ConfigError, "seed: got 'one', expected a whole number"),
        ({"keep": []}, ConfigError, "keep: got no class, expected at least one"),
        ({"label_format": "vok"}, ConfigError, "label_format: got 'vok', expected one of yolo, "),
        ({"label_format": "vok"}, ConfigError, "Did you mean 'voc'"),
        ({"fraction": 0.1}, TypeError, "fraction"),
    ],
)
def test_wrong_arguments(
    tmp_path: Path, arguments: dict[str, object], error: type[Exception], expected: str
) -> None:
    with pytest.raises(error) as caught:
        prepare_dataset(flat(tmp_path / "set"), **arguments)
    assert expected in str(caught.value)


def test_one_image_cannot_be_split(tmp_path: Path) -> None:
    source = flat(tmp_path / "set", 2)
    write_text(source / "1.jpg", "no picture")
    with pytest.raises(
        DataError, match=r"/set: got 1 usable training image.* first problem: .*/1\.jpg: error"
    ):
        prepare_dataset(source)
    assert not (tmp_path / "set_yolo").exists()


# ---------------------------------------------------------------- real data


@pytest.mark.parametrize(
    ("name", "images", "source_boxes", "dropped"),
    [
        ("bccd_voc", {"train": 205, "valid": 87, "test": 72}, 4888, {"box-empty": 2}),
        ("coco128", {"train": 128, "valid": 64, "test": 0}, 1369, {}),
        ("tiny_coco_json", {"train": 32, "valid": 6, "test": 0}, 424, {"box-crowd": 5}),
    ],
)
def test_real_data(
    shared_data: Path,
    tmp_path: Path,
    name: str,
    images: dict[str, int],
    source_boxes: int,
    dropped: dict[str, int],
) -> None:
    done = prepare_dataset(
        shared_data / name, tmp_path / name, link="copy"
    )  # not even a link to shared files
    assert done.images == images
    assert done.source_boxes == source_boxes
    assert sorted(f.code for f in done.dropped) == sorted(c for c, n in dropped.items() for _ in range(n))
    assert balanced(done)
    source = {}
    for item in open_dataset(scan_dataset(shared_data / name)).read():
        if item.record is not None:
            source[item.record.path.name] = item.record
    for image, record in records(done).items():
        assert record.split == source[image].split
        np.testing.assert_array_equal(record.classes, source[image].classes)
        np.testing.assert_allclose(record.boxes, source[image].boxes, rtol=0, atol=1e-5)
