"""Memory of a process: what it holds, what it held at most, and what it can still take."""

from __future__ import annotations

import os
import resource
import sys
from pathlib import Path


def resident_mib() -> float:
    """MiB resident now; the peak where the system does not report it."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return peak_resident_mib()
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def peak_resident_mib(process: int | None = None) -> float:
    """Most MiB resident since a process started; omitted means this one, another (by its id) needs /proc.

    From VmHWM where there is one: ru_maxrss of a new process begins with what its parent held.

    Raises `OSError` when there is no such process, or no /proc to ask about it.
    """
    try:
        lines = Path(f"/proc/{process or 'self'}/status").read_text().splitlines()
    except OSError:
        if process is not None:
            raise
        lines = []
    for line in lines:
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


def available_bytes() -> int | None:
    """Bytes this process can still take without swapping, within the limit of its control group; None where
    the system does not report it."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    free = next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), None)
    group = _control_group_room()
    return group if free is None else free if group is None else min(free, group)


def _control_group_room() -> int | None:
    """Bytes that a container (cgroup v2) may still take; its file cache counts as free."""
    try:
        own = Path("/proc/self/cgroup").read_text().partition("0::/")[2].split("\n")[0]
        folder = Path("/sys/fs/cgroup") / own
        limit = (folder / "memory.max").read_text().strip()
        used = int((folder / "memory.current").read_text())
        stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
    except OSError:
        return None
    if limit == "max":
        return None
    return max(0, int(limit) - used + int(stat["active_file"]) + int(stat["inactive_file"]))
