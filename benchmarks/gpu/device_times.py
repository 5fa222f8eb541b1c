"""Times of work on a device: alternating rounds, medians, and the lower bounds that memory bandwidth sets.

On a CUDA device, device events are used; on the CPU (a dry run, whose figures mean nothing), the clock.
Before each call all of the device's cache is overwritten, so that inputs come from memory. Unless the host's
part counts, the device is kept busy meanwhile: work that is queued without waiting for the device is then
complete in the queue before it begins, and its time is the device's own. Work that waits for the device is
timed with all its waiting.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch

from yolofast.bench.figures import OURS, compared_times, spread
from yolofast.bench.protocol import interleave

WARM_UP = 3
CACHE_BYTES = 1 << 28
"""More than the cache of any device."""
HEAD_START = 5_000_000
"""Cycles that the device is kept busy: a few milliseconds."""
BUSY = 500_000_000
"""The same for `waits`: some tenths of a second."""


def device_ms(
    work: Callable[[], object], device: torch.device, *, host_counts: bool = False
) -> tuple[float, float]:
    """Milliseconds of one call: on the device, and until the call returned."""
    if device.type != "cuda":
        started = time.perf_counter()
        work()
        taken = (time.perf_counter() - started) * 1e3
        return taken, taken
    torch.cuda.synchronize(device)
    if not host_counts:
        torch.cuda._sleep(HEAD_START)
    torch.empty(CACHE_BYTES, dtype=torch.uint8, device=device).zero_()
    if host_counts:
        torch.cuda.synchronize(device)
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    begin.record()
    started = time.perf_counter()
    work()
    returned = time.perf_counter()
    end.record()
    end.synchronize()
    return float(begin.elapsed_time(end)), (returned - started) * 1e3


def compare_on_device(
    ours: Callable[[], object],
    peers: Mapping[str, Callable[[], object]],
    device: torch.device,
    rounds: int = 15,
    *,
    host_counts: bool = False,
) -> dict[str, Any]:
    """Time `ours` and each peer, interleaved: milliseconds, and peer time / our time.

    `ms` is the time on the device, `call_ms` the time until the call returned.
    """
    runs = {
        name: partial(device_ms, work, device, host_counts=host_counts)
        for name, work in {OURS: ours, **peers}.items()
    }
    found = interleave(runs, rounds, warm_up=WARM_UP)
    compared = compared_times({name: [on_device for on_device, _ in each] for name, each in found.items()})
    return {
        "rounds": rounds,
        "ms": compared["ms"],
        "call_ms": {name: spread([called for _, called in each]) for name, each in found.items()},
        "ratio": compared["ratio"],
    }


def waits(work: Callable[[], object]) -> bool:
    """Whether the work makes the host wait for the device: queued behind long work, it returns only when that
    is done. This detects every way to wait; torch's own debug mode only detects torch's."""
    work()
    torch.cuda.synchronize()
    busy = torch.cuda.Event()
    torch.cuda._sleep(BUSY)
    busy.record()
    work()
    waited = busy.query()
    torch.cuda.synchronize()
    return bool(waited)


def copy_bytes_per_s(device: torch.device, size: int = 1 << 31) -> float:
    """The memory bandwidth of the device, reads and writes together, measured by a large copy."""
    size = size if device.type == "cuda" else 1 << 24
    source = torch.empty(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    best = min(device_ms(lambda: target.copy_(source), device)[0] for _ in range(8))
    return 2 * size / (best / 1e3)


def floor(bytes_moved: int, bytes_per_s: float) -> dict[str, Any]:
    """The shortest time in which so many bytes can be moved."""
    return {"bytes": bytes_moved, "floor_ms": round(bytes_moved / bytes_per_s * 1e3, 4)}
