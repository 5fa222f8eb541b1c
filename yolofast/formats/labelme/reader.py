"""Reads LabelMe JSON: one file per image, with the shapes drawn on it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from yolofast.errors import DataError
from yolofast.formats.boxes import SharesCheck, normalised_finding, rows_without_image
from yolofast.formats.dataset import (
    FoundImage,
    LabelFileError,
    LabelledDataset,
    ReadImage,
    complete_images,
    notes_alone,
    unlabelled_images,
)
from yolofast.formats.discover import FileTree
from yolofast.formats.file_kinds import json_finder
from yolofast.formats.image_finder import ImageFinder
from yolofast.formats.labelme.parser import (
    NUMBERED,
    is_reserved,
    parse_file,
    parse_shape,
    shape_rows,
)
from yolofast.formats.names.order import sorted_names
from yolofast.formats.splits import default_split, in_split_order
from yolofast.types import Finding

find_labelme = json_finder("labelme")


def open_labelme(tree: FileTree, files: tuple[Path, ...]) -> LabelledDataset:
    """The LabelMe files of a tree as one dataset.

    A file belongs to the image of its `imagePath`, looked up in the tree, else to the image of the same name.
    When that other image has a file of its own, the same name wins (renamed files keep their `imagePath`).
    Splits come from folder names. An image without a file was never annotated: it is skipped and reported.

    Raises `DataError` when no shape in any file has a box.
    """
    broken: dict[Path, Finding] = {}
    labels: set[str] = set()
    shares = SharesCheck()
    for path in files:
        try:
            shapes = list(map(parse_shape, parse_file(path)["shapes"]))
        except LabelFileError as error:
            broken[path] = error.finding(path)
            continue
        labels.update(item[0] for item in shapes if len(item) == 2 and not is_reserved(item[0]))
        if shares.within_1:
            shares.add([item[1] for item in shapes if len(item) == 2])
    names = sorted_names(labels)
    if not names:
        first = "".join(f" The first problem: {f}." for f in list(broken.values())[:1])
        raise DataError(f"{tree.root}: {len(files)} LabelMe files contain no shape that can be a box.{first}")
    classes = {name: i for i, name in enumerate(names)}
    finder = ImageFinder(tree, lambda: (path.stem for path in files))
    named = finder.splits.named_with(files)
    rest = default_split(named)
    splits = {path: tree.folder_split(path) for path in files}
    own = {path: finder.find(path.stem, path.parent, splits[path]) for path in files}
    owned = frozenset(own.values())

    def image_of(path: Path, stated: object) -> Path | None:
        named = finder.find(stated, path.parent, splits[path]) if isinstance(stated, str) else None
        if named is None or (own[path] is not None and named in owned):
            return own[path]
        return named

    def find_one(path: Path, taken: dict[Path, Path]) -> FoundImage | ReadImage:
        if path in broken:
            return ReadImage(own[path], None, 0, (broken[path],))
        content = parse_file(path)
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
        found = shape_rows(path, shapes, classes, normalised=shares.are_shares)
        stated = (content.get("imageWidth"), content.get("imageHeight"))
        split = finder.splits.of(image, path) or rest
        return FoundImage(
            image,
            split,
            path,
            found.rows,
            found.dropped,
            found.notes,
            stated=None if None in stated else stated,
        )

    def find() -> Iterator[FoundImage | ReadImage]:
        taken: dict[Path, Path] = {}
        labelled: set[Path | None] = set()
        for path in files:
            item = find_one(path, taken)
            labelled.add(item.image)
            yield item
        yield from unlabelled_images(tree.images, labelled, "no LabelMe json for this image")
        yield from notes_alone(finder.findings())

    return LabelledDataset(
        "labelme",
        names,
        in_split_order({*named, rest}),
        lambda: complete_images(find(), num_classes=len(names)),
        (*finder.splits.findings, *([normalised_finding(tree.root)] if shares.are_shares else [])),
        (f"{len(files)} LabelMe json file(s)",),
        finder.splits.source(named),
    )
