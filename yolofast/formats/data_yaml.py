"""data.yaml: the small file that names a YOLO dataset's splits and classes.

It is read the way Ultralytics reads it, so one file works for both. Only the YAML node tree is used
(`yaml.compose` with the safe loader): nothing in the file is constructed or executed, class names such as
`no` or `1e3` stay the text that the user wrote, and every error has its line.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import yaml

from yolofast.brief import brief, brief_text
from yolofast.errors import DataError, DatasetNotFoundError, at
from yolofast.formats.locations import read_image_list, resolve_entry
from yolofast.formats.splits import SPLITS, WORDS, split_of_name
from yolofast.formats.unique_names import check_names, first_repeat
from yolofast.formats.walk import image_names, in_path_order
from yolofast.limits import MAX_CLASSES, MAX_PATH, MAX_YAML_KEYS
from yolofast.types import Finding, Split
from yolofast.yaml_text import YamlTextError, compose_yaml, read_yaml_text

MAX_KEYPOINTS = 1000
_LONGEST_KEY = 40
"""A longer key is no misspelt one."""

_SEPARATOR = re.escape(os.sep)
_IMAGES_FOLDER = re.compile(rf"(?:^|{_SEPARATOR})(images)(?={_SEPARATOR})", re.IGNORECASE | re.ASCII)

YAML_KEYS: Mapping[Split, str] = MappingProxyType({"train": "train", "valid": "val", "test": "test"})
"""The keys of the splits in a data.yaml that is written; any of `splits.WORDS` is read."""
KNOWN_KEYS = frozenset({"path", "names", "nc", "kpt_shape", "download"})
"""Keys that have another meaning, here or to trainers."""


@dataclass(frozen=True, slots=True)
class DataYaml:
    """A data.yaml that has been read and whose folders exist.

    `splits` maps a split to image folders or .txt files that list images; `names[i]` is the name of class i.
    """

    path: Path
    root: Path
    splits: Mapping[Split, tuple[Path, ...]]
    names: tuple[str, ...]
    keypoints: tuple[int, int] | None = None
    """`kpt_shape`: keypoints per row, and numbers per keypoint (2: x y, 3: x y and visibility)."""


def _compose(path: Path) -> dict[str, tuple[yaml.Node, int]]:
    """Top-level key -> (value node, line of the key)."""
    try:
        root = compose_yaml(read_yaml_text(path))
    except FileNotFoundError:
        raise DatasetNotFoundError(f"{path}: no such file. Give the data.yaml of a dataset.") from None
    except IsADirectoryError:
        raise DataError(
            f"{path}: got a folder, expected a data.yaml. Give the one in it; `yolofast prepare` makes one."
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as UTF-8 text: {error}") from None
    except YamlTextError as error:
        raise DataError(f"{at(path, error.line)}: {error.message}.") from None
    if not isinstance(root, yaml.MappingNode):
        raise DataError(f"{path}: not a data.yaml: expected keys such as 'train:', 'val:' and 'names:'.")
    if len(root.value) > MAX_YAML_KEYS:
        raise DataError(
            f"{path}: got {len(root.value)} keys, expected a data.yaml of at most {MAX_YAML_KEYS}."
        )
    return {
        key.value: (value, key.start_mark.line + 1)
        for key, value in root.value
        if isinstance(key, yaml.ScalarNode)
    }


def _text(node: yaml.Node, where: str, what: str) -> str:
    if not isinstance(node, yaml.ScalarNode):
        raise DataError(f"{where}: {what}: got a list or mapping, expected one value.")
    text = "" if node.tag == "tag:yaml.org,2002:null" else str(node.value)
    if len(text) > MAX_PATH:
        got = f"'{brief_text(text)}' of {len(text)} characters"
        raise DataError(f"{where}: {what}: got {got}, expected at most {MAX_PATH}.")
    if text.isascii():
        return text
    # Files that were written as JSON have "\ud83d\ude00" for one character.
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")


def _integer(node: yaml.Node, where: str, what: str) -> int:
    text = _text(node, where, what)
    try:
        return int(text)
    except ValueError:
        raise DataError(f"{where}: {what}: got '{brief_text(text)}', expected a whole number.") from None


def _names(path: Path, keys: Mapping[str, tuple[yaml.Node, int]]) -> tuple[str, ...]:
    count, count_line = None, None
    if "nc" in keys:
        node, count_line = keys["nc"]
        count = _integer(node, at(path, count_line), "nc")
        if not 1 <= count <= MAX_CLASSES:
            raise DataError(f"{at(path, count_line)}: nc: got {count}, expected 1 to {MAX_CLASSES}.")
    if "names" not in keys:
        if count is None:
            short = [key for key in keys if len(key) <= _LONGEST_KEY]
            close = difflib.get_close_matches("names", short, n=1, cutoff=0.6)
            meant = f" Did you mean 'names' by '{close[0]}'?" if close else ""
            raise DataError(f"{path}: no 'names': list the classes, for example 'names: [cat, dog]'.{meant}")
        return tuple(f"class_{i}" for i in range(count))
    node, line = keys["names"]
    where = at(path, line)
    if not isinstance(node, yaml.ScalarNode) and len(node.value) > MAX_CLASSES:
        raise DataError(f"{where}: names: got {len(node.value)} classes, expected at most {MAX_CLASSES}.")
    if isinstance(node, yaml.SequenceNode):
        names = tuple(_text(item, at(path, item.start_mark.line + 1), "a class name") for item in node.value)
    elif isinstance(node, yaml.MappingNode):
        by_id = {}
        for key, value in node.value:
            item = at(path, key.start_mark.line + 1)
            by_id[_integer(key, item, "a class id")] = _text(value, item, "a class name")
        if sorted(by_id) != list(range(len(node.value))):
            raise DataError(
                f"{where}: names: got class ids {brief(sorted(by_id))}, "
                f"expected 0 to {len(node.value) - 1}, each once."
            )
        names = tuple(by_id[i] for i in range(len(by_id)))
    else:
        raise DataError(f"{where}: names: got '{brief_text(node.value)}', expected a list of class names.")
    if not names:
        raise DataError(f"{where}: names: got no class, expected at least one.")
    check_names(names, where)
    if count is not None and count != len(names):
        raise DataError(
            f"{at(path, count_line)}: nc is {count} but names (line {line}) has {len(names)} classes. "
            "Correct one of them, or remove nc."
        )
    repeated = first_repeat(names)
    if repeated is not None:
        first, second = repeated
        raise DataError(
            f"{where}: names: '{names[first]}' is both class {first} and class {second}, expected each name "
            "once. Rename one of them."
        )
    return names


def _keypoints(path: Path, keys: Mapping[str, tuple[yaml.Node, int]]) -> tuple[int, int] | None:
    if "kpt_shape" not in keys:
        return None
    node, line = keys["kpt_shape"]
    where = at(path, line)
    if node.tag == "tag:yaml.org,2002:null":
        return None
    values = node.value if isinstance(node, yaml.SequenceNode) else [node]
    shape = [_integer(item, where, "kpt_shape") for item in values]
    if len(shape) != 2 or not 1 <= shape[0] <= MAX_KEYPOINTS or shape[1] not in (2, 3):
        got = shape if isinstance(node, yaml.SequenceNode) else shape[0]
        raise DataError(
            f"{where}: kpt_shape: got {brief(got)}, expected [keypoints, 2 or 3], such as [17, 3]."
        )
    return shape[0], shape[1]


def read_class_names(path: Path) -> tuple[str, ...] | None:
    """The class names of a YAML file, or None when it has no `names`. Raises `DataError`."""
    keys = _compose(path)
    return _names(path, keys) if "names" in keys else None


def top_level_keys(path: Path) -> frozenset[str]:
    """The keys of a YAML file, to tell a data.yaml from the files of other tools. Raises `DataError`."""
    return frozenset(_compose(path))


def _split_keys(keys: Mapping[str, tuple[yaml.Node, int]]) -> dict[Split, str]:
    """The key that names each split: train, val and test, or another word for them (`splits.WORDS`)."""
    found: dict[Split, str] = {}
    for key in sorted(keys, key=lambda key: key not in YAML_KEYS.values()):  # `val` counts before `valid`
        split = WORDS.get(key.lower())
        if split is not None:
            found.setdefault(split, key)
    return {split: found[split] for split in SPLITS if split in found}


def _refuse_misspelt(
    path: Path, keys: Mapping[str, tuple[yaml.Node, int]], found: Mapping[Split, str], roots: Sequence[Path]
) -> None:
    """Refuse a key that is no split, but means one that is missing and names something that exists.

    A `vla:` that is ignored would train without validation.
    """
    for key, (node, line) in keys.items():
        if key in KNOWN_KEYS or key in found.values() or len(key) > _LONGEST_KEY:
            continue
        close = difflib.get_close_matches(key.lower(), WORDS, n=1, cutoff=0.6)
        split = split_of_name(key) or (WORDS[close[0]] if close else None)
        if split in ("train", "valid") and split not in found:
            items = node.value if isinstance(node, yaml.SequenceNode) else [node]
            entries = [item.value for item in items if isinstance(item, yaml.ScalarNode) and item.value]
            if any(resolve_entry(entry, roots) for entry in entries):
                raise DataError(
                    f"{at(path, line)}: got the key '{key}', expected train, val or test. "
                    f"Did you mean '{YAML_KEYS[split]}'? Rename the key."
                )


def read_data_yaml(path: str | Path) -> DataYaml:
    """Read a data.yaml: its classes and the locations of its images.

    A relative `path:` is relative to the folder of the yaml, which also replaces it when it is empty or does
    not exist (a dataset that was moved). Splits are read from `train`, `val` (or `valid`, `validation`) and
    `test`: a folder, a .txt list of images, or a list of these; `formats.locations` says how they are found.
    A key that means one of them but is none is refused. A `test` that does not exist is ignored (many exports
    name one without shipping it); any other missing folder is an error. Without `names`, `nc: 3` gives
    class_0, class_1, class_2.

    Raises `DatasetNotFoundError` when the file is missing and `DataError`, with file and line, when its
    content is wrong.
    """
    path = Path(os.path.abspath(path))  # noqa: PTH100 - resolve() would follow symlinks
    keys = _compose(path)
    names = _names(path, keys)
    declared = _text(keys["path"][0], at(path, keys["path"][1]), "path") if "path" in keys else ""
    base = path.parent / declared
    if "\\" in declared and not os.path.exists(base):  # noqa: PTH110 - also for a name too long
        base = path.parent / declared.replace("\\", "/")
    roots = [base, path.parent] if declared else [path.parent]
    splits: dict[Split, tuple[Path, ...]] = {}
    split_keys = _split_keys(keys)
    _refuse_misspelt(path, keys, split_keys, roots)
    for split, key in split_keys.items():
        node, line = keys[key]
        items = node.value if isinstance(node, yaml.SequenceNode) else [node]
        found: list[Path] = []
        for item in items:
            entry = _text(item, at(path, item.start_mark.line + 1), key)
            if not entry:
                continue
            location = resolve_entry(entry, roots)
            if location is not None:
                found.append(location)
            elif split != "test":
                raise DataError(
                    f"{at(path, line)}: {key}: no such folder '{roots[0] / entry}'. "
                    f"Correct '{key}:' or 'path:', or put the images there."
                )
        if found:
            splits[split] = tuple(found)
    if not splits:
        raise DataError(f"{path}: names no images: expected 'train:' and 'val:' with an image folder each.")
    root = roots[0] if os.path.isdir(roots[0]) else path.parent  # noqa: PTH112 - also for a name too long
    return DataYaml(path, Path(os.path.normpath(root)), splits, names, _keypoints(path, keys))


def dataset_folder(data: DataYaml) -> Path:
    """The folder that holds the images and labels of a data.yaml.

    `data.root` when all splits are below it, else the folder above all of them (above `images` for images).

    Raises `DataError` when there is no such folder but the root of the file system.
    """
    locations = [location for found in data.splits.values() for location in found]
    if all(location.is_relative_to(data.root) for location in locations):
        return data.root
    folder = Path(os.path.commonpath([*locations]))
    folder = folder.parent if folder.is_file() or folder.name.lower() == "images" else folder
    if folder.parent == folder:
        raise DataError(
            f"{data.path}: its splits have no folder in common ({', '.join(map(str, locations))}). Put them "
            "below one folder."
        )
    return folder


def list_image_names(data: DataYaml, split: Split, notes: list[Finding] | None = None) -> list[str]:
    """The paths of all images of a split, sorted folder by folder, each once.

    Images in a .txt list are returned as listed, even when the file is missing; what had to be done to find
    listed images is added to `notes`. Raises `DataError` when data.yaml does not name the split.
    """
    if split not in data.splits:
        key = YAML_KEYS[split]
        raise DataError(f"{data.path}: no '{key}:' split; it has: {', '.join(data.splits)}.")
    images: set[str] = set()
    for source in data.splits[split]:
        if source.is_dir():
            images.update(image_names(source))
        else:
            listed, found = read_image_list(source, data.root)
            images.update(listed)
            if notes is not None:
                notes.extend(found)
    return in_path_order(images)


def list_images(data: DataYaml, split: Split) -> tuple[Path, ...]:
    """`list_image_names` as paths."""
    return tuple(map(Path, list_image_names(data, split)))


def label_candidates(image: str | Path) -> Iterator[str]:
    """Every path at which the YOLO label file of an image may be, the usual one first.

    The last folder called `images` becomes `labels`, with the suffix .txt; then a file next to the image.
    Datasets from case-insensitive file systems may use `Images`, `Labels` and `.TXT`: these are included.
    """
    stem = os.path.splitext(image)[0]  # noqa: PTH122 - strings are faster: runs once per image of huge sets
    folder = None
    for folder in _IMAGES_FOLDER.finditer(stem):  # noqa: B007 - the last one counts
        pass
    if folder is not None:
        for labels in ("labels", "Labels", "LABELS"):
            label = f"{stem[: folder.start(1)]}{labels}{stem[folder.end(1) :]}"
            yield f"{label}.txt"
            yield f"{label}.TXT"
    yield f"{stem}.txt"
    yield f"{stem}.TXT"
