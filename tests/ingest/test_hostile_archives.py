"""Malicious archives: each is refused as a whole, with its reason, and leaves nothing behind."""

from __future__ import annotations

import gzip
import io
import os
import signal
import stat
import struct
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest
from support.archive_files import END, global_pax, make_archive, pax, record, tar_bytes, zip_bytes
from support.dataset_files import tree_digest

from yolofast.errors import DataError
from yolofast.ingest import extract_archive, safe_paths

GOOD = {"good.txt": "1"}
NOTHING = "refused, nothing was unpacked."


def zip_with(*entries: tuple[str | zipfile.ZipInfo, str]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for entry, contents in (("good.txt", "1"), *entries):
            archive.writestr(entry, contents)
    return buffer.getvalue()


def special(name: str, mode: int) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name)
    entry.create_system, entry.external_attr = 3, mode << 16
    return entry


def raw_name(name: str) -> zipfile.ZipInfo:
    """An entry with a name that `zipfile` would otherwise tidy up."""
    entry = zipfile.ZipInfo("x")
    entry.filename = name
    return entry


def tar_with(*records: bytes) -> bytes:
    return b"".join((record("good.txt", b"1"), *records)) + END


def flags_of_last_entry(archive: bytes, offset: int, value: int) -> bytes:
    """A zip with a 16-bit field of its last central header changed."""
    place = archive.rindex(b"PK\x01\x02") + offset
    return archive[:place] + struct.pack("<H", value) + archive[place + 2 :]


def lying_zip(stated: int) -> bytes:
    """A zip with an entry that states another unpacked size than it has."""
    archive = zip_bytes({"a.txt": "x" * 1000})
    central, local = archive.rindex(b"PK\x01\x02") + 24, 22
    packed = struct.pack("<I", stated)
    archive = archive[:central] + packed + archive[central + 4 :]
    return archive[:local] + packed + archive[local + 4 :]


LONG, DEEP = "n" * 256, "/".join(["d" * 200] * 21)
HOSTILE = {
    # paths that leave the target
    "zip: absolute": (zip_with(("/etc/x", "")), f"entry '/etc/x' is an absolute path: {NOTHING}"),
    "zip: drive": (zip_with(("C:\\x", "")), f"entry 'C:\\\\x' is an absolute path: {NOTHING}"),
    "zip: share": (zip_with(("\\\\host\\x", "")), rf"entry '\\\\host\\x' is an absolute path: {NOTHING}"),
    "zip: up": (zip_with(("a/../../x", "")), f"entry 'a/../../x' is a path with '..': {NOTHING}"),
    "zip: up with backslashes": (
        zip_with(("a\\..\\..\\x", "")),
        rf"entry 'a\\..\\..\\x' is a path with '..': {NOTHING}",
    ),
    "tar: absolute": (tar_with(record("/etc/x")), f"entry '/etc/x' is an absolute path: {NOTHING}"),
    "tar: up": (tar_with(record("../x")), f"entry '../x' is a path with '..': {NOTHING}"),
    "tar: up folder": (tar_with(record("a/..", b"", b"5")), f"entry 'a/..' is a path with '..': {NOTHING}"),
    "tar: up by prefix": (
        tar_with(record("x", prefix=b"a/../..")),
        f"entry 'a/../../x' is a path with '..': {NOTHING}",
    ),
    "tar: up by pax path": (
        tar_with(pax(path="../x"), record("fine.txt")),
        f"entry '../x' is a path with '..': {NOTHING}",
    ),
    "tar: up by GNU long name": (
        tar_with(record("././@LongLink", b"../x\0", b"L"), record("fine.txt")),
        f"entry '../x' is a path with '..': {NOTHING}",
    ),
    # what is no plain file
    "zip: symbolic link": (
        zip_with((special("x", stat.S_IFLNK | 0o777), "/etc/passwd")),
        f"entry 'x' is a symbolic link: {NOTHING}",
    ),
    "zip: device": (
        zip_with((special("x", stat.S_IFCHR | 0o666), "")),
        f"entry 'x' is a device, pipe or other special file: {NOTHING}",
    ),
    "tar: symbolic link": (
        tar_with(record("x", kind=b"2", link="..")),
        f"entry 'x' is a symbolic link: {NOTHING}",
    ),
    "tar: link that stays inside": (
        tar_with(record("x", kind=b"2", link="good.txt")),
        f"entry 'x' is a symbolic link: {NOTHING}",
    ),
    "tar: hard link": (
        tar_with(record("x", kind=b"1", link="/etc/passwd")),
        f"entry 'x' is a hard link: {NOTHING}",
    ),
    "tar: link by pax linkpath": (
        tar_with(pax(linkpath="/etc/passwd"), record("x", kind=b"1", link="good.txt")),
        f"entry 'x' is a hard link: {NOTHING}",
    ),
    **{
        f"tar: {name}": (
            tar_with(record("x", kind=kind)),
            f"entry 'x' is a device, pipe or other special file: {NOTHING}",
        )
        for name, kind in {
            "character device": b"3",
            "block device": b"4",
            "pipe": b"6",
            "volume": b"M",
        }.items()
    },
    "tar: sparse": (tar_with(record("x", b"1", b"S")), f"entry 'x' is a sparse file: {NOTHING}"),
    "tar: sparse by pax": (
        tar_with(pax(GNU__sparse__major="1", GNU__sparse__name="../x"), record("x", b"1")),
        f"entry 'x' is a sparse file: {NOTHING}",
    ),
    "zip: encrypted": (
        flags_of_last_entry(zip_with(("x", "1")), 8, 1),
        f"entry 'x' is encrypted: {NOTHING}",
    ),
    "zip: unknown method": (
        flags_of_last_entry(zip_with(("x", "1")), 10, 97),
        f"entry 'x' is compressed by method 97, which is not supported: {NOTHING}",
    ),
    # names
    "zip: NUL": (zip_with((raw_name("a\0.txt"), "")), rf"entry 'a\x00.txt' has a NUL in its name: {NOTHING}"),
    "tar: NUL": (
        tar_with(pax(path="a\0.txt"), record("x")),
        rf"entry 'a\x00.txt' has a NUL in its name: {NOTHING}",
    ),
    "zip: empty name": (zip_with((raw_name(""), "1")), f"entry '' has an empty name: {NOTHING}"),
    "tar: empty name": (tar_with(record("", b"1")), f"entry '' has an empty name: {NOTHING}"),
    "zip: long name": (
        zip_with((LONG, "")),
        f"entry '{LONG[:80]} ... {LONG[-20:]}' has a name of more than 255 bytes: {NOTHING}",
    ),
    "tar: long name": (
        tar_with(pax(path=LONG), record("x")),
        f"entry '{LONG[:80]} ... {LONG[-20:]}' has a name of more than 255 bytes: {NOTHING}",
    ),
    "zip: long path": (
        zip_with((DEEP, "")),
        f"entry '{DEEP[:80]} ... {DEEP[-20:]}' has a path of more than 4095 bytes: {NOTHING}",
    ),
    "zip: terminal codes in a name": (
        zip_with(("\x1b[2J/../x", "")),
        rf"entry '\x1b[2J/../x' is a path with '..': {NOTHING}",
    ),
    # two for one
    "tar: twice": (tar_with(record("a.txt"), record("a.txt")), f"contains 'a.txt' twice: {NOTHING}"),
    "zip: twice by a dot": (zip_with(("a.txt", ""), ("./a.txt", "")), f"contains 'a.txt' twice: {NOTHING}"),
    "zip: twice by case": (
        zip_with(("a/B.txt", ""), ("a/b.txt", "")),
        f"contains 'a/B.txt' and 'a/b.txt', the same on many file systems: {NOTHING}",
    ),
    "tar: folders twice by case": (
        tar_with(record("A/x.txt"), record("a/y.txt")),
        f"contains 'A' and 'a', the same on many file systems: {NOTHING}",
    ),
    "tar: twice by accents": (
        tar_with(record("\u00e9.txt"), record("e\u0301.txt")),
        f"contains '\u00e9.txt' and 'e\u0301.txt', the same on many file systems: {NOTHING}",
    ),
    "zip: twice by case and accents": (
        zip_with(("\u00c9.txt", ""), ("e\u0301.txt", "")),
        f"contains '\u00c9.txt' and 'e\u0301.txt', the same on many file systems: {NOTHING}",
    ),
    "tar: file, then folder": (
        tar_with(record("a"), record("a/b.txt")),
        f"contains 'a' as a file and as a folder: {NOTHING}",
    ),
    "zip: folder, then file": (
        zip_with(("a/b.txt", ""), ("a", "")),
        f"contains 'a' as a file and as a folder: {NOTHING}",
    ),
    "tar: pax header of a gigabyte": (
        tar_with(record("x", kind=b"x", size=1 << 30)),
        f"has extension headers of {(1 << 30) + 512} bytes for one entry, expected at most {1 << 20}: "
        f"{NOTHING}",
    ),
}
DAMAGED = {
    "tar: pax size below the header's": (
        tar_with(pax(size="1"), record("x", b"1" * 600)),
        "a header states 600 bytes and its pax header 1",
    ),
    "tar: pax size that is none": (
        tar_with(pax(size="-1"), record("x")),
        "the size in a pax header is not a number",
    ),
    "tar: global pax path": (
        tar_with(global_pax(path="../x"), record("x")),
        "a global pax header sets 'path' for all entries",
    ),
    "tar: negative size": (
        tar_with(record("x", size=b"\xff" * 12)),
        "an entry has a negative or impossible size",
    ),
    "tar: size of letters": (
        tar_with(record("x", size=b"12x\0" + bytes(8))),
        "the size of an entry is not a number",
    ),
    "tar: pax records that are none": (
        tar_with(record("x", b"99 path=y\n", b"x"), record("x")),
        "an invalid pax header",
    ),
    "tar: pax header at the end": (tar_with(pax(path="x")), "an extension header has no entry"),
    "tar: broken header in the middle": (
        tar_with(b"\xff" * 512, record("x")),
        "no tar header at byte 1024",
    ),
    "tar: without an end mark": (record("good.txt", b"1"), "it ends before its end mark"),
    "tar: two joined": (
        tar_bytes(GOOD) + tar_bytes(GOOD),
        "there is more after its end mark, as if two archives were joined",
    ),
    "zip: name that is not the UTF-8 it says": (
        zip_bytes({"\u00e4.txt": "1"}).replace("\u00e4".encode(), b"\xff\xff"),
        "'utf-8' codec can't decode byte 0xff in position 0: invalid start byte",
    ),
}


def refusal(tmp_path: Path, contents: bytes) -> str:
    """Why an archive is refused, after a look that the target and its surroundings are as before."""
    place = tmp_path / "place"
    (place / "out").mkdir(parents=True)
    archive = place / "x.archive"
    archive.write_bytes(contents)
    before = tree_digest(tmp_path)
    with pytest.raises(DataError) as caught:
        extract_archive(archive, place / "out")
    assert tree_digest(tmp_path) == before
    assert [p.name for p in tmp_path.iterdir()] == ["place"]
    assert sorted(p.name for p in place.iterdir()) == ["out", "x.archive"]
    assert list((place / "out").iterdir()) == []
    return str(caught.value).removeprefix(f"{archive}: ")


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(("contents", "expected"), HOSTILE.values(), ids=HOSTILE)
def test_hostile_entries_are_refused(tmp_path: Path, contents: bytes, expected: str) -> None:
    assert refusal(tmp_path, contents) == expected


@pytest.mark.parametrize("name", [name for name in HOSTILE if name.startswith("tar:")])
def test_hostile_entries_are_refused_under_compression(tmp_path: Path, name: str) -> None:
    contents, expected = HOSTILE[name]
    assert refusal(tmp_path, gzip.compress(contents, 1)) == expected


@pytest.mark.parametrize(("contents", "reason"), DAMAGED.values(), ids=DAMAGED)
def test_archives_that_break_their_format_are_refused(tmp_path: Path, contents: bytes, reason: str) -> None:
    assert refusal(tmp_path, contents) == f"is damaged or truncated: {reason}. Get the archive again."


def test_a_header_that_states_less_than_there_is_unpacks_no_more(tmp_path: Path) -> None:
    assert refusal(tmp_path, lying_zip(10)) == (
        "is damaged: entry 'a.txt' has more than the 10 bytes that it states. Get the archive again."
    )


def test_a_header_that_states_more_than_there_is(tmp_path: Path) -> None:
    assert refusal(tmp_path, lying_zip(1001)) == (
        "is damaged: entry 'a.txt' has 1000 of the 1001 bytes that it states. Get the archive again."
    )


BOMB = 65 << 20


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_bombs_are_refused_before_they_are_unpacked(tmp_path: Path, kind: str) -> None:
    files = {"zeros": bytes(BOMB)}
    archive = make_archive(tmp_path / f"x.{kind}", files)
    packed = archive.stat().st_size
    with pytest.raises(DataError) as caught:
        extract_archive(archive, tmp_path / "out")
    assert str(caught.value) == (
        f"{archive}: would unpack {packed} bytes to {BOMB} or more, expected at most {100 * packed} "
        f"(and at most 100 times its size): {NOTHING}"
    )
    assert [p.name for p in tmp_path.iterdir()] == [archive.name]


def test_a_stated_size_is_refused_without_reading_so_far(tmp_path: Path) -> None:
    bomb = gzip.compress(record("zeros", size=b"\x80" + (1 << 50).to_bytes(11, "big")))
    began = time.monotonic()
    assert refusal(tmp_path, bomb).startswith(
        f"would unpack {len(bomb)} bytes to {1 << 50} or more, expected at most"
    )
    assert time.monotonic() - began < 5


def test_caps_on_count_and_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(safe_paths, "MAX_ARCHIVE_ENTRIES", 3)
    four = {f"{i}.txt": "1" for i in range(4)}
    archive = make_archive(tmp_path / "x.zip", four)
    with pytest.raises(DataError, match=f"contains more than 3 entries .*: {NOTHING}"):
        extract_archive(archive, tmp_path / "out")
    monkeypatch.setattr(safe_paths, "MAX_ARCHIVE_ENTRIES", 4)
    monkeypatch.setattr(safe_paths, "MAX_ARCHIVE_BYTES", 3)
    with pytest.raises(DataError, match="to 4 or more, expected at most 3"):
        extract_archive(archive, tmp_path / "out")
    monkeypatch.setattr(safe_paths, "MAX_ARCHIVE_BYTES", 4)
    assert len(list(extract_archive(archive, tmp_path / "out").iterdir())) == 4


UNPACK = """
import pathlib, sys
from yolofast.ingest import extract_archive
extract_archive(*map(pathlib.Path, sys.argv[1:]))
"""


def test_killed_while_unpacking_then_run_again(tmp_path: Path) -> None:
    archive = make_archive(tmp_path / "x.tar", {f"{i}.txt": str(i) * 50 for i in range(2000)})
    command = [sys.executable, "-c", UNPACK, str(archive), str(tmp_path / "out")]
    with subprocess.Popen(command) as run:
        while not list(tmp_path.glob(".out.building-*/new/*9.txt")):
            assert run.poll() is None
            time.sleep(0.002)
        os.kill(run.pid, signal.SIGKILL)
    assert len(list(tmp_path.iterdir())) == 3  # the archive, the work folder and its lock
    assert not (tmp_path / "out").exists()
    extract_archive(archive, tmp_path / "out")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out", "x.tar"]
    assert len(list((tmp_path / "out").iterdir())) == 2000
