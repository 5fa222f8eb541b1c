"""Unreadable images: reported once, substituted in the plans, counted, and too many stop the run.

Costs stay linear when thousands of images in a row are unreadable, as after an interrupted copy: a substitute
is found in one step, and all samples of a plan that need one are drawn at once.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import fields
from functools import partial
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from yolofast.errors import DataError, without_location
from yolofast.load.plan.plan import Replace
from yolofast.types import BatchPlan

_log = logging.getLogger(__name__)
MAX_SHOWN = 3
"""Unreadable images named in the error that stops a run."""

Draw = Callable[[NDArray[np.int64], Replace | None], BatchPlan]
"""Draws the plan of positions int64 [B], with images replaced; see `plan_batch`."""


class BadImages:
    """The images of a dataset that turned out unreadable, and the substitute of each.

    The substitute is the next readable image in index order (the first follows the last). Only an image that
    a sample shows is replaced in it: a tile outside the frame is never read. So what a sample shows depends
    only on which files are bad, not on who noticed it when. For that, whoever adds an image must also find
    out which image behind it can be read: see `unconfirmed`.
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
        self._confirmed = np.zeros(count, dtype=bool)
        self._next = np.arange(count, dtype=np.int64)  # towards the substitute, past none that is readable
        self._pending: list[int] = []  # whose substitutes are not confirmed
        self._total, self._max_share, self._name = count + unindexed, max_share, name
        self._count, self._unindexed = count, unindexed
        self._check_share()

    def __len__(self) -> int:
        return len(self.reasons)

    def add(self, image: int, path: str, reason: str) -> None:
        """Note an unreadable image. Raises `DataError` when there are too many."""
        told = f"{path}: {without_location(reason, path)}"
        if self.reasons.setdefault(image, told) is told:  # else it has been reported
            _log.warning("replaced by another image: %s", told)
            self._bad[image] = True
            self._next[image] = (image + 1) % self._count
            self._pending.append(image)
        self._check_share()

    def confirm(self, images: NDArray[np.int64]) -> None:
        """Note images, int64 [N], that can be read."""
        self._confirmed[images] = True

    def unconfirmed(self, ahead: int) -> NDArray[np.int64]:
        """Images, int64 [N] ascending, to be read and then confirmed or added, until there are none.

        They are the substitutes that nobody has read yet, with the `ahead` - 1 images behind each of them.
        """
        pending = np.array(self._pending, dtype=np.int64)
        substitutes, first = np.unique(self.substitutes(pending), return_index=True)
        open_ = ~self._confirmed[substitutes]
        self._pending = pending[first[open_]].tolist()  # one for all that lead to the same substitute
        images = np.unique((substitutes[open_][:, None] + np.arange(ahead)) % max(1, self._count))
        return images[~self._bad[images] & ~self._confirmed[images]]

    def substitutes(self, images: NDArray[np.int64]) -> NDArray[np.int64]:
        """The next image of each, int64 [N], that is not known to be unreadable; itself if it is not."""
        found = images
        while self._bad[found].any():
            found = self._next[found]
            self._next[images] = found  # at once: of images in a row, each step is twice as long as the last
        return found

    def substitute(self, positions: NDArray[np.int64], draw: Draw) -> BatchPlan:
        """The plan of `positions`, in which no sample shows an unreadable image.

        Raises `DataError` when too many are unreadable.
        """
        self._check_share()
        plan = draw(positions, None)
        rows = np.unique(plan.tile_sample[self._bad[plan.tile_image]])
        if not len(rows):
            return plan
        drawn = self._drawn_anew(plan, rows, positions[rows], draw)
        pieces, end = [], 0
        for number, row in enumerate(rows.tolist()):
            pieces += [plan[end:row], drawn[number : number + 1]]
            end = row + 1
        return _concatenate([*pieces, plan[end:]])

    def _drawn_anew(
        self, plan: BatchPlan, rows: NDArray[np.int64], positions: NDArray[np.int64], draw: Draw
    ) -> BatchPlan:
        """The samples `rows` of a plan, at `positions`, without unreadable images."""
        shown = self._bad[plan.tile_image]
        replaced = self._keys(np.searchsorted(rows, plan.tile_sample[shown]), plan.tile_image[shown])
        while True:
            plan = draw(positions, partial(self._replace, replaced))
            # A substitute of another shape may be shown where the image before it was not.
            shown = self._bad[plan.tile_image]
            if not shown.any():
                return plan
            more = self._keys(plan.tile_sample[shown], plan.tile_image[shown])
            replaced = np.union1d(replaced, more)

    def _keys(self, samples: NDArray[np.int64], images: NDArray[np.int64]) -> NDArray[np.int64]:
        """A number for each pair."""
        return samples * self._count + images

    def _replace(
        self, replaced: NDArray[np.int64], samples: NDArray[np.int64], images: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """`images` of `samples`, with the substitutes of pairs in `replaced`."""
        affected = np.isin(self._keys(samples, images), replaced)
        out = images.copy()
        out[affected] = self.substitutes(images[affected])
        return out

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
        if column.name != "size" and getattr(plans[0], column.name) is not None
    }
    begins = accumulate(map(len, plans), initial=0)
    columns["tile_sample"] = np.concatenate(
        [plan.tile_sample + begin for plan, begin in zip(plans, begins, strict=False)]
    )
    return BatchPlan(size=plans[0].size, **columns)
