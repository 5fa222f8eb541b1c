"""What a model found in one image: the value that every prediction returns."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, SupportsIndex

import numpy as np
from numpy.typing import NDArray

from yolofast.errors import MissingExtraError
from yolofast.files import write_text
from yolofast.limits import MAX_NAME
from yolofast.output_names import class_folders, safe_name
from yolofast.printable import printable
from yolofast.types import Detections

if TYPE_CHECKING:
    from supervision import Detections as SupervisionDetections

Rows = SupportsIndex | slice | NDArray[Any] | list[int] | list[bool]
"""What selects rows: an index, a slice, a mask of all rows, or several indices."""


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

    def __getitem__(self, rows: Rows) -> Boxes:
        """The boxes of an index, a slice, a mask or several indices. Raises `IndexError` beyond the end."""
        chosen = _chosen(rows, len(self))
        return Boxes(self.xyxy[chosen], self.conf[chosen], self.cls[chosen], self.orig_shape)

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
    frame       number of the frame in its video or stream, from 0; None for an image. The path of frame 12
                is then `frame12 of ` and the path of its video
    fps         frames per second of that video or stream; None where it is not known

    `result[0]`, `result[:5]` and `result[result.boxes.conf > 0.5]` are results with those detections only.
    """

    path: str
    image: NDArray[np.uint8] = field(repr=False)
    detections: Detections
    names: tuple[str, ...]
    speed: Mapping[str, float] = field(default_factory=dict)
    frame: int | None = None
    fps: float | None = None

    def __len__(self) -> int:
        return len(self.detections)

    def __getitem__(self, rows: Rows) -> Result:
        """The detections of an index, a slice, a mask or indices. Raises `IndexError` beyond the end."""
        chosen, found = _chosen(rows, len(self)), self.detections
        kept = Detections(found.boxes[chosen], found.scores[chosen], found.classes[chosen])
        return dataclasses.replace(self, detections=kept)

    @property
    def source(self) -> str:
        """Path of the image, or of the video or stream that the frame is from."""
        return self.path if self.frame is None else self.path.removeprefix(f"frame{self.frame} of ")

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

    def name_of(self, class_number: int) -> str:
        """The name of a class; `class 7` where the model has none."""
        known = 0 <= class_number < len(self.names)
        return self.names[class_number] if known else f"class {class_number}"

    def verbose(self) -> str:
        """The detections by class on one line: `3 cats, 1 dog`, or `no detections`."""
        numbers, counts = np.unique(self.detections.classes, return_counts=True)
        named = (
            (count, printable(self.name_of(c), MAX_NAME)) for c, count in zip(numbers, counts, strict=True)
        )
        return ", ".join(f"{n} {_plural(name) if n > 1 else name}" for n, name in named) or "no detections"

    def to_dict(self) -> dict[str, Any]:
        """path, frame (of frames only), and detections: class, name, score, box (xyxy in pixels).

        The form of an entry in detections.json; scores have 5 decimals, coordinates 2.
        """
        found = self.detections
        rows = zip(found.classes.tolist(), found.scores.tolist(), found.boxes.tolist(), strict=True)
        entry: dict[str, Any] = {"path": self.path} | ({} if self.frame is None else {"frame": self.frame})
        entry["detections"] = [
            {
                "class": label,
                "name": self.name_of(label),
                "score": round(score, 5),
                "box": [round(side, 2) for side in box],
            }
            for label, score, box in rows
        ]
        return entry

    def to_json(self) -> str:
        """`to_dict` as JSON on one line, ASCII only."""
        return json.dumps(self.to_dict())

    def to_txt(self, path: str | Path, conf: bool = False) -> Path:
        """Write the detections as YOLO rows, atomically; without detections the file is empty.

        A row is class, centre x, centre y, width, height (shares of the image), and with `conf` the score.

        Raises `DataError` when it cannot be written.
        """
        boxes = self.boxes
        columns = np.concatenate([boxes.xywhn, boxes.conf[:, None]], axis=1)[:, : 5 if conf else 4]
        rows = zip(boxes.cls.tolist(), columns.tolist(), strict=True)
        write_text(path, "".join(f"{c} {' '.join(f'{v:.6f}' for v in row)}\n" for c, row in rows))
        return Path(path)

    def to_supervision(self) -> SupervisionDetections:
        """The detections as `supervision.Detections`, class names in `data["class_name"]`.

        Raises `MissingExtraError` without the package supervision.
        """
        try:
            from supervision import Detections as SupervisionDetections
        except ImportError:
            raise MissingExtraError(
                "to_supervision needs the package 'supervision', which is not installed. "
                "Install it with: pip install supervision"
            ) from None
        found = self.detections
        named = np.array([self.name_of(c) for c in found.classes.tolist()], dtype=str)
        return SupervisionDetections(
            xyxy=found.boxes, confidence=found.scores, class_id=found.classes, data={"class_name": named}
        )

    def plot(
        self, *, labels: bool = True, conf: bool = True, line_width: int | None = None, scale: float = 1.0
    ) -> NDArray[np.uint8]:
        """The image with its boxes, uint8 [H, W, 3] RGB, enlarged by `scale`; `image` stays as it is.

        labels      class names on the boxes
        conf        scores behind the class names
        line_width  in pixels; None = a 400th of the longer side, at least 2
        """
        from yolofast.evaluate.drawing import draw_boxes

        options = {"with_labels": labels, "with_scores": conf}
        return draw_boxes(self.image, scale, self.detections, self.names, line_width=line_width, **options)

    def save(
        self, path: str | Path, *, labels: bool = True, conf: bool = True, line_width: int | None = None
    ) -> Path:
        """Write the image with its boxes, atomically; a small one is enlarged, so that labels have room.

        The suffix selects the format (.png, .jpg, .jpeg, .webp or .bmp); `plot` explains the options. Raises
        `DataError` for another suffix or a path that cannot be written.
        """
        from yolofast.evaluate.drawing import readable_scale, write_image

        scale = readable_scale(self.image)
        return write_image(self.plot(labels=labels, conf=conf, line_width=line_width, scale=scale), path)

    def crop(self) -> list[NDArray[np.uint8]]:
        """The part of the image in each box, uint8 [h, w, 3] RGB, at least one pixel; views of `image`."""
        height, width = self.orig_shape
        crops = []
        for x1, y1, x2, y2 in self.detections.boxes.astype(np.float64).tolist():
            left, top = min(max(int(x1), 0), width - 1), min(max(int(y1), 0), height - 1)
            right, bottom = max(int(np.ceil(x2)), left + 1), max(int(np.ceil(y2)), top + 1)
            crops.append(self.image[top:bottom, left:right])
        return crops

    def save_crop(self, folder: str | Path, name: str | None = None) -> list[Path]:
        """Write each crop as `folder`/CLASS/NAME-ROW.jpg; returns the paths, row by row.

        name  of the files; omitted means that of the image, or VIDEO-FRAME. Where such a file is there, -2,
              -3, ... is appended, so that images of one name never overwrite one another; a given `name`
              replaces what is there.

        Class names are made safe as folder names. Raises `DataError` when a file cannot be written.
        """
        from yolofast.evaluate.drawing import write_image

        folders = class_folders(self.names)
        own = [folders[c] if 0 <= c < len(folders) else f"class {c}" for c in self.boxes.cls.tolist()]
        targets = _crop_paths(Path(folder), own, self.file_stem if name is None else name)
        number = 1
        while name is None and any(map(Path.exists, targets)):
            number += 1
            targets = _crop_paths(Path(folder), own, f"{self.file_stem}-{number}")
        return [write_image(crop, path) for crop, path in zip(self.crop(), targets, strict=True)]

    @property
    def file_stem(self) -> str:
        """A file name for this result without suffix: that of the image, or VIDEO-FRAME."""
        stem = safe_name(PurePosixPath(self.source).stem, "image")
        return stem if self.frame is None else f"{stem}-{self.frame:06d}"


def _crop_paths(folder: Path, classes: list[str], name: str) -> list[Path]:
    return [folder / own / f"{name}-{row}.jpg" for row, own in enumerate(classes)]


def _chosen(rows: Rows, length: int) -> Any:
    """`rows` as numpy takes them; an index keeps its dimension. Raises `IndexError` beyond the end."""
    if isinstance(rows, SupportsIndex) and not isinstance(rows, np.ndarray):
        index = range(length)[rows]  # counts from the end, too
        return slice(index, index + 1)
    return rows if isinstance(rows, slice) else np.asarray(rows, dtype=None if len(rows) else np.int64)


def _plural(name: str) -> str:
    return f"{name}es" if name.endswith(("s", "x", "z", "ch", "sh")) else f"{name}s"
