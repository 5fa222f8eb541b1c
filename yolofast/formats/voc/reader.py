"""Reads Pascal VOC XML: one file per image, with lists of image names as splits.

Coordinates are pixel edges: a box from 0 to the image width covers the whole image. (The original devkit
counts pixels from 1; most tools that write this format today do not, and the difference is at most one
pixel.) Objects marked `difficult` are kept.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from yolofast.errors import DataError
from yolofast.formats.boxes import row_finding, rows_without_image
from yolofast.formats.dataset import (
    FoundImage,
    LabelFileError,
    LabelledDataset,
    RawRows,
    ReadImage,
    complete_images,
    unlabelled_images,
)
from yolofast.formats.discover import FileTree
from yolofast.formats.image_finder import ImageFinder
from yolofast.formats.splits import in_split_order
from yolofast.formats.voc.image_lists import read_image_lists
from yolofast.formats.voc.parser import Element, parse_annotation
from yolofast.types import Finding, Split

_ANNOTATION = re.compile(rb"<annotation[\s/>]")


def find_voc(tree: FileTree) -> tuple[Path, ...]:
    """All XML files of a tree in which at least one is a VOC annotation."""
    for path in tree.xmls:
        try:
            with path.open("rb") as file:
                head = file.read(4096)
        except OSError:  # the reader reports this file
            continue
        if _ANNOTATION.search(head.replace(b"\0", b"")):
            return tree.xmls
    return ()


def _objects(root: Element) -> list[Element]:
    return [c for c in root.children if c.tag == "object"]


def _rows(path: Path, root: Element, classes: dict[str, int]) -> tuple[RawRows, tuple[Finding, ...]]:
    rows, dropped = [], []
    for item in _objects(root):
        texts = [item.value("bndbox", key) for key in ("xmin", "ymin", "xmax", "ymax")]
        name = item.value("name")
        try:
            x1, y1, x2, y2 = map(float, texts)
        except ValueError:
            message = f"object '{name}': bndbox {texts}: expected four numbers xmin, ymin, xmax, ymax"
            dropped.append(row_finding("error", "box-columns", message, path, item.line))
            continue
        if not name:
            dropped.append(row_finding("error", "box-class", "object without a name", path, item.line))
            continue
        rows.append(((x1, y1, x2, y2), classes[name], item.line))
    return RawRows.collect(rows), tuple(dropped)


def _stated(root: Element) -> tuple[tuple[str, str], int] | None:
    """The (width, height) that the XML states for its image, and the line."""
    size = root.child("size")
    return None if size is None else ((size.value("width"), size.value("height")), size.line)


def open_voc(tree: FileTree, files: tuple[Path, ...]) -> LabelledDataset:
    """The VOC files of a tree as one dataset.

    Splits come from ImageSets, else from the folders of the XML file and the image. An XML file belongs to
    the image of the same name; without one, to its `filename`, unless that image has an XML file of its own
    (in copied files `filename` is often out of date). An image without an XML file was never annotated: it
    is skipped and reported (an annotated background image has an XML file without objects).

    Raises `DataError` when no object in any file has a name.
    """
    broken: dict[Path, Finding] = {}
    found: set[str] = set()
    for path in files:
        try:
            found.update(item.value("name") for item in _objects(parse_annotation(path)))
        except LabelFileError as error:
            broken[path] = error.finding(path)
    names = tuple(sorted(found - {""}))
    if not names:
        first = "".join(f" The first problem: {f}." for f in list(broken.values())[:1])
        raise DataError(f"{tree.root}: {len(files)} xml files contain no object with a name.{first}")
    classes = {name: i for i, name in enumerate(names)}
    finder = ImageFinder(tree)
    lists = read_image_lists(tree)

    def split_for(path: Path, image: Path) -> Split | None:
        return lists.split(path) if lists else tree.folder_split(path) or tree.folder_split(image)

    def own_image(path: Path) -> Path | None:
        return finder.find(path.stem, path.parent, tree.folder_split(path))

    own = {image for path in files if (image := own_image(path)) is not None}

    def find_one(path: Path) -> FoundImage | ReadImage:
        image = own_image(path)
        if path in broken:
            return ReadImage(image, None, 0, (broken[path],))
        root = parse_annotation(path)
        if image is None and root.value("filename"):
            image = finder.find(root.value("filename"), path.parent, tree.folder_split(path))
            image = None if image in own else image
        if image is None:
            lines = [item.line for item in _objects(root)]
            gone = Finding("error", "image-missing", f"no image '{path.stem}' for this xml", str(path))
            lost = rows_without_image(lines, f"its image '{path.stem}' is missing", path)
            return ReadImage(None, None, len(lines), (gone, *lost))
        rows, dropped = _rows(path, root, classes)
        stated, line = _stated(root) or (None, None)
        return FoundImage(image, split_for(path, image), path, rows, dropped, stated=stated, stated_line=line)

    def find() -> Iterator[FoundImage | ReadImage]:
        labelled: set[Path | None] = set()
        for path in files:
            item = find_one(path)
            labelled.add(item.image)
            yield item
        yield from unlabelled_images(tree.images, labelled, "no xml for this image")
        known = frozenset(path.stem for path in (*files, *tree.images))
        for finding in lists.missing(known):
            yield ReadImage(None, None, 0, (finding,))

    if lists:
        named = {lists.split(path) for path in files}
    else:
        named = {tree.folder_split(path) for path in (*files, *tree.images)}
    return LabelledDataset(
        "voc",
        names,
        in_split_order(named),
        lambda: complete_images(find(), num_classes=len(classes)),
        lists.findings,
        (f"{len(files)} VOC xml file(s)", *(["splits from ImageSets"] if lists else [])),
    )
