"""Work on a device beside the consumer's: one stream, in order, and when which part of it is done.

All that touches a device's memory for a loader is queued on one stream. So a copy into memory that earlier
renders read begins when they are done, without anybody waiting for it. Nothing here waits, but `Mark.wait`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import numpy as np
import torch


class SideStream:
    """A stream of its own on a CUDA device; on a CPU, where work is done when its call returns, nothing."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._stream: torch.cuda.Stream | None = None
        if device.type == "cuda":
            self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def _current(self) -> contextlib.AbstractContextManager[Any]:
        return contextlib.nullcontext() if self._stream is None else torch.cuda.stream(self._stream)

    def host_memory(self, size: int) -> torch.Tensor:
        """uint8 [size] that copies to the device read without a detour: page-locked for CUDA."""
        return torch.empty(size, dtype=torch.uint8, pin_memory=self._stream is not None)

    def empty(self, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
        """Memory on the device for work in this stream. Once dropped, it serves later work in this stream."""
        with self._current():
            return torch.empty(shape, dtype=dtype, device=self.device)

    def copy(self, to: torch.Tensor, source: torch.Tensor) -> None:
        """Queue a copy. `source` may not change until a later mark is done, but may be dropped."""
        if self._stream is None:
            # Not torch's copy: it may run in threads that a forked process does not have.
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
        """The end of what is queued by now."""
        if self._stream is None:
            return Mark()
        # Blocking: a thread that waits leaves its core to those that decode.
        event = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
        event.record(self._stream)
        return _Event(self.device, event)


class Mark:
    """A place in a stream. This one is of a CPU, and past."""

    def is_done(self) -> bool:
        """Whether all work before it is done."""
        return True

    def wait(self) -> None:
        """Wait, in this thread, until all work before it is done."""

    def hand_over(self, *tensors: torch.Tensor) -> None:
        """Let the current stream of this thread use tensors that were made before the mark: what is queued
        on it from now on runs when the mark is done, and their memory stays until that has run."""


class _Event(Mark):
    """A place in a CUDA stream."""

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
