"""Which data.yaml describes a dataset: one, or several that each describe a part of it.

People keep exports side by side, each with a data.yaml of its own, and copies of the yaml files that trainers
ship for public datasets.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from yolofast.errors import DataError
from yolofast.formats.data_yaml import DataYaml, list_images, read_class_names, read_data_yaml, top_level_keys
from yolofast.formats.discover import FileTree
from yolofast.formats.splits import WORDS
from yolofast.types import Finding

_PUBLIC = re.compile(
    r"coco(?:\d+|[-_.].*)?|voc|lvis|objects365|open-images-v\d|argoverse|visdrone|sku-110k|xview|"
    r"globalwheat\d*|dota.*|crowdhuman|african-wildlife|signature|package-seg|tiger-pose",
    re.IGNORECASE,
)
"""Names under which trainers ship the yaml of a public dataset: a copy of one is used only without others."""


@dataclass(frozen=True, slots=True)
class ChosenYamls:
    """The data.yaml files that describe a dataset, and what is to be said about the choice."""

    yamls: tuple[DataYaml, ...]
    findings: tuple[Finding, ...]


def choose_data_yamls(tree: FileTree) -> ChosenYamls:
    """The data.yaml files of a tree; none when there is none.

    The one that the user named (`tree.data_yaml`) is the only one. Else each folder has at most one: a file
    called data.yaml, then dataset.yaml, then another YAML file with `names` and a split that can be read, and
    copies of public datasets' files last. The data.yaml (else the other file) that is nearest to the root
    counts, and so do others that describe images which no earlier one lists.

    Raises `DataError` for a file that is invalid and would be used, and when one has numbers instead of names
    and another one does not.
    """
    if tree.data_yaml is not None:
        return ChosenYamls((read_data_yaml(tree.data_yaml),), ())
    by_folder: dict[Path, list[Path]] = {}
    for path in sorted(tree.yamls, key=lambda path: (not _is_data(path), len(path.parts), path)):
        if _is_data(path) or _describes_data(path):
            by_folder.setdefault(path.parent, []).append(path)
    chosen: list[DataYaml] = []
    findings: list[Finding] = []
    covered: set[Path] = set()
    failed: list[tuple[Path, DataError]] = []
    several = len(by_folder) > 1
    for folder, paths in by_folder.items():
        data = _choose(folder, paths)
        if isinstance(data, DataError):
            failed.append((folder, data))
            continue
        if several:  # listing the images of one file alone would be for nothing
            images = {image for split in data.splits for image in list_images(data, split)}
            if chosen and images <= covered:
                continue
            covered |= images
        chosen.append(data)
        others = [path for path in paths if path != data.path]
        if others:
            findings.append(_taken(tree, data.path, others))
    for folder, error in failed:
        own = any(map(_is_data, by_folder[folder]))
        if not chosen or (own and any(image not in covered for image in _images_below(tree, folder))):
            raise error
    if len(chosen) > 1:
        _check_names(chosen)
        findings.append(_merged(tree, chosen))
    return ChosenYamls(tuple(chosen), tuple(findings))


def _is_data(path: Path) -> bool:
    return path.stem.lower() == "data"


def _describes_data(path: Path) -> bool:
    """Whether a YAML file has `names` and a split."""
    try:
        keys = top_level_keys(path)
    except DataError:
        return False  # probably the file of another tool
    return "names" in keys and any(key.lower() in WORDS for key in keys)


def _choose(folder: Path, paths: Sequence[Path]) -> DataYaml | DataError:
    """The yaml of a folder, or why its best one cannot be used."""

    def rank(path: Path) -> tuple[bool, bool, bool, Path]:
        stem = path.stem.lower()
        return (
            _PUBLIC.fullmatch(stem) is not None and stem != folder.name.lower(),
            not _is_data(path),
            stem not in ("dataset", folder.name.lower()),
            path,
        )

    failed: DataError | None = None
    for path in sorted(paths, key=rank):
        try:
            return read_data_yaml(path)
        except DataError as error:
            failed = failed or error
            if _is_data(path):
                break
    assert failed is not None
    return failed


def _images_below(tree: FileTree, folder: Path) -> list[Path]:
    return [image for image in tree.images if folder in image.parents]


def _taken(tree: FileTree, taken: Path, others: Sequence[Path]) -> Finding:
    shown = ", ".join(map(tree.relative, others))
    message = f"is used, and not {shown}. To use another one, give its path instead of the folder's."
    return Finding("warning", "yaml-several", message, str(taken))


def _merged(tree: FileTree, chosen: Sequence[DataYaml]) -> Finding:
    others = ", ".join(tree.relative(data.path) for data in chosen[1:])
    message = (
        f"describes other images than {others}: they are merged, with their classes by name. To use one "
        "alone, give its path instead of the folder's."
    )
    return Finding("warning", "yaml-merged", message, str(chosen[0].path))


def _check_names(chosen: Sequence[DataYaml]) -> None:
    """Refuse to merge files by name when one has none (`nc` alone) and another has other classes."""
    if len({data.names for data in chosen}) == 1:
        return
    for data in chosen:
        if read_class_names(data.path) is None:
            raise DataError(
                f"{data.path}: has no 'names:' and describes a part of a dataset whose other part is "
                f"{next(other.path for other in chosen if other is not data)}: its classes cannot be mapped. "
                "Add its names, or give the path of one of them instead of the folder's."
            )
