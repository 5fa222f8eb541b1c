"""`prepare` and the loader see the same splits, images and boxes in every YOLO tree."""

from __future__ import annotations

import json
import tempfile
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from support.dataset_files import image_bytes, write_text
from support.property_tests import examples

from yolofast.errors import DataError
from yolofast.load import YOLODataset
from yolofast.prepare import prepare_dataset

Labels = dict[str, dict[str, list[list[float]]]]
"""Split -> path of the image below the source -> rows class, x, y, w, h."""

FOLDERS = ("images/{}", "{}/images", "{}", "images/{}/cam 1", "Images/{}", "data/{}/images/a")
STEMS = ("a", "b.c", "IMG_1", "img_1", "café", "헬멧", "b c", "x%20y", "z", "20240101-z", "1a2b3c4d-q", "q")
SPELLINGS: dict[str, Callable[[str], str]] = {
    "exact": str,
    "decomposed": lambda stem: unicodedata.normalize("NFD", stem),
    "upper": str.upper,
    "lower": str.lower,
    "percent": quote,
    "prefix": lambda stem: f"0f1e2d3c-{stem}",
    "none": str,
}
LINES: dict[str, Callable[[str, Path], str]] = {
    "relative": lambda name, _: name,
    "dotted": lambda name, _: f"./{name}",
    "absolute": lambda name, root: f"{root}/{name}",
    "backslashes": lambda name, _: name.replace("/", "\\"),
    "of another folder": lambda name, _: f"data/{name}",
    "of another machine": lambda name, _: f"C:\\work\\set\\{name}",
    "decomposed": lambda name, _: unicodedata.normalize("NFD", name),
    "other case": lambda name, _: name.upper(),
}


@dataclass(frozen=True)
class Tree:
    """A YOLO tree: stem -> spelling of its label file for each split, and how data.yaml names the splits."""

    folder: str
    images: dict[str, dict[str, str]]
    beside: bool
    capitals: bool
    """The folder of label files is in another case than any that is usual."""
    orphans: tuple[str, ...]
    source: str
    """'folders', 'lists' or 'none' (no data.yaml)."""
    line: str

    def write(self, root: Path) -> None:
        classes = 0
        for split, stems in self.images.items():
            folder = self.folder.format(split)
            labels = folder if self.beside else folder.replace("mages", "abels").replace("iabels", "labels")
            labels = labels.replace("Iabels", "Labels")
            if self.capitals and not self.beside:
                labels = labels.replace("labels", "LaBeLs").replace("Labels", "LaBeLs")
            for stem, spelling in stems.items():
                path = root / folder / f"{stem}.jpg"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(image_bytes(40, 20))
                if spelling != "none":
                    name = SPELLINGS[spelling](stem)
                    write_text(
                        root / labels / f"{name}.txt", f"{classes % 3} 0.5 0.5 0.25 0.{classes + 10}\n"
                    )
                classes += 1
            for stem in self.orphans:
                write_text(root / labels / f"{stem}.txt", "0 0.5 0.5 0.75 0.75\n")
        if self.source != "none":  # without a data.yaml, labels elsewhere count in folders without any
            write_text(root / "boxes" / "a.txt", "0 0.5 0.5 0.875 0.875\n")
        if self.source != "none":
            self.write_yaml(root)

    def write_yaml(self, root: Path) -> Path:
        lines = []
        for key, split in (("train", "train"), ("val", "val")):
            folder = self.folder.format(split)
            if self.source == "lists":
                names = [LINES[self.line](f"{folder}/{stem}.jpg", root) for stem in self.images[split]]
                write_text(root / f"{split}.txt", "\n".join(names) + "\n")
                folder = f"{split}.txt"
            lines.append(f"{key}: {folder}\n")
        return write_text(root / "data.yaml", "".join(lines) + "names: [x, y, z]\n")


def trees(*sources: str) -> st.SearchStrategy[Tree]:
    stems = st.dictionaries(st.sampled_from(STEMS), st.sampled_from(list(SPELLINGS)), min_size=1, max_size=6)
    return st.builds(
        Tree,
        st.sampled_from(FOLDERS),
        st.fixed_dictionaries({"train": stems, "val": stems}),
        st.booleans(),
        st.booleans(),
        st.lists(st.sampled_from(STEMS), max_size=2).map(tuple),
        st.sampled_from(sources),
        st.sampled_from(list(LINES)),
    )


def loaded(data: Path, root: Path, rename: dict[str, str] | None = None) -> Labels:
    """What the loader has in each split of a data.yaml, by the path below `root` (or as renamed)."""
    found: Labels = {}
    for split in ("train", "val"):
        dataset = YOLODataset(data, split, imgsz=32)
        rows = {
            Path(path).relative_to(root).as_posix(): np.round(labels, 5).tolist()
            for path, labels in zip(dataset.paths, dataset.labels, strict=True)
        }
        found[split] = {rename[name] if rename else name: labels for name, labels in rows.items()}
    return found


def check(tree: Tree) -> None:
    if tree.line == "other case":  # two images of one line are neither
        assume(not any({"IMG_1", "img_1"} <= stems.keys() for stems in tree.images.values()))
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder).resolve() / "set"
        tree.write(root)
        try:
            prepared = prepare_dataset(root, link="copy").root
        except DataError:  # no usable box, or no labels at all: the loader has none either
            prepared = None
        source = loaded(root / "data.yaml" if tree.source != "none" else tree.write_yaml(root), root)
        if prepared is None:
            assert not any(rows for split in source.values() for rows in split.values())
            return
        entries = json.loads((prepared / "manifest.json").read_text())["images"]
        names = {f"{e['split']}/images/{e['name']}": e["source"] for e in entries}
        assert loaded(prepared / "data.yaml", prepared, names) == source


@examples(120)
@given(trees("folders", "lists"))
def test_with_a_data_yaml(tree: Tree) -> None:
    check(tree)


@examples(60)
@given(trees("none"))
def test_without_a_data_yaml(tree: Tree) -> None:
    """The data.yaml that the loader needs is written after `prepare` has read the tree without one."""
    check(tree)


@pytest.mark.deep
@examples(500)
@given(trees("folders", "lists", "none"))
def test_in_depth(tree: Tree) -> None:
    check(tree)
