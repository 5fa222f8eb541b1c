"""Reads LVIS: COCO's JSON with federated annotations.

An LVIS image names the classes that were checked on it (`neg_category_ids`, `not_exhaustive_category_ids`): a
training without federated losses cannot use that, and it is said. Images are named by the end of `coco_url`.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from yolofast.formats.coco.reader import open_coco
from yolofast.formats.dataset import LabelledDataset
from yolofast.formats.discover import FileTree
from yolofast.formats.file_kinds import json_finder

_FEDERATED = (
    "LVIS is annotated class by class: neg_category_ids and not_exhaustive_category_ids are ignored, so "
    "objects of classes that were not checked on an image count as background"
)

find_lvis = json_finder("lvis")


def open_lvis(tree: FileTree, files: tuple[Path, ...]) -> LabelledDataset:
    """The LVIS files of a tree as one dataset; see `open_coco`."""
    dataset = open_coco(tree, files)
    return dataclasses.replace(dataset, format="lvis", evidence=(*dataset.evidence, _FEDERATED))
