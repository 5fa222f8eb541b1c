"""A small dataset in which the colour of an image gives its class, in every image format a loader reads."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from yolofast.types import Batch, Sample

PALETTE = np.array(
    [
        (220, 30, 30),
        (30, 200, 40),
        (40, 60, 220),
        (220, 210, 30),
        (30, 210, 210),
        (210, 40, 210),
        (240, 240, 240),
        (20, 20, 20),
    ]
)
"""RGB of each class."""
CLASSES = len(PALETTE)

_SAMPLING = {
    "444": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
    "422": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_422,
    "420": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420,
    "440": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_440,
    "411": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_411,
}
_TURNS = {1: 0, 6: 1, 3: 2, 8: 3}  # EXIF orientation -> quarter turns against the clock of what is stored
KINDS = ("420", "png", "444", "422 6", "420 progressive", "440", "411 8", "420 3")


def exif(orientation: int) -> bytes:
    """An APP1 segment that only has an orientation."""
    tiff = (
        b"II*\x00\x08\x00\x00\x00\x01\x00\x12\x01\x03\x00\x01\x00\x00\x00"
        + bytes([orientation])
        + b"\x00" * 7
    )
    body = b"Exif\x00\x00" + tiff
    return b"\xff\xe1" + (len(body) + 2).to_bytes(2, "big") + body


def encoded(upright: NDArray[np.uint8], kind: str) -> bytes:
    """An RGB image as 'png', or as JPEG: subsampling, then 'progressive' or an EXIF orientation."""
    form, _, extra = kind.partition(" ")
    if form == "png":
        return cv2.imencode(".png", upright[..., ::-1])[1].tobytes()
    orientation = int(extra) if extra.isdigit() else 1
    stored = np.ascontiguousarray(np.rot90(upright, _TURNS[orientation])[..., ::-1])
    options = [cv2.IMWRITE_JPEG_QUALITY, 92, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, _SAMPLING[form]]
    data = cv2.imencode(
        ".jpg", stored, [*options, cv2.IMWRITE_JPEG_PROGRESSIVE, int(extra == "progressive")]
    )[1]
    raw = data.tobytes()
    return raw if orientation == 1 else raw[:2] + exif(orientation) + raw[2:]


def picture(number: int, height: int, width: int) -> NDArray[np.uint8]:
    """RGB around the colour of class `number % CLASSES`, with a pattern unique to the image."""
    y, x = np.mgrid[:height, :width]
    pattern = 12 * np.sin(x / (5 + number % 7) + number) * np.cos(y / (4 + number % 5))
    return (PALETTE[number % CLASSES] + pattern[..., None]).clip(0, 255).astype(np.uint8)


def write_coloured(
    root: Path, count: int, *, kinds: tuple[str, ...] = KINDS, sides: tuple[int, int] = (40, 120)
) -> Path:
    """Write `count` images, each with a box over the whole image and a smaller one; returns the data.yaml."""
    rng = np.random.default_rng(count)
    for folder in ("images", "labels"):
        (root / folder).mkdir(parents=True)
    for number in range(count):
        height, width = (int(side) for side in rng.integers(*sides, size=2))
        kind = kinds[number % len(kinds)]
        path = root / "images" / f"{number:04}.{'png' if kind == 'png' else 'jpg'}"
        path.write_bytes(encoded(picture(number, height, width), kind))
        rows = [(0.5, 0.5, 1.0, 1.0), (*rng.uniform(0.3, 0.7, 2), *rng.uniform(0.2, 0.5, 2))]
        lines = [f"{number % CLASSES} " + " ".join(f"{v:.6f}" for v in row) for row in rows]
        (root / "labels" / f"{number:04}.txt").write_text("\n".join(lines) + "\n")
    names = ", ".join(f"c{number}" for number in range(CLASSES))
    (root / "data.yaml").write_text(f"path: .\ntrain: images\nval: images\nnames: [{names}]\n")
    return root / "data.yaml"


Plain = tuple[bytes, tuple[int, ...], bytes, str, tuple[int, int]]
"""One sample as comparable values: pixels, image shape, labels, path, original shape."""


def plain(sample: Sample) -> Plain:
    return sample.image.tobytes(), sample.image.shape, sample.labels.tobytes(), sample.path, sample.shape


def plain_samples(batches: Iterable[Batch]) -> list[Plain]:
    """All samples of batches of numpy arrays or torch tensors."""
    samples = []
    for batch in batches:
        images, targets, shapes = (np.asarray(a) for a in (batch.images, batch.targets, batch.shapes))
        assert len(images) == len(batch.paths) == len(shapes) == len(batch)
        assert (np.diff(targets[:, 0]) >= 0).all()
        assert set(targets[:, 0]) <= set(range(len(batch)))
        for row, path in enumerate(batch.paths):
            labels = np.ascontiguousarray(targets[targets[:, 0] == row, 1:])
            height, width = shapes[row].tolist()
            samples.append(
                (images[row].tobytes(), images[row].shape, labels.tobytes(), path, (height, width))
            )
    return samples


def names(samples: Iterable[Plain]) -> list[str]:
    """File names of samples."""
    return [Path(sample[3]).name for sample in samples]


def loader_threads() -> list[str]:
    """Names of the running loader threads."""
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("yolofast-")]


def eventually(condition: Callable[[], Any], seconds: float = 5.0) -> bool:
    """Whether a condition becomes true within some seconds."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def resident_bytes() -> int:
    """The resident memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
