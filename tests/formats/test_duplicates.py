"""find_duplicates: equal content and nothing else, with as little reading as possible."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from yolofast.formats import duplicates
from yolofast.formats.duplicates import duplicate_findings, find_duplicates

LONG = 3 * duplicates.EDGE_BYTES


def write(folder: Path, contents: dict[str, bytes]) -> tuple[list[Path], list[int]]:
    paths = [folder / name for name in contents]
    for path, content in zip(paths, contents.values(), strict=True):
        path.write_bytes(content)
    return paths, [len(content) for content in contents.values()]


def changed(position: int) -> bytes:
    data = bytearray(LONG)
    data[position] = 1
    return bytes(data)


def test_groups_are_by_content_alone(tmp_path: Path) -> None:
    paths, sizes = write(
        tmp_path,
        {
            "a": b"one",
            "b": b"two",
            "same size, other content": b"six",
            "a again": b"one",
            "long": bytes(LONG),
            "other start": changed(0),
            "other end": changed(LONG - 1),
            "other middle": changed(LONG // 2),
            "long again": bytes(LONG),
            "b again": b"two",
            "a third time": b"one",
            "empty": b"",
            "empty again": b"",
        },
    )
    assert find_duplicates(paths, sizes) == ((0, 3, 10), (1, 9), (4, 8))
    assert find_duplicates([], []) == ()


def test_links_are_duplicates_and_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths, sizes = write(tmp_path, {"a": bytes(LONG), "b": changed(5)})
    for name in ("hard", "soft"):
        paths.append(tmp_path / name)
        sizes.append(LONG)
    os.link(paths[0], paths[2])
    paths[3].symlink_to(paths[0])
    assert find_duplicates(paths, sizes) == ((0, 2, 3),)
    copy, size = write(tmp_path, {"copy": bytes(LONG)})
    assert find_duplicates(paths + copy, sizes + size) == ((0, 2, 3, 4),)

    def refuse(*_: object) -> None:
        raise AssertionError("a file was read in vain")

    for name in ("_hash_edges", "_hash_whole"):
        monkeypatch.setattr(duplicates, name, refuse)
    assert find_duplicates([paths[0], *paths[2:]], [LONG] * 3) == ((0, 1, 2),)


def test_files_that_are_gone_are_in_no_group(tmp_path: Path) -> None:
    paths, sizes = write(tmp_path, {"a": b"one", "b": b"one", "c": b"one"})
    paths[1].unlink()
    assert find_duplicates(paths, sizes) == ((0, 2),)


def test_findings_name_both_files_and_the_splits(tmp_path: Path) -> None:
    paths, sizes = write(tmp_path, {"v": b"one", "t": b"one", "t2": b"one", "n": b"one", "e": b"one"})
    found = duplicate_findings(paths, sizes, ["valid", "train", "train", None, "test"])
    same = f"the same content as '{tmp_path / 't'}'"
    assert [(f.severity, f.code, Path(f.file or "").name, f.message) for f in found] == [
        ("error", "split-leakage", "v", f"in valid, with {same} in train"),
        ("warning", "image-duplicate", "t2", same),
        ("warning", "image-duplicate", "n", same),
        ("error", "split-leakage", "e", f"in test, with {same} in train"),
    ]
