"""Roboflow, played by a server on loopback: the key stays secret, failures leave nothing.

Everything is tried with a small stand-in for Roboflow's package, and the whole way with the package
itself where it is installed: it takes the address of its API from the environment variable API_URL.
"""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import subprocess
import sys
import traceback
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from types import ModuleType, SimpleNamespace
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from support.archive_files import zip_bytes
from support.dataset_files import image_bytes, tree_digest
from support.download_server import running

from yolofast.errors import ConfigError, DataError, MissingExtraError
from yolofast.formats.data_yaml import list_images, read_data_yaml
from yolofast.ingest import export_dataset_for_yolo, fetch_dataset, transfer

KEY = "rf_S3CRET"
LINK_KEY = "l1nk-S3CRET"
DATA_YAML = "train: ../train/images\nval: ../valid/images\nnc: 1\nnames: ['cell']\n"
EXPORT = zip_bytes(
    {
        "README.roboflow.txt": "exported",
        "data.yaml": DATA_YAML,
        "train/images/a.jpg": image_bytes(100, 50),
        "train/labels/a.txt": "0 0.5 0.5 0.1 0.1\n",
        "valid/images/b.jpg": image_bytes(100, 50),
    }
)
VERSION = {
    "id": "lab/cells/3",
    "augmentation": {},
    "created": 0,
    "images": 2,
    "preprocessing": {},
    "splits": {},
}
PROJECT = {"id": "lab/cells", "name": "cells", "type": "object-detection", "created": 0, "updated": 0}
PROJECT |= dict.fromkeys(("annotation", "public", "splits", "unannotated", "images"), 0)
PROJECT |= {"classes": {}, "colors": {}}


class _Handler(BaseHTTPRequestHandler):
    """Roboflow's API, version 1.7 of its package, and the server that its links lead to."""

    asked: list[str]
    archives: list[bytes]
    waits: list[int]

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        self.asked.append(url.path)
        if url.path == "/archive/n9Q":
            self._send(200 if parse_qs(url.query) == {"key": [LINK_KEY]} else 403, self.archives[0])
        elif parse_qs(url.query).get("api_key") != [KEY]:
            self._send_json(401, {"error": f"no such key: {url.query}"})
        elif url.path == "/lab/cells/3/yolov8" and self.waits:
            self._send_json(self.waits.pop(), {"progress": 0.5})
        else:
            link = f"http://{self.headers['Host']}/archive/n9Q?key={LINK_KEY}"
            answers = {
                "/": {"workspace": "lab"},
                "/lab": {"workspace": {"name": "lab", "url": "lab", "projects": []}},
                "/lab/cells": {"project": PROJECT, "versions": [VERSION]},
                "/lab/cells/3": {"version": VERSION},
                "/lab/cells/3/yolov8": {"export": {"link": link}},
            }
            found = url.path in answers
            self._send_json(
                200 if found else 404, answers.get(url.path, {"error": f"nothing at {self.path}"})
            )

    def do_POST(self) -> None:
        self.do_GET()

    def _send_json(self, status: int, value: object) -> None:
        self._send(status, json.dumps(value).encode())

    def _send(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Keep the test output quiet."""


@pytest.fixture
def server() -> Iterator[SimpleNamespace]:
    played = {"asked": list[str](), "archives": [EXPORT], "waits": list[int]()}
    with running(type("Handler", (_Handler,), played)) as address:
        yield SimpleNamespace(url=address, **played)


def stand_in(api_url: str) -> dict[str, ModuleType]:
    """The part of Roboflow's package that is used, as short as can be: it makes the same calls."""

    def get(path: str, key: str) -> dict[str, dict[str, str]]:
        answer = requests.get(f"{api_url}/{path}?api_key={key}", timeout=5)
        if answer.status_code != 200:
            raise RuntimeError(f"{answer.text} at {answer.url}")
        found: dict[str, dict[str, str]] = answer.json()
        return found

    class Roboflow:
        def __init__(self, api_key: str) -> None:
            self.key, self.path = api_key, ""
            get("", api_key)

        def _below(self, name: object) -> Roboflow:
            print(f"loading Roboflow {name}...")
            self.path += f"/{name}" if self.path else str(name)
            get(self.path, self.key)
            return self

        workspace = project = version = _below

        def export(self, model_format: str) -> bool:
            return "export" in get(f"{self.path}/{model_format}", self.key)

    def get_version_export(
        api_key: str, workspace_url: str, project_url: str, version: str, format: str
    ) -> dict[str, dict[str, str]]:
        return get(f"{workspace_url}/{project_url}/{version}/{format}", api_key)

    package, adapters, rfapi = (ModuleType(f"roboflow{end}") for end in ("", ".adapters", ".adapters.rfapi"))
    package.Roboflow = Roboflow  # type: ignore[attr-defined]
    rfapi.get_version_export = get_version_export  # type: ignore[attr-defined]
    return {module.__name__: module for module in (package, adapters, rfapi)}


@pytest.fixture
def played(server: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The server, with the stand-in for the package talking to it."""
    for name, module in stand_in(server.url).items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(transfer, "sleep", lambda _: None)
    return server


def assert_no_secret(error: BaseException) -> None:
    texts = ["".join(traceback.format_exception(error, chain=True))]
    seen: BaseException | None = error
    while seen is not None:
        texts.append(f"{seen!r} {seen.__cause__!r} {seen.__context__!r}")
        seen = seen.__context__
    for text in texts:
        assert KEY not in text
        assert LINK_KEY not in text


def assert_is_the_dataset(folder: Path) -> None:
    data = read_data_yaml(folder / "data.yaml")
    assert list_images(data, "valid") == (folder / "valid/images/b.jpg",)
    assert data.path.read_text() == DATA_YAML
    names = ["README.roboflow.txt", "data.yaml", "train/images/a.jpg", "train/labels/a.txt"]
    assert sorted(tree_digest(folder)) == [*names, "valid/images/b.jpg"]


@pytest.mark.usefixtures("played")
def test_download_is_a_dataset_that_stands_where_it_was_put(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    assert_is_the_dataset(
        export_dataset_for_yolo(KEY, "lab", "cells", "3", tmp_path / "cells", unsafe_redirects=True)
    )
    assert [p.name for p in tmp_path.iterdir()] == ["cells"]
    assert capsys.readouterr().out == ""
    assert any("/lab/cells/3/yolov8?***" in record.getMessage() for record in caplog.records)
    assert KEY not in caplog.text
    assert LINK_KEY not in caplog.text


@pytest.mark.usefixtures("played")
def test_default_place_and_command_line_form(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert export_dataset_for_yolo(KEY, "lab", "cells", 3, unsafe_redirects=True) == Path("cells-3")
    monkeypatch.setenv("ROBOFLOW_API_KEY", KEY)
    fetched = fetch_dataset("roboflow:lab/cells/3", tmp_path / "d", unsafe_redirects=True)
    assert fetched == tmp_path / "d" / "cells-3"
    with pytest.raises(ConfigError, match="expected roboflow:WORKSPACE/PROJECT/VERSION"):
        fetch_dataset("roboflow:lab/cells", tmp_path)
    with pytest.raises(ConfigError, match="creates the archive on demand; omit sha256 and size"):
        fetch_dataset("roboflow:lab/cells/3", tmp_path, size=3)
    monkeypatch.delenv("ROBOFLOW_API_KEY")
    with pytest.raises(ConfigError, match="got no API key"):
        fetch_dataset("roboflow:lab/cells/3", tmp_path)


@pytest.mark.usefixtures("played")
@pytest.mark.parametrize(("key", "project"), [(KEY, "other"), ("rf_S3CRET+x/y", "cells")])
def test_refusal_hides_the_key_and_leaves_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, key: str, project: str
) -> None:
    caplog.set_level(logging.DEBUG)
    with pytest.raises(
        DataError, match=f"Roboflow lab/{project}/3: cannot be exported: RuntimeError"
    ) as caught:
        export_dataset_for_yolo(key, "lab", project, 3, tmp_path / "x")
    assert str(caught.value).endswith(" Check the key, the names and the version.")
    assert_no_secret(caught.value)
    assert KEY not in caplog.text
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("played")
def test_a_link_into_the_users_own_network_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"redirected to 127\.0\.0\.1, a private address") as caught:
        export_dataset_for_yolo(KEY, "lab", "cells", 3, tmp_path / "x")
    assert_no_secret(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_hostile_and_broken_archives_leave_nothing(played: SimpleNamespace, tmp_path: Path) -> None:
    archives = {
        b"": "is empty, expected a .zip",
        EXPORT[:-30]: "is damaged or truncated",
        zip_bytes({"../x": "1"}): r"entry '\.\./x' is a path with '\.\.': refused, nothing was unpacked",
    }
    for archive, expected in archives.items():
        played.archives[:] = [archive]
        with pytest.raises(DataError, match=f"Roboflow lab/cells/3: {expected}") as caught:
            export_dataset_for_yolo(KEY, "lab", "cells", 3, tmp_path / "x", unsafe_redirects=True)
        assert_no_secret(caught.value)
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("version", ["latest", "-1", "³"])
def test_wrong_version(tmp_path: Path, version: str) -> None:
    with pytest.raises(ConfigError, match=f"got version '{version}', expected a whole number"):
        export_dataset_for_yolo(KEY, "lab", "cells", version, tmp_path / "x")


def test_missing_package_says_how_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "roboflow", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'yolofast\[roboflow\]'"):
        export_dataset_for_yolo(KEY, "lab", "cells", 3, tmp_path / "x")
    assert list(tmp_path.iterdir()) == []


FETCH = """
import logging, os, sys
logging.basicConfig(level=logging.DEBUG)
from yolofast.cli import main
sys.exit(main(["fetch", *sys.argv[1:]]))
"""


@pytest.mark.skipif(importlib.util.find_spec("roboflow") is None, reason="needs the roboflow package")
@pytest.mark.parametrize("fault", ["none", "key", "project", "archive"])
def test_the_real_package(server: SimpleNamespace, tmp_path: Path, fault: str) -> None:
    server.waits[:] = [202]  # the export is made while one waits
    key = KEY + "x" if fault == "key" else KEY
    project = "other" if fault == "project" else "cells"
    if fault == "archive":
        server.archives[:] = [zip_bytes({"data.yaml": "", "../x": "1"})]
    home = tmp_path / "home"
    home.mkdir()
    here = Path(__file__).resolve().parents[2]
    secret = {"ROBOFLOW_API_KEY": key, "API_URL": server.url}
    environment = os.environ | secret | {"HOME": str(home), "PYTHONPATH": str(here)}
    command = [sys.executable, "-c", FETCH, f"roboflow:lab/{project}/3", "--out", str(tmp_path / "out")]
    command.append("--unsafe-redirects")
    done = subprocess.run(command, env=environment, cwd=home, capture_output=True, text=True, timeout=120)
    said = done.stdout + done.stderr
    assert "/lab?***" in said or fault == "key"
    assert KEY not in said
    assert LINK_KEY not in said
    if fault == "none":
        assert done.returncode == 0, said
        assert_is_the_dataset(tmp_path / "out" / "cells-3")
        assert [p.name for p in (tmp_path / "out").iterdir()] == ["cells-3"]
        assert server.asked[-1] == "/archive/n9Q"
    else:
        assert done.returncode == 2
        assert f"yolofast: error: Roboflow lab/{project}/3: " in done.stderr
        assert not list((tmp_path / "out").iterdir()) if (tmp_path / "out").exists() else True
    for file in home.rglob("*"):
        assert not file.is_file() or KEY.encode() not in file.read_bytes()
