"""Fuzz targets in Python: small sound inputs of every reader, mutated by a seed, read with bounded memory.

    python -m support.fuzz_readers TARGET SEED      (from tests/) tries one input again and shows what it was

`attempt` tries one in this process. `ReaderProcess` keeps a process with a limit on its memory, which tries
one after the other and whose death is noticed.
"""

from __future__ import annotations

import json
import os
import random
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from support.archive_files import make_archive
from support.chaos import Ran
from support.label_writers import EXAMPLE, EXAMPLE_NAMES, WRITERS, coco_content, write_example

from yolofast.config import YOLOConfig
from yolofast.errors import YolofastError
from yolofast.evaluate import evaluate_coco
from yolofast.formats.data_yaml import list_images, read_data_yaml
from yolofast.formats.discover import scan_dataset
from yolofast.formats.registry import open_dataset
from yolofast.ingest.extract import extract_archive

MEMORY_MB = 400
"""Address space that an input may take beside what the readers and the interpreter take."""
SECONDS = 10.0
"""Time that an input may take."""

IMAGES = frozenset({".jpg", ".png"})


@dataclass(frozen=True)
class Target:
    """What writes sound input into a folder, and what reads it there, with a seeded random."""

    write: Callable[[Path], object]
    read: Callable[[Path, random.Random], object]


def _read_labels(label_format: str) -> Callable[[Path, random.Random], None]:
    def read(root: Path, random: random.Random) -> None:
        dataset = open_dataset(scan_dataset(root), random.choice([label_format, None]))
        for item in dataset.read():
            if item.record is not None:
                assert len(item.record.boxes) == len(item.record.classes)
                assert all(0 <= c < len(dataset.names) for c in item.record.classes.tolist())

    return read


def _write_yaml(root: Path) -> None:
    write_example(root, "yolo")
    (root / "classes.txt").unlink()
    (root / "list.txt").write_text("train/images/one.jpg\n./valid/images/three.jpg\n")
    (root / "data.yaml").write_text(
        "path: .\ntrain: train/images\nval: [valid/images, list.txt]\ntest: list.txt\nnc: 2\nnames: &n\n"
        "  0: bus\n  1: 'car'\nkpt_shape: [17, 3]\nother: {a: *n}\n"
    )


def _read_yaml(root: Path, random: random.Random) -> None:
    data = read_data_yaml(root / "data.yaml")
    for split, locations in data.splits.items():
        if all(location.is_relative_to(root) for location in locations):  # `train: /` lists the whole disk
            list_images(data, split)


def _write_settings(root: Path) -> None:
    training = "training:\n  epochs: 3\n  batch: 4\n  lr0: 0.001\n  device: cpu\n"
    (root / "settings.yaml").write_text(f"model: {{model: n}}\n{training}augment: {{fliplr: .5}}\n")


def _read_settings(root: Path, random: random.Random) -> None:
    YOLOConfig.from_yaml(root / "settings.yaml")


def _write_archive(suffix: str) -> Callable[[Path], None]:
    def write(root: Path) -> None:
        files: dict[str, bytes | str] = {"a/b.txt": "0 .5 .5 .1 .1\n" * 9, "a/c/ü.txt": "x", "a/d.txt": ""}
        make_archive(root / f"set.{suffix}", files)

    return write


def _read_archive(root: Path, random: random.Random) -> None:
    with tempfile.TemporaryDirectory() as folder:
        (archive,) = root.iterdir()
        extract_archive(archive, Path(folder, "out"))


def _write_results(root: Path) -> None:
    truth = coco_content(EXAMPLE_NAMES, EXAMPLE)
    found = [
        {k: a[k] for k in ("image_id", "category_id", "bbox")} | {"score": 0.5} for a in truth["annotations"]
    ]
    (root / "truth.json").write_text(json.dumps(truth))
    (root / "found.json").write_text(json.dumps(found))


def _read_results(root: Path, random: random.Random) -> None:
    evaluate_coco(root / "truth.json", root / "found.json", threads=1)


LABELS = tuple(f"labels {name}" for name in sorted(WRITERS))
YAML = ("data.yaml", "settings")
ARCHIVES = ("zip", "tar", "tar.gz", "tar.xz")
RESULTS = ("coco results",)
TARGETS: dict[str, Target] = {
    **{
        f"labels {name}": Target(lambda root, name=name: write_example(root, name), _read_labels(name))  # type: ignore[misc]
        for name in WRITERS
    },
    "data.yaml": Target(_write_yaml, _read_yaml),
    "settings": Target(_write_settings, _read_settings),
    **{suffix: Target(_write_archive(suffix), _read_archive) for suffix in ARCHIVES},
    "coco results": Target(_write_results, _read_results),
}


# What takes the place of a number, or stands somewhere
NUMBERS = (
    b"0 -1 nan inf -inf 1e308 1e999 -0.0 1e-320 99999999999999999999 2147483648 -9223372036854775809 0x10 1_0"
    b" 0.5.5 1e 07 \xd9\xa3 true null"
).split()
PIECES = [
    *b"[ ] { } < > & : , ; ' \" / \\ - # ! * | % = --- ... &a *a &#0; &lol; <!DOCTYPE\ta> C:\\x".split(b" "),
    *b"\n \r \t \0 \x1b[31m \xff \xed\xb2\x80 \xef\xbb\xbf \xff\xfe \xe2\x80\xae \r\n\r\n".split(b" "),
    *b"\\u0000 \\ud800 ../../x /etc/passwd !!python/name:os.system <<:\t*a".split(b" "),
    b"a" * 300,
]
VALUES: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    1e308,
    10**30,
    float("nan"),
    "",
    "x",
    "\x1b[0m",
    "\ud800",
    [],
    {},
    [[]],
)
NESTING = [b"[", b'{"a":', b"<a>", b"- ", b"{a: ", b"("]


def mutated(data: bytes, random: random.Random) -> bytes:
    """Some bytes with one to four faults."""
    for _ in range(random.randint(1, 4)):
        data = random.choice(MUTATIONS)(data, random)
    return data


def _flip(data: bytes, random: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(random.randint(1, 8) if changed else 0):
        changed[random.randrange(len(changed))] ^= 1 << random.randrange(8)
    return bytes(changed)


def _cut(data: bytes, random: random.Random) -> bytes:
    return data[: random.randint(0, len(data))]


def _move(data: bytes, random: random.Random) -> bytes:
    """A part is removed, repeated, or stands elsewhere too."""
    a, b = sorted(random.randint(0, len(data)) for _ in range(2))
    at = random.randint(0, len(data))
    return random.choice([data[:a] + data[b:], data[:b] + data[a:], data[:at] + data[a:b] + data[at:]])


def _number(data: bytes, random: random.Random) -> bytes:
    found = list(re.finditer(rb"-?\d[\d.]*", data))
    if not found:
        return data
    match = random.choice(found)
    return data[: match.start()] + random.choice(NUMBERS) + data[match.end() :]


def _insert(data: bytes, random: random.Random) -> bytes:
    at = random.randint(0, len(data))
    return data[:at] + random.choice(PIECES) + data[at + random.choice([0, 0, 1]) :]


def _nest(data: bytes, random: random.Random) -> bytes:
    at = random.randint(0, len(data))
    return data[:at] + random.choice(NESTING) * random.choice([3, 40, 2000, 100_000]) + data[at:]


def _random(data: bytes, random: random.Random) -> bytes:
    return random.randbytes(random.choice([0, 1, 10, 1000]))


def _json_value(data: bytes, random: random.Random) -> bytes:
    """A value anywhere in JSON is of another kind."""
    try:
        content = json.loads(data)
    except (ValueError, RecursionError):
        return _number(data, random)
    places = [
        (node, key)
        for node in _nodes(content)
        for key in (node if isinstance(node, dict) else range(len(node)))
    ]
    if places:
        node, key = random.choice(places)
        node[key] = random.choice(VALUES)
    return json.dumps(content).encode()


def _nodes(content: Any) -> Iterator[Any]:
    waiting = [content]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict | list):
            yield node
            waiting.extend(node.values() if isinstance(node, dict) else node)


MUTATIONS: Sequence[Callable[[bytes, random.Random], bytes]] = (
    _flip, _cut, _move, _move, _number, _number, _insert, _insert, _nest, _random, _json_value, _json_value,
)  # fmt: skip


def read_sound(target: str) -> None:
    """Read the input before it is mutated; raises the error where it cannot be read."""
    TARGETS[target].read(Path(_sound(target)[0].name), random.Random(target))


@cache
def _sound(target: str) -> tuple[tempfile.TemporaryDirectory[str], dict[Path, bytes]]:
    folder = tempfile.TemporaryDirectory(prefix="fuzz")
    TARGETS[target].write(Path(folder.name))
    files = [path for path in Path(folder.name).rglob("*") if path.is_file() and path.suffix not in IMAGES]
    return folder, {path: path.read_bytes() for path in sorted(files)}


@contextmanager
def _with_faults(target: str, seeded: random.Random) -> Iterator[Path]:
    """The folder of a target's input while some of its files are mutated."""
    folder, files = _sound(target)
    changed = seeded.sample(sorted(files), k=min(len(files), seeded.choice([1, 1, 2])))
    try:
        for path in changed:
            path.write_bytes(mutated(files[path], seeded))
        yield Path(folder.name)
    finally:
        for path in changed:
            path.write_bytes(files[path])


def attempt(target: str, seed: str) -> str:
    """Read a mutated input: "read", or the error that a user would see. Whatever else it raises is a bug."""
    seeded = random.Random(f"{target} {seed}")
    with _with_faults(target, seeded) as root:
        try:
            TARGETS[target].read(root, seeded)
        except YolofastError as error:
            message = str(error)
            assert message.strip(), "an error without a message"
            return message
    return "read"


class ReaderProcess:
    """A process with bounded memory that tries one input after the other."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "support.fuzz_readers"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )

    def attempt(self, target: str, seed: str) -> Ran:
        """Try one input; exit code 0 where it was read or refused with an error for users."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(f"{target}\t{seed}\n")
            self._process.stdin.flush()
            answer = self._process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            _, err = self._process.communicate()
            return Ran(
                self._process.returncode or -1, "", f"{target} {seed}: the process has ended\n{err}", 0, 0
            )
        return Ran(**json.loads(answer))

    def __enter__(self) -> ReaderProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()


def _serve() -> None:
    """Answer lines TARGET, tab, SEED with JSON of a `Ran`. A try that takes too long ends the process."""
    import faulthandler
    import traceback

    for target in TARGETS:  # what is imported and allocated once does not count
        read_sound(target)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    limit = used + MEMORY_MB * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    for line in sys.stdin:
        target, seed = line.rstrip("\n").split("\t")
        begun, code, out, err = time.monotonic(), 0, "", ""
        faulthandler.dump_traceback_later(SECONDS, exit=True)
        try:
            out = attempt(target, seed)
        except BaseException:
            code, err = 1, f"{target} {seed}\n{traceback.format_exc()}"
        faulthandler.cancel_dump_traceback_later()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        answer = {"code": code, "out": out, "err": err, "seconds": time.monotonic() - begun, "peak_mb": peak}
        print(json.dumps(answer), flush=True)


def _show(target: str, seed: str) -> None:
    seeded = random.Random(f"{target} {seed}")
    with _with_faults(target, seeded) as root:
        for path, sound in _sound(target)[1].items():
            if (now := path.read_bytes()) != sound:
                print(f"{path.relative_to(root)}: {len(now)} bytes: {now[:2000]!r}")
    print(attempt(target, seed))


if __name__ == "__main__":
    _show(*sys.argv[1:]) if len(sys.argv) > 1 else _serve()
