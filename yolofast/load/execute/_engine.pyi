from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from typing_extensions import disjoint_base

from yolofast.kernels.packed_paths import PackedPaths
from yolofast.kernels.packed_pictures import PackedPictures
from yolofast.load.cache.planes import PlaneTable
from yolofast.load.execute.hooked import HookedLabels
from yolofast.types import BatchPlan, Picture

def load_picture(
    path: str | Path, shape: tuple[int, int], decode_side: int, *, compact: bool = False
) -> Picture: ...
def checked_image(image: NDArray[np.uint8]) -> NDArray[np.uint8]: ...
def array_picture(image: NDArray[np.uint8], decode_side: int) -> Picture: ...

@disjoint_base
class Jobs:
    images: NDArray[np.int64]
    def failures(self) -> list[tuple[int, int, str]]: ...
    def seconds(self) -> dict[str, float]: ...

@disjoint_base
class RenderJobs(Jobs):
    plan: BatchPlan
    out: NDArray[np.uint8]
    hooked: HookedLabels | None
    def __init__(
        self, plan: BatchPlan, out: NDArray[np.uint8], hooked: HookedLabels | None = None
    ) -> None: ...

@disjoint_base
class PackJobs(Jobs):
    packed: PackedPictures[NDArray[np.uint8]]
    sizes: NDArray[np.int64]
    def __init__(self, images: NDArray[np.int64], memory: NDArray[np.uint8]) -> None: ...
    @property
    def used(self) -> int: ...

@disjoint_base
class Engine:
    def __init__(
        self,
        paths: PackedPaths,
        shapes: NDArray[np.int32],
        decode_side: int,
        *,
        table: PlaneTable | None = None,
        compact_side: int = 0,
        idle_bytes: int = 0,
    ) -> None: ...
    def expect(self, images: NDArray[np.int64]) -> None: ...
    def submit(self, jobs: Jobs) -> None: ...
    def wait(self, jobs: Jobs, seconds: float) -> bool: ...
    def run(self, jobs: Jobs) -> None: ...
    def work(self) -> None: ...
    def reset(self) -> None: ...
    def stop(self) -> None: ...
