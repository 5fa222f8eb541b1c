"""Labels of samples on which hooks run: given to native threads with the jobs, put together afterwards."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from yolofast.load.hooks import Hook


class HookOutcome(IntEnum):
    """What became of a sample: `HookError` of core/pictures/hooks.hpp."""

    FINE = 0
    RAISED = 1
    BAD_COUNT = 2
    BAD_LABEL = 3


class HookedLabels:
    """The labels and random numbers of a batch's samples, which the hooks of their jobs change and use.

    hooks     run on each sample, one after the other
    labels    float32 [N, 5] class, xywhn, sample after sample
    offsets   int64 [B + 1]: where each sample's labels begin
    kept      int64 [B]: labels that are left of each sample, its first ones
    outcomes  int64 [B, 3]: a `HookOutcome`, the number of the hook, and the count or row in question
    draws     float64 [B, D]
    classes   number of classes, to check what the hooks leave
    repaired  the labels of samples that were rendered again, by their number here
    """

    def __init__(
        self, hooks: Sequence[Hook], targets: NDArray[np.float32], draws: NDArray[np.float64], classes: int
    ) -> None:
        """`targets` float32 [N, 6] sample, class, xywhn, as they are before the hooks."""
        self.hooks, self.draws, self.classes = hooks, draws, classes
        self.labels = np.ascontiguousarray(targets[:, 1:])
        self.offsets = np.searchsorted(targets[:, 0], np.arange(len(draws) + 1)).astype(np.int64)
        self.kept = np.diff(self.offsets)
        self.outcomes = np.zeros((len(draws), 3), dtype=np.int64)
        self.repaired: dict[int, HookedLabels] = {}
        self.exceptions: dict[int, BaseException] = {}

    def draws_of(self, number: int, sample: int) -> NDArray[np.float64]:
        """The random numbers of hook `number` for a sample."""
        begin = sum(hook.draws for hook in self.hooks[:number])
        return self.draws[sample, begin : begin + self.hooks[number].draws]

    def python_calls(self, images: NDArray[np.uint8]) -> list[PythonCall | None]:
        """What native code calls for each hook that is not compiled; None for the others."""
        return [
            None if hook.compiled else PythonCall(self, number, images)
            for number, hook in enumerate(self.hooks)
        ]

    def failures(self) -> Iterator[HookFailure]:
        """The samples on which a hook failed."""
        for sample in range(len(self.kept)):
            if sample in self.repaired:
                yield from (replace(each, sample=sample) for each in self.repaired[sample].failures())
            elif self.outcomes[sample, 0] != HookOutcome.FINE:
                error, number, value = self.outcomes[sample].tolist()
                numbers = [self.draws_of(earlier, sample) for earlier in range(number + 1)]
                begin = self.offsets[sample]
                yield HookFailure(
                    sample,
                    self.hooks[: number + 1],
                    numbers,
                    HookOutcome(error),
                    value,
                    self.labels[begin : begin + self.kept[sample]],
                    self.classes,
                    self.exceptions.get(sample),
                )

    def targets(self) -> NDArray[np.float32]:
        """The labels that are left, float32 [N, 6] sample, class, xywhn."""
        parts = [self._left(sample) for sample in range(len(self.kept))]
        rows = np.concatenate(parts) if parts else self.labels
        numbers = np.repeat(np.arange(len(parts), dtype=np.float32), [len(part) for part in parts])
        return np.column_stack([numbers, rows])

    def _left(self, sample: int) -> NDArray[np.float32]:
        if sample in self.repaired:
            return self.repaired[sample]._left(0)
        begin = self.offsets[sample]
        return self.labels[begin : begin + self.kept[sample]]


@dataclass(frozen=True)
class HookFailure:
    """How a hook failed on a sample.

    sample     its number in the batch
    hooks      those that ran on it; the last one failed. `draws` are theirs
    error      how; `value` is the count that the hook returned, or the row that it left as no label can be
    labels     float32 [N, 5]: those that the hook was given, as it left them
    classes    number of classes
    exception  what a hook that is not compiled raised
    """

    sample: int
    hooks: Sequence[Hook]
    draws: Sequence[NDArray[np.float64]]
    error: HookOutcome
    value: int
    labels: NDArray[np.float32]
    classes: int
    exception: BaseException | None

    @property
    def hook(self) -> Hook:
        """The hook that failed."""
        return self.hooks[-1]

    def raise_again(self, image: NDArray[np.uint8], labels: NDArray[np.float32]) -> Exception | None:
        """What the hook raises on its sample as it was rendered: `image` [3, H, W], `labels` [N, 5]."""
        labels = np.ascontiguousarray(labels)
        try:
            for hook, draws in zip(self.hooks, self.draws, strict=True):
                labels = labels[: hook.run_checked(image, labels, draws.copy())]
        except Exception as error:
            return error
        return None

    def reason(self, cause: Exception | None) -> str:
        """The failure in words, for behind the hook's name; `cause` is the exception, where it is known."""
        if self.error == HookOutcome.RAISED:
            return f"raised {type(cause).__name__}: {cause}" if cause is not None else "raised an exception"
        if self.error == HookOutcome.BAD_COUNT:
            return f"returned {self.value} labels to keep; expected 0..{len(self.labels)}, as it was given"
        return (
            f"left label {self.value} as {self.labels[self.value].tolist()}; expected a class of "
            f"0..{self.classes - 1}, then finite x, y, width and height, the last two not negative"
        )


class PythonCall:
    """A hook that is not compiled, over the samples of a batch. What it raises is kept in `exceptions`."""

    def __init__(self, hooked: HookedLabels, number: int, images: NDArray[np.uint8]) -> None:
        self._hooked, self._number, self._images = hooked, number, images

    def __call__(self, sample: int, count: int) -> int | None:
        """Labels that the hook keeps of the `count` there are; None when it raised."""
        hooked = self._hooked
        begin = hooked.offsets[sample]
        try:
            return hooked.hooks[self._number].run_checked(
                self._images[sample],
                hooked.labels[begin : begin + count],
                hooked.draws_of(self._number, sample),
            )
        except BaseException as error:  # whatever it is, the consumer has to hear of it
            hooked.exceptions[sample] = error
            return None
