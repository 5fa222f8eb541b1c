"""Work on a device beside the consumer's: one stream, in order, and when which part of it is done.

All that touches a device's memory for a loader is queued on one stream. So a copy into memory that earlier
renders read begins when they are done, without anybody waiting for it.
"""

from __future__ import annotations

import contextlib
from typing import Any

import torch


class SideStream:
    """A stream of its own on a CUDA device; on a CPU, where work is done when its call returns, nothing."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._stream: torch.cuda.Stream | None = None
        if device.type == "cuda":
            self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def queue(self) -> contextlib.AbstractContextManager[Any]:
        """Within it, torch queues work here and takes memory from this stream's share."""
        return contextlib.nullcontext() if self._stream is None else torch.cuda.stream(self._stream)

    def mark(self) -> Mark:
        """The end of what is queued by now."""
        if self._stream is None:
            return Mark(None, None)
        # Blocking: a thread that waits leaves its core to those that decode.
        event = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
        event.record(self._stream)
        return Mark(self.device, event)

    def host_memory(self, size: int) -> torch.Tensor:
        """uint8 [size] that copies to the device can read without a detour: page-locked for CUDA."""
        return torch.empty(size, dtype=torch.uint8, pin_memory=self._stream is not None)

    def upload(self, tensor: torch.Tensor) -> torch.Tensor:
        """A small host tensor on the device, its copy queued."""
        if self._stream is None:
            return tensor
        with self.queue():
            return tensor.pin_memory().to(self.device, non_blocking=True)


class Mark:
    """A place in a stream."""

    def __init__(self, device: torch.device | None, event: torch.cuda.Event | None) -> None:
        self._device, self._event = device, event

    def is_done(self) -> bool:
        """Whether all work before it is done."""
        return self._event is None or bool(self._event.query())  # type: ignore[no-untyped-call]

    def wait(self) -> None:
        """Wait, in this thread, until all work before it is done."""
        if self._event is not None:
            self._event.synchronize()

    def hand_over(self, *tensors: torch.Tensor) -> None:
        """Let the current stream of this thread use tensors that were made before the mark: what is queued
        on it from now on runs when the mark is done, and their memory stays until that has run."""
        if self._event is None:
            return
        stream = torch.cuda.current_stream(self._device)
        stream.wait_event(self._event)
        for tensor in tensors:
            tensor.record_stream(stream)
