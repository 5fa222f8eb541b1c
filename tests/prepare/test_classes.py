"""prepare_dataset(rename=, drop=, keep=): classes change, and every box is accounted for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.dataset_files import write_yolo

from yolofast.cli import main
from yolofast.errors import ConfigError, DataError
from yolofast.prepare import prepare_dataset, prepared_is_up_to_date
from yolofast.types import PreparedDataset

NAMES = ["dog", "car", "person", "truck"]
SAME = "0.5 0.5 0.2 0.2\n"
ROWS = f"0 {SAME}1 {SAME}3 {SAME}2 0.4 0.4 0.2 0.2\n"


def source(root: Path) -> Path:
    images = {"images/train/a.jpg": ROWS, "images/train/d.jpg": f"0 {SAME}", "images/val/b.jpg": f"2 {SAME}"}
    return write_yolo(root / "set", images, f"train: images/train\nval: images/val\nnames: {NAMES}\n")


def label(done: PreparedDataset, name: str = "a") -> str:
    return next(done.root.glob(f"*/labels/{name}.txt")).read_text()


def dropped(done: PreparedDataset) -> list[tuple[str, str, str, int | None]]:
    assert done.source_boxes == sum(done.boxes.values()) + sum(f.code[:4] == "box-" for f in done.dropped)
    return [(f.code, f.message, Path(f.file or "").name, f.line) for f in done.dropped]


def test_merged_classes(tmp_path: Path) -> None:
    done = prepare_dataset(source(tmp_path), rename={"car": "vehicle", "truck": "vehicle"})
    assert done.class_names == ("dog", "vehicle", "person")
    assert label(done) == f"0 {SAME}1 {SAME}2 0.4 0.4 0.2 0.2\n"
    message = "an exact repeat now that class 'truck' is part of 'vehicle'"
    assert dropped(done) == [("box-duplicate", message, "a.txt", 3)]


@pytest.mark.parametrize(
    "options", [{"drop": ("dog", "truck")}, {"keep": ("person", "car")}, {"keep": {"car", "person"}}]
)
def test_dropped_classes(tmp_path: Path, options: dict[str, Any]) -> None:
    done = prepare_dataset(source(tmp_path), **options)
    assert done.class_names == ("car", "person")
    assert label(done) == f"0 {SAME}1 0.4 0.4 0.2 0.2\n"
    assert (label(done, "d"), done.images["train"]) == ("", 2)
    assert dropped(done) == [
        ("box-class-dropped", "class 'dog' is dropped, as asked", "a.txt", 1),
        ("box-class-dropped", "class 'truck' is dropped, as asked", "a.txt", 3),
        ("box-class-dropped", "class 'dog' is dropped, as asked", "d.txt", 1),
    ]
    manifest = json.loads((done.root / "manifest.json").read_text())
    assert manifest["dropped_by_code"] == {"box-class-dropped": 3}
    assert (manifest["classes"], manifest["source_classes"]) == (["car", "person"], NAMES)


def test_emptied_images_are_left_out_when_asked(tmp_path: Path) -> None:
    done = prepare_dataset(source(tmp_path), drop=("dog",), drop_empty=True)
    assert done.images["train"] == 1
    assert dropped(done)[-1] == (
        "image-emptied",
        "none of its boxes is of a class that is kept",
        "d.jpg",
        None,
    )


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (
            {"drop": ("dogs",)},
            DataError,
            "drop: got 'dogs', which is not a class of this dataset. Did you mean 'dog'? "
            "Its classes: 'dog', 'car', 'person', 'truck'.",
        ),
        (
            {"drop": ("dog",), "keep": ("car",)},
            ConfigError,
            "drop and keep: got both, expected one: what is not kept is dropped.",
        ),
        (
            {"rename": {"dog": "cat"}, "drop": ("dog",)},
            DataError,
            "rename: class 'dog' is also dropped. Rename it or drop it.",
        ),
        ({"rename": {"dog": " "}}, DataError, "rename: got ' ' for class 'dog', expected a name."),
        ({"drop": NAMES}, DataError, "drop, keep: no class is left of 'dog', 'car', 'person', 'truck'."),
        ({"drop": "dog"}, ConfigError, "drop: got 'dog', expected a list (each item text)."),
        (
            {"rename": "dog"},
            ConfigError,
            "rename: got 'dog', expected a mapping from text to text or nothing.",
        ),
    ],
)
def test_refusals(tmp_path: Path, options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        prepare_dataset(source(tmp_path), **options)
    assert str(caught.value) == message
    assert [p.name for p in tmp_path.iterdir()] == ["set"]


def test_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = source(tmp_path)
    assert (
        main(["prepare", str(root), "--rename", "car=vehicle", "truck=vehicle", "--drop", "dog", "--json"])
        == 0
    )
    assert json.loads(capsys.readouterr().out)["class_names"] == ["vehicle", "person"]
    settings: dict[str, Any] = {"rename": {"car": "vehicle", "truck": "vehicle"}, "drop": ("dog",)}
    assert prepared_is_up_to_date(tmp_path / "set_yolo", root, **settings)
    assert not prepared_is_up_to_date(tmp_path / "set_yolo", root)
    assert main(["prepare", str(root), "--rename", "car"]) == 2
    assert (
        "rename: got 'car', expected OLD=NEW once for each class, such as car=vehicle."
        in capsys.readouterr().err
    )
