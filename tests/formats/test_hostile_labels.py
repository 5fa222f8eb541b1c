"""Label files cut off, garbled or with wrong values: findings or a clear error, never a traceback."""

from __future__ import annotations

import contextlib
import copy
import importlib
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from support.dataset_files import read_all
from support.label_writers import WRITERS, write_example
from support.property_tests import examples

from yolofast.analyze import analyze_dataset
from yolofast.errors import DataError
from yolofast.formats import annotated_images
from yolofast.formats.text_lines import read_lines

LABELS = (".json", ".ndjson", ".xml", ".txt", ".csv")
JSONS = ("bdd100k", "createml", "label_studio", "labelme", "lvis", "ndjson", "via", "vott")
TEXTS = ("dota", "kitti", "visdrone")
VALUES: tuple[Any, ...] = (
    None, True, 0, -1, 1e400, -1e400, float("nan"), 10**400, "", "x", "\ud800", "9" * 5000, [], [[]],
    [None] * 3, {}, {"x": 1}, [{}], {"": [{}]}, "a.jpg", "../../a.jpg", "one.jpg", "http://[", "train",
)  # fmt: skip


def label_files(root: Path) -> list[Path]:
    return sorted(path for path in root.rglob("*") if path.suffix in LABELS and path.name != "classes.txt")


def read_or_refuse(root: Path) -> None:
    """Read a dataset; every row must be accounted for. What cannot be read must be a `DataError`."""
    with contextlib.suppress(DataError):
        read_all(root)


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The example in each format."""
    root = tmp_path_factory.mktemp("sets")
    return {name: write_example(root / name, name) for name in WRITERS}


@pytest.mark.parametrize("name", sorted(WRITERS))
def test_files_that_are_cut_off_or_garbled(sets: dict[str, Path], tmp_path: Path, name: str) -> None:
    root = tmp_path / "set"
    shutil.copytree(sets[name], root)
    path = label_files(root)[0]
    data = path.read_bytes()
    for part in range(1, 8):
        path.write_bytes(data[: len(data) * part // 8])
        read_or_refuse(root)
        analyze_dataset(root)
    for garbled in (
        data[::-1],
        b"\xff" * 100,
        b"\0" * 100,
        data.replace(b"1", b"\x80"),
        data * 2,
        b"[" * 100_000,
    ):
        path.write_bytes(garbled)
        read_or_refuse(root)
    path.unlink()
    path.mkdir()
    read_or_refuse(root)


@contextlib.contextmanager
def replaced(path: Path, text: str) -> Iterator[None]:
    """A file with another text, as long as the block lasts."""
    before = path.read_bytes()
    path.write_text(text, encoding="utf-8")
    try:
        yield
    finally:
        path.write_bytes(before)


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """(container, key) of everything in a JSON value."""
    for key in range(len(value)) if isinstance(value, list) else list(value):
        yield value, key
        if isinstance(value[key], list | dict):
            yield from places(value[key])


@pytest.mark.parametrize("name", JSONS)
@given(data=st.data())
@examples(80, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
def test_json_values_of_wrong_types(sets: dict[str, Path], name: str, data: st.DataObject) -> None:
    path = label_files(sets[name])[0]
    lines = path.read_text(encoding="utf-8").splitlines() if name == "ndjson" else [path.read_text("utf-8")]
    contents = [json.loads(line) for line in lines]
    for _ in range(data.draw(st.integers(1, 3))):
        container, key = data.draw(st.sampled_from(list(places(contents))))
        container[key] = copy.deepcopy(data.draw(st.sampled_from(VALUES)))
    text = "\n".join(json.dumps(content) for content in contents)
    with replaced(path, text):
        read_or_refuse(sets[name])


@pytest.mark.parametrize("name", TEXTS)
@given(data=st.data())
@examples(80, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
def test_text_rows_with_wrong_fields(sets: dict[str, Path], name: str, data: st.DataObject) -> None:
    path = label_files(sets[name])[0]
    separator = "," if name == "visdrone" else " "
    rows = [line.split(separator) for line in path.read_text(encoding="utf-8").splitlines()]
    fields = st.sampled_from(
        ["", "x", "nan", "1e999", "-1", "９", "_", "1_0", "0x1", "\u2028", "cat dog", "\0"]
    )
    for _ in range(data.draw(st.integers(1, 3))):
        row = data.draw(st.sampled_from(rows))
        row[data.draw(st.integers(0, len(row) - 1))] = data.draw(fields)
    with replaced(path, "\n".join(separator.join(row) for row in rows)):
        read_or_refuse(sets[name])


@pytest.mark.parametrize("name", sorted({*JSONS, *TEXTS, "cvat"} - {"lvis"}))
def test_sizes_are_bounded(sets: dict[str, Path], monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    module = importlib.import_module(f"yolofast.formats.{name}.{'parser' if name == 'labelme' else 'reader'}")
    monkeypatch.setattr(module, "MAX_BYTES", 10)
    try:
        found = [str(f) for item in read_all(sets[name])[2] for f in item.findings]
    except DataError as error:
        found = [str(error)]
    assert re.search(r"error: got \d+ bytes, expected a file of at most 10 ", found[0])


def test_a_doctype_in_cvat_is_refused(sets: dict[str, Path], tmp_path: Path) -> None:
    root = tmp_path / "set"
    shutil.copytree(sets["cvat"], root)
    path = root / "annotations.xml"
    bomb = '<!DOCTYPE lolz [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;">]>'
    path.write_text(path.read_text().replace("<annotations>", f"{bomb}\n<annotations>"))
    with pytest.raises(DataError, match=r"annotations\.xml:2: error: has a DOCTYPE, which is refused"):
        read_all(root)
    path.write_text("<annotations>" + "<image>" * 100_000)
    with pytest.raises(DataError, match=r"annotations\.xml:1: error: elements nested too deeply"):
        read_all(root)


def test_a_file_of_bad_rows_alone_is_given_up(
    sets: dict[str, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(annotated_images, "MAX_BAD_ROWS", 10)
    root = tmp_path / "set"
    shutil.copytree(sets["dota"], root)
    path = label_files(root)[0]
    path.write_text(path.read_text() + "1 2 3\n" * 11)
    (finding,) = [f for i in read_all(root)[2] for f in i.findings if f.code == "image-label-unreadable"]
    assert finding.message.startswith("more than 10 rows are no boxes; the last: '1 2 3'")
    assert finding.file == str(path)


def test_lines_of_text_files_are_those_of_an_editor(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfone\r\n\r\n two\x0b\xe2\x80\xa8 \n\xff")
    lines = list(read_lines(tmp_path / "a.txt", 100))
    assert [line for line, _ in lines] == [1, 3, 4]
    assert lines[0][1] == "one"
