"""Files that would take memory, time or control: refused or harmless, with the message a user sees."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.dataset_files import read_all, write_image, write_text, write_voc, write_yolo

from yolofast.analyze import analyze_dataset
from yolofast.errors import DataError
from yolofast.formats.coco.reader import open_coco
from yolofast.formats.discover import scan_dataset
from yolofast.formats.registry import open_dataset

ROW = "0 .5 .5 .1 .1\n"
BOMB = "a: &a [x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 8)}]\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: " + "[" * 900, "data.yaml:1: nested more than 32 levels deep."),
        ("a: 1\nb: " + "{x: " * 40, "data.yaml:2: nested more than 32 levels deep."),
        (
            "\n".join(" " * i + f"k{i}:" for i in range(40)),
            "data.yaml:33: nested more than 32 levels deep.",
        ),
        ("a: 1\nb: }\n", "data.yaml:2: not valid YAML: "),
        ("#" + "x" * (4 << 20), "data.yaml: got 4194305 bytes, expected YAML of at most 4194304."),
    ],
    ids=["deep-lists", "deep-mappings", "deep-blocks", "syntax", "large"],
)
def test_yaml_is_bounded(tmp_path: Path, text: str, message: str) -> None:
    write_yolo(tmp_path, {"images/a.jpg": ROW}, text)
    with pytest.raises(DataError) as caught:
        read_all(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path}/{message}")  # a parser says what it expected


def test_yaml_alias_bombs_are_harmless(tmp_path: Path) -> None:
    write_yolo(tmp_path, {"images/a.jpg": ROW}, f"{BOMB}train: images\nnames: [cat]\n")
    assert read_all(tmp_path)[0].names == ("cat",)
    write_text(tmp_path / "data.yaml", f"{BOMB}train: images\nnames: *i\n")
    with pytest.raises(
        DataError, match=r"data\.yaml:\d+: a class name: got a list or mapping, expected one value\."
    ):
        read_all(tmp_path)


@pytest.mark.parametrize("tag", ["!!python/object/apply:os.system", "!!python/name:os.system", "!!binary"])
def test_yaml_tags_are_never_executed(tmp_path: Path, tag: str) -> None:
    mark = tmp_path / "ran"
    yaml = f"train: images\nnames: [cat]\nx: {tag} ['touch {mark}']\n"
    write_yolo(tmp_path, {"images/a.jpg": ROW}, yaml)
    assert read_all(tmp_path)[0].names == ("cat",)
    assert not mark.exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 100_000, "c.json:1: not valid JSON: expected '{'."),
        ('{"info":\n' + "[" * 100_000, "c.json:2: not valid JSON: expected at most 1000 nested brackets."),
        ('{"images": [],\n}', "c.json:2: not valid JSON: expected '\"'."),
    ],
    ids=["list", "deep", "syntax"],
)
def test_coco_json_is_bounded_in_depth(tmp_path: Path, text: str, message: str) -> None:
    write_image(tmp_path / "a.jpg")
    path = write_text(tmp_path / "c.json", text)
    with pytest.raises(DataError) as caught:
        open_coco(scan_dataset(tmp_path), (path,))
    assert str(caught.value) == f"{tmp_path}/{message}"


def test_xml_doctype_is_refused_with_file_and_line(tmp_path: Path) -> None:
    write_voc(tmp_path, {"a": [("x", 1, 1, 5, 5)]})
    entities = '<!DOCTYPE lolz [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;">]>'
    write_text(
        tmp_path / "Annotations/b.xml", f'<?xml version="1.0"?>\n{entities}\n<annotation>&b;</annotation>'
    )
    (finding, *_) = [f for f in analyze_dataset(tmp_path).findings if f.code == "image-label-unreadable"]
    assert str(finding) == (
        f"{tmp_path}/Annotations/b.xml:2: error: has a DOCTYPE, which is refused; remove it "
        f"[image-label-unreadable]"
    )


@pytest.mark.parametrize(
    "text",
    [ROW.replace("\n", "\r\n"), "\ufeff" + ROW, ROW.replace(" ", "\t"), ROW.strip(), "\n\n" + ROW + "\n \n"],
    ids=["crlf", "bom", "tabs", "no-last-newline", "blank-lines"],
)
def test_yolo_text_forms(tmp_path: Path, text: str) -> None:
    write_image(tmp_path / "images/a.JPG")
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels/a.txt").write_bytes(text.encode())
    write_text(tmp_path / "classes.txt", "\ufeffcat\r\n")
    dataset, images, items = read_all(tmp_path)
    assert dataset.names == ("cat",)
    assert len(images["a.JPG"].record.boxes) == 1  # type: ignore[union-attr]
    assert [f for i in items for f in i.findings] == []


@pytest.mark.parametrize("name", ["kätzchen", "猫 1", "b\udcff", "a'b\"c"])
@pytest.mark.parametrize("kind", ["yolo", "voc", "csv"])
def test_names_of_any_bytes(tmp_path: Path, name: str, kind: str) -> None:
    image = Path(f"{tmp_path}/{name}.jpg")
    image.write_bytes(write_image(tmp_path / "other.jpg").read_bytes())
    (tmp_path / "other.jpg").unlink()
    if kind == "yolo":
        image.with_suffix(".txt").write_text(ROW)
    elif kind == "voc":
        write_voc(tmp_path / "x", {"z": [("cat", 1, 1, 5, 5)]})
        (tmp_path / "x/Annotations/z.xml").rename(image.with_suffix(".xml"))
        (tmp_path / "x/JPEGImages/z.jpg").unlink()
    else:
        quoted = '"' + f"{name}.jpg".replace('"', '""') + '"'
        (tmp_path / "l.csv").write_bytes(f"{quoted},1,2,3,4,cat\n".encode("utf-8", "surrogateescape"))
    _, images, items = read_all(tmp_path)
    assert len(images[image.name].record.boxes) == 1  # type: ignore[union-attr]
    assert [f for i in items for f in i.findings] == []


def test_symlink_loops_end_and_are_said(tmp_path: Path) -> None:
    write_yolo(tmp_path, {"images/a.jpg": ROW})
    (tmp_path / "images/up").symlink_to(tmp_path)
    (tmp_path / "images/self").symlink_to("self")
    (tmp_path / "images/gone.jpg").symlink_to("nowhere.jpg")
    info = analyze_dataset(tmp_path)
    assert (info.total_images, info.total_boxes) == (1, 1)
    assert [str(f).replace(f"{tmp_path}/", "") for f in info.findings] == [
        "images/gone.jpg: warning: a link to 'nowhere.jpg', which leads nowhere [link-broken]",
        "images/self: warning: a link to 'self', which leads nowhere [link-broken]",
    ]


def test_a_label_file_that_cannot_be_opened_stops_nothing(tmp_path: Path) -> None:
    for kind in ("yolo", "voc"):
        root = tmp_path / kind
        for name in ("a", "b"):
            if kind == "yolo":
                write_yolo(root, {f"images/{name}.jpg": ROW})
            else:
                write_voc(root, {name: [("x", 1, 1, 9, 9)]})
        gone = root / ("labels/a.txt" if kind == "yolo" else "Annotations/a.xml")
        tree = scan_dataset(root)
        gone.unlink()  # as a file without permission: nobody can open it, root included
        found = [str(f) for item in open_dataset(tree).read() for f in item.findings]
        reason = "cannot be read: No such file or directory"
        assert found == [f"{gone}: error: {reason} [image-label-unreadable]"]
