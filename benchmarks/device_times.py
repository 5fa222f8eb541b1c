"""Times of work on a device: rounds of two sides in turn, medians, and the floors that memory sets.

On a CUDA device, device events count; on the CPU (a dry run of the scripts, no figure of use), the clock.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from interleave import spread

WARM_UP = 3


def device_ms(work: Callable[[], object], device: torch.device) -> float:
    """Milliseconds of one call, on the device."""
    if device.type != "cuda":
        started = time.perf_counter()
        work()
        return (time.perf_counter() - started) * 1e3
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    begin.record()
    work()
    end.record()
    end.synchronize()
    return float(begin.elapsed_time(end))


def compare_on_device(
    ours: Callable[[], object],
    peers: Mapping[str, Callable[[], object]],
    device: torch.device,
    rounds: int = 15,
) -> dict[str, Any]:
    """Time `ours` and each peer, interleaved: milliseconds, and peer time / our time."""
    sides = {"yolofast": ours, **peers}
    times: dict[str, list[float]] = {name: [] for name in sides}
    for repeat in range(rounds + WARM_UP):
        for name, work in sides.items():
            taken = device_ms(work, device)
            if repeat >= WARM_UP:
                times[name].append(taken)
    result: dict[str, Any] = {"rounds": rounds, "ms": {name: spread(t) for name, t in times.items()}}
    result["ratio"] = {name: spread(np.array(times[name]) / np.array(times["yolofast"])) for name in peers}
    return result


def copy_bytes_per_s(device: torch.device, size: int = 1 << 31) -> float:
    """What the memory of the device moves, reads and writes together, measured by a large copy."""
    size = size if device.type == "cuda" else 1 << 24
    source = torch.empty(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    best = min(device_ms(lambda: target.copy_(source), device) for _ in range(8))
    return 2 * size / (best / 1e3)


def floor(bytes_moved: int, bytes_per_s: float) -> dict[str, Any]:
    """The least time in which so many bytes pass."""
    return {"bytes": bytes_moved, "floor_ms": round(bytes_moved / bytes_per_s * 1e3, 4)}
