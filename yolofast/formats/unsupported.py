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
from yolofast.formats.file_kinds import DOTA_ROW, KITTI_ROW
from yolofast.formats.json_files import contains_keys
from yolofast.formats.splits import split_of

EXPECTED = (
    "Expected YOLO .txt next to the images or in a 'labels' folder, a COCO .json with 'images', "
    "'annotations' and 'categories', Pascal VOC .xml files, a CSV with the columns filename, class, xmin, "
    "ymin, xmax, ymax, or the files of Open Images, LabelMe, CVAT for images, Label Studio, VIA, VoTT, "
    "CreateML, VisDrone, KITTI, DOTA, LVIS, BDD100K or NDJSON (docs/formats.md)."
)
_MAX_JSON = 64 << 20
_MAX_FILES = 20
"""How many files of a kind are opened."""
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
    (
        (b'"file_name"', b'"objects"', b'"bbox"'),
        "the metadata of a Hugging Face image folder. Convert its rows to COCO, or to a CSV",
    ),
    ((b'"images"', b'"annotations"'), "like COCO, without 'categories' or without boxes and masks. Add them"),
)
"""Keys of a JSON file of another format, and what it is."""
DOTA_ADVICE = (
    "a DOTA line (4 corners in pixels, class name, difficulty) among YOLO rows. Keep DOTA files in a folder "
    "of their own: they are read too"
)
_NAMED_ROW = re.compile(r"([^\s\d.+-]\S*)(?:\s+[-+]?[\d.]+(?:[eE][-+]?\d+)?){4}\s*")
KITTI_ADVICE = (
    "a KITTI line (type, truncated, occluded, alpha, left, top, right, bottom, ...) among YOLO rows. Keep "
    "KITTI files in a folder of their own: they are read too"
)


def explain_row(text: str) -> str | None:
    """What a row that is not a YOLO row is instead, or None when it is not recognised."""
    if DOTA_ROW.match(text):
        return DOTA_ADVICE
    return KITTI_ADVICE if KITTI_ROW.match(text) else None


def _is_utf16(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
    except OSError:
        return False


def _explain_json(path: Path) -> str | None:
    for keys, what in _OTHER_JSON:
        if contains_keys(path, keys, _MAX_JSON):
            return what
    return None


def _explain_text(path: Path) -> str | None:
    """What the rows of a text file are, by the first one that is not blank."""
    try:
        with path.open("rb") as file:
            lines = file.read(4096).decode("utf-8-sig", "replace").splitlines()
    except OSError:
        return None
    named = _NAMED_ROW.fullmatch(next(filter(str.strip, lines), ""))
    if named is None:
        return None
    return (
        f"rows that begin with the name of a class ('{named[1]}') and four numbers. Put its number "
        "there (its line in classes.txt, from 0); coordinates are centre, width and height, from 0 to 1"
    )


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
    for path in islice(tree.jsons, _MAX_FILES):
        found = _explain_json(path)
        if found:
            return f"got labels of an unknown format: '{tree.relative(path)}' is {found}. {EXPECTED}"
    for path in islice((path for path in tree.texts if path.stem in stems), _MAX_FILES):
        found = _explain_text(path)
        if found:
            return f"got labels of an unknown format: '{tree.relative(path)}' has {found}."
    others = [*tree.texts, *tree.jsons, *tree.xmls, *tree.tables]
    folders = class_folders(tree)
    if folders is not None and not any(path.stem in stems for path in others):
        shown = ", ".join(f"{name} {count}" for name, count in folders.most_common(4))
        return (
            f"got {len(tree.images)} images in {len(folders)} folders ({shown}) and no boxes: folders named "
            f"by class are for classification and cannot train a detector. Annotate boxes first. {EXPECTED}"
        )
    unread = [finding for finding in tree.findings if finding.code == "label-suffix"]
    if unread:
        return f"got {len(tree.images)} images; {unread[0].file}: {unread[0].message}. {EXPECTED}"
    if others:
        return f"got labels of an unknown format (for example {tree.relative(others[0])}). {EXPECTED}"
    return f"got {len(tree.images)} images but no labels. {EXPECTED}"
