"""Times of work on a device: rounds of two sides in turn, medians, and the floors that memory sets.

On a CUDA device, device events count; on the CPU (a dry run of the scripts, no figure of use), the clock.
Before each call all of the device's cache is written over, so that inputs come from memory. Unless the host's
part counts, the device is kept busy meanwhile: what is queued without waiting for it is then queued before
it begins, and its time is the device's own. What waits for the device is timed with all its waiting.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from interleave import spread

WARM_UP = 3
CACHE_BYTES = 1 << 28
"""More than the cache of any device."""
HEAD_START = 5_000_000
"""Cycles that the device is kept busy: some milliseconds."""
BUSY = 500_000_000
"""The same, where it is to be long: some tenths of a second."""


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

    `call_ms` is until the call returned, `ms` what `device_ms` says of the device.
    """
    sides = {"yolofast": ours, **peers}
    times: dict[str, list[float]] = {name: [] for name in sides}
    calls: dict[str, list[float]] = {name: [] for name in sides}
    for repeat in range(rounds + WARM_UP):
        for name, work in sides.items():
            taken, called = device_ms(work, device, host_counts=host_counts)
            if repeat >= WARM_UP:
                times[name].append(taken)
                calls[name].append(called)
    result: dict[str, Any] = {"rounds": rounds, "ms": {name: spread(t) for name, t in times.items()}}
    result["call_ms"] = {name: spread(t) for name, t in calls.items()}
    result["ratio"] = {name: spread(np.array(times[name]) / np.array(times["yolofast"])) for name in peers}
    return result


def waits(work: Callable[[], object]) -> bool:
    """Whether the work makes the host wait for the device: given something long to do before, it returns only
    when the device is done. That sees every way to wait; torch's own debug mode sees torch's alone."""
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
    """What the memory of the device moves, reads and writes together, measured by a large copy."""
    size = size if device.type == "cuda" else 1 << 24
    source = torch.empty(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    best = min(device_ms(lambda: target.copy_(source), device)[0] for _ in range(8))
    return 2 * size / (best / 1e3)


def floor(bytes_moved: int, bytes_per_s: float) -> dict[str, Any]:
    """The least time in which so many bytes pass."""
    return {"bytes": bytes_moved, "floor_ms": round(bytes_moved / bytes_per_s * 1e3, 4)}
