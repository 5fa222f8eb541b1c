"""Repair of rendered batches: failed samples are planned without the unreadable images and rendered again."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from yolofast.load.execute._engine import PackJobs, RenderJobs
from yolofast.load.execute.executor import PlannedDataset, hooked_labels, render_plan
from yolofast.load.execute.pool import Pool
from yolofast.load.plan.shards import Positions
from yolofast.types import BatchPlan

MAX_AHEAD = 256
"""Images behind an unreadable one that are read at once, in search of its substitute."""


def note_unreadable(dataset: PlannedDataset, pool: Pool, reasons: Mapping[int, str]) -> None:
    """Note unreadable images, image -> reason, and find the readable ones that stand in for them.

    Raises `DataError` when too many images are unreadable.
    """
    known, ahead = dataset.bad_images, 1
    for image, reason in reasons.items():
        known.add(image, dataset.index.paths[image], reason)
    while len(images := known.unconfirmed(ahead)):
        jobs = PackJobs(images, np.empty(0, dtype=np.uint8))  # nothing is kept: only whether it can be read
        pool.engine.expect(images)
        pool.submit(jobs)
        pool.finish(jobs)
        failed = {image: reason for _, image, reason in jobs.failures()}
        for image in sorted(failed):
            known.add(image, dataset.index.paths[image], failed[image])
        known.confirm(np.setdiff1d(images, list(failed)))
        ahead = min(2 * ahead, MAX_AHEAD)


def repair(
    dataset: PlannedDataset, pool: Pool, jobs: RenderJobs, epoch: int, positions: Positions
) -> BatchPlan:
    """The plan that `jobs` show once their failed samples have been rendered again, in this thread.

    Raises `DataError` when too many images are unreadable.
    """
    plan, failures = jobs.plan, jobs.failures()
    failed = {sample for sample, _, _ in failures}
    while failures:
        note_unreadable(dataset, pool, {image: reason for _, image, reason in failures})
        before, plan = plan, dataset.plan(epoch, positions, plan.size)
        rows = sorted(failed | {row for row in range(len(plan)) if _differs(before, plan, row)})
        failures, failed = [], set()
        for row in rows:
            part = slice(row, row + 1)
            hooked = hooked_labels(dataset, plan[part], epoch, positions[part])
            again = render_plan(pool.engine, plan[part], jobs.out[part], hooked)
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
