"""Where class names come from, and the findings when sources contradict one another."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.dataset_files import (
    coco_json,
    read_all,
    write_image,
    write_json,
    write_text,
    write_voc,
    write_yolo,
)

from yolofast.errors import DataError
from yolofast.formats.names import reader as class_files
from yolofast.formats.names.reader import read_class_file

ROW = "0 .5 .5 .1 .1\n"
YAML = "train: images\nnames: [cat, dog]\n"


def told(root: Path) -> list[str]:
    """The dataset's findings as text, with paths from the root."""
    return [str(f).replace(f"{root}/", "") for f in read_all(root)[0].findings]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("classes.txt", "\ufeffcat\r\ndog\r\n"),
        ("obj.names", "cat\ndog"),
        (
            "label_map.pbtxt",
            "item {\n  name: \"cat\"\n  id: 1\n}\nitem {\n  id: 2\n  display_name: 'dog'\n}\n",
        ),
        ("classes.json", '["cat", "dog"]'),
        ("label_map.json", '{"dog": 2, "cat": 1}'),
        ("class_indices.json", '{"0": "cat", "1": "dog"}'),
    ],
)
def test_forms_of_class_files(tmp_path: Path, name: str, text: str) -> None:
    assert read_class_file(write_text(tmp_path / name, text)) == ("cat", "dog")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (
            "classes.txt",
            "cat\n\ndog\n",
            ":2: got an empty line between class names: it would shift the class ids.",
        ),
        ("classes.txt", " \n", ": got no class name, expected one per line."),
        ("classes.txt", "x" * 101, ": got 101 bytes, expected a class file of at most 100."),
        (
            "a.pbtxt",
            "item {\n id: 1\n name: 'a'\n}\nitem {\n id: 2 }",
            ":5: got 'item {id: 2}', expected an id and a name in it.",
        ),
        ("a.pbtxt", "item { id: 1 name: 'a' }\nitem { id: 1 name: 'b' }", ":2: id 1 is both 'a' and 'b'."),
        ("classes.json", '{"cat": 0, "dog": 2}', ": got class ids [0, 2], expected 0, 1, 2, ... each once."),
        ("classes.json", '{"cat": 7}', ": got class ids [7], expected 0, 1, 2, ... each once."),
        (
            "classes.json",
            '{"cat": "x"}',
            ': expected a list of class names, or an object such as {"cat": 0, "dog": 1}.',
        ),
        (
            "classes.json",
            '["cat",\n',
            ":2: not valid JSON: Expecting value; expected a list of class names, or an object such "
            'as {"cat": 0, '
            '"dog": 1}.',
        ),
        ("classes.json", "[]", ": got no class name, expected one per line."),
        (
            "classes.txt",
            "cat\ndog\ncat\n",
            ":3: 'cat' is both class 0 and class 2, expected each name once. Rename one of them.",
        ),
    ],
)
def test_class_files_that_are_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, text: str, message: str
) -> None:
    monkeypatch.setattr(class_files, "MAX_BYTES", 100)
    path = write_text(tmp_path / name, text)
    with pytest.raises(DataError) as caught:
        read_class_file(path)
    assert str(caught.value) == f"{path}{message}"


def test_two_class_files_that_disagree(tmp_path: Path) -> None:
    write_yolo(tmp_path, {"images/a.jpg": ROW})
    write_text(tmp_path / "labels/classes.txt", "cat\ndog\n")
    write_text(tmp_path / "obj.names", "cat\npig\n")
    write_text(tmp_path / "same/classes.txt", "cat\ndog\n")
    assert told(tmp_path) == [
        "obj.names: error: class 1 is 'pig' here and 'dog' in labels/classes.txt: the latter counts. "
        "Make them agree, or remove one. [names-conflict]"
    ]


def test_data_yaml_counts_over_all_others(tmp_path: Path) -> None:
    write_yolo(tmp_path, {"images/a.jpg": ROW}, YAML)
    write_text(tmp_path / "classes.txt", "cat\n")
    write_text(tmp_path / "obj.names", "cat\n\ndog\n")
    write_text(tmp_path / "old/data2.yaml", "train: x\nnames: [dog, cat]\n")
    write_text(tmp_path / "hyp.yaml", "lr0: 0.1\n")
    assert told(tmp_path) == [
        "classes.txt: warning: names 1 classes, data.yaml 2: the latter counts. Make them agree, or "
        "remove one. "
        "[names-conflict]",
        "obj.names:2: warning: got an empty line between class names: it would shift the class ids. "
        "[names-unreadable]",
        "old/data2.yaml: warning: class 0 is 'dog' here and 'cat' in data.yaml: the latter counts. "
        "Make them agree, or remove one. [names-conflict]",
    ]


@pytest.mark.parametrize("kind", ["voc", "coco"])
def test_labels_with_names_count_over_class_files(tmp_path: Path, kind: str) -> None:
    if kind == "voc":
        write_voc(tmp_path, {"a": [("cat", 1, 1, 5, 5), ("dog", 1, 1, 5, 5)]})
    else:
        write_image(tmp_path / "a.jpg")
        write_json(tmp_path / "c.json", coco_json({"a.jpg": [(1, [0, 0, 5, 5])]}, {1: "cat", 2: "dog"}))
    write_text(tmp_path / "more.names", "dog\ncat\npig\n")
    write_text(tmp_path / "classes.txt", "pig\ncat\n")
    write_text(tmp_path / "data.yaml", "train: x\nval: y\nnames: [dog, pig]\n")
    assert read_all(tmp_path)[0].names == ("cat", "dog")
    assert told(tmp_path) == [
        f"classes.txt: warning: names 'pig', 'cat', without 'dog' of the {kind} labels, which count "
        f""
        f"[names-conflict]",
        f"data.yaml: warning: names 'dog', 'pig', without 'cat' of the {kind} labels, which count "
        f"[names-conflict]",
    ]


@pytest.mark.parametrize("yaml", [YAML, None])
def test_ids_without_a_name_are_said_once_with_their_number(tmp_path: Path, yaml: str | None) -> None:
    images = {"images/a.jpg": ROW + "2 .5 .5 .1 .1\n7 .5 .5 .1 .1\n", "images/b.jpg": "3 .5 .5 .1 .1\n"}
    write_yolo(tmp_path, images, yaml)
    if yaml is None:
        write_text(tmp_path / "classes.txt", "cat\ndog\n")
    _, _, items = read_all(tmp_path)
    findings = [f for i in items for f in i.findings]
    assert [(f.code, f.line) for f in findings[:3]] == [("box-class", 2), ("box-class", 3), ("box-class", 1)]
    assert [str(f).replace(f"{tmp_path}/", "") for f in findings[3:]] == [
        f"{'data.yaml' if yaml else 'classes.txt'}: error: names the classes 0 to 1, but 3 rows in 2 "
        "label files have class ids up to 7. Add the names. [names-short]"
    ]
