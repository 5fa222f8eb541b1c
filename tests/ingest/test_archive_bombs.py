"""Decompression bombs of every kind are refused at once, in little memory, and leave nothing."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest
from support.archive_bombs import BOMBS
from support.archive_files import END, make_archive, record
from support.chaos import python

from yolofast.errors import DataError
from yolofast.ingest import archive_tree, extract_archive, safe_paths

UNPACK = """
import json, pathlib, resource, sys, time
from yolofast.errors import DataError
from yolofast.ingest import extract_archive
resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))
said = {}
for archive in map(pathlib.Path, sys.argv[1:]):
    begun = time.process_time()
    try:
        extract_archive(archive, archive.with_name("out"))
    except DataError as error:
        said[archive.name] = str(error), time.process_time() - begun
print(json.dumps(said))
"""
REASONS = {
    "zip: zeros": "would unpack 1141 bytes to 1073741824 or more",
    "zip: entries that share their bytes": "has entries that share the same bytes",
    "zip: bzip2 that states less": "entry 'a.txt' has more than the 1000 bytes that it states",
    "zip: LZMA with a dictionary of 4 GB": "needs more than 128 MB of memory to decompress",
    "zip: a path of 1,900 folders, a thousand times": "is in more than 64 folders, one in another",
    "zip: folders by the hundred thousand": "contains more than 100000 folders",
    "zip: entries by the million": "has entries that share the same bytes",
    "zip: a Zip64 end with absurd numbers": "its central directory begins before the archive does",
    "tar.gz: empty entries by the million": "bytes of headers",
    "tar.gz: extension headers in a row": "has extension headers of",
    "tar.gz: small extension headers in a row": "has extension headers of",
    "tar.gz: global headers in a row": "has extension headers of",
    "tar.gz: pax records by the million": "has a pax header of more than 200 records",
    "tar.gz: extension headers, then entries": "bytes of headers",
    "tar.gz: padding": "empty bytes follow its end mark",
    "tar.gz: empty streams": "is more than 1000 joined streams with almost nothing in them",
    "tar.gz: a name without an end": "it ends within compressed data",
    "tar.bz2: empty streams": "is more than 1000 joined streams with almost nothing in them",
    "tar.xz: empty streams": "is more than 1000 joined streams with almost nothing in them",
    "tar.xz: a dictionary of 4 GB": "needs more than 128 MB of memory to decompress",
}


def test_bombs_are_refused_at_once(tmp_path: Path) -> None:
    archives = [tmp_path / f"{number}.archive" for number, _ in enumerate(REASONS)]
    for archive, name in zip(archives, REASONS, strict=True):
        archive.write_bytes(BOMBS[name]())
    ran = python(UNPACK, *archives)
    assert not ran.crashed, ran.err
    said = json.loads(ran.out)
    for archive, (name, reason) in zip(archives, REASONS.items(), strict=True):
        assert archive.name in said, f"{name} was unpacked"
        message, seconds = said[archive.name]
        assert reason in message, name
        assert "\n" not in message
        assert seconds < 1, name
    assert ran.peak_mb < 200
    assert sorted(tmp_path.iterdir()) == sorted(archives)


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_limits_that_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    archive = make_archive(tmp_path / f"x.{kind}", {f"{i}/a/b.txt": "1" for i in range(3)})
    with monkeypatch.context() as patch:
        patch.setattr(archive_tree, "MAX_ARCHIVE_FOLDERS", 5)
        with pytest.raises(DataError, match=r"contains more than 5 folders \(YOLOFAST_MAX_ARCHIVE_FOLDERS"):
            extract_archive(archive, tmp_path / "out")
    with monkeypatch.context() as patch:
        patch.setattr(safe_paths, "MAX_ARCHIVE_DEPTH", 1)
        with pytest.raises(DataError, match=r"entry '0/a/b\.txt' is in more than 1 folders, one in another"):
            extract_archive(archive, tmp_path / "out")
    with monkeypatch.context() as patch:
        patch.setattr(safe_paths, "MAX_ARCHIVE_NAME_BYTES", 20)
        with pytest.raises(DataError, match="contains paths of more than 20 bytes together"):
            extract_archive(archive, tmp_path / "out")
    assert len(list(extract_archive(archive, tmp_path / "out").rglob("b.txt"))) == 3


def test_a_disk_without_space_is_told_before_anything_is_unpacked(tmp_path: Path) -> None:
    (tmp_path / "x.tar").write_bytes(record("a", size=b"\x80" + (1 << 39).to_bytes(11, "big")) + END)
    with pytest.raises(DataError) as caught:
        extract_archive(tmp_path / "x.tar", tmp_path / "out")
    assert "would unpack" in str(caught.value) or "MB free" in str(caught.value)
    assert [p.name for p in tmp_path.iterdir()] == ["x.tar"]


@pytest.mark.parametrize(
    "method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
)
def test_every_method_of_zip_and_zip64(tmp_path: Path, method: int) -> None:
    contents = b"0 0.5 0.5 0.25 0.25\n" * 40_000
    with zipfile.ZipFile(tmp_path / "x.zip", "w", method) as archive:
        for name in ("a.txt", "\u00e4.txt"):
            with archive.open(name, "w", force_zip64=True) as entry:
                entry.write(contents)
    with (tmp_path / "x.zip").open("ab") as file:
        file.write(b"bytes behind the end")
    (tmp_path / "x.zip").write_bytes(b"a program in front" + (tmp_path / "x.zip").read_bytes())
    (tmp_path / "y.zip").write_bytes((tmp_path / "x.zip").read_bytes()[18:])
    folder = extract_archive(tmp_path / "y.zip", tmp_path / "out")
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == {"a.txt": contents, "\u00e4.txt": contents}


def test_a_directory_that_is_not_what_its_end_states(tmp_path: Path) -> None:
    whole = make_archive(tmp_path / "x.zip", {f"{i}.txt": "1" for i in range(3)}).read_bytes()
    place = whole.rindex(b"PK\x05\x06") + 8
    (tmp_path / "y.zip").write_bytes(whole[:place] + b"\x02\0\x02\0" + whole[place + 4 :])
    with pytest.raises(DataError, match="its directory has 3 entries and its end states 2"):
        extract_archive(tmp_path / "y.zip", tmp_path / "out")
