"""What executors share: what they need of a dataset, what a loader asks of them, an engine, and batches."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from yolofast.errors import HookError
from yolofast.load.cache.planes import PlaneCache
from yolofast.load.execute._engine import Engine, RenderJobs, load_picture
from yolofast.load.execute.hooked import HookedLabels, HookOutcome
from yolofast.load.execute.pool import Pool
from yolofast.load.hooks import Hook, draw_hooks
from yolofast.load.index import PackedIndex
from yolofast.load.monitor import DataFlowMonitor
from yolofast.load.plan.bad_images import BadImages
from yolofast.load.plan.shards import Positions
from yolofast.types import Batch, BatchPlan, Picture

Block = list[tuple[Positions, BatchPlan]]
"""Batches whose samples share images: the positions and the plan of each."""


class PlannedDataset(Protocol):
    """What an executor needs of a dataset; `YOLODataset` is one.

    index        paths, shapes and labels of its images
    imgsz        longer side, in pixels, of cached planes
    cache        their decoded planes, where they are cached
    bad_images   those that turned out unreadable
    hooks        the user's own transforms of its samples
    """

    index: PackedIndex
    imgsz: int
    cache: PlaneCache | None
    bad_images: BadImages
    hooks: tuple[Hook, ...]
    seed: int
    class_names: tuple[str, ...]

    @property
    def decode_side(self) -> int:
        """Longer side, in pixels, at which a decoded image serves every sample."""

    def plan(self, epoch: int, positions: Positions, size: tuple[int, int]) -> BatchPlan:
        """The plan of samples of one size (height, width), without unreadable images."""

    def targets(self, plan: BatchPlan) -> NDArray[np.float32]:
        """Labels of a plan's samples, float32 [N, 6] sample, class, xywhn."""


class Executor(Protocol):
    """Turns plans into batches, in order."""

    def batches(
        self, pool: Pool, epoch: int, blocks: Iterator[Block], monitor: DataFlowMonitor | None
    ) -> Generator[Batch, None, None]:
        """The batches of an epoch's blocks.

        The engine's threads may still work for it when it ends or is closed: reset the pool then.
        """


def make_engine(dataset: PlannedDataset, idle_bytes: int = 0) -> Engine:
    """An engine over the images of a dataset; it keeps unused pictures up to `idle_bytes`."""
    index, side = dataset.index, dataset.decode_side
    if dataset.cache is None:
        return Engine(index.paths, index.shapes, side, idle_bytes=idle_bytes)
    return Engine(
        index.paths,
        index.shapes,
        side,
        table=dataset.cache.table,
        compact_side=dataset.imgsz,
        idle_bytes=idle_bytes,
    )


def render_plan(
    engine: Engine,
    plan: BatchPlan,
    out: NDArray[np.uint8] | None = None,
    hooked: HookedLabels | None = None,
) -> RenderJobs:
    """Render a plan in this thread, into `out` uint8 [B, 3, H, W] if given; the jobs know the failures."""
    out = np.empty((len(plan), 3, *plan.size), np.uint8) if out is None else out
    jobs = RenderJobs(plan, out, hooked)
    engine.expect(plan.tile_image)
    engine.run(jobs)
    return jobs


def hooked_labels(
    dataset: PlannedDataset, plan: BatchPlan, epoch: int, positions: Positions
) -> HookedLabels | None:
    """What the jobs of a plan need to run the dataset's hooks; None when it has none."""
    if not dataset.hooks:
        return None
    draws = draw_hooks(dataset.hooks, dataset.seed, epoch, positions)
    return HookedLabels(dataset.hooks, dataset.targets(plan), draws, len(dataset.class_names))


def final_targets(
    dataset: PlannedDataset, engine: Engine, plan: BatchPlan, jobs: RenderJobs
) -> NDArray[np.float32]:
    """The targets of repaired jobs that show `plan`, after the hooks. Raises `HookError` when one failed."""
    if jobs.hooked is None:
        return dataset.targets(plan)
    for failure in jobs.hooked.failures():
        row = plan[failure.sample : failure.sample + 1]
        cause = failure.exception
        if failure.error == HookOutcome.RAISED and cause is None:  # compiled code does not say what it was
            cause = failure.raise_again(render_plan(engine, row).out[0], dataset.targets(row)[:, 1:])
        if cause is not None and not isinstance(cause, Exception):
            raise cause  # Ctrl-C
        path = dataset.index.paths[int(row.images[0])]
        raise HookError(f"{path}: hook '{failure.hook.name}' {failure.reason(cause)}") from cause
    return jobs.hooked.targets()


def make_batch(index: PackedIndex, plan: BatchPlan, images: Any, targets: NDArray[np.float32]) -> Batch:
    """The batch of a rendered plan: `images` [B, 3, H, W] and `targets` [N, 6], with paths and shapes."""
    paths = tuple(index.paths[image] for image in plan.images.tolist())
    return Batch(images, targets, paths, index.shapes[plan.images].astype(np.int64))


def compact_planes(index: PackedIndex, side: int) -> Callable[[int], Picture]:
    """What a cache keeps of an image: its planes, at most `side` long, chroma 4:2:0. Raises `ImageError`."""

    def load(image: int) -> Picture:
        height, width = index.shapes[image].tolist()
        return load_picture(index.paths[image], (height, width), side, compact=True)

    return load
