"""Loads checkpoints in a process of its own and says what each did: `python read_hostile.py FOLDER`, or
`python read_hostile.py FILE FLIPS CUTS SEED` for changes of one file. One line of JSON for each.

    name, outcome (loaded, refused, or the name of an error that is none of ours), message, cpu_s (processor
    time), grown_mb (peak of memory above the start), events (of Python's audit hook: what was imported,
    compiled, executed, started, connected, opened for writing)
"""

from __future__ import annotations

import json
import os
import random
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from yolofast.errors import YolofastError
from yolofast.models import load_weights

_watching = False
_events: list[str] = []
_WATCHED = (
    "exec",
    "compile",
    "import",
    "marshal.loads",
    "pickle.find_class",
    "code.__new__",
    "function.__new__",
)
_FAMILIES = (
    "os.",
    "subprocess.",
    "socket.",
    "ctypes.",
    "shutil.",
    "urllib.",
    "tempfile.",
    "pty.",
    "signal.",
)


def hook(event: str, arguments: tuple[Any, ...]) -> None:
    if not _watching:
        return
    written = event == "open" and (
        arguments[1] not in ("r", "rb", None) or (arguments[2] or 0) & (os.O_WRONLY | os.O_RDWR)
    )
    if event in _WATCHED or event.startswith(_FAMILIES) or written:
        _events.append(f"{event} {str(arguments)[:100]}")


def load(path: Path) -> tuple[str, str, dict[str, torch.Tensor]]:
    """Outcome, message and weights."""
    try:
        model = load_weights(path)
    except YolofastError as error:
        return "refused", str(error), {}
    except BaseException as error:  # noqa: BLE001 - whatever it is, it is a finding
        return type(error).__name__, str(error)[:300], {}
    return "loaded", "", model.state_dict()


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def files(folder: Path) -> Iterator[tuple[str, Path]]:
    for path in sorted(folder.glob("*.pt")):
        yield path.stem, path


def changes(whole: bytes, path: Path, flips: int, cuts: int, seed: int) -> Iterator[tuple[str, Path]]:
    """The file with a bit of another value, half of them where it is no tensor; then the file cut short."""
    draw = random.Random(seed)
    pickled = whole.index(b"/data.pkl")
    description = (pickled, whole.index(b"/data/0"))
    directory = (whole.rindex(b"PK\x01\x02", 0, whole.index(b"PK\x01\x02") + 4), len(whole))
    for number in range(flips):
        place = ((0, len(whole)), description, (0, len(whole)), directory)[number % 4]
        at, bit = draw.randrange(*place), draw.randrange(8)
        data = bytearray(whole)
        data[at] ^= 1 << bit
        path.write_bytes(data)
        yield f"bit {bit} of byte {at}", path
    for _ in range(cuts):
        at = draw.randrange(len(whole))
        path.write_bytes(whole[:at])
        yield f"cut at {at}", path


def main(words: list[str]) -> None:
    global _watching
    source = Path(words[0])
    sound: dict[str, torch.Tensor] = {}
    with tempfile.TemporaryDirectory() as folder:
        if source.is_dir():
            cases = files(source)
        else:
            sound = load(source)[2]
            path = Path(folder) / "changed.pt"
            cases = changes(source.read_bytes(), path, *map(int, words[1:]))
        "".encode("cp437")  # the codec of names in a zip, which Python imports at its first use
        sys.addaudithook(hook)
        first = next(iter(files(source)))[1] if source.is_dir() else source
        load(first)
        before = peak_mb()
        for name, path in cases:
            _events.clear()
            begun, _watching = time.process_time(), True
            outcome, message, tensors = load(path)
            _watching, taken = False, time.process_time() - begun
            if tensors:
                finite = all(bool(tensor.isfinite().all()) for tensor in tensors.values())
                typed = all(
                    tensor.dtype
                    == (torch.int64 if key.endswith("num_batches_tracked") else torch.float32)
                    for key, tensor in tensors.items()
                )
                same = not sound or all(torch.equal(tensors[key], sound[key]) for key in sound)
                outcome = outcome if finite and typed and same else "loaded other numbers"
            row = {"name": name, "outcome": outcome, "message": message, "cpu_s": round(taken, 3)}
            print(json.dumps({**row, "grown_mb": round(peak_mb() - before), "events": list(_events)}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
