"""Pascal VOC xml: one file an image, lists of image names as splits.

Coordinates are taken as pixel edges: a box from 0 to the image's width covers it all. (The original
devkit counts pixels from 1; most tools that write this format today do not, and the difference is one
pixel at most.) Objects marked `difficult` are kept.

Files are parsed with expat directly: it gives line numbers, and a DOCTYPE is refused as soon as
it is seen, so entities can never expand.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from xml.parsers import expat

from yolofast.errors import DataError
from yolofast.formats.boxes import row_finding, rows_without_image
from yolofast.formats.dataset import (
    FoundImage,
    LabelFileError,
    LabelledDataset,
    RawRows,
    ReadImage,
    complete_images,
    parsing,
)
from yolofast.formats.discover import FileTree
from yolofast.formats.image_finder import ImageFinder
from yolofast.formats.splits import SPLITS, split_of
from yolofast.formats.voc.image_lists import image_lists
from yolofast.types import Finding, Split

MAX_BYTES = 16 << 20
MAX_DEPTH = 32
_ENCODING = re.compile(rb"""\s*<\?xml[^>]*?\sencoding\s*=\s*["']([A-Za-z][\w.-]*)["']""")


@dataclass(slots=True)
class _Element:
    tag: str
    line: int
    text: str = ""
    children: list[_Element] = field(default_factory=list)

    def child(self, tag: str) -> _Element | None:
        return next((c for c in self.children if c.tag == tag), None)

    def value(self, *path: str) -> str:
        """The text at a path of child tags, or an empty string."""
        element: _Element | None = self
        for tag in path:
            element = element.child(tag) if element is not None else None
        return element.text.strip() if element is not None else ""


def _parse(path: Path) -> _Element:
    """The `annotation` element of a file; raises `LabelFileError`."""
    with parsing():
        if path.stat().st_size > MAX_BYTES:
            raise LabelFileError(f"larger than {MAX_BYTES >> 20} MB, expected the xml of one image")
        data = path.read_bytes()
        try:
            root = _parse_bytes(data)
        except (ValueError, LookupError):
            # Expat knows no encoding of several bytes a character (gbk, shift_jis); Python does.
            declared = _ENCODING.match(data)
            if declared is None:
                raise
            text = data.decode(declared[1].decode("ascii"))
            root = _parse_bytes(text.encode(), "utf-8")
    found = root.child("annotation")
    if found is None:
        raise LabelFileError("not a VOC file: expected an 'annotation' element", 1)
    return found


def _parse_bytes(data: bytes, encoding: str | None = None) -> _Element:
    """A nameless element that holds the document; `encoding` overrules the one that the xml declares.

    Raises `LabelFileError`, and `ValueError` or `LookupError` for an encoding that expat cannot read.
    """
    parser = expat.ParserCreate(encoding)
    stack = [_Element("", 0)]

    def refuse(*_: object) -> None:
        raise LabelFileError("has a DOCTYPE, which is refused; remove it", parser.CurrentLineNumber)

    def start(tag: str, _: dict[str, str]) -> None:
        if len(stack) > MAX_DEPTH:
            raise LabelFileError("elements nested too deeply for a VOC file", parser.CurrentLineNumber)
        element = _Element(tag, parser.CurrentLineNumber)
        stack[-1].children.append(element)
        stack.append(element)

    def end(_: str) -> None:
        stack.pop()

    def text(data: str) -> None:
        stack[-1].text += data

    parser.StartDoctypeDeclHandler = refuse
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = text
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        raise LabelFileError(f"not valid XML: {expat.ErrorString(error.code)}", error.lineno) from None
    return stack[0]


def find_voc(tree: FileTree) -> tuple[Path, ...]:
    """All xml files of a tree in which at least one is a VOC annotation."""
    for path in tree.xmls:
        try:
            with path.open("rb") as file:
                head = file.read(4096)
        except OSError:  # the reader says so, for this one file
            continue
        if b"<annotation" in head.replace(b"\0", b""):
            return tree.xmls
    return ()


def _objects(root: _Element) -> list[_Element]:
    return [c for c in root.children if c.tag == "object"]


def _rows(path: Path, root: _Element, classes: dict[str, int]) -> tuple[RawRows, tuple[Finding, ...]]:
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


def _stated(root: _Element) -> tuple[tuple[str, str], int] | None:
    """The (width, height) that the xml gives its image, and the line."""
    size = root.child("size")
    return None if size is None else ((size.value("width"), size.value("height")), size.line)


def open_voc(tree: FileTree, files: tuple[Path, ...]) -> LabelledDataset:
    """The VOC files of a tree as one dataset.

    Splits come from ImageSets, else from the folders of xml and image. An xml belongs to the image of its
    own name, or when there is none to its `filename`, unless that has an xml of its own (in copied files it
    is often out of date). An image without xml was never annotated: it is left
    out and listed (an annotated empty picture has an xml without objects).

    Raises `DataError` when no object in any file has a name.
    """
    broken: dict[Path, Finding] = {}
    found: set[str] = set()
    for path in files:
        try:
            found.update(item.value("name") for item in _objects(_parse(path)))
        except LabelFileError as error:
            broken[path] = error.finding(path)
    names = tuple(sorted(found - {""}))
    if not names:
        first = "".join(f" The first problem: {f}." for f in list(broken.values())[:1])
        raise DataError(f"{tree.root}: {len(files)} xml files hold no object with a name.{first}")
    classes = {name: i for i, name in enumerate(names)}
    index = ImageFinder(tree)
    lists = image_lists(tree)

    def folder_split(path: Path) -> Split | None:
        return split_of(path.relative_to(tree.root).parent)

    def split_for(path: Path, image: Path) -> Split | None:
        return lists.split(path) if lists else folder_split(path) or folder_split(image)

    def own_image(path: Path) -> Path | None:
        return index.find(path.stem, path.parent, folder_split(path))

    own = {image for path in files if (image := own_image(path)) is not None}

    def find_one(path: Path) -> FoundImage | ReadImage:
        image = own_image(path)
        if path in broken:
            return ReadImage(image, None, 0, (broken[path],))
        root = _parse(path)
        if image is None and root.value("filename"):
            image = index.find(root.value("filename"), path.parent, folder_split(path))
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
        for image in tree.images:
            if image not in labelled:
                finding = Finding("warning", "image-unlabelled", "no xml for this image", str(image))
                yield ReadImage(image, None, 0, (finding,))
        known = frozenset(path.stem for path in (*files, *tree.images))
        for finding in lists.missing(known):
            yield ReadImage(None, None, 0, (finding,))

    if lists:
        named = {lists.split(path) for path in files}
    else:
        named = {folder_split(path) for path in (*files, *tree.images)}
    return LabelledDataset(
        "voc",
        names,
        tuple(s for s in SPLITS if s in named),
        lambda: complete_images(find(), num_classes=len(classes)),
        lists.findings,
        (f"{len(files)} VOC xml file(s)", *(["splits from ImageSets"] if lists else [])),
    )
