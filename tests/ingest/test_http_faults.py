"""Servers that misbehave: the dataset is installed whole, or one line says why not and nothing is left."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.dataset_files import tree_digest
from support.http_faults import FAULTS, FILES, FaultServer, misbehaving

from yolofast.errors import DataError
from yolofast.ingest import download_dataset_from_url, transfer

KINDS = (
    "none",
    "length of a terabyte",
    "chunk line without an end",
    "endless trailers",
    "brotli",
    "an endless web page",
    "redirects without an end",
    "redirect with an endless body",
    "redirect to the metadata service",
    "an aeon to wait",
    "terminal codes in the reason",
    "headers without an end",
    "headers byte by byte",
    "a body of unknown length byte by byte",
    "reset in the middle",
    "the rest",
    "the rest of another version",
    "the rest without a version",
    "the rest with a weak version",
    "more than the rest",
)


@pytest.fixture(scope="module")
def server() -> Iterator[FaultServer]:
    with misbehaving() as running:
        yield running


@pytest.mark.parametrize("fault", KINDS)
def test_faults(server: FaultServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    waits = list[float]()
    monkeypatch.setattr(transfer, "sleep", waits.append)
    monkeypatch.setattr(transfer, "DOWNLOAD_WINDOW_S", 0.15)
    expected = FAULTS[fault][1]
    if expected is None:
        folder = download_dataset_from_url(server.url_of(fault), tmp_path / "cats", retries=2)
        assert sorted(tree_digest(folder)) == sorted(FILES)
        assert (folder / "train/images/a.jpg").read_bytes() == FILES["train/images/a.jpg"]
        assert [p.name for p in tmp_path.iterdir()] == ["cats"]
    else:
        with pytest.raises(DataError) as caught:
            download_dataset_from_url(server.url_of(fault), tmp_path / "cats", retries=1)
        said = str(caught.value)
        assert re.search(expected, said), said
        assert said.isprintable()
        assert len(said) < 500
        assert list(tmp_path.iterdir()) == []
    assert all(wait <= 120 for wait in waits)
