"""A folder of stand-ins for image files, for the tests of the caches of decoded planes."""

from __future__ import annotations

import ctypes
import threading
from pathlib import Path

import numpy as np

from yolofast.errors import ImageError
from yolofast.load.cache import disk as cache_disk
from yolofast.load.cache.disk import cache_on_disk
from yolofast.load.cache.planes import PlaneCache
from yolofast.load.cache.ram import cache_in_ram
from yolofast.types import Picture, Ycc

FACTORS = {"444": (1, 1), "422": (2, 1), "420": (2, 2), "440": (1, 2), "411": (4, 1), "gray": (1, 1)}

# A stand-in for an image file is a line of text, "subsampling height width seed": two of the same size in
# bytes can hold different pictures.
IMAGES = (
    "420 48 64 1",
    "420 47 63 2",
    "444 33 17 3",
    "422 20 31 4",
    "440 21 30 5",
    "411 9 13 6",
    "gray 40 25 7",
    "gray 1 1 8",
    "420 1 1 9",
)


def picture_of(text: str) -> Picture:
    subsampling, *numbers = text.split()
    height, width, seed = map(int, numbers)
    random = np.random.default_rng(seed)
    x, y = FACTORS[subsampling]
    sides = (-(-height // y), -(-width // x))
    chroma = (None, None) if subsampling == "gray" else random.integers(0, 256, (2, *sides), np.uint8)
    luma = random.integers(0, 256, (height, width + 3), np.uint8)[:, :width]  # rows that are not packed
    return Picture(Ycc(luma, chroma[0], chroma[1], subsampling), random.normal(size=(2, 3)), (height, width))


class Folder:
    """A folder of stand-in images that counts how often each is decoded."""

    def __init__(self, root: Path, texts: tuple[str, ...] = IMAGES) -> None:
        self.root = root
        root.mkdir()
        self.images: list[str] = []
        self.decoded: list[str] = []
        for number, text in enumerate(texts):
            self.write(f"{number}.jpg", text)
            self.images.append(str(root / f"{number}.jpg"))
        self.settle()

    def write(self, name: str, text: str) -> None:
        (self.root / name).write_text(text)

    def settle(self) -> None:
        """Let so much time go by that the files' times tell their changes apart."""
        threading.Event().wait(cache_disk.UNSETTLED_NS / 1e9 + 0.01)

    def load(self, image: int) -> Picture:
        path = Path(self.images[image])
        self.decoded.append(path.name)
        try:
            return picture_of(path.read_text())
        except (ValueError, OSError) as error:
            raise ImageError(f"{path}: {error}") from None

    def on_disk(self, path: Path, signature: str = "imgsz=64") -> PlaneCache:
        self.decoded.clear()
        return cache_on_disk(path, self.images, signature, self.load, threads=2, progress=False)

    def in_ram(self, path: Path) -> PlaneCache:
        return cache_in_ram(len(self.images), self.load, threads=2, progress=False)

    def check(self, planes: PlaneCache) -> None:
        """The table leads to just what the files say now."""
        for image, path in enumerate(self.images):
            assert_same_picture(planes, image, picture_of(Path(path).read_text()))


def memory_at(address: int, size: int) -> bytes:
    return ctypes.string_at(address, size)


def assert_same_picture(planes: PlaneCache, image: int, picture: Picture) -> None:
    table, ycc = planes.table, picture.ycc
    address = int(table.address[image])
    assert address
    assert address % 64 == 0
    parts = [ycc.y] if ycc.cb is None or ycc.cr is None else [ycc.y, ycc.cb, ycc.cr]
    expected = b"".join(part.tobytes() for part in parts)
    assert memory_at(address, len(expected) + 64)[:-64] == expected, "planes, with 64 readable bytes behind"
    chroma = parts[1].shape if len(parts) > 1 else (0, 0)
    assert (table.height[image], table.width[image]) == ycc.y.shape
    assert (table.c_height[image], table.c_width[image]) == chroma
    assert (table.factor_x[image], table.factor_y[image]) == FACTORS[ycc.subsampling]
    np.testing.assert_array_equal(table.place[image], picture.place)
