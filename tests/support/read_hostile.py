"""Loads checkpoints in a process of its own and says what each did: `python read_hostile.py SOUND.pt`.

Reads one JSON object a line, {"path": PATH, "same": whether it has the numbers of SOUND if it loads}, and
answers with one:

    outcome    loaded, refused, other numbers (not finite, of another type, or not the same), or the name of
               an error that is none of ours
    message    of the error
    cpu_s      processor time
    grown_mb   peak of memory so far above that after SOUND
    events     of Python's audit hook: what was imported, compiled, executed, started, connected, or opened
               for writing
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from pathlib import Path
from typing import Any

import torch

from yolofast.errors import YolofastError
from yolofast.models import load_weights

torch.set_num_threads(1)  # those that wait would be counted

_WATCHED = (
    "exec",
    "compile",
    "import",
    "marshal.loads",
    "pickle.find_class",
    "code.__new__",
    "function.__new__",
)
_FAMILIES = ("os.", "subprocess.", "socket.", "ctypes.", "shutil.", "urllib.", "tempfile.", "pty.", "signal.")
_events: list[str] | None = None


def hook(event: str, arguments: tuple[Any, ...]) -> None:
    if _events is None:
        return
    opened = event == "open" and (
        arguments[1] not in ("r", "rb", None) or (arguments[2] or 0) & (os.O_WRONLY | os.O_RDWR)
    )
    if event in _WATCHED or event.startswith(_FAMILIES) or opened:
        _events.append(f"{event} {str(arguments)[:100]}")


def load(path: Path) -> tuple[str, str, dict[str, torch.Tensor]]:
    """Outcome, message and weights."""
    try:
        return "loaded", "", load_weights(path).state_dict()
    except YolofastError as error:
        return "refused", str(error), {}
    except BaseException as error:
        return type(error).__name__, str(error)[:300], {}


def is_sound(tensors: dict[str, torch.Tensor], sound: dict[str, torch.Tensor], same: bool) -> bool:
    return all(
        value.dtype == sound[name].dtype
        and value.shape == sound[name].shape
        and bool(value.isfinite().all())
        and (not same or torch.equal(value, sound[name]))
        for name, value in tensors.items()
    )


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    global _events
    sound = load(Path(sys.argv[1]))[2]
    "".encode("cp437")  # the codec of names in a zip, which Python imports at its first use
    load(Path(sys.argv[1]))
    before = peak_mb()
    sys.addaudithook(hook)
    for line in sys.stdin:
        wanted = json.loads(line)
        path = Path(wanted["path"])
        begun, seen = time.process_time(), []
        _events = seen
        outcome, message, tensors = load(path)
        _events, taken = None, time.process_time() - begun
        if tensors and not is_sound(tensors, sound, wanted["same"]):
            outcome = "other numbers"
        row = {"outcome": outcome, "message": message, "cpu_s": taken, "events": seen}
        print(json.dumps({**row, "grown_mb": peak_mb() - before}), flush=True)


if __name__ == "__main__":
    main()
