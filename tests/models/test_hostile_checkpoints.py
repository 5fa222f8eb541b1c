"""Whole checkpoints that are damaged or attack the reader: what each does is seen from outside.

Every file is loaded by a process of its own under Python's audit hook. It ends in finite weights of the right
shapes or in one clear error of ours, within a second of processor time and 200 MB, and nothing is imported,
compiled, executed, started, connected or opened for writing.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support import read_hostile
from support.chaos import SEED
from support.hostile_checkpoints import hostile_checkpoints
from support.torch_files import save_training

from yolofast.torch_file import is_torch_file

MAX_SECONDS, MAX_GROWN_MB = 1.0, 200


class Reader:
    """The process that loads the files."""

    def __init__(self, folder: Path) -> None:
        self.path, self._sound = folder / "file.pt", folder / "sound.pt"
        save_training(self._sound)
        self.whole = self._sound.read_bytes()

    def __enter__(self) -> Reader:
        self._process = subprocess.Popen(
            [sys.executable, read_hostile.__file__, self._sound],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def load(self, name: str, data: bytes, *, same: bool = False) -> str:
        """Check what loading the file does; returns the message, '' where it was loaded."""
        self.path.write_bytes(data)
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps({"path": str(self.path), "same": same}) + "\n")
        self._process.stdin.flush()
        said: dict[str, Any] = json.loads(self._process.stdout.readline())
        assert said["outcome"] in ("loaded", "refused"), f"{name}: {said}"
        assert said["events"] == [], f"{name}: {said}"
        assert said["cpu_s"] < MAX_SECONDS, f"{name}: {said}"
        assert said["grown_mb"] < MAX_GROWN_MB + len(data) / 1e6, f"{name}: {said}"
        message: str = said["message"]
        assert said["outcome"] == "loaded" or message.startswith(f"{self.path}: "), f"{name}: {said}"
        assert message.isprintable(), f"{name}: {said}"
        return message


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    with Reader(tmp_path) as found:
        yield found


HARMLESS = (
    "cycle",
    "cycle through a tuple",
    "frame of 2^63",
    "memo far away",
    "path",
    "views of one storage",
    "lone surrogates in class names",
    "class names of control characters",
)
"""Unusual, and the weights are sound."""
LARGE = ("deep lists", "names", "wide text")
"""Much of what is not used, within the limits."""


@pytest.mark.parametrize("flood", [False, pytest.param(True, marks=pytest.mark.deep)])
def test_hostile_checkpoints_end_in_an_error_and_nothing_is_done(
    reader: Reader, tmp_path: Path, flood: bool
) -> None:
    loaded = [
        name
        for name, build in hostile_checkpoints(tmp_path, flood=flood).items()
        if not reader.load(name, build())
    ]
    assert sorted(loaded) == sorted(HARMLESS + (LARGE if flood else ()))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file.pt", "sound.pt"]


@pytest.mark.parametrize(
    ("flips", "cuts"), [(40, 12), pytest.param(2000, 200, marks=pytest.mark.chaos)], ids=["few", "many"]
)
def test_changed_checkpoints_are_refused_or_have_the_same_weights(
    reader: Reader, flips: int, cuts: int
) -> None:
    """A bit anywhere, also in the numbers of a tensor: half of them in the pickle and the directory."""
    print(f"YOLOFAST_CHAOS_SEED={SEED}")
    draw, whole = random.Random(SEED), reader.whole
    anywhere = (0, len(whole))
    described = (whole.index(b"/data.pkl"), whole.index(b"/data/0"))
    directory = (whole.index(b"PK\x01\x02"), len(whole))
    for number in range(flips):
        at = draw.randrange(*(anywhere, described, anywhere, directory)[number % 4])
        data = bytearray(whole)
        data[at] ^= 1 << draw.randrange(8)
        reader.load(f"byte {at}, seed {SEED}", bytes(data), same=True)
    for _ in range(cuts):
        at = draw.randrange(len(whole))
        assert reader.load(f"cut at {at}, seed {SEED}", whole[:at])


def test_a_changed_number_of_a_tensor_is_noticed(reader: Reader) -> None:
    at = reader.whole.index(b"/data/0") + 64 + 200
    data = bytearray(reader.whole)
    data[at] ^= 1
    assert "wrong checksum of entry" in reader.load("number", bytes(data))


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.pt")
    assert not is_torch_file(tmp_path / "x.pt")
