"""JPEG bombs through every decode and through the commands: refused in under a second and 200 MB."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from support.chaos import Attack, Ran, python, yolofast
from support.jpeg_bombs import (
    SOF2,
    arithmetic,
    filled,
    flat,
    many_scans,
    sequential_scans,
    with_notes,
    with_notes_between_scans,
)
from support.jpeg_files import APP1, encoded

pytestmark = pytest.mark.chaos

MAX_SECONDS, MAX_MB = 1.0, 200
MIB = 1 << 20

BOMBS: dict[str, Callable[[], bytes]] = {
    "hundreds of scans": lambda: many_scans(16000, 16000, 450),
    "hundreds of scans behind notes": lambda: with_notes(many_scans(16000, 16000, 450), 40, bytes(65000)),
    "scans of a large picture": lambda: many_scans(8000, 8000, 60),
    "scans that refine a large picture": lambda: many_scans(8000, 8000, 60, refining=True),
    "scans that salvage goes on with": lambda: sequential_scans(4000, 4000, 450),
    "too many scans": lambda: many_scans(64, 64, 2000),
    "the largest size there is": lambda: flat(65500, 65500, SOF2)[: 4 * MIB],
    "one colour": lambda: flat(16384, 16384),
    "one colour, progressive": lambda: flat(16384, 16384, SOF2),
    "no bits": lambda: flat(8000, 8000)[:300],
    "no bits, progressive": lambda: flat(8000, 8000, SOF2, 3)[:300],
    "arithmetic codes": lambda: arithmetic(8000, 8000),
    "a million segments": lambda: with_notes(flat(8, 8), 1_000_000),
    "a million segments between scans": lambda: with_notes_between_scans(1_000_000),
    "a million EXIF segments": lambda: with_notes(encoded().join(), 1_000_000, b"Exif", APP1),
    "fill bytes": lambda: filled(flat(8, 8), 65 * MIB),
    "zeros": lambda: filled(flat(8, 8), 65 * MIB, 0),
}

DECODE = """
import json, resource, sys, time, warnings
from yolofast.errors import ImageError
from yolofast.images import read_header, read_image
from yolofast.kernels import decode_jpeg, jpeg_info, rewrite_jpeg
from yolofast.load.execute._engine import load_picture
import numpy
warnings.simplefilter("ignore")
path = sys.argv[1]
data = open(path, "rb").read()
ways = {
    "whole": lambda: decode_jpeg(data),
    "libjpeg-turbo": lambda: decode_jpeg(data, decoder="turbo"),
    "planes": lambda: decode_jpeg(data, layout="ycc"),
    "reduced": lambda: decode_jpeg(data, min_size=64),
    "region": lambda: decode_jpeg(data, region=(0, 0, 8, 8)),
    "salvaged": lambda: decode_jpeg(data, salvage=True, min_size=64),
    "rewritten": lambda: rewrite_jpeg(data, restart_rows=1),
    "file": lambda: read_image(path),
    "header": lambda: read_header(path),
    "picture": lambda: load_picture(path, jpeg_info(data).shape, 640),
}
seen = {}
for name, way in ways.items():
    started = time.process_time()
    try:
        way()
        seen[name] = "", time.process_time() - started
    except ImageError as error:
        seen[name] = str(error), time.process_time() - started
print(json.dumps(seen))
"""


def test_every_decode(tmp_path: Path) -> None:
    names = list(BOMBS)
    path = tmp_path / "bomb.jpg"
    with Attack("JPEG bombs, decoded in ten ways", tries=len(names)) as attack:
        for _ in attack:
            name = names[attack.done - 1]
            path.write_bytes(BOMBS[name]())
            ran = attack.saw(python(DECODE, path))
            assert ran.peak_mb < MAX_MB, (name, ran.peak_mb)
            seen: dict[str, tuple[str, float]] = json.loads(ran.out)
            for way, (error, seconds) in seen.items():
                assert seconds < MAX_SECONDS, (name, way, seconds)
                assert error or way == "header", (name, way)
                assert len(error) < 300 + len(str(path))
                assert "\n" not in error


COMMANDS = (
    ("analyze", "DATA"),
    ("check", "DATA", "--decode"),
    ("prepare", "DATA", "--out", "OUT"),
    ("prepare", "DATA", "--out", "OUT", "--max-side", "320"),
    ("prepare", "DATA", "--out", "OUT", "--restart-rows", "1"),
)


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: " ".join(w for w in words if w.islower()))
def test_every_command(words: tuple[str, ...], tmp_path: Path) -> None:
    """Against the same command for the same dataset without the bomb: a second and 200 MB more at most."""
    plain = _run(words, tmp_path / "plain", b"")
    names = list(BOMBS)
    with Attack(f"JPEG bombs, {' '.join(words)}", tries=len(names)) as attack:
        for _ in attack:
            name = names[attack.done - 1]
            ran = attack.saw(_run(words, tmp_path / str(attack.done), BOMBS[name]()))
            assert ran.cpu_seconds < plain.cpu_seconds + MAX_SECONDS, (name, ran.cpu_seconds)
            assert ran.peak_mb < plain.peak_mb + MAX_MB, (name, ran.peak_mb, plain.peak_mb)


def _run(words: tuple[str, ...], folder: Path, bomb: bytes) -> Ran:
    data = folder / "data"
    for name, image in (("good", encoded(height=64, width=64).join()), ("other", encoded().join())):
        _add(data, name, image)
    if bomb:
        _add(data, "bomb", bomb)
    (data / "data.yaml").write_text("path: .\ntrain: images\nval: images\nnames: [one]\n")
    places = {"DATA": data, "OUT": folder / "out"}
    return yolofast(*(places.get(word, word) for word in words))


def _add(data: Path, name: str, image: bytes) -> None:
    for kind, suffix, content in (("images", "jpg", image), ("labels", "txt", b"0 0.5 0.5 0.2 0.2\n")):
        (data / kind).mkdir(parents=True, exist_ok=True)
        (data / kind / f"{name}.{suffix}").write_bytes(content)
