"""What the reader of COCO and LVIS ground truth gives."""

from __future__ import annotations

from typing import Any, NamedTuple, TypedDict

import numpy as np
from numpy.typing import NDArray


class CategoryLists(NamedTuple):
    """A list of category ids for each of I images, one behind the other."""

    categories: NDArray[np.int64]
    ends: NDArray[np.int64]
    """[I]: where the list of each image ends in `categories`."""
    given: int
    """Images for which the file has a list; it is empty for the others."""


class GroundTruthColumns(TypedDict):
    """The columns of a ground-truth file: images [I], categories [K] and their names, and of N annotations
    ids, image and category ids, boxes (left, top, width, height), areas and crowd flags. Image ids are whole
    numbers, or texts where the file has texts. LVIS files also have, for each image, categories that are
    certainly absent (negative) or of which objects may be unannotated (not exhaustive), and for each category
    whether it is rare, common or frequent ('r', 'c', 'f', else '').
    """

    images: NDArray[Any]
    categories: NDArray[np.int64]
    names: list[str]
    frequencies: list[str]
    negative: CategoryLists
    not_exhaustive: CategoryLists
    ids: NDArray[np.int64]
    image_ids: NDArray[Any]
    category_ids: NDArray[np.int64]
    boxes: NDArray[np.float64]
    areas: NDArray[np.float64]
    crowd: NDArray[np.bool_]
