"""Reads Pascal VOC XML: one file per image, with lists of image names as splits.

Coordinates are pixel edges: a box from 0 to the image width covers the whole image. (The original devkit
counts pixels from 1; most tools that write this format today do not, and the difference is at most one
pixel.) Objects marked `difficult` are kept.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path

from yolofast.errors import DataError
from yolofast.formats.boxes import (
    SharesCheck,
    normalised_finding,
    row_finding,
    rows_without_image,
)
from yolofast.formats.dataset import (
    FoundImage,
    LabelFileError,
    LabelledDataset,
    RawRows,
    ReadImage,
    complete_images,
    notes_alone,
    unlabelled_images,
)
from yolofast.formats.discover import FileTree
from yolofast.formats.image_finder import ImageFinder
from yolofast.formats.split_lists import ImageSplits
from yolofast.formats.splits import default_split, in_split_order
from yolofast.formats.voc.parser import Element, OtherFormatError, parse_annotation
from yolofast.types import Finding

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


def _corners(item: Element) -> list[str]:
    return [item.value("bndbox", key) for key in ("xmin", "ymin", "xmax", "ymax")]


def _box(item: Element) -> tuple[float, float, float, float] | None:
    """The box of an object; None when it is not four numbers."""
    try:
        x1, y1, x2, y2 = map(float, _corners(item))
    except ValueError:
        return None
    return x1, y1, x2, y2


def _rows(
    path: Path, root: Element, classes: dict[str, int], normalised: bool
) -> tuple[RawRows, tuple[Finding, ...]]:
    rows, dropped = [], []
    for item in _objects(root):
        name, box = item.value("name"), _box(item)
        if box is None:
            message = (
                f"object '{name}': bndbox {_corners(item)}: expected four numbers xmin, ymin, xmax, ymax"
            )
            dropped.append(row_finding("error", "box-columns", message, path, item.line))
            continue
        if not name:
            dropped.append(row_finding("error", "box-class", "object without a name", path, item.line))
            continue
        rows.append((box, classes[name], item.line))
    return RawRows.collect(rows, normalised=normalised), tuple(dropped)


def _stated(root: Element) -> tuple[tuple[str, str], int] | None:
    """The (width, height) that the XML states for its image, and the line."""
    size = root.child("size")
    return None if size is None else ((size.value("width"), size.value("height")), size.line)


def open_voc(tree: FileTree, files: tuple[Path, ...]) -> LabelledDataset:
    """The VOC files of a tree as one dataset.

    Splits come from lists of images, else from the folders of the XML file and the image. An XML file belongs
    to the image with which a list names it, else to the image of the same name; without one, to its
    `filename`, unless that image has an XML file of its own (in copied files `filename` is often out of
    date). An image without an XML file was never annotated: it
    is skipped and reported (an annotated background image has an XML file without objects).

    Raises `DataError` when no object in any file has a name.
    """
    broken: dict[Path, Finding] = {}
    others: list[Finding] = []
    found: set[str] = set()
    shares = SharesCheck()
    for path in files:
        try:
            items = _objects(parse_annotation(path))
        except OtherFormatError as error:
            message = f"{error.message}: it is not used"
            others.append(Finding("warning", "file-other-format", message, str(path)))
        except LabelFileError as error:
            broken[path] = error.finding(path)
        else:
            found.update(item.value("name") for item in items)
            if shares.within_1:
                shares.add([box for item in items if (box := _box(item)) is not None])
    not_voc = {finding.file for finding in others}
    files = tuple(path for path in files if str(path) not in not_voc)
    names = tuple(sorted(found - {""}))
    if not names:
        first = "".join(f" The first problem: {f}." for f in [*broken.values(), *others][:1])
        some = "".join(f" such as {tree.relative(path)}" for path in files[:1])
        raise DataError(f"{tree.root}: {len(files)} xml files{some} contain no object with a name.{first}")
    classes = {name: i for i, name in enumerate(names)}
    finder = ImageFinder(tree, lambda: (path.stem for path in files))
    splits = finder.splits
    named = splits.named_with(files)
    rest = default_split(named)
    listed = _listed_images(tree, files, splits)
    found_images: dict[Path, Path | None] = {}

    def own_image(path: Path) -> Path | None:
        if path not in found_images:
            image = listed.get(path)
            found_images[path] = image or finder.find(path.stem, path.parent, finder.folder_split(path))
        return found_images[path]

    own = {image for path in files if (image := own_image(path)) is not None}

    def find_one(path: Path) -> FoundImage | ReadImage:
        image = own_image(path)
        if path in broken:
            return ReadImage(image, None, 0, (broken[path],))
        root = parse_annotation(path)
        if image is None and root.value("filename"):
            image = finder.find(root.value("filename"), path.parent, finder.folder_split(path))
            image = None if image in own else image
        if image is None:
            lines = [item.line for item in _objects(root)]
            gone = Finding("error", "image-missing", f"no image '{path.stem}' for this xml", str(path))
            lost = rows_without_image(lines, f"its image '{path.stem}' is missing", path)
            return ReadImage(None, None, len(lines), (gone, *lost))
        rows, dropped = _rows(path, root, classes, shares.are_shares)
        stated, line = _stated(root) or (None, None)
        split = splits.of(image, path) or rest
        return FoundImage(image, split, path, rows, dropped, stated=stated, stated_line=line)

    def find() -> Iterator[FoundImage | ReadImage]:
        labelled: set[Path | None] = set()
        for path in files:
            item = find_one(path)
            labelled.add(item.image)
            yield item
        yield from unlabelled_images(tree.images, labelled, "no xml for this image")
        missing = {path.stem for path in files if own_image(path) is None}
        for stem, finding in splits.missing:  # an XML file without its image has been reported
            if stem not in missing:
                yield ReadImage(None, None, 0, (finding,))
        yield from notes_alone(finder.findings())

    return LabelledDataset(
        "voc",
        names,
        in_split_order({*named, rest}),
        lambda: complete_images(find(), num_classes=len(classes)),
        (*splits.notes, *others, *([normalised_finding(tree.root)] if shares.are_shares else [])),
        (f"{len(files)} VOC xml file(s)",),
        splits.source(named),
    )


def _listed_images(tree: FileTree, files: tuple[Path, ...], splits: ImageSplits) -> dict[Path, Path]:
    """XML file -> image, where a list names both on one line."""
    if not splits.labels:
        return {}
    known = {tree.relative(path): path for path in files}
    above = {tree.relative(file.folder) for file in splits.files}
    found = {}
    for image, label in splits.labels.items():
        name = label.replace("\\", "/")
        candidates = (posixpath.normpath(posixpath.join(folder, name)) for folder in ("", *above))
        path = next((known[c] for c in candidates if c in known), None)
        if path is not None:
            found[path] = image
    return found
