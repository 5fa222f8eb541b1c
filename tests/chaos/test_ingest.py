"""Attacks on fetch: hostile archives, misbehaving servers, kills, full disks, flipped bytes, two at once."""

from __future__ import annotations

import io
import os
import random
import re
import shutil
import subprocess
import sys
import tarfile
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.archive_bombs import BOMBS
from support.archive_files import END, global_pax, pax, record, tar_bytes
from support.chaos import Attack, python, yolofast
from support.dataset_files import tree_digest
from support.download_server import Served, serving
from support.http_faults import FAULTS, misbehaving
from support.http_faults import FILES as SMALL_FILES

from yolofast.errors import DataError
from yolofast.ingest import download_dataset_from_url, extract_archive, transfer

pytestmark = pytest.mark.chaos

NOISE = random.Random(0)
FILES: dict[str, bytes] = {
    "data.yaml": b"names: [a]\n",
    "train/images/a.jpg": NOISE.randbytes(3000),
    "train/images/\u00e4 b.jpg": b"",
    "train/labels/a.txt": b"0 0.5 0.5 0.25 0.25\n" * 30,
    f"{'long' * 30}/{'name' * 20}.txt": b"1",
}
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
FORMATS = (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)


def zip_by(method: int) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, contents in FILES.items():
            with archive.open(name, "w", force_zip64=method == zipfile.ZIP_STORED) as entry:
                entry.write(contents)
    return buffer.getvalue()


SOUND = [zip_by(method) for method in METHODS]
SOUND += [
    tar_bytes(FILES, compression, dialect) for compression in ("", "gz", "bz2", "xz") for dialect in FORMATS
]


def mutated(whole: bytes, draw: random.Random) -> bytes:
    """Bytes flipped, cut, removed, doubled, zeroed or filled with noise, once or several times."""
    data = bytearray(whole)
    for _ in range(draw.choice((1, 1, 2, 4))):
        at = draw.randrange(max(1, len(data)))
        size = draw.choice((1, 2, 4, 12, 512))
        match draw.randrange(7):
            case 0:
                data[at : at + 1] = bytes([draw.randrange(256)])
            case 1:
                del data[at:]
            case 2:
                del data[at : at + size]
            case 3:
                data[at:at] = data[at : at + size]
            case 4:
                data[at : at + size] = bytes(len(data[at : at + size]))
            case 5:
                data[at : at + size] = b"\xff" * len(data[at : at + size])
            case 6:
                other = draw.randrange(max(1, len(data)))
                data[at : at + size] = data[other : other + size]
    return bytes(data)


NAMES = [
    "a.txt",
    "b/c.txt",
    "../x",
    "/etc/x",
    "a/../../x",
    "..",
    ".",
    "",
    "a\0b",
    "C:\\x",
    "\\\\h\\x",
    "n" * 300,
]
NAMES += [
    "b",
    "B/c.txt",
    "d/" * 70 + "x",
    "\x1b[2J",
    "a.txt/x",
    "./a.txt",
    "con",
    "\u00e9",
    "e\u0301",
    "b//d",
]


def generated(draw: random.Random) -> bytes:
    """A tar of entries of any kind and name, stated sizes that may be false, and extension headers."""
    parts = []
    for _ in range(draw.randrange(1, 8)):
        contents = draw.randbytes(draw.choice((0, 1, 511, 512, 700)))
        kind = draw.choice(
            (b"0", b"0", b"0", b"\0", b"1", b"2", b"3", b"5", b"6", b"S", b"L", b"K", b"x", b"g", b"V")
        )
        size: int | bytes | None = draw.choice(
            (None, None, None, None, 0, 5000, 1 << 33, b"\xff" * 12, b"\x80" + b"\x7f" * 11)
        )
        match draw.randrange(6):
            case 0:
                parts.append(pax(path=draw.choice(NAMES), size=draw.choice(("1", "-1", "9" * 30))))
            case 1:
                parts.append(global_pax(**{draw.choice(("comment", "path", "size")): draw.choice(NAMES)}))
        name = draw.choice(NAMES)[:100]
        parts.append(
            record(
                name, contents, kind, size=size, link="a.txt", prefix=draw.choice((b"", b"", b"b", b"../.."))
            )
        )
    return b"".join(parts) + draw.choice((END, END, b"", END[:512]))


def names_in(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def bytes_below(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def outcome(archive: Path, contents: bytes, place: Path) -> dict[str, bytes] | None:
    """The files that an archive gives, or None when it is refused; nothing else may have changed."""
    archive.write_bytes(contents)
    begun, refusal = time.process_time(), ""
    try:
        extract_archive(archive, place / "out")
    except DataError as error:
        refusal = str(error)
    assert time.process_time() - begun < 2
    if refusal:
        assert "\n" not in refusal
        assert len(refusal) < 1000
        assert list(place.iterdir()) == [archive]
        return None
    assert sorted(place.iterdir()) == sorted([archive, place / "out"])
    assert not any(p.is_symlink() for p in (place / "out").rglob("*"))
    found = bytes_below(place / "out")
    shutil.rmtree(place / "out")
    return found


def test_mutated_archives(tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.mkdir()
    with Attack("mutated archives", tries=1600) as attack:
        for draw in attack:
            which = draw.randrange(len(SOUND))
            found = outcome(place / "x", mutated(SOUND[which], draw), place)
            assert names_in(tmp_path) == ["place"]
            if found is None:
                continue
            if which >= 7:  # a compressed tar: checksums protect all of it
                assert found == FILES
            elif which < 4:  # a zip: contents have a checksum, and names stand there twice
                assert found.items() <= FILES.items()
            assert sum(map(len, found.values())) <= 2 * sum(map(len, FILES.values())) + 4096


def test_generated_archives(tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.mkdir()
    with Attack("generated archives", tries=400) as attack:
        for draw in attack:
            outcome(place / "x", generated(draw), place)
            assert names_in(tmp_path) == ["place"]


UNPACK = """
import pathlib, sys
from yolofast.errors import DataError
from yolofast.ingest import extract_archive
try:
    extract_archive(*map(pathlib.Path, sys.argv[1:]))
except DataError as error:
    print(error)
"""


def test_bombs(tmp_path: Path) -> None:
    idle = python("import yolofast.ingest")
    with Attack("decompression bombs", tries=len(BOMBS)) as attack:
        for _, (name, make) in zip(attack, BOMBS.items(), strict=False):
            (tmp_path / "x").write_bytes(make())
            ran = attack.saw(python(UNPACK, tmp_path / "x", tmp_path / "out"))
            assert ran.peak_mb < 200, name
            assert ran.seconds - idle.seconds < 2, name  # 1 s, on a machine with nothing else to do
            if name != "zip: comments of 64 kB":  # sound, only large
                assert ran.out.count("\n") == 1, name
                assert names_in(tmp_path) == ["x"]
            shutil.rmtree(tmp_path / "out", ignore_errors=True)


def test_misbehaving_servers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "sleep", lambda _: None)
    monkeypatch.setattr(transfer, "DOWNLOAD_WINDOW_S", 0.3)
    with misbehaving() as server, Attack("HTTP misbehaviours", tries=len(FAULTS)) as attack:
        for _, (fault, (_answer, expected)) in zip(attack, FAULTS.items(), strict=False):
            said = ""
            try:
                folder = download_dataset_from_url(
                    server.url_of(fault), tmp_path / "cats", retries=1 if expected else 2
                )
                assert sorted(tree_digest(folder)) == sorted(SMALL_FILES), fault
                shutil.rmtree(folder)
            except DataError as error:
                said = str(error)
            assert bool(said) == (expected is not None), f"{fault}: {said}"
            assert re.search(expected or "", said), f"{fault}: {said}"
            assert said.isprintable()
            assert len(said) < 500
            assert list(tmp_path.iterdir()) == [], fault


def dataset(megabytes: int, files: int) -> tuple[dict[str, bytes], bytes]:
    draw = random.Random(1)
    contents = {f"train/images/{i:04}.jpg": draw.randbytes((megabytes << 20) // files) for i in range(files)}
    return contents, tar_bytes(contents)


FETCH = (sys.executable, "-m", "yolofast.cli", "fetch")


KILLED = """
import os, random, signal, sys, threading
from yolofast.ingest import fetch_dataset, partial
partial.SAVE_EVERY_S = 0.01
threading.Timer(float(sys.argv[3]), os.kill, (os.getpid(), signal.SIGKILL)).start()
fetch_dataset(sys.argv[1], sys.argv[2], retries=0)
os._exit(0)
"""


def test_kills(tmp_path: Path) -> None:
    contents, body = dataset(24, 600)
    with serving(Served(body)) as served, Attack("fetch killed", tries=100) as attack:
        for draw in attack:
            for _ in range(draw.choice((1, 1, 2))):
                python(KILLED, served.url, tmp_path, draw.uniform(0.0, 0.6))
            target = tmp_path / "cats"
            was_finished = target.exists()
            ran = attack.saw(yolofast("fetch", served.url, "--out", tmp_path))
            assert ran.code == (2 if was_finished else 0), ran.err
            assert "the folder is not empty" in ran.err or not was_finished
            assert names_in(tmp_path) == ["cats"]
            assert bytes_below(target) == {
                name.removeprefix("train/"): data for name, data in contents.items()
            }
            shutil.rmtree(target)


LIMITED = """
import resource, sys
from yolofast.cli import main
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), int(sys.argv[1])))
sys.exit(main(sys.argv[2:]))
"""


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path | None]:
    """A disk of 4 MB, where this user may mount one; otherwise None."""
    disk = tmp_path / "disk"
    disk.mkdir()
    options = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(disk)]
    if os.getuid() or subprocess.run(options, capture_output=True, check=False).returncode:
        yield None
        return
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_full_disks(tmp_path: Path, small_disk: Path | None) -> None:
    with Attack("fetch on a full disk", tries=40) as attack:
        for draw in attack:
            out = small_disk or tmp_path
            _, body = dataset(draw.choice((2, 3, 5)), draw.choice((1, 20)))
            with serving(Served(body, states_length=draw.random() < 0.5)) as served:
                limit = draw.randrange(1 << 10, 1 << 21)
                ran = attack.saw(python(LIMITED, limit, "fetch", served.url, "--out", out, "--retries", "0"))
            assert ran.code in (0, 2), ran.err
            if ran.code == 2:
                errors = [line for line in ran.err.splitlines() if line.startswith("yolofast: error: ")]
                assert len(errors) == 1
                assert not [p for p in out.iterdir() if p.name != "disk"], ran.err
            shutil.rmtree(out / "cats", ignore_errors=True)


def test_flipped_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    contents = {"data.yaml": b"names: [a]\n", "a.jpg": NOISE.randbytes(20_000)}
    body = tar_bytes(contents)
    with serving(Served(body, cuts=[15_000])) as served:
        with pytest.raises(DataError, match="15000 of"):
            download_dataset_from_url(served.url, tmp_path / "cats", retries=0)
        (kept,) = tmp_path.iterdir()
        sound = {p.name: p.read_bytes() for p in kept.iterdir()}
        begun_anew = 0
        with Attack("flipped bytes of a partial download", tries=1000) as attack:
            for draw in attack:
                name = draw.choice(("contents", "version.json"))
                damaged = bytearray(sound[name])
                damaged[draw.randrange(len(damaged))] ^= 1 << draw.randrange(8)
                kept.mkdir(exist_ok=True)
                for other, whole in sound.items():
                    (kept / other).write_bytes(damaged if other == name else whole)
                folder = download_dataset_from_url(served.url, tmp_path / "cats", retries=0)
                assert bytes_below(folder) == contents
                assert names_in(tmp_path) == ["cats"]
                begun_anew += served.asked[-1] is None
                shutil.rmtree(folder)
            assert begun_anew >= attack.done - 5  # a space of the JSON that becomes another one is harmless


def test_pairs(tmp_path: Path) -> None:
    contents, body = dataset(4, 200)
    (tmp_path / "other").mkdir()
    local = tmp_path / "other" / "cats.tar"
    local.write_bytes(body)
    out = tmp_path / "out"
    with serving(Served(body)) as served, Attack("pairs of fetch", tries=50) as attack:
        for draw in attack:
            sources = draw.choice(
                ((served.url, served.url), (served.url, str(local)), (str(local), str(local)))
            )
            begun = []
            for source in sources:
                begun.append(
                    subprocess.Popen([*FETCH, source, "--out", str(out)], stderr=subprocess.PIPE, text=True)
                )
                time.sleep(draw.choice((0, 0, 0.05, 0.3)))
            said = [run.communicate()[1] for run in begun]
            codes = sorted(run.returncode for run in begun)
            assert codes == [0, 2], said
            errors = [
                line for text in said for line in text.splitlines() if line.startswith("yolofast: error: ")
            ]
            assert len(errors) == 1, said
            assert names_in(out) == ["cats"], said
            assert bytes_below(out / "cats") == {
                n.removeprefix("train/"): data for n, data in contents.items()
            }
            shutil.rmtree(out / "cats")
