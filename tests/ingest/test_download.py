"""Downloads, from a server on loopback: complete datasets are installed, failures leave nothing behind."""

from __future__ import annotations

import hashlib
import logging
import sys
import traceback
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from support.archive_files import archive_bytes
from support.dataset_files import tree_digest, write_text
from support.download_server import running

from yolofast.cli import main
from yolofast.errors import ConfigError, DataError
from yolofast.ingest import download_dataset_from_url, fetch_dataset, transfer

KEY = "S3CRET"
FILES = {"data.yaml": "names: [a]\n", "train/images/a.jpg": "x" * 5000}
BODIES = {f"/cats.{ending}": archive_bytes(ending, FILES) for ending in ("zip", "tar", "tar.gz")}
REDIRECTS = {
    "/moved.zip": "/cats.zip",
    "/astray.zip": "http://[bad?key=S3CRET",
    "/to-ftp.zip": "ftp://127.0.0.1/x?key=S3CRET",
    "/to-file.zip": "file:///etc/passwd",
    "/round.zip": "/round.zip?key=S3CRET",
}


class Answers(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        body = BODIES.get(path, BODIES["/cats.zip"])
        if path in REDIRECTS:
            self.send_response(302)
            self.send_header("Location", REDIRECTS[path])
            self.end_headers()
            return
        if path == "/page.zip":
            body = b"<html>sign in first</html>"
        self.send_response({"/gone.zip": 404, "/down.zip": 503}.get(path, 200))
        if path != "/endless.zip":
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if path == "/broken.zip" else body)

    def log_message(self, *_: object) -> None:
        """Keep the test output quiet."""


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with running(Answers) as address:
        yield address


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The waits between tries, which do not happen."""
    recorded = list[float]()
    monkeypatch.setattr(transfer, "sleep", recorded.append)
    return recorded


@pytest.mark.parametrize("name", ["cats.zip", "cats.tar", "cats.tar.gz", "moved.zip", "endless.zip"])
def test_downloads_and_unpacks(server: str, tmp_path: Path, name: str) -> None:
    folder = download_dataset_from_url(f"{server}/{name}", tmp_path / "new" / "cats")
    assert folder == tmp_path / "new" / "cats"
    assert sorted(tree_digest(tmp_path)) == ["new/cats/data.yaml", "new/cats/train/images/a.jpg"]


WANTED = "expected a zip or tar archive. Check the address."
ASTRAY = "cannot be downloaded: the URL, or one that the server redirected to, is invalid."
NO_WEB = "the server redirected to a URL that does not begin with http:// or https://."
FAILURES = {
    "gone.zip": f"the server answered 404 Not Found, {WANTED}",
    "down.zip": "cannot be downloaded: the server answered 503 Service Unavailable (3 attempts). "
    "Try again later.",
    "broken.zip": "cannot be downloaded: the connection failed or was interrupted (3 attempts). "
    "Try again later.",
    "page.zip": "is a web page; perhaps the URL requires you to sign in first, expected a .zip, .tar, "
    ".tar.gz, .tar.bz2 or .tar.xz file.",
    "astray.zip": f"{ASTRAY} Check the address.",
    "to-ftp.zip": f"cannot be downloaded: {NO_WEB} Check the address.",
    "to-file.zip": f"cannot be downloaded: {NO_WEB} Check the address.",
    "round.zip": "cannot be downloaded: the server redirects endlessly. Check the address.",
}


@pytest.mark.parametrize(("name", "expected"), FAILURES.items(), ids=FAILURES)
def test_failures_leave_nothing_and_show_no_keys(
    server: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, expected: str
) -> None:
    caplog.set_level(logging.DEBUG)
    address = server.replace("://", f"://me:{KEY}@")
    with pytest.raises(DataError) as caught:
        download_dataset_from_url(f"{address}/{name}?key={KEY}", tmp_path / "cats", retries=2)
    assert str(caught.value).partition(" It begins anew, ")[0] == f"{server}/{name}: {expected}"
    assert KEY not in "".join(traceback.format_exception(caught.value, chain=True))
    assert caught.value.__context__ is None or KEY not in repr(caught.value.__context__)
    assert any("urllib3" in record.name for record in caplog.records)
    assert KEY not in caplog.text
    assert list(tmp_path.iterdir()) == []


def test_logging_of_others_is_as_before(server: str, tmp_path: Path) -> None:
    before = logging.getLogRecordFactory(), sys.stdout, sys.stderr
    download_dataset_from_url(f"{server}/cats.zip", tmp_path / "cats")
    assert (logging.getLogRecordFactory(), sys.stdout, sys.stderr) == before


@pytest.mark.parametrize(
    "url", ["ftp://host/x.zip", "file:///etc/passwd", "cats.zip", "http://", "http://[bad?k=S3CRET"]
)
def test_other_addresses_are_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(DataError, match="begins with http") as caught:
        download_dataset_from_url(url, tmp_path / "x")
    assert KEY not in str(caught.value)
    if "://" in url:
        with pytest.raises(DataError, match="begins with http"):
            fetch_dataset(url, tmp_path / "x")
    assert list(tmp_path.iterdir()) == []


def test_no_server(tmp_path: Path, waits: list[float]) -> None:
    reason = r"the connection failed or was interrupted \(6 attempts\)\. Try again later"
    expected = rf"9/x\.zip: cannot be downloaded: {reason}"
    with pytest.raises(DataError, match=expected):
        download_dataset_from_url("http://127.0.0.1:9/x.zip", tmp_path / "x")
    assert waits == [1, 2, 4, 8, 16]
    assert list(tmp_path.iterdir()) == []


def test_full_target_is_refused_before_anything_is_sent(tmp_path: Path) -> None:
    write_text(tmp_path / "cats/mine.txt", "precious")
    with pytest.raises(DataError, match="not empty"):
        download_dataset_from_url("http://127.0.0.1:9/x.zip", tmp_path / "cats")


def test_user_files_of_any_name_stay(server: str, tmp_path: Path) -> None:
    mine = write_text(tmp_path / ".cats.download.zip", "precious")
    also_mine = write_text(tmp_path / ".cats.partial-0123456789abcdef/contents", "precious")
    download_dataset_from_url(f"{server}/cats.zip", tmp_path / "cats")
    assert mine.read_text() == also_mine.read_text() == "precious"


def test_fetch_chooses_by_the_source(server: str, tmp_path: Path) -> None:
    assert fetch_dataset(f"{server}/cats.tar.gz?x=1", tmp_path / "out") == tmp_path / "out" / "cats"
    (tmp_path / "local.v2.tar.gz").write_bytes(BODIES["/cats.tar.gz"])
    local = fetch_dataset(str(tmp_path / "local.v2.tar.gz"), tmp_path / "out")
    assert local == tmp_path / "out" / "local.v2"
    assert fetch_dataset(str(tmp_path / "out"), tmp_path / "elsewhere") == tmp_path / "out"


@pytest.mark.parametrize("name", ["%2e%2e%2f%2e%2e", "..", ".zip", "%00", ""])
def test_an_address_cannot_name_a_folder_elsewhere(server: str, tmp_path: Path, name: str) -> None:
    folder = fetch_dataset(f"{server}/{name}?x=1", tmp_path / "out")
    assert folder.parent == tmp_path / "out"
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_right_hash_and_size(server: str, tmp_path: Path) -> None:
    body = BODIES["/cats.zip"]
    digest = hashlib.sha256(body).hexdigest().upper()
    url = f"{server}/cats.zip"
    folder = download_dataset_from_url(url, tmp_path / "cats", sha256=digest, size=len(body))
    assert sorted(tree_digest(folder)) == ["data.yaml", "train/images/a.jpg"]


@pytest.mark.parametrize("name", ["cats.zip", "endless.zip"])
def test_wrong_hash_or_size_leaves_no_dataset(server: str, tmp_path: Path, name: str) -> None:
    url, body = f"{server}/{name}", BODIES["/cats.zip"]
    with pytest.raises(DataError) as caught:
        download_dataset_from_url(url, tmp_path / "cats", sha256="0" * 64)
    assert str(caught.value) == (
        f"{url}: got SHA-256 {hashlib.sha256(body).hexdigest()}, expected {'0' * 64}. This is not the "
        "expected file, or it was modified in transit: do not use it, and check the address and the hash."
    )
    with pytest.raises(DataError) as caught:
        download_dataset_from_url(url, tmp_path / "cats", size=100)
    assert str(caught.value) == (
        f"{url}: got {len(body)} bytes, expected 100. This is not the expected file: "
        "check the address and the expected size."
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["cats.zip", "endless.zip"])
def test_cap_on_bytes(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(transfer, "MAX_ARCHIVE_BYTES", 99)
    with pytest.raises(DataError, match=r"has \d+ bytes or more, expected at most 99"):
        download_dataset_from_url(f"{server}/{name}", tmp_path / "cats")
    assert list(tmp_path.iterdir()) == []


def test_settings_that_are_none(server: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="sha256: got 'xyz', expected 64 hex digits"):
        download_dataset_from_url(f"{server}/cats.zip", tmp_path / "x", sha256="xyz")
    with pytest.raises(ConfigError, match="size: got -1, expected a number of bytes"):
        download_dataset_from_url(f"{server}/cats.zip", tmp_path / "x", size=-1)
    with pytest.raises(ConfigError, match="retries: got -1, expected 0 or more"):
        download_dataset_from_url(f"{server}/cats.zip", tmp_path / "x", retries=-1)
    assert list(tmp_path.iterdir()) == []


def test_command_line(server: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    body, out = BODIES["/cats.zip"], str(tmp_path / "sets")
    command = ["fetch", f"{server}/cats.zip", "--out", out, "--size", str(len(body)), "--retries", "1"]
    assert main([*command, "--sha256", "0" * 64]) == 2
    assert f"yolofast: error: {server}/cats.zip: got SHA-256" in capsys.readouterr().err
    assert main([*command, "--sha256", hashlib.sha256(body).hexdigest()]) == 0
    assert capsys.readouterr().out == f"{out}/cats\nNext: yolofast analyze {out}/cats\n"
    assert [p.name for p in (tmp_path / "sets").iterdir()] == ["cats"]
