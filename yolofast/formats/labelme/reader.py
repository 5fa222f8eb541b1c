"""LabelMe json: one file an image, with shapes drawn on it.

A rectangle, polygon, circle or mask becomes the box around it. Points and lines have no area and are left
out, each listed. `imageData`, a copy of the picture, is never decoded: the image file counts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from yolofast.errors import DataError
from yolofast.formats.boxes import row_finding, rows_without_image
from yolofast.formats.dataset import (
    FoundImage,
    LabelFileError,
    LabelledDataset,
    RawRows,
    ReadImage,
    complete_images,
)
from yolofast.formats.discover import FileTree
from yolofast.formats.image_finder import ImageFinder
from yolofast.formats.json_files import holds_keys, read_json
from yolofast.formats.splits import SPLITS, split_of
from yolofast.formats.tables.images import sorted_names
from yolofast.types import Finding

MAX_BYTES = 64 << 20
"""A larger file is not taken for LabelMe's: with the picture inside, real ones have a few MB."""
NUMBERED = "annotation"
"""What `lines` counts here: the shapes of a file, from 1."""
Box = tuple[float, float, float, float]
Points = list[tuple[float, float]]


def find_labelme(tree: FileTree) -> tuple[Path, ...]:
    """The json files with LabelMe's `shapes` and `imagePath`."""
    keys = (b'"shapes"', b'"imagePath"')
    return tuple(path for path in tree.jsons if holds_keys(path, keys, MAX_BYTES))


def _read(path: Path) -> dict[str, Any]:
    """The content with its list of shapes; raises `LabelFileError`."""
    content = read_json(path, MAX_BYTES)
    if not isinstance(content, dict) or not isinstance(content.get("shapes"), list):
        raise LabelFileError("not a LabelMe file: expected 'shapes' to be a list")
    return content


def _around(points: Points) -> Box:
    xs, ys = zip(*points, strict=True)
    return min(xs), min(ys), max(xs), max(ys)


def _around_circle(points: Points) -> Box:
    """LabelMe draws a circle by its centre and a point on it."""
    (x, y), rim = points
    radius = math.hypot(rim[0] - x, rim[1] - y)
    return x - radius, y - radius, x + radius, y + radius


_SHAPES: Mapping[str, tuple[str, Callable[[int], bool], Callable[[Points], Box]]] = MappingProxyType(
    {
        "rectangle": ("2 corners or all 4", lambda n: n in (2, 4), _around),
        "mask": ("2 corners", lambda n: n == 2, _around),
        "polygon": ("3 or more points", lambda n: n >= 3, _around),
        "rotation": ("4 corners", lambda n: n == 4, _around),
        "circle": ("its centre and a point on it", lambda n: n == 2, _around_circle),
    }
)
"""Shape type -> what its points are, whether so many fit, and the box around them."""
_WITHOUT_AREA = frozenset({"point", "points", "line", "linestrip"})


def _points(value: object) -> Points | None:
    if not isinstance(value, list):
        return None
    points = []
    for point in value:
        if not isinstance(point, list) or len(point) != 2:
            return None
        if not all(isinstance(v, int | float) and not isinstance(v, bool) for v in point):
            return None
        try:
            points.append((float(point[0]), float(point[1])))
        except OverflowError:
            return None
    return points


def _shape(shape: object) -> tuple[str, Box] | tuple[str, str, None]:
    """(class name, box) of a shape, or (code, why it is none, None)."""
    if not isinstance(shape, dict):
        return "box-syntax", f"got {str(shape)[:80]}, expected an object with 'label' and 'points'", None
    kind, label = shape.get("shape_type", "polygon"), shape.get("label")
    if not isinstance(label, str) or not label:
        return "box-class", f"label {label!r}: expected the name of a class", None
    if kind in _WITHOUT_AREA:
        return "box-shape", f"'{label}' is a {kind}: it has no area, so no box. Draw a rectangle.", None
    if not isinstance(kind, str) or kind not in _SHAPES:
        return "box-shape", f"'{label}': shape {kind!r}: expected one of {', '.join(_SHAPES)}", None
    wanted, fits, around = _SHAPES[kind]
    points = _points(shape.get("points"))
    if points is None or not fits(len(points)):
        got = f"{len(points)} points" if points is not None else "points that are not pairs of numbers"
        return "box-columns", f"'{label}' is a {kind} of {got}, expected {wanted}", None
    if not all(math.isfinite(value) for point in points for value in point):
        return "box-nan", f"'{label}' has a point with NaN or infinity, expected numbers", None
    return label, around(points)


def _rows(
    path: Path, shapes: list[object], classes: Mapping[str, int]
) -> tuple[RawRows, tuple[Finding, ...]]:
    rows, dropped = [], []
    for number, shape in enumerate(shapes, 1):
        found = _shape(shape)
        if len(found) == 3:
            dropped.append(row_finding("error", found[0], found[1], path, number, NUMBERED))
        else:
            rows.append((found[1], classes[found[0]], number))
    return RawRows.collect(rows), tuple(dropped)


def open_labelme(tree: FileTree, files: tuple[Path, ...]) -> LabelledDataset:
    """The LabelMe files of a tree as one dataset.

    A file belongs to the image of its `imagePath`, looked up within the tree, else to the image of its own
    name; to that also where the other has a file of its own name (renamed files keep their `imagePath`).
    Splits come from folder names. An image without a file was never annotated: it is left out and listed.

    Raises `DataError` when no shape in any file can be a box.
    """
    broken: dict[Path, Finding] = {}
    found: set[str] = set()
    for path in files:
        try:
            found.update(item[0] for item in map(_shape, _read(path)["shapes"]) if len(item) == 2)
        except LabelFileError as error:
            broken[path] = error.finding(path)
    names = sorted_names(found)
    if not names:
        first = "".join(f" The first problem: {f}." for f in list(broken.values())[:1])
        raise DataError(f"{tree.root}: {len(files)} LabelMe files hold no shape that can be a box.{first}")
    classes = {name: i for i, name in enumerate(names)}
    index = ImageFinder(tree)
    splits = {path: split_of(path.relative_to(tree.root).parent) for path in files}

    own = {path: index.find(path.stem, path.parent, splits[path]) for path in files}
    owned = frozenset(own.values())

    def image_of(path: Path, stated: object) -> Path | None:
        named = index.find(stated, path.parent, splits[path]) if isinstance(stated, str) else None
        if named is None or (own[path] is not None and named in owned):
            return own[path]
        return named

    def find_one(path: Path, taken: dict[Path, Path]) -> FoundImage | ReadImage:
        if path in broken:
            return ReadImage(own[path], None, 0, (broken[path],))
        content = _read(path)
        stated_name = content.get("imagePath")
        image = image_of(path, stated_name)
        shapes = content["shapes"]
        if image is None or image in taken:
            shown = stated_name or path.stem
            if image is None:
                gone = Finding("error", "image-missing", f"no image '{shown}' for this json", str(path))
                why = f"its image '{shown}' is missing"
            else:
                why = f"its image '{image.name}' has labels in {tree.relative(taken[image])}, which count"
                gone = Finding("warning", "image-repeated", why, str(path))
            lost = rows_without_image(range(1, len(shapes) + 1), why, path, NUMBERED)
            return ReadImage(None, None, len(shapes), (gone, *lost))
        taken[image] = path
        rows, dropped = _rows(path, shapes, classes)
        stated = (content.get("imageWidth"), content.get("imageHeight"))
        split = splits[path] or split_of(image.relative_to(tree.root).parent)
        return FoundImage(image, split, path, rows, dropped, stated=None if None in stated else stated)

    def find() -> Iterator[FoundImage | ReadImage]:
        taken: dict[Path, Path] = {}
        listed: set[Path | None] = set()
        for path in files:
            item = find_one(path, taken)
            listed.add(item.image)
            yield item
        for image in tree.images:
            if image not in listed:
                gone = Finding("warning", "image-unlabelled", "no LabelMe json for this image", str(image))
                yield ReadImage(image, None, 0, (gone,))

    named = {*splits.values(), *(split_of(image.relative_to(tree.root).parent) for image in tree.images)}
    return LabelledDataset(
        "labelme",
        names,
        tuple(s for s in SPLITS if s in named),
        lambda: complete_images(find(), num_classes=len(names)),
        evidence=(f"{len(files)} LabelMe json file(s)",),
    )
