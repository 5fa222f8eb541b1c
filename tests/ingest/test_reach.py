"""Redirects into private networks and out of https are refused, unless the user asks for them."""

from __future__ import annotations

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from support.archive_files import zip_bytes
from support.download_server import running

from yolofast.errors import DataError
from yolofast.ingest import download_dataset_from_url
from yolofast.ingest.download import download_and_unpack
from yolofast.ingest.reach import Reach, UnsafeRedirectError, is_private
from yolofast.ingest.redaction import Secrets
from yolofast.ingest.transfer import Download

PUBLIC, PRIVATE = "93.184.215.14", "10.0.0.7"


@pytest.mark.parametrize(
    ("address", "expected"),
    {
        "127.0.0.1": True,
        "10.1.2.3": True,
        "192.168.0.1": True,
        "172.16.0.1": True,
        "169.254.169.254": True,
        "100.100.100.200": True,
        "0.0.0.0": True,
        "::1": True,
        "::": True,
        "fe80::1%eth0": True,
        "fd00::1": True,
        "::ffff:10.0.0.1": True,
        "64:ff9b::a9fe:a9fe": True,
        "2002:7f00:1::": True,
        "93.184.215.14": False,
        "2606:4700::1111": False,
        "64:ff9b::5db8:d70e": False,
        "198.18.0.5": False,  # what a local proxy answers for every name
    }.items(),
)
def test_private_addresses(address: str, expected: bool) -> None:
    assert is_private(address) is expected


def test_a_public_host_may_not_lead_into_the_network() -> None:
    reach = Reach(is_given=True, anywhere=False)
    reach.begin("https://host.example/x.zip")
    reach.check_peer("host.example", PUBLIC)
    reach.check_peer("cdn.example", PUBLIC)
    for host, address in (("cdn.example", PRIVATE), ("host.example", PRIVATE)):  # the second: DNS rebinding
        with pytest.raises(UnsafeRedirectError, match=r"redirected to 10\.0\.0\.7, a private address"):
            reach.check_peer(host, address)
    for url in ("https://169.254.169.254/latest", "https://[::1]/x"):
        with pytest.raises(UnsafeRedirectError, match="a private address"):
            reach.check_redirect("https://host.example/x.zip", url)


@pytest.mark.parametrize(
    ("given", "others", "refused"),
    [
        (
            "10.0.0.7",
            ["192.168.3.4", "172.20.0.1", "::ffff:10.1.1.1"],
            ["127.0.0.1", "169.254.169.254", "::1"],
        ),
        ("127.0.0.1", ["127.0.0.2", "::1"], ["10.0.0.7", "169.254.169.254", "fd00:ec2::254"]),
        ("fd00::1", [], ["fd00:ec2::254", "10.0.0.7"]),
        (PUBLIC, [], ["10.0.0.7", "127.0.0.1"]),
    ],
)
def test_a_server_of_an_intranet_may_lead_to_others_in_it(
    given: str, others: list[str], refused: list[str]
) -> None:
    reach = Reach(is_given=True, anywhere=False)
    for _ in range(2):  # attempts
        reach.begin("http://nas.local./x.zip")
        reach.check_peer("NAS.local", given)
        for address in others:
            reach.check_peer("storage.local", address)
        for address in refused:
            with pytest.raises(UnsafeRedirectError, match="a private address"):
                reach.check_peer("storage.local", address)
        reach.check_peer("cdn.example", PUBLIC)
        reach.check_peer("nas.local", given)
        for address in others:  # where the internet has sent us
            with pytest.raises(UnsafeRedirectError, match="a private address"):
                reach.check_peer("storage.local", address)


def test_https_is_not_left() -> None:
    reach = Reach(is_given=True, anywhere=False)
    reach.begin("https://host.example/x.zip")
    with pytest.raises(UnsafeRedirectError, match="from https to http"):
        reach.check_redirect("https://host.example/x.zip", "http://host.example/x.zip")
    reach.check_redirect("http://host.example/x.zip", "https://host.example/x.zip")
    Reach(is_given=True, anywhere=True).check_redirect("https://host.example/", "http://127.0.0.1/")


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/elsewhere.zip":
                self.send_response(302)
                self.send_header("Location", f"http://localhost:{self.server.server_port}/cats.zip")  # type: ignore[attr-defined]
                self.end_headers()
                return
            self.send_response(200)
            self.end_headers()
            self.wfile.write(zip_bytes({"a.txt": "1"}))

        def log_message(self, *_: object) -> None:
            """Keep the test output quiet."""

    with running(Answers) as address:
        yield address


def test_a_name_that_resolves_to_this_machine(server: str, tmp_path: Path) -> None:
    url = f"{server.replace('127.0.0.1', 'localhost')}/cats.zip"

    def fetched(*, anywhere: bool) -> Path:
        download = Download(url, url, Reach(is_given=False, anywhere=anywhere), Secrets())
        return download_and_unpack(download, tmp_path / "cats", identity=url, retries=0)

    with pytest.raises(DataError) as caught:
        fetched(anywhere=False)
    assert str(caught.value).startswith(f"{url}: cannot be downloaded: the server redirected to ")
    assert str(caught.value).endswith(
        ", a private address. If you trust it, allow it with --unsafe-redirects (unsafe_redirects=True)."
    )
    assert list(tmp_path.iterdir()) == []
    assert (fetched(anywhere=True) / "a.txt").exists()


def test_a_server_on_this_machine_may_call_it_by_another_name(server: str, tmp_path: Path) -> None:
    assert (download_dataset_from_url(f"{server}/elsewhere.zip", tmp_path / "cats") / "a.txt").exists()


def test_a_proxy_resolves_names_itself(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", server)
    for name in ("no_proxy", "NO_PROXY", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    folder = download_dataset_from_url("http://host.example/cats.zip", tmp_path / "cats")
    assert (folder / "a.txt").exists()
