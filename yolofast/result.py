"""What a model found in one image: the value that every prediction returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from yolofast.types import Detections


@dataclass(frozen=True, slots=True, eq=False)
class Boxes:
    """The boxes of one image, highest score first; rows of all arrays belong together.

    `xyxy` float32 [N, 4] in pixels of the original image, pixel edges; `conf` float32 [N] scores in 0..1;
    `cls` int64 [N] class numbers; `orig_shape` (height, width) of the image.
    """

    xyxy: NDArray[np.float32]
    conf: NDArray[np.float32]
    cls: NDArray[np.int64]
    orig_shape: tuple[int, int]

    def __len__(self) -> int:
        return len(self.conf)

    @property
    def xywh(self) -> NDArray[np.float32]:
        """Centre x, centre y, width, height in pixels, float32 [N, 4]."""
        low, high = self.xyxy[:, :2], self.xyxy[:, 2:]
        return np.concatenate([(low + high) / 2, high - low], axis=1)

    @property
    def xyxyn(self) -> NDArray[np.float32]:
        """`xyxy` as shares of the image's width and height, float32 [N, 4]."""
        return self.xyxy / self._size

    @property
    def xywhn(self) -> NDArray[np.float32]:
        """`xywh` as shares of the image's width and height, float32 [N, 4]."""
        return self.xywh / self._size

    @property
    def _size(self) -> NDArray[np.float32]:
        height, width = self.orig_shape
        return np.array([width, height, width, height], np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Result:
    """Detections in one image or frame.

    path        of the image, or a name for what has none: `image0`, `frame12 of video.mp4`, ...
    image       uint8 [H, W, 3] RGB, the upright original
    detections  boxes xyxy in pixels of the original, scores, classes
    names       one name per class of the model
    speed       milliseconds per image by stage: preprocess, inference, postprocess
    frame       number of the frame in its video or stream, from 0; None for an image
    """

    path: str
    image: NDArray[np.uint8] = field(repr=False)
    detections: Detections
    names: tuple[str, ...]
    speed: Mapping[str, float] = field(default_factory=dict)
    frame: int | None = None

    def __len__(self) -> int:
        return len(self.detections)

    @property
    def orig_shape(self) -> tuple[int, int]:
        """Height and width of the original image in pixels."""
        height, width = self.image.shape[:2]
        return height, width

    @property
    def boxes(self) -> Boxes:
        """The detections as arrays."""
        found = self.detections
        return Boxes(found.boxes, found.scores, found.classes, self.orig_shape)
