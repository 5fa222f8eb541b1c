"""Many files in one native call: the same as file by file, and no file's fault stops the others."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from yolofast.formats.yolo.parser import LabelScan, scan_label_files
from yolofast.kernels import parse_yolo_labels
from yolofast.kernels._scan import (
    EMPTY,
    FINE,
    FORMATS,
    MODES,
    UNKNOWN_FORMAT,
    UNREADABLE,
    scan_headers,
    scan_labels,
)
from yolofast.kernels.packed_paths import pack_paths

TEXTS = [
    b"0 0.5 0.5 0.2 0.1\n3 0.1 0.2 0.3 0.4\r\n",
    b"",
    b"\xef\xbb\xbf1 0 0 1 0 1 1",
    b"cat 1 2 3 4\n2 0.5 0.5 1 1\n-1 0 0 1 1\n" + b"x" * 1000,
    b"\n\n7 1 1 1 1",
    b"0 nan 0 0 0\n\xff\xfe 1 2 3 4\n",
]


def write_labels(folder: Path, count: int) -> list[Path]:
    paths = [folder / f"{i:05}.txt" for i in range(count)]
    for i, path in enumerate(paths):
        path.write_bytes(TEXTS[i % len(TEXTS)])
    return paths


def assert_as_parsed(scan: LabelScan, file: int, text: bytes) -> None:
    expected, rows = parse_yolo_labels(text), scan.rows(file)
    np.testing.assert_array_equal(scan.classes[rows], expected.classes)
    np.testing.assert_array_equal(scan.boxes[rows], expected.boxes)
    np.testing.assert_array_equal(scan.lines[rows], expected.lines)
    np.testing.assert_array_equal(scan.kinds[rows], expected.kinds)
    assert tuple(error for place, error in scan.bad_lines if place == file) == expected.errors


@pytest.mark.parametrize("count", [0, 1, len(TEXTS), 1031])
def test_labels_are_what_the_parser_gives_file_by_file(count: int, tmp_path: Path) -> None:
    scan = scan_label_files(write_labels(tmp_path, count))
    assert len(scan) == count
    assert not scan.errno.any()
    assert scan.boxes.shape == (scan.offsets[-1], 4)
    for file in range(0, count, 5):
        assert_as_parsed(scan, file, TEXTS[file % len(TEXTS)])
    assert [place for place, _ in scan.bad_lines] == sorted(place for place, _ in scan.bad_lines)


def test_label_columns_have_the_types_that_are_promised(tmp_path: Path) -> None:
    for paths in ([], write_labels(tmp_path, 3)):
        scan = scan_label_files(paths)
        types = {
            name: getattr(scan, name).dtype for name in ("classes", "boxes", "lines", "kinds", "offsets")
        }
        assert types == {
            "classes": np.int64,
            "boxes": np.float64,
            "lines": np.int64,
            "kinds": np.int8,
            "offsets": np.int64,
        }
        assert scan.errno.dtype == np.int32


def test_files_that_cannot_be_read_are_a_status_and_not_an_error(tmp_path: Path) -> None:
    good = tmp_path / "good.txt"
    good.write_bytes(TEXTS[0])
    os.mkfifo(tmp_path / "pipe.txt")
    (tmp_path / "loop.txt").symlink_to("loop.txt")
    (tmp_path / "linked.txt").symlink_to(good)
    (tmp_path / "folder.txt").mkdir()
    huge = tmp_path / "huge.txt"
    with huge.open("wb") as file:
        file.truncate(64 * 2**20 + 1)  # a hole: takes no room
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "socket.txt"))
    cases = {
        good: 0,
        tmp_path / "missing.txt": errno.ENOENT,
        tmp_path / "no_folder" / "a.txt": errno.ENOENT,
        good / "below.txt": errno.ENOTDIR,
        tmp_path / "pipe.txt": errno.EINVAL,
        tmp_path / "socket.txt": errno.ENXIO,
        Path("/dev/null"): errno.EINVAL,
        tmp_path / "loop.txt": errno.ELOOP,
        tmp_path / "folder.txt": errno.EISDIR,
        tmp_path / ("long" * 100): errno.ENAMETOOLONG,
        tmp_path / "/".join(["deep"] * 2000) / "a.txt": errno.ENAMETOOLONG,
        huge: errno.EFBIG,
        tmp_path / "linked.txt": 0,
        tmp_path / "nul\0.txt": errno.ENOENT,
        tmp_path / "lone\ud800.txt": errno.ENOENT,
    }
    scan = scan_label_files([*cases, None, ""])
    listener.close()
    assert scan.errno.tolist() == [*cases.values(), 0, errno.ENOENT]
    assert np.diff(scan.offsets).tolist() == [
        2 if path.name in ("good.txt", "linked.txt") else 0 for path in cases
    ] + [0, 0]
    assert scan.reason(1) == "No such file or directory"
    assert scan.reason(0) == ""


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_forbidden_label_file(tmp_path: Path) -> None:
    path = tmp_path / "locked.txt"
    path.write_bytes(TEXTS[0])
    path.chmod(0)
    assert scan_label_files([path]).errno.tolist() == [errno.EACCES]


@pytest.mark.parametrize("name", [b"\xff\xfe.txt", "über.txt".encode(), b"new\nline.txt", b" .txt"])
def test_odd_names(name: bytes, tmp_path: Path) -> None:
    path = os.path.join(os.fsencode(tmp_path), name)  # noqa: PTH118 - Path takes no bytes
    Path(os.fsdecode(path)).write_bytes(TEXTS[0])
    assert len(scan_label_files([os.fsdecode(path)]).classes) == 2


def test_names_relative_to_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sub").mkdir()
    for name in ("a.txt", "sub/a.txt"):
        (tmp_path / name).write_bytes(TEXTS[0] if "/" in name else TEXTS[2])
    monkeypatch.chdir(tmp_path)
    scan = scan_label_files(["a.txt", "sub/a.txt", "./a.txt", "sub/../a.txt", "sub//a.txt"])
    assert np.diff(scan.offsets).tolist() == [1, 2, 1, 1, 2]


def test_header_columns(tmp_path: Path) -> None:
    Image.new("L", (7, 5)).save(tmp_path / "gray.png")
    Image.new("CMYK", (9, 3)).save(tmp_path / "four.jpg")
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "notes.jpg").write_text("no picture")
    names = ["gray.png", "four.jpg", "empty.jpg", "notes.jpg", "missing.jpg"]
    found = scan_headers(pack_paths([tmp_path / name for name in names]))
    assert found["status"].tolist() == [FINE, FINE, EMPTY, UNKNOWN_FORMAT, UNREADABLE]
    assert found["error"].tolist() == [0, 0, 0, 0, errno.ENOENT]
    assert found["width"].tolist()[:2] == [7, 9]
    assert found["height"].tolist()[:2] == [5, 3]
    assert [FORMATS[i] for i in found["format"][:2]] == ["png", "jpeg"]
    assert [MODES[i] for i in found["mode"][:2]] == ["L", "CMYK"]
    assert found["bytes"].tolist()[:2] == [(tmp_path / name).stat().st_size for name in names[:2]]
    assert found["complete"].tolist()[:2] == [True, True]
    assert all(len(column) == len(names) for column in found.values())


@pytest.mark.parametrize("scan", [scan_headers, scan_labels])
def test_packed_names_end_with_a_nul(scan: object) -> None:
    assert callable(scan)
    scan(b"")
    with pytest.raises(ValueError, match="does not end with a NUL"):
        scan(b"a.jpg\0b.jpg")


def test_no_descriptor_is_left_open(tmp_path: Path) -> None:
    paths = [*write_labels(tmp_path, 20), tmp_path / "missing.txt", tmp_path]
    before = len(list(Path("/proc/self/fd").iterdir()))
    scan_label_files(paths)
    scan_headers(pack_paths(paths))
    assert len(list(Path("/proc/self/fd").iterdir())) == before
