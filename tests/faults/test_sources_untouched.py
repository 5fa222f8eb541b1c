"""No command changes the files of a dataset: bytes, names, modes and times."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.dataset_files import (
    coco_json,
    image_bytes,
    voc_xml,
    write_image,
    write_json,
    write_text,
    write_yolo,
)

from yolofast.cli import main
from yolofast.load import Loader, YOLODataset

ROWS = "0 0.5 0.5 0.2 0.2\n1 0.3 0.3 0.1 0.1\n"
YAML = "train: images/train\nval: images/val\nnames: [cat, dog]\n"


def snapshot(root: Path) -> dict[str, tuple[int, int, str]]:
    """Mode, time of change and content of the folder itself and of everything in it."""
    found = {}
    for folder, folders, files in os.walk(root):
        for name in (".", *folders, *files):
            path = Path(folder) / name
            status = path.lstat()
            if stat.S_ISLNK(status.st_mode):
                content = os.fsencode(path.readlink())
            else:
                content = path.read_bytes() if stat.S_ISREG(status.st_mode) else b""
            digest = hashlib.sha256(content).hexdigest()
            found[os.path.relpath(path, root)] = (status.st_mode, status.st_mtime_ns, digest)
    return found


def _break_images(folder: Path) -> None:
    """A truncated JPEG, one that is none, an empty one, and a link."""
    (folder / "cut.jpg").write_bytes(image_bytes(100, 50)[:900])
    write_text(folder / "text.jpg", "no picture")
    write_text(folder / "nothing.png", "")
    (folder / "linked.jpg").symlink_to("a.jpg")


def yolo(root: Path) -> None:
    labels = "\ufeff0\t0.5 0.5 0.2 0.2\r\n1 nan .5 .2 .2\r\n9 .5 .5 .2 .2\r\n0 .5 .5"
    names = ("a.jpg", "B.JPG", "c d.png", "cut.jpg", "text.jpg")
    images = {f"images/train/{name}": labels for name in names}
    write_yolo(root, images | {"images/val/v.jpg": ROWS, "images/val/w.jpg": None}, YAML)
    write_text(root / "labels/train/orphan.txt", ROWS)
    (root / "labels/train/B.txt").write_bytes(b"\x00\xff\xfe")
    write_text(root / "classes.txt", "cat\nbird\n")
    _break_images(root / "images/train")


def flat_yolo(root: Path) -> None:
    write_yolo(root, {f"{name}.jpg": ROWS for name in ("a", "b", "c")})
    _break_images(root)


def coco(root: Path) -> None:
    good = [(1, [1.0, 1.0, 9.5, 9.5]), (7, [5, 5, 20, 20]), (1, [0, 0, 500, 5])]
    for split in ("train", "val"):
        for name in ("a.jpg", "b.jpg"):
            write_image(root / split / name)
        names = ("a.jpg", "b.jpg", "gone.jpg", "text.jpg", "cut.jpg")
        content = coco_json(dict.fromkeys(names, good), {1: "cat", 7: "dog"})
        write_json(root / "annotations" / f"instances_{split}.json", content)
    write_json(root / "annotations" / "captions.json", {"images": [], "annotations": [{"caption": "x"}]})
    _break_images(root / "train")


def voc(root: Path) -> None:
    for name in ("a", "b", "cut", "text"):
        write_image(root / "JPEGImages" / f"{name}.jpg")
        rows = [("cat", 1, 1, 20, 20), ("dog", 0, 0, 900, 9)]
        write_text(root / "Annotations" / f"{name}.xml", voc_xml(rows))
    write_text(root / "Annotations/broken.xml", "<annotation><object></annotation>")
    write_text(root / "Annotations/entities.xml", "<!DOCTYPE a [<!ENTITY b 'c'>]><annotation/>")
    write_text(root / "ImageSets/Main/train.txt", "a\nb\ngone\n")
    _break_images(root / "JPEGImages")


def csv(root: Path) -> None:
    rows = "a.jpg,100,50,cat,1,1,20,20\nb.jpg,100,50,dog,x,1,20,20\ngone.jpg,100,50,cat,1,1,20,20\n"
    rows += "c.jpg,100,50,cat,1,1,20,20\n"
    write_text(root / "train_labels.csv", f"filename,width,height,class,xmin,ymin,xmax,ymax\n{rows}")
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        write_image(root / "train" / name)
    _break_images(root / "train")


def open_images(root: Path) -> None:
    columns = "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax"
    columns += ",IsOccluded,IsTruncated,IsGroupOf,IsDepiction,IsInside"
    rows = "".join(
        f"{name},x,/m/1,1,0.1,0.5,0.1,0.5,0,0,{group},0,0\n" for name, group in (("a", 0), ("b", 1), ("c", 0))
    )
    write_text(root / "train-annotations-bbox.csv", f"{columns}\n{rows}")
    write_text(root / "class-descriptions-boxable.csv", "/m/1,Cat\n")
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        write_image(root / "train" / name)
    _break_images(root / "train")


def labelme(root: Path) -> None:
    for name, points in (("a", [[1, 1], [20, 20]]), ("b", [[1, 1]]), ("c", [[2, 2], [9, 9]])):
        write_image(root / f"{name}.jpg")
        shape = {"label": "cat", "points": points, "shape_type": "rectangle"}
        content = {"shapes": [shape], "imagePath": f"{name}.jpg", "imageWidth": 100, "imageHeight": 50}
        write_json(root / f"{name}.json", content | {"version": "5", "imageData": None, "flags": {}})
    _break_images(root)


SOURCES = [yolo, flat_yolo, coco, voc, csv, open_images, labelme]
COMMANDS = [
    ["analyze", "SET"],
    ["check", "SET"],
    ["check", "SET", "--decode", "--json"],
    ["check", "SET", "--html", "OUT/report.html"],
    ["prepare", "SET", "--out", "OUT/hard"],
    ["prepare", "SET", "--out", "OUT/copy", "--link", "copy"],
    ["prepare", "SET", "--out", "OUT/links", "--link", "symlink"],
    ["prepare", "SET", "--out", "OUT/small", "--max-side", "40"],
    ["prepare", "SET", "--out", "OUT/restarts", "--restart-rows", "1"],
    ["convert", "SET", "--out", "OUT/coco", "--to", "coco"],
    ["convert", "SET", "--out", "OUT/voc", "--to", "voc"],
    ["convert", "SET", "--out", "OUT/voc_copy", "--to", "voc", "--link", "copy"],
]


@pytest.fixture
def writable_again(tmp_path: Path) -> Iterator[None]:
    yield
    for folder, _, _ in os.walk(tmp_path):
        Path(folder).chmod(0o755)


def run_commands(source: Path, out: Path) -> None:
    for command in COMMANDS:
        arguments = [a.replace("SET", str(source)).replace("OUT", str(out)) for a in command]
        for _ in range(2):  # the second time replaces what the first one made
            assert main(arguments) == 0, arguments


@pytest.mark.parametrize("make", SOURCES)
def test_commands_leave_the_source_as_it_was(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "set")
    before = snapshot(tmp_path / "set")
    run_commands(tmp_path / "set", tmp_path / "out")
    assert snapshot(tmp_path / "set") == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out", "set"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
@pytest.mark.usefixtures("writable_again")
@pytest.mark.parametrize("make", SOURCES)
def test_read_only_sources_are_enough(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "set")
    for folder, _, files in os.walk(tmp_path / "set"):
        for name in files:
            path = Path(folder) / name
            if not path.is_symlink():
                path.chmod(0o444)
        Path(folder).chmod(0o555)
    before = snapshot(tmp_path / "set")
    run_commands(tmp_path / "set", tmp_path / "out")
    assert snapshot(tmp_path / "set") == before


@pytest.mark.parametrize("cache", ["none", "ram", "disk"])
def test_loading_leaves_the_source_as_it_was(tmp_path: Path, cache: str) -> None:
    yolo(tmp_path / "set")
    before = snapshot(tmp_path / "set")
    for _ in range(2):  # the second time reads the cache on disk
        dataset = YOLODataset(
            tmp_path / "set" / "data.yaml",
            "train",
            imgsz=32,
            shuffle=True,
            cache=cache,  # type: ignore[arg-type]
            cache_dir=tmp_path / "cache",
            max_bad_share=0.9,
        )
        loader = Loader(dataset, 4, threads=2)
        assert sum(len(batch.paths) for batch in loader) == len(dataset)
        loader.close()
    assert snapshot(tmp_path / "set") == before
    assert (tmp_path / "cache").exists() == (cache == "disk")
