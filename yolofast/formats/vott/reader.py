"""Reads VoTT JSON: an export with all `assets`, or one `...-asset.json` file an image; boxes in pixels.

A region has a `boundingBox` (left, top, width, height), or only the `points` of its outline. A region with
several tags is one object of several classes: each becomes a row.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

from yolofast.brief import brief
from yolofast.formats.annotated_images import LabelFile, Reading, open_annotated
from yolofast.formats.dataset import LabelledDataset
from yolofast.formats.discover import FileTree
from yolofast.formats.file_kinds import json_finder
from yolofast.formats.json_files import read_json
from yolofast.formats.shapes import Box, around_points
from yolofast.formats.values import NoBox, as_floats, from_corner, read_box, want_dict, want_list, want_text

MAX_BYTES = 256 << 20
_KEYS = ("left", "top", "width", "height")
_NOT_VISITED = 0
"""`state` of an asset that nobody has opened."""

find_vott = json_finder("vott")


def open_vott(tree: FileTree, files: tuple[Path, ...]) -> LabelledDataset:
    """The VoTT files of a tree as one dataset, with the tags that exports list and those of regions.

    A file is a split when its path names one. An asset that was never visited is not annotated.
    """
    return open_annotated("vott", tree, _exports_first(files), _read, Reading(tree), what="VoTT json file")


def _exports_first(files: tuple[Path, ...]) -> list[Path]:
    """VoTT keeps a file for each asset beside its exports: what an export says counts."""
    return sorted(files, key=lambda path: path.name.endswith("-asset.json"))


def _assets(file: LabelFile) -> Iterator[object]:
    content = want_dict(read_json(file.path, MAX_BYTES), "the file")
    if "assets" not in content:
        yield content
        return
    tags = want_list(content.get("tags", []), "'tags'")
    file.reading.list_names(want_text(want_dict(tag, "a tag").get("name"), "a tag's 'name'") for tag in tags)
    yield from want_dict(content["assets"], "'assets'").values()


def _read(file: LabelFile) -> None:
    for value in _assets(file):
        with file.entry():
            entry = want_dict(value, "an asset")
            asset = want_dict(entry.get("asset"), "'asset'")
            regions = want_list(entry.get("regions"), "'regions'")
            if not regions and asset.get("state") == _NOT_VISITED:
                continue
            image = file.image(unquote(want_text(asset.get("name"), "an asset's 'name'")))
            size = asset.get("size")
            if isinstance(size, dict) and None not in (size.get("width"), size.get("height")):
                image.stated = size["width"], size["height"]
            for region in regions:
                box, kind = _box(region)
                tags = region.get("tags") if isinstance(region, dict) else None
                for tag in tags if isinstance(tags, list) and tags else [None]:
                    image.add(tag, box, kind=kind)


def _box(region: object) -> tuple[Box | NoBox, str | None]:
    """The box of a region, and what it is if not a box."""
    if not isinstance(region, dict):
        return NoBox("box-syntax", f"got {brief(region)}, expected 'tags' and 'boundingBox'"), None
    kind = "polygons" if region.get("type") == "POLYGON" else None
    bounds, points = region.get("boundingBox"), region.get("points")
    if isinstance(bounds, dict):
        return from_corner(read_box([bounds.get(key) for key in _KEYS], "left, top, width, height")), kind
    if isinstance(points, list) and len(points) > 1 and all(isinstance(point, dict) for point in points):
        xs, ys = (as_floats(point.get(key) for point in points) for key in "xy")
        if xs is not None and ys is not None:
            return around_points(zip(xs, ys, strict=True)), kind
    return NoBox("box-columns", f"boundingBox {brief(bounds)}: expected left, top, width, height"), None
