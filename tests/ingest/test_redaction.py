"""Keys are hidden in all that is logged and printed while a download runs, however they are written."""

from __future__ import annotations

import base64
import http.client
import logging
import sys
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest
from support.archive_files import zip_bytes
from support.download_server import running

from yolofast.errors import DataError
from yolofast.ingest import download_dataset_from_url, transfer
from yolofast.ingest.redaction import Secrets, hidden

KEY = "rf_S3C/RET+x y"
FORMS = {
    "as it is": KEY,
    "quoted": quote(KEY, safe=""),
    "quoted, path": quote(KEY),
    "quoted, plus": quote_plus(KEY),
    "quoted, lower case": quote(KEY, safe="").replace("%2F", "%2f").replace("%2B", "%2b"),
    "quoted twice": quote(quote(KEY, safe=""), safe=""),
    "every character quoted": "".join(f"%{ord(c):02X}" for c in KEY),
    "JSON": KEY.replace("/", "\\/"),
    "JSON, escaped": "".join(f"\\u{ord(c):04x}" for c in KEY),
    **{
        f"base64 after {n} bytes": base64.b64encode(b"user:x"[:n] + KEY.encode() + b":y").decode()
        for n in range(4)
    },
    "base64 for URLs": base64.urlsafe_b64encode(KEY.encode()).decode(),
}
CORES = (KEY, "S3C", "M0M", "UzND", "MzQ", "MUzQ")


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_every_way_to_write_a_key(form: str) -> None:
    shown = Secrets(KEY).hide(f"before {form} after")
    assert "***" in shown
    assert shown.startswith("before ")
    assert shown.endswith(" after")
    assert len(shown) < len("before *** after") + 12  # of base64, what also depends on the neighbours stays
    assert form not in shown


def test_logs_of_any_logger_and_output(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    others = logging.getLogger("somebody.else")
    with hidden(Secrets(KEY)):
        others.debug("a %s b %d", KEY, 3)
        others.warning({"key": KEY})
        try:
            raise ValueError(KEY)
        except ValueError:
            others.exception("failed")
        print("out", KEY)
        print("err", quote_plus(KEY), file=sys.stderr)
    printed = capsys.readouterr()
    assert printed.out == "out ***\n"
    assert printed.err == "err ***\n"
    assert "a *** b 3" in caplog.text
    assert "ValueError: ***" in caplog.text
    assert KEY not in caplog.text
    others.debug(KEY)
    assert KEY in caplog.text  # only while it runs


class Echo(BaseHTTPRequestHandler):
    """Echoes the URL, and what it was told to be, wherever a server can."""

    def do_GET(self) -> None:
        if self.path.startswith("/moved"):
            self.send_response(302, self.path)
            self.send_header("Location", "/gone.zip?signature=0ther-S3CRET")
        elif self.path.startswith("/cats"):
            body = zip_bytes({"a.txt": "1"})
            self.send_response(200, self.path)
            self.send_header("ETag", f'"{self.path}"')
            self.send_header("Content-Length", str(2 * len(body)))
            self.end_headers()
            self.wfile.write(body)
            return
        else:
            self.send_response(404, f"\x1b[2J no {self.path} {self.headers['Authorization']}")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Keep the test output quiet."""


@pytest.mark.parametrize("path", ["moved.zip", "cats.zip"])
def test_a_server_that_echoes_and_libraries_that_print(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
    path: str,
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setattr(http.client.HTTPConnection, "debuglevel", 1)
    monkeypatch.setattr(transfer, "sleep", lambda _: None)
    with running(Echo) as address:
        url = address.replace("://", "://me:p4ss-S3CRET@") + f"/{path}?api_key=k3y-S3CRET&x=%2BS3CRET%2F"
        with pytest.raises(DataError) as caught:
            download_dataset_from_url(url, tmp_path / "cats", retries=1)
    printed = capsys.readouterr()
    assert "send: " in printed.out  # what http.client prints
    assert "GET /" in caplog.text
    files = [file.read_bytes().decode("latin-1") for file in tmp_path.rglob("*") if file.is_file()]
    for text in (printed.out, printed.err, caplog.text, str(caught.value), *files):
        assert "S3CRET" not in text
        assert base64.b64encode(b"me:p4ss-S3CRET").decode() not in text
        assert "\x1b" not in text
