"""Work on a device next to the consumer's: one stream, in order, with marks that tell when work is done.

Everything that touches a device's memory for a loader is queued on one stream. So a copy into memory that
earlier renders read begins when they are done, and no thread waits for it. Only `Mark.wait` waits.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import numpy as np
import torch


class SideStream:
    """A separate stream on a CUDA device; no stream on a CPU, where work is done when its call returns."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._stream: torch.cuda.Stream | None = None
        if device.type == "cuda":
            self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def _current(self) -> contextlib.AbstractContextManager[Any]:
        return contextlib.nullcontext() if self._stream is None else torch.cuda.stream(self._stream)

    def host_memory(self, size: int) -> torch.Tensor:
        """uint8 [size] that copies to the device read directly: page-locked for CUDA."""
        return torch.empty(size, dtype=torch.uint8, pin_memory=self._stream is not None)

    def empty(self, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
        """Uninitialised memory on the device for this stream; once dropped, later work in it reuses it."""
        with self._current():
            return torch.empty(shape, dtype=dtype, device=self.device)

    def copy(self, to: torch.Tensor, source: torch.Tensor) -> None:
        """Queue a copy. `source` must not change until a later mark is done, but may be dropped."""
        if self._stream is None:
            # Not torch's copy: it may use threads that a forked process does not have.
            np.copyto(to.numpy(), source.numpy())
            return
        with self._current():
            to.copy_(source, non_blocking=True)
        if source.is_cuda:  # it may be memory of another stream
            source.record_stream(self._stream)

    def call(self, operator: Callable[..., None], *arguments: torch.Tensor, **named: torch.Tensor) -> None:
        """Queue the work of an operator on the device."""
        with self._current():
            operator(*arguments, **named)

    def upload(self, tensor: torch.Tensor) -> torch.Tensor:
        """A small host tensor on the device, its copy queued."""
        if self._stream is None or not tensor.numel():
            return tensor.to(self.device)
        uploaded = self.empty(tuple(tensor.shape), tensor.dtype)
        self.copy(uploaded, tensor.pin_memory())  # torch keeps that until the copy is done
        return uploaded

    def mark(self) -> Mark:
        """A mark behind everything queued so far."""
        if self._stream is None:
            return Mark()
        # Blocking: a waiting thread leaves its core to those that decode.
        event = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
        event.record(self._stream)
        return _CudaMark(self.device, event)


class Mark:
    """A position in a stream. This one is of a CPU, where it is always done."""

    def is_done(self) -> bool:
        """Whether all work before it is done."""
        return True

    def wait(self) -> None:
        """Wait, in this thread, until all work before it is done."""

    def hand_over(self, *tensors: torch.Tensor) -> None:
        """Let the current stream of this thread use tensors made before the mark: what is queued on it from
        now on runs once the mark is done, and the tensors' memory stays until that has run."""


class _CudaMark(Mark):
    """A position in a CUDA stream."""

    def __init__(self, device: torch.device, event: torch.cuda.Event) -> None:
        self._device, self._event = device, event

    def is_done(self) -> bool:
        return bool(self._event.query())  # type: ignore[no-untyped-call]

    def wait(self) -> None:
        self._event.synchronize()

    def hand_over(self, *tensors: torch.Tensor) -> None:
        stream = torch.cuda.current_stream(self._device)
        stream.wait_event(self._event)
        for tensor in tensors:
            tensor.record_stream(stream)
