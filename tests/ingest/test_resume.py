"""Interrupted downloads are resumed, in the same run and in later ones."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest
from support.archive_files import archive_bytes
from support.dataset_files import tree_digest, write_text
from support.download_server import Served, serving

from yolofast.errors import DataError
from yolofast.ingest import download, download_dataset_from_url, transfer
from yolofast.ingest.partial import PartialFile
from yolofast.ingest.urls import name_from_url

NOISE = np.random.default_rng(0).bytes(300_000)
FILES = {"data.yaml": "names: [a]\n", "train/images/a.jpg": NOISE}
BODY = archive_bytes("tar.gz", FILES)
OTHER = archive_bytes("tar.gz", {"data.yaml": "names: [b]\n", "train/images/a.jpg": NOISE[::-1]})
HASH = hashlib.sha256(BODY).hexdigest()
DATE = "Sun, 06 Nov 1994 08:49:37 GMT"


@pytest.fixture
def served() -> Iterator[Served]:
    with serving(Served(BODY)) as one:
        yield one


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The waits between tries, which do not happen."""
    recorded = list[float]()
    monkeypatch.setattr(transfer, "sleep", recorded.append)
    return recorded


def is_installed(tmp_path: Path, name: bytes = b"a") -> bool:
    """Whether the dataset is there, and nothing else."""
    assert sorted(tree_digest(tmp_path)) == ["cats/data.yaml", "cats/train/images/a.jpg"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["cats"]
    return (tmp_path / "cats/data.yaml").read_bytes() == b"names: [%b]\n" % name


def interrupt(served: Served, target: Path, cut: int = 100_000) -> Path:
    """Break a download off for good after `cut` bytes; returns the folder that is kept."""
    served.cuts = [cut]
    with pytest.raises(DataError, match="cannot be downloaded: the connection"):
        download_dataset_from_url(f"{served.url}?key=S3CRET", target, retries=0)
    (folder,) = target.parent.iterdir()
    assert (folder / "contents").stat().st_size == cut
    return folder


def again(served: Served, target: Path) -> None:
    download_dataset_from_url(f"{served.url}?key=S3CRET", target, retries=0)


def test_goes_on_in_the_same_run(served: Served, tmp_path: Path, waits: list[float]) -> None:
    served.cuts = [100_000, 50_000, 0]
    download_dataset_from_url(served.url, tmp_path / "cats")
    assert served.asked == [None, "bytes=100000-", "bytes=150000-", "bytes=150000-"]
    assert served.conditions == [None, '"v1"', '"v1"', '"v1"']
    assert served.answered == [200, 206, 206, 206]
    assert waits == [1, 2, 4]
    assert is_installed(tmp_path)


def test_gives_up_with_a_message_and_goes_on_in_a_later_run(served: Served, tmp_path: Path) -> None:
    served.cuts = [100_000, 0]
    with pytest.raises(DataError) as caught:
        download_dataset_from_url(f"{served.url}?key=S3CRET", tmp_path / "cats", retries=1)
    (kept,) = tmp_path.iterdir()
    assert str(caught.value) == (
        f"{served.url}: cannot be downloaded: the connection failed or was interrupted (2 attempts). "
        f"100000 of {len(BODY)} bytes are kept in '{kept}': the same command resumes there; remove that "
        "folder to discard them."
    )
    again(served, tmp_path / "cats")
    assert served.asked == [None, "bytes=100000-", "bytes=100000-"]
    assert is_installed(tmp_path)


def test_what_is_kept_holds_no_key_and_no_address(served: Served, tmp_path: Path) -> None:
    folder = interrupt(served, tmp_path / "cats")
    assert folder.name.startswith(".cats.partial-")
    record = json.loads((folder / "version.json").read_text())
    assert (record["validator"], record["total"], record["size"]) == ('"v1"', len(BODY), 100_000)
    for file in folder.iterdir():
        assert b"S3CRET" not in file.read_bytes()
        assert b"127.0.0.1" not in file.read_bytes()


def test_another_address_or_target_begins_anew(served: Served, tmp_path: Path) -> None:
    interrupt(served, tmp_path / "cats")
    download_dataset_from_url(f"{served.url}?key=other", tmp_path / "dogs")
    download_dataset_from_url(f"{served.url}?key=other", tmp_path / "cats")
    assert served.asked == [None, None, None]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["cats", "dogs"]  # the stale part is gone too


def test_a_changed_file_begins_anew(served: Served, tmp_path: Path) -> None:
    interrupt(served, tmp_path / "cats")
    served.body, served.etag = OTHER, '"v2"'
    again(served, tmp_path / "cats")
    assert served.asked == [None, "bytes=100000-"]
    assert served.answered == [200, 200]
    assert is_installed(tmp_path, b"b")


def test_a_server_that_ignores_ranges(served: Served, tmp_path: Path) -> None:
    served.ranges, served.cuts = False, [100_000, 200_000]
    download_dataset_from_url(served.url, tmp_path / "cats")
    assert served.asked == [None, "bytes=100000-", "bytes=200000-"]
    assert served.answered == [200, 200, 200]
    assert is_installed(tmp_path)


def test_a_file_that_is_shorter_now(served: Served, tmp_path: Path) -> None:
    interrupt(served, tmp_path / "cats", 280_000)
    served.statuses = [(416, {})]
    again(served, tmp_path / "cats")
    assert served.asked == [None, "bytes=280000-", None]
    assert served.answered == [200, 416, 200]
    assert is_installed(tmp_path)


@pytest.mark.parametrize(
    "claim", ["bytes 0-9/300", "bytes 99999-200000/300000", "bytes 100000-200000/7", "nonsense"]
)
def test_a_part_that_does_not_fit_begins_anew(served: Served, tmp_path: Path, claim: str) -> None:
    interrupt(served, tmp_path / "cats")
    served.content_ranges = [claim]
    again(served, tmp_path / "cats")
    assert served.answered == [200, 206, 200]
    assert is_installed(tmp_path)


def test_a_date_proves_nothing(served: Served, tmp_path: Path) -> None:
    served.etag, served.last_modified, served.cuts = 'W/"weak"', DATE, [100_000]
    download_dataset_from_url(served.url, tmp_path / "cats", retries=1)
    assert served.asked == [None, None]
    assert is_installed(tmp_path)


@pytest.mark.parametrize("date", [DATE, None])
def test_a_known_hash_proves_what_a_date_does_not(served: Served, tmp_path: Path, date: str | None) -> None:
    served.etag, served.last_modified, served.cuts = None, date, [100_000]
    download_dataset_from_url(served.url, tmp_path / "cats", retries=1, sha256=HASH)
    assert served.asked == [None, "bytes=100000-"]
    assert served.conditions == [None, date]
    assert is_installed(tmp_path)


def test_two_versions_that_a_date_cannot_tell_apart(served: Served, tmp_path: Path) -> None:
    served.etag, served.last_modified, served.cuts = None, DATE, [100_000]
    served.body = OTHER[:100_000] + BODY[100_000:]  # nobody has this file: it is two versions, joined
    served.later_body = BODY
    download_dataset_from_url(served.url, tmp_path / "cats", retries=1, sha256=HASH)
    assert served.asked == [None, "bytes=100000-", None]
    assert is_installed(tmp_path)


@pytest.mark.parametrize("etag", ['"v2"', 'W/"v1"', None])
def test_a_part_of_another_version_begins_anew(served: Served, tmp_path: Path, etag: str | None) -> None:
    size = max(len(BODY), len(OTHER))
    served.body = BODY + bytes(size - len(BODY))  # gzip allows zeros at the end
    interrupt(served, tmp_path / "cats")
    served.ignores_conditions, served.etag, served.body = True, etag, OTHER + bytes(size - len(OTHER))
    again(served, tmp_path / "cats")
    assert served.asked == [None, "bytes=100000-", None]
    assert is_installed(tmp_path, b"b")


@pytest.mark.parametrize("etag", [None, 'W/"weak"', "unquoted"])
def test_without_a_version_nothing_is_kept(
    served: Served, tmp_path: Path, etag: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    served.etag, served.cuts = etag, [100_000, 100_000]
    with pytest.raises(DataError, match=r"was interrupted \(2 attempts\)\. Try again later") as caught:
        download_dataset_from_url(served.url, tmp_path / "cats", retries=1)
    assert served.asked == [None, None]
    for said in (str(caught.value), caplog.text):
        assert re.search(r"anew, without the \d+ bytes received: the server sends no strong ETag", said)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("said", "waited"),
    [("7", 7), ("100000", 120), (None, 1), ("soon", 1), (formatdate(0, usegmt=True), 0)],
)
@pytest.mark.parametrize("status", [429, 503])
def test_the_server_says_when_to_come_back(
    served: Served, tmp_path: Path, waits: list[float], status: int, said: str | None, waited: float
) -> None:
    served.statuses = [(status, {} if said is None else {"Retry-After": said})]
    download_dataset_from_url(served.url, tmp_path / "cats")
    assert waits == [waited]
    assert is_installed(tmp_path)


def test_a_date_to_come_back_at(served: Served, tmp_path: Path, waits: list[float]) -> None:
    served.statuses = [(503, {"Retry-After": formatdate(time.time() + 60, usegmt=True)})]
    download_dataset_from_url(served.url, tmp_path / "cats")
    assert waits == [pytest.approx(60, abs=5)]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410])
def test_refusals_are_not_asked_again(served: Served, tmp_path: Path, status: int) -> None:
    served.statuses = [(status, {})]
    with pytest.raises(DataError, match=f"the server answered {status} "):
        download_dataset_from_url(served.url, tmp_path / "cats")
    assert served.answered == [status]
    assert list(tmp_path.iterdir()) == []


def test_a_refusal_in_a_later_run_keeps_what_is_there(served: Served, tmp_path: Path) -> None:
    interrupt(served, tmp_path / "cats")
    served.statuses = [(403, {})]
    with pytest.raises(DataError, match="the server answered 403"):
        again(served, tmp_path / "cats")
    again(served, tmp_path / "cats")
    assert served.answered == [200, 403, 206]
    assert is_installed(tmp_path)


def test_wrong_hash_of_a_resumed_file_leaves_nothing(served: Served, tmp_path: Path) -> None:
    interrupt(served, tmp_path / "cats")
    with pytest.raises(DataError, match="got SHA-256"):
        download_dataset_from_url(f"{served.url}?key=S3CRET", tmp_path / "cats", sha256="0" * 64)
    assert served.answered == [200, 206]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("states_length", [True, False])
def test_wrong_size_and_cap_of_a_resumed_file_leave_nothing(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, states_length: bool
) -> None:
    interrupt(served, tmp_path / "cats")
    served.states_length = states_length
    with pytest.raises(DataError, match=f"got {len(BODY)} bytes, expected 7"):
        download_dataset_from_url(f"{served.url}?key=S3CRET", tmp_path / "cats", size=7)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(transfer, "MAX_ARCHIVE_BYTES", 150_000)
    with pytest.raises(DataError, match=r"has \d+ bytes or more, expected at most 150000"):
        download_dataset_from_url(served.url, tmp_path / "cats")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("states_length", [True, False])
def test_wrong_hash_of_a_file_that_could_be_resumed(
    served: Served, tmp_path: Path, states_length: bool
) -> None:
    served.states_length = states_length
    with pytest.raises(DataError, match="got SHA-256"):
        download_dataset_from_url(served.url, tmp_path / "cats", sha256="0" * 64)
    assert list(tmp_path.iterdir()) == []


def test_a_part_of_the_part_asked_for(served: Served, tmp_path: Path) -> None:
    interrupt(served, tmp_path / "cats")
    served.states_length, served.cuts = False, [50_000]
    download_dataset_from_url(f"{served.url}?key=S3CRET", tmp_path / "cats", retries=1)
    assert served.asked == [None, "bytes=100000-", "bytes=150000-"]
    assert is_installed(tmp_path)


def test_a_full_disk_is_not_left_full(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(part: PartialFile, block: bytes) -> None:
        if part.size > 100_000:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write_block(part, block)

    write_block = PartialFile.write
    monkeypatch.setattr(PartialFile, "write", write)
    with pytest.raises(DataError, match=r"cats: cannot be written: No space left on device"):
        download_dataset_from_url(served.url, tmp_path / "cats")
    assert list(tmp_path.iterdir()) == []


def test_a_hostile_archive_leaves_nothing(served: Served, tmp_path: Path) -> None:
    served.body = archive_bytes("tar.gz", {"../x": NOISE})
    with pytest.raises(DataError, match=r"cats\.tar\.gz: entry '\.\./x' is a path with '\.\.': refused"):
        download_dataset_from_url(served.url, tmp_path / "cats")
    assert list(tmp_path.iterdir()) == []


def test_interrupted_by_the_user(served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: float) -> None:
        raise KeyboardInterrupt

    served.cuts = [100_000]
    monkeypatch.setattr(transfer, "sleep", interrupted)
    with pytest.raises(KeyboardInterrupt):
        download_dataset_from_url(served.url, tmp_path / "cats")
    download_dataset_from_url(served.url, tmp_path / "cats")
    assert served.answered == [200, 206]
    assert is_installed(tmp_path)


DOWNLOAD = """
import sys
from yolofast.ingest import download_dataset_from_url, partial
partial.SAVE_EVERY_S = 0
download_dataset_from_url(*sys.argv[1:])
"""


def test_killed_while_downloading_then_run_again(served: Served, tmp_path: Path) -> None:
    served.cuts, served.stalls = [200_000], True
    with subprocess.Popen([sys.executable, "-c", DOWNLOAD, served.url, str(tmp_path / "cats")]) as run:
        while sum(p.stat().st_size for p in tmp_path.glob(".cats.partial-*/contents")) < 12 << 14:
            assert run.poll() is None
            time.sleep(0.01)
        time.sleep(0.05)
        with pytest.raises(DataError, match="another run is downloading the same file there"):
            download_dataset_from_url(served.url, tmp_path / "cats")
        os.kill(run.pid, signal.SIGKILL)
    served.released.set()
    download_dataset_from_url(served.url, tmp_path / "cats")
    assert served.asked == [None, f"bytes={12 << 14}-"]  # whole blocks of 16 kB
    assert is_installed(tmp_path)


def test_a_whole_file_of_a_killed_run_is_not_asked_for_again(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(download, "extract_archive", killed)
        with pytest.raises(KeyboardInterrupt):
            again(served, tmp_path / "cats")
    again(served, tmp_path / "cats")
    assert served.asked == [None]
    assert is_installed(tmp_path)


def test_a_flipped_byte_in_what_is_kept_begins_anew(served: Served, tmp_path: Path) -> None:
    for name, place in (("contents", 7), ("contents", 99_999), ("version.json", 20), ("version.json", 60)):
        file = interrupt(served, tmp_path / "cats") / name
        damaged = bytearray(file.read_bytes())
        damaged[place] ^= 1
        file.write_bytes(damaged)
        again(served, tmp_path / "cats")
        assert served.asked[-1] is None
        assert is_installed(tmp_path)
        shutil.rmtree(tmp_path / "cats")


def test_bytes_that_the_record_does_not_know_are_dropped(served: Served, tmp_path: Path) -> None:
    with (interrupt(served, tmp_path / "cats") / "contents").open("ab") as contents:
        contents.write(b"half a block")
    again(served, tmp_path / "cats")
    assert served.asked == [None, "bytes=100000-"]
    assert is_installed(tmp_path)


def test_what_a_run_left_that_was_killed_at_its_very_end(served: Served, tmp_path: Path) -> None:
    folder = interrupt(served, tmp_path / "cats")
    write_text(tmp_path / "cats/data.yaml", "names: [a]\n")
    with pytest.raises(DataError, match="the folder is not empty"):
        again(served, tmp_path / "cats")
    assert not folder.exists()
    assert (tmp_path / "cats/data.yaml").exists()


@pytest.mark.parametrize("record", ["", "[]", '{"validator": 3, "total": "x"}', '{"validator": "a'])
def test_a_broken_record_begins_anew(served: Served, tmp_path: Path, record: str) -> None:
    write_text(interrupt(served, tmp_path / "cats") / "version.json", record)
    again(served, tmp_path / "cats")
    assert served.asked == [None, None]
    assert is_installed(tmp_path)


def test_a_folder_of_the_user_is_in_the_way(served: Served, tmp_path: Path) -> None:
    folder = interrupt(served, tmp_path / "cats")
    (folder / "made-by-yolofast").unlink()
    with pytest.raises(DataError, match=r"partial-\w+: exists and was not made by yolofast"):
        again(served, tmp_path / "cats")
    assert (folder / "contents").read_bytes() == BODY[:100_000]


def test_what_a_killed_removal_left_is_taken_over(served: Served, tmp_path: Path) -> None:
    folder = interrupt(served, tmp_path / "cats")
    for name in ("contents", "version.json"):
        (folder / name).unlink()
    again(served, tmp_path / "cats")
    assert served.asked == [None, None]
    assert is_installed(tmp_path)


def test_a_part_that_another_run_is_at_stays(served: Served, tmp_path: Path) -> None:
    folder = interrupt(served, tmp_path / "cats")
    with (folder / "contents").open("rb") as contents:
        fcntl.flock(contents, fcntl.LOCK_EX)
        download_dataset_from_url(f"{served.url}?key=other", tmp_path / "cats")
        assert sorted(p.name for p in tmp_path.iterdir()) == [folder.name, "cats"]


def test_a_target_whose_name_fills_a_file_name(served: Served, tmp_path: Path) -> None:
    target = tmp_path / ("n" * 255)
    interrupt(served, target)
    again(served, target)
    assert served.asked == [None, "bytes=100000-"]
    assert (target / "data.yaml").exists()
    assert list(tmp_path.iterdir()) == [target]


def test_a_name_in_the_url_whose_characters_have_many_bytes(tmp_path: Path) -> None:
    name = name_from_url("http://host.example/" + quote("\U0001f408" * 120) + ".zip")
    (tmp_path / name).mkdir()
    assert name == "\U0001f408" * 63
