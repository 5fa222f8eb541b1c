"""How a dataset's folders are laid out: flat, nested or mixed, and why that was decided."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from yolofast.formats.discover import FileTree
from yolofast.types import StructureType

_SHOWN = 4


def _show(tree: FileTree, folders: Counter[Path]) -> str:
    shown = [f"{tree.relative(f)}/ ({n})" for f, n in sorted(folders.items())[:_SHOWN]]
    more = len(folders) - len(shown)
    return ", ".join(shown) + (f" and {more} more folders" if more > 0 else "")


def decide_structure(tree: FileTree, label_files: Iterable[Path]) -> tuple[StructureType, str]:
    """The structure of a tree and a sentence of evidence.

    flat: all images and label files in one folder. mixed: images both in a folder and in folders below
    it. nested: any other layout of folders, such as images/ + labels/ or train/ + valid/. unknown: no
    images.
    """
    folders = Counter(image.parent for image in tree.images)
    if not folders:
        return "unknown", "no images"
    if len(folders) == 1:
        (folder,) = folders
        others = {file.parent for file in label_files} - {folder}
        where = "the folder itself" if folder == tree.root else f"{tree.relative(folder)}/"
        if not others and (folder == tree.root or folder.name != "images"):
            return "flat", f"all {len(tree.images)} images lie in {where}, with their labels"
        apart = ", ".join(sorted(f"{tree.relative(other)}/" for other in others))
        return "nested", f"images in {where}" + (f", labels in {apart}" if apart else "")
    for folder in sorted(folders):
        below = sum(n for other, n in folders.items() if folder in other.parents)
        if below:
            where = "the folder itself" if folder == tree.root else f"{tree.relative(folder)}/"
            return "mixed", f"{folders[folder]} images in {where} and {below} in folders below it"
    return "nested", f"images in {len(folders)} folders: {_show(tree, folders)}"
