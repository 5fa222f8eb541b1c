"""What the reader of COCO ground truth gives."""

from __future__ import annotations

from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray


class GroundTruthColumns(TypedDict):
    """The columns of a ground-truth file: images [I], categories [K] and their names, and of N annotations
    ids, image and category ids, boxes (left, top, width, height), areas and crowd flags. Image ids are whole
    numbers, or texts where the file has texts.
    """

    images: NDArray[Any]
    categories: NDArray[np.int64]
    names: list[str]
    ids: NDArray[np.int64]
    image_ids: NDArray[Any]
    category_ids: NDArray[np.int64]
    boxes: NDArray[np.float64]
    areas: NDArray[np.float64]
    crowd: NDArray[np.bool_]
