"""Labels of samples on which hooks run: given to native threads with the jobs, put together afterwards."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
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

    hooks       run on each sample, one after the other
    labels      float32 [N, 5] class, xywhn, sample after sample
    offsets     int64 [B + 1]: where each sample's labels begin
    kept        int64 [B]: labels that are left of each sample, its first ones
    outcomes    int64 [B, 3]: a `HookOutcome`, the number of the hook, and the count or row in question
    draws       float64 [B, D]
    classes     number of classes, to check what the hooks leave
    exceptions  what hooks that are not compiled raised, by sample
    """

    def __init__(
        self, hooks: Sequence[Hook], targets: NDArray[np.float32], draws: NDArray[np.float64], classes: int
    ) -> None:
        """`targets` float32 [N, 6] sample, class, xywhn, as they are before the hooks."""
        self.hooks, self.draws, self.classes = hooks, draws, classes
        self.labels = np.ascontiguousarray(targets[:, 1:])
        samples = np.arange(len(draws) + 1, dtype=np.float32)
        self.offsets: NDArray[np.int64] = np.searchsorted(targets[:, 0], samples).astype(np.int64)
        self.kept = np.diff(self.offsets)
        self.outcomes = np.zeros((len(draws), 3), dtype=np.int64)
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

    def replace(self, sample: int, again: HookedLabels) -> None:
        """Take over what became of a sample that was rendered again alone. The jobs must be done."""
        begin, end = self.offsets[sample], self.offsets[sample + 1]
        self.labels = np.concatenate([self.labels[:begin], again.labels, self.labels[end:]])
        self.offsets = self.offsets.copy()
        self.offsets[sample + 1 :] += len(again.labels) - (end - begin)
        self.kept[sample], self.outcomes[sample] = again.kept[0], again.outcomes[0]
        self.exceptions.pop(sample, None)
        if 0 in again.exceptions:
            self.exceptions[sample] = again.exceptions[0]

    def failures(self) -> Iterator[HookFailure]:
        """The samples on which a hook failed, in order."""
        for sample in np.flatnonzero(self.outcomes[:, 0]).tolist():
            error, number, value = self.outcomes[sample].tolist()
            begin = self.offsets[sample]
            yield HookFailure(
                sample,
                self.hooks[: number + 1],
                [self.draws_of(each, sample) for each in range(number + 1)],
                HookOutcome(error),
                value,
                self.labels[begin : begin + self.kept[sample]],
                self.classes,
                self.exceptions.get(sample),
            )

    def targets(self) -> NDArray[np.float32]:
        """The labels that are left, float32 [N, 6] sample, class, xywhn."""
        samples = np.arange(len(self.kept), dtype=np.float32)
        counts = np.diff(self.offsets)
        rows = self.labels
        if not np.array_equal(counts, self.kept):
            number = np.arange(len(rows)) - np.repeat(self.offsets[:-1], counts)  # of a label in its sample
            rows = rows[number < np.repeat(self.kept, counts)]
        targets = np.empty((len(rows), 6), dtype=np.float32)
        targets[:, 0] = np.repeat(samples, self.kept)
        targets[:, 1:] = rows
        return targets


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
    """A hook that is not compiled, over the samples of a batch; `exceptions` is for what it raises."""

    def __init__(self, hooked: HookedLabels, number: int, images: NDArray[np.uint8]) -> None:
        self._hooked, self._number, self._images = hooked, number, images
        self.exceptions = hooked.exceptions

    def __call__(self, sample: int, count: int) -> int:
        """Labels that the hook keeps of the `count` there are."""
        hooked = self._hooked
        begin = hooked.offsets[sample]
        return hooked.hooks[self._number].run_checked(
            self._images[sample],
            hooked.labels[begin : begin + count],
            hooked.draws_of(self._number, sample),
        )
