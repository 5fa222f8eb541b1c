"""Repair of rendered batches: failed samples are planned without the unreadable images and rendered again."""

from __future__ import annotations

import numpy as np

from yolofast.load.execute._engine import Engine, RenderJobs
from yolofast.load.execute.executor import PlannedDataset, hooked_labels, render_plan
from yolofast.load.plan.shards import Positions
from yolofast.types import BatchPlan


def repair(
    dataset: PlannedDataset, engine: Engine, jobs: RenderJobs, epoch: int, positions: Positions
) -> BatchPlan:
    """The plan that `jobs` show once their failed samples have been rendered again, in this thread.

    Raises `DataError` when too many images are unreadable.
    """
    plan, failures = jobs.plan, jobs.failures()
    failed = {sample for sample, _, _ in failures}
    while failures:
        for _, image, reason in failures:
            dataset.bad_images.add(image, dataset.index.paths[image], reason)
        before, plan = plan, dataset.plan(epoch, positions, plan.size)
        rows = sorted(failed | {row for row in range(len(plan)) if _differs(before, plan, row)})
        failures, failed = [], set()
        for row in rows:
            part = slice(row, row + 1)
            hooked = hooked_labels(dataset, plan[part], epoch, positions[part])
            again = render_plan(engine, plan[part], jobs.out[part], hooked)
            if jobs.hooked is not None and hooked is not None:
                jobs.hooked.replace(row, hooked)
            found = again.failures()
            failures += found
            failed |= {row} if found else set()
    return plan


def _differs(before: BatchPlan, after: BatchPlan, row: int) -> bool:
    """Whether sample `row` shows other images in one plan than in the other."""
    pair = [plan.tile_image[plan.tile_sample == row] for plan in (before, after)]
    return not np.array_equal(*pair)
