import os
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from typing_extensions import disjoint_base

from yolofast.kernels.packed_pictures import PackedPictures, Planes

@disjoint_base
class Nvjpeg:
    path: str
    version: tuple[int, int]
    is_on_host: bool
    def __init__(
        self, libraries: Sequence[str | os.PathLike[str]], drivers: Sequence[str | os.PathLike[str]]
    ) -> None: ...

@disjoint_base
class Decoder:
    has_hardware: bool
    prepared: int | None
    def __init__(self, library: Nvjpeg, threads: int) -> None: ...
    def prepare(
        self,
        files: Sequence[bytes | bytearray | memoryview | NDArray[np.uint8] | str | os.PathLike[str]],
        shapes: NDArray[np.int32] | None = None,
    ) -> int: ...
    def decode(self, address: int, capacity: int, stream: int) -> None: ...
    def packed(self, planes: Planes) -> PackedPictures[Planes]: ...
    def refused(self) -> list[tuple[int, str]]: ...
