"""Unreadable images: reported once, substituted in the plans, counted, and too many stop the run."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import fields
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from yolofast.errors import DataError
from yolofast.types import BatchPlan

_log = logging.getLogger(__name__)
MAX_SHOWN = 3
"""Unreadable images named in the error that stops a run."""

DrawRow = Callable[[NDArray[np.int64], int], BatchPlan]
"""Draws row `row` of a plan alone, from another order."""


class BadImages:
    """The images of a dataset that turned out unreadable, and the substitute of each.

    The substitute is the next readable image in index order (the first follows the last). Only an image that
    a sample shows is replaced in it: a tile outside the frame is never read. So what a sample shows depends
    only on which files are bad, not on who noticed it when.
    """

    def __init__(self, count: int, max_share: float, name: str, unindexed: int = 0) -> None:
        """
        count      images in the index
        max_share  more than this share of all images unreadable stops the run
        name       of the dataset, for messages
        unindexed  images found unreadable while the index was built, and not in it
        """
        self.reasons: dict[int, str] = {}
        self._bad = np.zeros(count, dtype=bool)
        self._total, self._max_share, self._name = count + unindexed, max_share, name
        self._count, self._unindexed = count, unindexed
        self._check_share()

    def __len__(self) -> int:
        return len(self.reasons)

    def add(self, image: int, path: str, reason: str) -> None:
        """Note an unreadable image. Raises `DataError` when there are too many."""
        told = f"{path}: {reason.removeprefix(f'{path}: ')}"
        if self.reasons.setdefault(image, told) is told:  # else it has been reported
            _log.warning("replaced by another image: %s", told)
        self._bad[image] = True
        self._check_share()

    def substitute(self, plan: BatchPlan, order: NDArray[np.int64], draw: DrawRow) -> BatchPlan:
        """`plan`, drawn from `order`, with the samples that show unreadable images drawn anew.

        Raises `DataError` when there are too many.
        """
        self._check_share()
        rows = np.unique(plan.tile_sample[self._bad[plan.tile_image]]).tolist()
        if not rows:
            return plan
        pieces, end = [], 0
        for row in rows:
            pieces += [plan[end:row], self._readable(plan[row : row + 1], order, row, draw)]
            end = row + 1
        return _concatenate([*pieces, plan[end:]])

    def _readable(self, plan: BatchPlan, order: NDArray[np.int64], row: int, draw: DrawRow) -> BatchPlan:
        while len(shown := np.unique(plan.tile_image[self._bad[plan.tile_image]])):
            order = np.where(np.isin(order, shown), (order + 1) % len(self._bad), order)
            plan = draw(order, row)
        return plan

    def _check_share(self) -> None:
        bad = self._unindexed + len(self.reasons)
        if bad > self._max_share * self._total or len(self.reasons) == self._count:
            shown = "".join(f"{reason}. " for reason in list(self.reasons.values())[:MAX_SHOWN])
            limit, advice = "", ""
            if bad < self._total:
                limit = f", more than the share of {self._max_share:g} that --max-bad-share allows"
                advice = ", or allow a larger share"
            raise DataError(
                f"{self._name}: {bad} of {self._total} images cannot be read{limit}. {shown}"
                f"Repair or remove them (`yolofast check` lists all){advice}."
            )


def _concatenate(plans: Sequence[BatchPlan]) -> BatchPlan:
    """The samples of plans of one size, one plan after the other."""
    columns = {
        column.name: np.concatenate([getattr(plan, column.name) for plan in plans])
        for column in fields(BatchPlan)
        if column.name != "size"
    }
    begins = accumulate(map(len, plans), initial=0)
    columns["tile_sample"] = np.concatenate(
        [plan.tile_sample + begin for plan, begin in zip(plans, begins, strict=False)]
    )
    return BatchPlan(size=plans[0].size, **columns)
