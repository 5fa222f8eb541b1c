"""Label formats that are recognised but not supported, for a folder in which no reader finds labels.

The message says what was found and what to do: "no labels" does not help a person who has some.
"""

from __future__ import annotations

import codecs
import re
from collections import Counter
from itertools import chain, islice
from pathlib import Path

from yolofast.formats.discover import FileTree
from yolofast.formats.json_files import contains_keys
from yolofast.formats.splits import split_of

EXPECTED = (
    "Expected YOLO .txt next to the images or in a 'labels' folder, a COCO .json with 'images', "
    "'annotations' and 'categories', Pascal VOC .xml files, a CSV with the columns filename, class, xmin, "
    "ymin, xmax, ymax, Open Images CSVs, or LabelMe .json files."
)
_MAX_JSON = 64 << 20
_MAX_FILES = 20
"""How many files of a kind are opened."""
_NUMBER = r"-?\d+(?:\.\d+)?"
DOTA = re.compile(rf"(?:{_NUMBER}\s+){{8}}[^\s\d.+-]")
"""x1 y1 x2 y2 x3 y3 x4 y4 class difficulty, in pixels."""
KITTI = re.compile(rf"[A-Za-z]\S*(?:\s+{_NUMBER}){{8}}")
"""type, truncated, occluded, alpha, box, dimensions, location and rotation."""
_OTHER_JSON: tuple[tuple[tuple[bytes, ...], str], ...] = (
    ((b'"annotations"', b'"caption"'), "captions without boxes"),
    (
        (b'"segments_info"', b'"annotations"'),
        "COCO's panoptic form. Give the instances file instead",
    ),
    (
        (b'"image_id"', b'"category_id"', b'"bbox"', b'"score"'),
        "a list of COCO detections: a model's predictions, not labels. Give the ground truth",
    ),
    ((b'"classTitle"', b'"points"', b'"exterior"'), "a Supervisely file. Export the project as COCO or YOLO"),
    ((b'"data_row"', b'"projects"'), "a Labelbox export. Convert it to COCO with Labelbox's own tools"),
    ((b'"Labeled Data"', b'"Label"'), "a Labelbox export. Convert it to COCO with Labelbox's own tools"),
    ((b'"bounding_box"', b'"annotations"', b'"item"'), "a Darwin (V7) file. Export the dataset as COCO"),
    (
        (b'"imgHeight"', b'"imgWidth"', b'"polygon"'),
        "a Cityscapes file. Convert its polygons to COCO",
    ),
    ((b'"images"', b'"annotations"'), "like COCO, without 'categories' or without boxes and masks. Add them"),
)
"""Keys of a JSON file of another format, and what it is."""
DOTA_ADVICE = (
    "a DOTA line (4 corners in pixels, class name, difficulty), which is not read. Write each as "
    "'class x1 y1 x2 y2 x3 y3 x4 y4' with a class number and coordinates divided by the image's size"
)
KITTI_ADVICE = (
    "a KITTI line (type, truncated, occluded, alpha, left, top, right, bottom, ...), which is not read. "
    "Write each as a CSV row filename,class,xmin,ymin,xmax,ymax of fields 1 and 5 to 8"
)


def explain_row(text: str) -> str | None:
    """What a row that is not a YOLO row is instead, or None when it is not recognised."""
    if DOTA.match(text):
        return DOTA_ADVICE
    return KITTI_ADVICE if KITTI.match(text) else None


def _is_utf16(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
    except OSError:
        return False


def _explain_text(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            lines = file.read(4096).decode("utf-8-sig", "replace").splitlines()
    except OSError:
        return None
    return next((found for line in lines[:5] if (found := explain_row(line.strip()))), None)


def _explain_json(path: Path) -> str | None:
    if contains_keys(path, (b'"regions"', b'"shape_attributes"'), _MAX_JSON):
        return "a VGG Image Annotator file, which is not read. Export it as COCO from that tool"
    if contains_keys(path, (b'"annotations"', b'"coordinates"', b'"label"'), _MAX_JSON):
        return "a CreateML file, which is not read. Export the dataset as COCO or YOLO"
    for keys, what in _OTHER_JSON:
        if contains_keys(path, keys, _MAX_JSON):
            return what
    return None


def class_folders(tree: FileTree) -> Counter[str] | None:
    """Images per folder name, where each folder is a class: two or more folders at the same depth (splits
    aside) that contain all images. None for any other layout."""
    folders: Counter[str] = Counter()
    depths = set()
    for image in tree.images:
        parts = [p for p in image.relative_to(tree.root).parent.parts if split_of(Path(p)) is None]
        if not parts or parts[-1].lower() in ("images", "img", "imgs", "jpegimages"):
            return None
        folders[parts[-1]] += 1
        depths.add(len(parts))
    return folders if len(folders) > 1 and len(depths) == 1 else None


def explain_unsupported(tree: FileTree) -> str:
    """The message for a tree in which no reader finds labels: what is there, and what was expected."""
    stems = {image.stem for image in tree.images}
    rows = (path for path in tree.texts if path.stem in stems)
    for path in islice(chain(rows, tree.jsons, tree.tables), _MAX_FILES):
        if _is_utf16(path):
            return f"'{tree.relative(path)}' is UTF-16 text, which is not read: save such files as UTF-8."
    for paths, explain in ((tree.texts, _explain_text), (tree.jsons, _explain_json)):
        for path in islice(paths, _MAX_FILES):
            found = explain(path)
            if found:
                return f"got labels of an unknown format: '{tree.relative(path)}' is {found}. {EXPECTED}"
    others = [*tree.texts, *tree.jsons, *tree.xmls, *tree.tables]
    folders = class_folders(tree)
    if folders is not None and not any(path.stem in stems for path in others):
        shown = ", ".join(f"{name} {count}" for name, count in folders.most_common(4))
        return (
            f"got {len(tree.images)} images in {len(folders)} folders ({shown}) and no boxes: folders named "
            f"by class are for classification and cannot train a detector. Annotate boxes first. {EXPECTED}"
        )
    if others:
        return f"got labels of an unknown format (for example {tree.relative(others[0])}). {EXPECTED}"
    return f"got {len(tree.images)} images but no labels. {EXPECTED}"
