"""Which label format a JSON, XML or text file has, by its content: one look at each file for all readers.

JSON formats are told apart by their keys (nothing is parsed), XML files by their first element, and text
files by the form of their first lines. The first kind that fits is taken: a file belongs to one format only.
"""

from __future__ import annotations

import mmap
import os
import re
from collections.abc import Callable, Iterator
from itertools import groupby, islice
from pathlib import Path
from typing import Literal

from yolofast.files import first_zeros
from yolofast.formats.discover import FileTree
from yolofast.formats.json_files import find_bytes
from yolofast.limits import MAX_LINE

JsonKind = Literal[
    "lvis",
    "coco",
    "coco_keypoints",
    "ndjson",
    "labelme",
    "via",
    "vott",
    "bdd100k",
    "label_studio",
    "createml",
    "other",
]
TextKind = Literal["kitti", "dota", "visdrone", "other"]

HEAD_BYTES = 4096
_LVIS_BYTES = 1 << 16
"""How far behind the key "images" the keys of an LVIS image are expected; an entry has some 300 bytes."""
_MAX_JSON = 2 << 30
"""Of larger files only COCO's are recognised."""
_MAX_SPARSE = 1 << 26
"""Of a larger file with a hole, only what is in front of it is looked at."""
_COCO_BOXES = (b'"bbox"', b'"segmentation"')
_NO_ANNOTATIONS = re.compile(rb'"annotations"\s*:\s*\[\s*\]')
_SAMPLED_TEXTS = 20
"""How many text files of a folder are looked at until one shows the format of all."""
_SAMPLED_EMPTY = 1000
_SAMPLED_XMLS = 8
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
DOTA_ROW = re.compile(rf"(?:{_NUMBER}\s+){{8}}[^\s\d.+-]\S*(?:\s+[012])?\s*$")
"""x1 y1 x2 y2 x3 y3 x4 y4 class difficulty, in pixels."""
_DOTA_HEADER = re.compile(r"(?:imagesource|gsd):", re.IGNORECASE)
KITTI_ROW = re.compile(rf"[^\s\d.+-]\S*\s+{_NUMBER}\s+(?:-1|[0-3])(?:\.0*)?(?:\s+{_NUMBER}){{12,13}}\s*$")
"""type, truncated, occluded (-1 to 3), alpha, box, dimensions, location, rotation, and perhaps a score."""
VISDRONE_ROW = re.compile(rf"{_NUMBER}(?:\s*,\s*{_NUMBER}){{7}}\s*,?\s*$")
"""left, top, width, height, score, category, truncation, occlusion."""
_NUMBERS = re.compile(rf"{_NUMBER}(?:\s+{_NUMBER})+\s*$")
_CVAT = re.compile(rb"<annotations[\s/>]")


def json_files(tree: FileTree, kind: JsonKind) -> tuple[Path, ...]:
    """The JSON files of one kind; those without a box only where others have some."""
    kinds: dict[Path, tuple[JsonKind, bool]] | None = tree.memo.get("json")
    if kinds is None:
        kinds = tree.memo["json"] = {path: _json_kind(path) for path in tree.jsons}
    files = tuple(path for path, (found, _) in kinds.items() if found == kind)
    return files if any(kinds[path][1] for path in files) else ()


def _json_kind(path: Path) -> tuple[JsonKind, bool]:
    """The kind of a file, and whether it is certain: without a box, some kinds have few keys of their own."""
    try:
        size = path.stat().st_size
        if size == 0:
            return "other", True
        with path.open("rb") as file:
            zeros = first_zeros(file) if size > _MAX_SPARSE else None
            length = size if zeros is None else max(zeros, 1)  # its reader refuses it
            with mmap.mmap(file.fileno(), length, access=mmap.ACCESS_READ) as text:
                return _kind_of_json(text, length)
    except OSError:
        return "other", True


def _kind_of_json(text: mmap.mmap, size: int) -> tuple[JsonKind, bool]:
    def has(*keys: bytes) -> bool:
        return all(find_bytes(text, key) >= 0 for key in keys)

    images = find_bytes(text, b'"images"')
    if images >= 0 and has(b'"annotations"', b'"categories"'):
        return _kind_of_coco(text, images), True
    if size > _MAX_JSON:
        return "other", True
    head = text[:HEAD_BYTES].removeprefix(b"\xef\xbb\xbf").replace(b"\0", b"").lstrip()
    first_line = text[: max(text.find(b"\n", 0, MAX_LINE), 0) or MAX_LINE] if b'"dataset"' in head else b""
    if b'"class_names"' in first_line and b'"type"' in first_line:
        return "ndjson", True
    if has(b'"shapes"', b'"imagePath"'):
        return "labelme", True
    if has(b'"regions"'):
        if has(b'"asset"'):
            return "vott", True
        if has(b'"filename"'):
            return "via", has(b'"shape_attributes"') or has(b'"_via_img_metadata"')
    if has(b'"box2d"') or has(b'"frames"', b'"objects"', b'"timestamp"'):
        return "bdd100k", True
    if head.startswith(b"["):
        if has(b'"result"', b'"data"') or has(b'"original_width"', b'"annotation_id"'):
            return "label_studio", True
        if has(b'"annotations"', b'"image"') or has(b'"annotation"', b'"imagefilename"'):
            return "createml", has(b'"coordinates"', b'"label"')
        if has(b'"name"', b'"labels"') or has(b'"name"', b'"timestamp"'):
            return "bdd100k", False
    return "other", True


def _kind_of_coco(text: mmap.mmap, images: int) -> JsonKind:
    """The kind of a file with COCO's three lists, the key of `images` at this offset."""
    near = text[images : images + _LVIS_BYTES]
    if b'"neg_category_ids"' in near or b'"not_exhaustive_category_ids"' in near:
        return "lvis"
    if find_bytes(text, b'"segments_info"') >= 0:  # panoptic: boxes of segments, with its own classes
        return "other"
    if not any(find_bytes(text, key) >= 0 for key in _COCO_BOXES) and _NO_ANNOTATIONS.search(text) is None:
        return "other"
    return "coco_keypoints" if find_bytes(text, b'"num_keypoints"') >= 0 else "coco"


def cvat_files(tree: FileTree) -> tuple[Path, ...]:
    """The XML files of CVAT.

    A dataset has few of them: the first files of each folder are looked at, and those with a telling name.
    """
    found = []
    for _, paths in groupby(tree.xmls, key=lambda path: path.parent):
        for number, path in enumerate(paths):
            name = path.name.lower()
            telling = name.startswith("annotation") or "cvat" in name
            if (number < _SAMPLED_XMLS or telling) and _CVAT.search(_head(path).replace(b"\0", b"")):
                found.append(path)
    return tuple(found)


def text_files(tree: FileTree, kind: TextKind) -> tuple[Path, ...]:
    """The text files of one kind. A folder has labels of one format: its first decisive file shows which."""
    folders: dict[str, TextKind] | None = tree.memo.get("text")
    if folders is None:
        folders = tree.memo["text"] = _kinds_of_folders(tree)
    if kind not in folders.values():
        return ()
    stems = {image.stem for image in tree.images}
    return tuple(
        path
        for path in tree.texts
        if folders[_folder(path)] == kind and (path.stem in stems or _kind_of_text(_head(path)) == kind)
    )


def _kinds_of_folders(tree: FileTree) -> dict[str, TextKind]:
    """The kind of each folder; one of empty files is like another of the same name (`val/labels`)."""
    found: dict[str, TextKind | None] = {}
    for folder, paths in groupby(tree.texts, key=_folder):
        if found.get(folder) in (None, "other"):  # files before and behind those of a subfolder
            found[folder] = _kind_of_folder(paths) or found.get(folder)
    named = {Path(folder).name: kind for folder, kind in found.items() if kind is not None}
    return {folder: kind or named.get(Path(folder).name, "other") for folder, kind in found.items()}


def _folder(path: Path) -> str:
    return os.path.dirname(path)  # noqa: PTH120 - runs once per label file of huge trees


def _kind_of_folder(paths: Iterator[Path]) -> TextKind | None:
    """The kind that the first decisive file shows; None where all are empty."""
    undecided = 0
    for path in islice(paths, _SAMPLED_EMPTY):
        head = _head(path)
        kind = _kind_of_text(head)
        if kind is not None:
            return kind
        undecided += bool(head.strip())
        if undecided >= _SAMPLED_TEXTS:
            break
    return "other" if undecided else None


def _kind_of_text(head: bytes) -> TextKind | None:
    """The kind of a file ("other": rows of numbers, as YOLO has them), or None where its head shows none."""
    text = head.decode("utf-8-sig", "replace")
    for line in filter(None, map(str.strip, text.splitlines()[:5])):
        if DOTA_ROW.match(line) or _DOTA_HEADER.match(line):
            return "dota"
        if KITTI_ROW.match(line):
            return "kitti"
        if VISDRONE_ROW.match(line):
            return "visdrone"
        if _NUMBERS.match(line):
            return "other"
    return None


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(HEAD_BYTES)
    except OSError:
        return b""


Found = Callable[[FileTree], tuple[Path, ...]]


def json_finder(kind: JsonKind) -> Found:
    """A `Reader.find` for the JSON files of one kind."""
    return lambda tree: json_files(tree, kind)


def text_finder(kind: TextKind) -> Found:
    """A `Reader.find` for the text files of one kind."""
    return lambda tree: text_files(tree, kind)
