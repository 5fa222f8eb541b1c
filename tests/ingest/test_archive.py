"""Archives of every format: valid ones are unpacked, damaged ones leave nothing behind."""

from __future__ import annotations

import gzip
import os
import random
import shutil
import stat
import tarfile
from pathlib import Path

import pytest
from support.archive_files import (
    END,
    ENDINGS,
    archive_bytes,
    global_pax,
    make_archive,
    pax,
    record,
    tar_bytes,
)
from support.dataset_files import tree_digest, write_text

from yolofast.errors import ConfigError, DataError, DatasetNotFoundError
from yolofast.ingest import extract_archive, fetch_dataset, ingest_local
from yolofast.ingest.tar_entries import is_header

FILES = {"data.yaml": "y", "train/": "", "train/ä b.txt": "1", "train/deep/empty.txt": "", "x" * 120: "long"}
LABELS = {f"labels/{i}.txt": f"{i % 7} 0.{i:06} 0.5 0.25 0.125\n" * 40 for i in range(60)}


@pytest.mark.parametrize("ending", ENDINGS)
def test_every_kind_is_unpacked_beside_the_archive(tmp_path: Path, ending: str) -> None:
    archive = make_archive(tmp_path / f"cats.v1.{ending}", FILES)
    folder = ingest_local(archive)
    assert folder == tmp_path / "cats.v1"
    contents = {n: (folder / n).read_text() for n in FILES if not n.endswith("/")}
    assert contents == {n: text for n, text in FILES.items() if not n.endswith("/")}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["cats.v1", archive.name]


@pytest.mark.parametrize("ending", ENDINGS)
def test_the_kind_is_told_by_the_contents_not_by_the_name(tmp_path: Path, ending: str) -> None:
    archive = tmp_path / "cats.jpg"
    archive.write_bytes(archive_bytes(ending, FILES))
    assert (extract_archive(archive, tmp_path / "out") / "data.yaml").read_text() == "y"


@pytest.mark.parametrize("tar_format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_paths_of_more_than_a_hundred_bytes(tmp_path: Path, tar_format: int) -> None:
    names = {f"{'folder' * 16}/{'name' * 15}{i}.txt": str(i) for i in range(3)}
    archive = tmp_path / "x.tar"
    archive.write_bytes(tar_bytes(names, tar_format=tar_format))
    folder = extract_archive(archive, tmp_path / "out")
    assert sorted(p.read_text() for p in folder.iterdir()) == ["0", "1", "2"]


def test_entries_that_other_writers_make(tmp_path: Path) -> None:
    archive = tmp_path / "x.tar"
    parts = [
        global_pax(comment="0" * 40),  # what `git archive` writes
        record("./", b"", b"5"),
        record(b"old/", b""),  # a folder of the oldest tars
        record(b"old/a.txt", b"1", b"\0"),
        pax(mtime="1.5", size="2"),
        record("b.txt", b"22", b"7"),
        record("c.txt", b"333", prefix=b"pre/fix", size=b"\x80" + (3).to_bytes(11, "big")),
    ]
    archive.write_bytes(b"".join(parts) + END)
    folder = extract_archive(archive, tmp_path / "out")
    found = {p.relative_to(folder).as_posix(): p.read_text() for p in folder.rglob("*") if p.is_file()}
    assert found == {"old/a.txt": "1", "b.txt": "22", "pre/fix/c.txt": "333"}


@pytest.mark.parametrize("ending", ["zip", "tar"])
def test_a_single_folder_inside_becomes_the_target_and_macos_files_are_left_out(
    tmp_path: Path, ending: str
) -> None:
    names = {"cats/data.yaml": "y", "cats/a/b.txt": "1", "__MACOSX/cats/._data.yaml": "fork"}
    names |= {"cats/.DS_Store": "x", "cats/a/._b.txt": "fork"}
    folder = extract_archive(make_archive(tmp_path / f"x.{ending}", names), tmp_path / "deep" / "out")
    assert sorted(tree_digest(folder)) == ["a/b.txt", "data.yaml"]


def test_nothing_of_the_archive_but_names_and_contents_is_kept(tmp_path: Path) -> None:
    (tmp_path / "x.tar").write_bytes(record("run.sh", b"1") + END)  # mode 4755, of 1970
    before = os.umask(0o022)
    try:
        folder = extract_archive(tmp_path / "x.tar", tmp_path / "out")
    finally:
        os.umask(before)
    told = (folder / "run.sh").stat()
    assert stat.S_IMODE(told.st_mode) == 0o644
    assert told.st_mtime > 1e9
    assert told.st_uid == os.getuid()


def test_an_archive_inside_stays_packed(tmp_path: Path) -> None:
    inner = archive_bytes("zip", FILES)
    folder = ingest_local(make_archive(tmp_path / "x.tar.gz", {"inner.zip": inner, "a.txt": "1"}))
    assert (folder / "inner.zip").read_bytes() == inner


def test_a_local_folder_is_used_where_it_is(tmp_path: Path) -> None:
    assert ingest_local(tmp_path) == tmp_path
    with pytest.raises(ConfigError, match="is a folder; only archives can be verified"):
        ingest_local(tmp_path, size=3)


def test_hash_and_size_of_a_local_archive(tmp_path: Path) -> None:
    archive = make_archive(tmp_path / "x.tar", FILES)
    before = archive.read_bytes()
    with pytest.raises(
        DataError, match=rf"x\.tar: got {len(before)} bytes, expected 3\. This is not the expected file"
    ):
        fetch_dataset(str(archive), tmp_path / "out", size=3)
    with pytest.raises(
        DataError, match=r"x\.tar: got SHA-256 [0-9a-f]{64}, expected 0{64}\. This is not the expected"
    ):
        fetch_dataset(str(archive), tmp_path / "out", sha256="0" * 64)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == {"x.tar": before}
    with pytest.raises(ConfigError, match="sha256: got 'abc', expected 64 hex digits"):
        ingest_local(archive, sha256="abc")


def test_user_folders_of_any_name_stay(tmp_path: Path) -> None:
    archive = make_archive(tmp_path / "x.zip", {"a.txt": "1"})
    for name in (".x.unpacking", ".x.building-1", ".x.old"):
        write_text(tmp_path / name / "mine.txt", "precious")
    before = tree_digest(tmp_path)
    ingest_local(archive)
    assert {k: v for k, v in tree_digest(tmp_path).items() if not k.startswith("x/")} == before


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("share", [0.02, 0.5, 0.9, 0.999])
def test_a_cut_archive_leaves_nothing(tmp_path: Path, ending: str, share: float) -> None:
    archive = make_archive(tmp_path / f"x.{ending}", LABELS)
    whole = archive.read_bytes()
    archive.write_bytes(whole[: int(len(whole) * share)])
    if ending == "tar" and share == 0.999:  # within the padding after the end mark: nothing is missing
        assert len(list((ingest_local(archive)).iterdir())) == len(LABELS)
        return
    with pytest.raises(
        DataError, match=r"x\.\S+: is damaged or truncated: .*\. Get the archive again\."
    ) as caught:
        ingest_local(archive)
    assert "\n" not in str(caught.value)
    assert [p.name for p in tmp_path.iterdir()] == [archive.name]


@pytest.mark.parametrize("ending", ["zip", "tar.gz", "tar.bz2", "tar.xz"])
def test_a_flipped_bit_never_changes_what_is_unpacked(tmp_path: Path, ending: str) -> None:
    archive = make_archive(tmp_path / f"x.{ending}", LABELS)
    whole, refused = archive.read_bytes(), 0
    contents = [text.encode() for text in LABELS.values()]
    places = range(100, len(whole), max(1, len(whole) // 20))
    for place in places:
        archive.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        try:
            folder = extract_archive(archive, tmp_path / "out")
        except DataError:
            refused += 1
        else:  # a zip has dates and modes that nothing is made of
            assert sorted(p.read_bytes() for p in folder.iterdir()) == sorted(contents)
            shutil.rmtree(folder)
        assert [p.name for p in tmp_path.iterdir()] == [archive.name]
    assert refused >= (10 if ending == "zip" else len(places))


@pytest.mark.parametrize("ending", ["zip", "tar", "tar.gz"])
def test_random_damage_is_told_in_one_line_and_leaves_nothing(tmp_path: Path, ending: str) -> None:
    archive = make_archive(tmp_path / f"x.{ending}", FILES)
    whole, draws, messages = archive.read_bytes(), random.Random(0), list[str]()
    for _ in range(80):
        damaged = bytearray(whole)
        for _ in range(draws.choice([1, 2, 5])):
            place = draws.randrange(min(len(damaged), 6000))
            damaged[place : place + draws.randrange(3)] = draws.randbytes(draws.randrange(3))
        archive.write_bytes(damaged)
        try:
            shutil.rmtree(extract_archive(archive, tmp_path / "out"))
        except DataError as error:
            messages.append(str(error))
        assert [p.name for p in tmp_path.iterdir()] == [archive.name]
    assert len(messages) > 40
    assert not any("\n" in message for message in messages)


EXPECTED = "expected a .zip, .tar, .tar.gz, .tar.bz2 or .tar.xz file."
NO_ARCHIVES = {
    "empty": (b"", f"is empty, {EXPECTED}"),
    "text": (b"some text", f"is not an archive of a supported format, {EXPECTED}"),
    "web page": (
        b"\n<!DOCTYPE html><html>",
        f"is a web page; perhaps the URL requires you to sign in first, {EXPECTED}",
    ),
    "7z": (b"7z\xbc\xaf\x27\x1c\0\4", f"is a 7z archive, {EXPECTED}"),
    "rar": (b"Rar!\x1a\x07\1\0", f"is a RAR archive, {EXPECTED}"),
    "zstd": (b"\x28\xb5\x2f\xfd\0", f"is compressed by zstd, {EXPECTED}"),
    "no files in a tar": (bytes(10240), "the archive contains no files."),
    "no files in a zip": (archive_bytes("zip", {}), "the archive contains no files."),
    "folders only": (archive_bytes("zip", {"a/": "", "a/b/": ""}), "the archive contains no files."),
}


@pytest.mark.parametrize(("contents", "expected"), NO_ARCHIVES.values(), ids=NO_ARCHIVES)
def test_files_that_are_no_archive(tmp_path: Path, contents: bytes, expected: str) -> None:
    archive = tmp_path / "x.zip"
    archive.write_bytes(contents)
    with pytest.raises(DataError) as caught:
        ingest_local(archive)
    assert str(caught.value) == f"{archive}: {expected}"
    assert [p.name for p in tmp_path.iterdir()] == ["x.zip"]


def test_compressed_but_no_tar(tmp_path: Path) -> None:
    (tmp_path / "x.json.gz").write_bytes(gzip.compress(b'{"images": []}' * 100))
    with pytest.raises(DataError, match="is compressed by gzip, but does not contain a tar, expected a"):
        ingest_local(tmp_path / "x.json.gz")


def test_full_target_and_missing_archive(tmp_path: Path) -> None:
    archive = make_archive(tmp_path / "x.zip", {"a.txt": "1"})
    write_text(tmp_path / "x" / "mine.txt", "precious")
    with pytest.raises(DataError, match="the folder is not empty"):
        ingest_local(archive)
    assert sorted(tree_digest(tmp_path)) == ["x.zip", "x/mine.txt"]
    with pytest.raises(DatasetNotFoundError, match=r"gone\.zip: no such folder or archive\. Give a dataset"):
        ingest_local(tmp_path / "gone.zip")
    with pytest.raises(DataError, match="is not a file"):
        extract_archive(tmp_path, tmp_path / "new")


@pytest.mark.parametrize("fill", [b"\x01", b"a", b"\x7f", b"\xff"])
@pytest.mark.parametrize("signed", [False, True])
def test_the_checksum_of_a_header_is_the_sum_of_its_bytes(fill: bytes, signed: bool) -> None:
    rest = random.Random(fill).randbytes(20)
    header = fill * 100 + rest + fill * 28 + b" " * 8 + fill * 356
    total = sum(byte - 256 * (signed and byte > 127) for byte in header)
    written = header[:148] + b"%06o\0 " % (total % (1 << 18)) + header[156:]
    assert is_header(written) == (total >= 0)
    assert not is_header(written[:400] + bytes([written[400] ^ 1]) + written[401:])
