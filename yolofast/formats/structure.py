"""How the folders of a dataset are laid out: flat, nested or mixed, by which convention, and the evidence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

from yolofast.formats.discover import FileTree
from yolofast.formats.splits import in_split_order, split_of
from yolofast.formats.unsupported import class_folders
from yolofast.types import Layout, StructureType

_SHOWN = 4


def _show_folders(tree: FileTree, folders: Counter[Path]) -> str:
    shown = [f"{tree.relative(f)}/ ({n})" for f, n in sorted(folders.items())[:_SHOWN]]
    more = len(folders) - len(shown)
    return ", ".join(shown) + (f" and {more} more folders" if more > 0 else "")


def decide_structure(tree: FileTree, label_files: Iterable[Path]) -> tuple[StructureType, str]:
    """The structure of a tree and a sentence of evidence.

    flat: all images and label files in one folder. mixed: images both in a folder and in its subfolders.
    nested: any other layout, such as images/ + labels/ or train/ + valid/. unknown: no images.
    """
    folders = Counter(image.parent for image in tree.images)
    if not folders:
        return "unknown", "no images"
    if len(folders) == 1:
        (folder,) = folders
        others = {file.parent for file in label_files} - {folder}
        where = "the folder itself" if folder == tree.root else f"{tree.relative(folder)}/"
        if not others and (folder == tree.root or folder.name != "images"):
            return "flat", f"all {len(tree.images)} images are in {where}, with their labels"
        apart = ", ".join(sorted(f"{tree.relative(other)}/" for other in others))
        return "nested", f"images in {where}" + (f", labels in {apart}" if apart else "")
    for folder in sorted(folders):
        below = sum(n for other, n in folders.items() if folder in other.parents)
        if below:
            where = "the folder itself" if folder == tree.root else f"{tree.relative(folder)}/"
            return "mixed", f"{folders[folder]} images in {where} and {below} in folders below it"
    return "nested", f"images in {len(folders)} folders: {_show_folders(tree, folders)}"


def _folder_names(paths: Iterable[Path], tree: FileTree) -> Counter[str]:
    """How many files are below folders of each name, in lower case."""
    names: Counter[str] = Counter()
    for folder, count in Counter(path.parent for path in paths).items():
        if folder.is_relative_to(tree.root):
            for name in {part.lower() for part in folder.relative_to(tree.root).parts}:
                names[name] += count
    return names


def decide_layout(tree: FileTree, label_files: Mapping[str, Iterable[Path]]) -> tuple[Layout, str]:
    """The layout convention of a tree, the first of `Layout` that fits, and a sentence of evidence."""
    if not tree.images:
        return "unknown", "no images"
    labels = {name: tuple(files) for name, files in label_files.items()}
    images = _folder_names(tree.images, tree)
    beside = _folder_names((file for files in labels.values() for file in files), tree)
    relative = Counter(image.parent for image in tree.images)
    splits = {folder: split_of(folder.relative_to(tree.root)) for folder in relative}
    named = in_split_order(splits.values())
    readme = next(
        (p for p in tree.texts if p.name.lower() in ("readme.roboflow.txt", "readme.dataset.txt")), None
    )
    if readme is not None and named:
        return "roboflow", f"{tree.relative(readme)} and the splits {', '.join(named)}"
    if images["jpegimages"] and beside["annotations"]:
        return (
            "voc",
            f"{images['jpegimages']} images in JPEGImages/, {beside['annotations']} labels in Annotations/",
        )
    jsons = [path for path in labels.get("coco", ()) if path.parent.name.lower() == "annotations"]
    if jsons:
        return "coco", f"{tree.relative(jsons[0])} and images in {_show_folders(tree, relative)}"
    if images["images"] and beside["labels"]:
        return (
            "images+labels",
            f"{images['images']} images in images/, {beside['labels']} label files in labels/",
        )
    classes = class_folders(tree) if not labels else None
    if classes is not None:
        shown = ", ".join(f"{name} ({count})" for name, count in classes.most_common(_SHOWN))
        return "class folders", f"{len(classes)} folders of images and no boxes: {shown}"
    if named and None not in splits.values():
        return "split folders", f"all images are in folders of the splits {', '.join(named)}"
    if len(relative) == 1:
        return "one folder", f"all {len(tree.images)} images are in {_show_folders(tree, relative)}"
    return "unknown", f"images in {_show_folders(tree, relative)}, by no known convention"
