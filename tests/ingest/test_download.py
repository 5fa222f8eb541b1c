"""Downloads, from a server on loopback: whole datasets arrive, anything less leaves nothing."""

from __future__ import annotations

import io
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from dataset_files import tree_digest, write_text

from yolofast.errors import DataError
from yolofast.ingest import download_dataset_from_url, fetch_dataset


def archive_bytes() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("data.yaml", "names: [a]\n")
        archive.writestr("train/images/a.jpg", "x" * 5000)
    return buffer.getvalue()


class Answers(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        path, body = urlsplit(self.path).path, archive_bytes()
        if path == "/moved.zip":
            self.send_response(302)
            self.send_header("Location", "/cats.zip")
            self.end_headers()
            return
        if path == "/astray.zip":
            self.send_response(302)
            self.send_header("Location", "http://[bad?key=SECRET")
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
    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


@pytest.mark.parametrize("name", ["cats.zip", "moved.zip", "endless.zip"])
def test_downloads_and_unpacks(server: str, tmp_path: Path, name: str) -> None:
    folder = download_dataset_from_url(f"{server}/{name}", tmp_path / "new" / "cats")
    assert folder == tmp_path / "new" / "cats"
    assert sorted(tree_digest(tmp_path)) == ["new/cats/data.yaml", "new/cats/train/images/a.jpg"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("gone.zip", "answered 404 Not Found, expected a zip archive"),
        ("down.zip", "answered 503"),
        ("broken.zip", "broke off"),
        ("page.zip", "/page.zip: not a zip archive"),
        ("astray.zip", "/astray.zip: cannot be downloaded: it is no address, or the server sent us on"),
    ],
)
def test_failures_leave_nothing_and_show_no_keys(
    server: str, tmp_path: Path, name: str, expected: str
) -> None:
    with pytest.raises(DataError) as caught:
        download_dataset_from_url(f"{server}/{name}?key=SECRET", tmp_path / "cats")
    assert expected in str(caught.value)
    assert "SECRET" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "url", ["ftp://host/x.zip", "file:///etc/passwd", "cats.zip", "http://", "http://[bad?k=SECRET"]
)
def test_other_addresses_are_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(DataError, match="begins with http") as caught:
        download_dataset_from_url(url, tmp_path / "x")
    assert "SECRET" not in str(caught.value)
    if "://" in url:
        with pytest.raises(DataError, match="begins with http"):
            fetch_dataset(url, tmp_path / "x")
    assert list(tmp_path.iterdir()) == []


def test_no_server(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be downloaded: the connection failed"):
        download_dataset_from_url("http://127.0.0.1:9/x.zip", tmp_path / "x")
    assert list(tmp_path.iterdir()) == []


def test_full_target_is_refused_before_anything_is_sent(tmp_path: Path) -> None:
    write_text(tmp_path / "cats/mine.txt", "precious")
    with pytest.raises(DataError, match="not empty"):
        download_dataset_from_url("http://127.0.0.1:9/x.zip", tmp_path / "cats")


def test_user_files_of_any_name_stay(server: str, tmp_path: Path) -> None:
    mine = write_text(tmp_path / ".cats.download.zip", "precious")
    download_dataset_from_url(f"{server}/cats.zip", tmp_path / "cats")
    assert mine.read_text() == "precious"


def test_fetch_chooses_by_the_source(server: str, tmp_path: Path) -> None:
    assert fetch_dataset(f"{server}/cats.zip?x=1", tmp_path / "out") == tmp_path / "out" / "cats"
    (tmp_path / "local.zip").write_bytes(archive_bytes())
    assert fetch_dataset(str(tmp_path / "local.zip"), tmp_path / "out") == tmp_path / "out" / "local"
    assert fetch_dataset(str(tmp_path / "out"), tmp_path / "elsewhere") == tmp_path / "out"
