"""The device that trains, how it computes, and as many of torch's threads as before."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import torch

from yolofast.errors import ConfigError
from yolofast.stopwatch import Report


def select_device(name: str) -> torch.device:
    """The torch device for `auto`, `cpu`, `cuda` or `cuda:N`; `ConfigError` when it is not available."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(f"cuda:{name}" if name.isdigit() else name)
    except RuntimeError:
        raise ConfigError(f"device: got '{name}', expected auto, cpu, cuda or cuda:N.") from None
    if device.type not in ("cpu", "cuda"):
        raise ConfigError(f"device: got '{name}', expected auto, cpu, cuda or cuda:N.")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ConfigError(
            f"device: got '{name}', but torch sees {torch.cuda.device_count()} CUDA devices; use cpu."
        )
    return device


@contextlib.contextmanager
def deterministic_algorithms() -> Iterator[None]:
    """Let torch use deterministic algorithms inside; it warns of an operator that has none."""
    before = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])


def restore_threads(threads: int, report: Report) -> None:
    """Let torch use as many threads in this process as the run that is resumed, if there are cores for them.

    On a CPU the last bits of sums depend on their number. `report` gets a line when it changes, or cannot.
    """
    own = torch.get_num_threads()
    if threads == own:
        return
    if threads <= (os.cpu_count() or 1):
        torch.set_num_threads(threads)
        report(f"torch uses {threads} threads instead of {own}, as this run did before")
    else:
        report(
            f"this run used {threads} torch threads before and uses {own} now: it goes on, but not to the "
            "same bits as if it had not stopped"
        )
