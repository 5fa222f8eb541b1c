"""prepared_is_up_to_date: True only when preparing again would give the same dataset."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.dataset_files import (
    rewrite,
    wait_for_the_clock,
    write_cats,
    write_image,
    write_text,
    write_yolo,
)

from yolofast.formats import discover
from yolofast.formats.discover import scan_dataset
from yolofast.pipeline import auto_prepare_dataset_if_needed
from yolofast.prepare import PrepareConfig, changes, prepare_dataset, prepared_is_up_to_date
from yolofast.types import Finding

ROW = "0 0.5 0.5 0.2 0.2\n"


def prepared(tmp_path: Path, **settings: Any) -> tuple[Path, Path]:
    source = write_cats(tmp_path / "set")
    return prepare_dataset(source, tmp_path / "out", **settings).root, source


@pytest.mark.parametrize(
    "settings", [{}, {"val_fraction": 0.3, "seed": 2, "link": "copy", "label_format": "yolo"}]
)
def test_up_to_date_with_the_same_settings_only(tmp_path: Path, settings: dict[str, Any]) -> None:
    out, source = prepared(tmp_path, **settings)
    assert prepared_is_up_to_date(out, source, **settings)
    link = "hard" if settings.get("link") == "copy" else "copy"
    for other in ({"val_fraction": 0.4}, {"seed": 3}, {"link": link}, {"label_format": "coco"}):
        assert not prepared_is_up_to_date(out, source, **(settings | other))


def touch(out: Path, source: Path) -> None:
    os.utime(source / "1.txt", ns=(1, 1))


def add(out: Path, source: Path) -> None:
    write_image(source / "new.jpg")


def rename(out: Path, source: Path) -> None:
    (source / "1.txt").rename(source / "2b.txt")


def remove_source(out: Path, source: Path) -> None:
    source.rename(source.with_name("moved"))


def lose_image(out: Path, source: Path) -> None:
    next((out / "train/images").iterdir()).unlink()


def lose_label(out: Path, source: Path) -> None:
    next((out / "valid/labels").iterdir()).unlink()


def lose_yaml(out: Path, source: Path) -> None:
    (out / "data.yaml").unlink()


def break_manifest(out: Path, source: Path) -> None:
    write_text(out / "manifest.json", "{")


def rewrite_image(out: Path, source: Path) -> None:
    rewrite(source / "1.jpg")


def rewrite_labels(out: Path, source: Path) -> None:
    rewrite(source / "1.txt")


def rewrite_classes(out: Path, source: Path) -> None:
    rewrite(source / "classes.txt")


def rewrite_prepared_image(out: Path, source: Path) -> None:
    rewrite(next((out / "train/images").iterdir()))


def rewrite_prepared_labels(out: Path, source: Path) -> None:
    rewrite(next((out / "train/labels").iterdir()))


def exchange_images(out: Path, source: Path) -> None:
    """As `mv` of another image of the same size and time."""
    status = (source / "1.jpg").stat()
    write_image(source.with_name("other.jpg")).rename(source / "1.jpg")
    os.utime(source / "1.jpg", ns=(status.st_atime_ns, status.st_mtime_ns))


CHANGES = [touch, add, rename, remove_source, lose_image, lose_label, lose_yaml, break_manifest]
REWRITES = [
    rewrite_image, rewrite_labels, rewrite_classes, rewrite_prepared_image, rewrite_prepared_labels,
    exchange_images,
]  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_any_change_is_seen(tmp_path: Path, change: Callable[[Path, Path], None]) -> None:
    out, source = prepared(tmp_path)
    change(out, source)
    assert not prepared_is_up_to_date(out, source)


@pytest.mark.parametrize("link", ["hard", "copy", "symlink"])
@pytest.mark.parametrize("change", REWRITES)
def test_other_bytes_of_the_same_size_and_time_are_seen(
    tmp_path: Path, change: Callable[[Path, Path], None], link: str
) -> None:
    out, source = prepared(tmp_path, link=link)
    wait_for_the_clock(tmp_path)
    assert prepared_is_up_to_date(out, source, link=link)
    change(out, source)
    assert not prepared_is_up_to_date(out, source, link=link)


def test_other_hard_links_are_no_change_and_compared_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, source = prepared(tmp_path)
    before = (out / "manifest.json").read_bytes()
    compared, digest = [], changes.file_digest

    def counted(path: str) -> tuple[int, bytes]:
        compared.append(path)
        return digest(path)

    monkeypatch.setattr(changes, "file_digest", counted)
    wait_for_the_clock(tmp_path)
    assert prepared_is_up_to_date(out, source)
    assert compared == []
    other = prepare_dataset(source, tmp_path / "other").root
    assert prepared_is_up_to_date(out, source)
    assert len(compared) == 4, "each image once, whatever its number of links"
    assert prepared_is_up_to_date(out, source)
    assert prepared_is_up_to_date(other, source)
    assert len(compared) == 4
    assert (out / "manifest.json").read_bytes() == before
    wait_for_the_clock(tmp_path)
    prepare_dataset(source, other, seed=1)  # removes the links of the one before
    assert prepared_is_up_to_date(other, source, seed=1)
    assert len(compared) == 4


def test_much_to_compare_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("yolofast.prepare.up_to_date._SAID_BYTES", 1)
    out, source = prepared(tmp_path)
    wait_for_the_clock(tmp_path)
    assert prepared_is_up_to_date(out, source)
    assert caplog.messages == []
    prepare_dataset(source, tmp_path / "other")
    for _ in range(2):
        assert prepared_is_up_to_date(out, source)
        (message,) = caplog.messages
    assert f"{out}: reading 0.0 GB" in message


def test_another_source_or_nothing_prepared(tmp_path: Path) -> None:
    out, source = prepared(tmp_path)
    twin = write_yolo(tmp_path / "twin", {f"{i}.jpg": ROW for i in range(4)})
    assert not prepared_is_up_to_date(out, twin)
    assert not prepared_is_up_to_date(tmp_path / "gone", source)


def test_images_outside_of_the_source_are_never_up_to_date(tmp_path: Path) -> None:
    write_yolo(tmp_path / "store", {"images/a.jpg": ROW, "images/b.jpg": ROW})
    yaml = f"path: {tmp_path}/store\ntrain: images\nnames: [cat]\n"
    source = write_yolo(tmp_path / "set", {"c.jpg": ROW}, yaml)
    out = prepare_dataset(source, tmp_path / "out").root
    assert not prepared_is_up_to_date(out, source)


def test_a_source_is_scanned_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write_yolo(tmp_path / "set", {f"{i}.jpg": ROW for i in range(4)})
    scanned, walk = [], discover.walk

    def counted(root: Path, findings: list[Finding]) -> Iterator[str]:
        scanned.append(root)
        return walk(root, findings)

    monkeypatch.setattr(discover, "walk", counted)
    out = auto_prepare_dataset_if_needed(source)
    assert scanned == [source]
    (out / "mine.txt").touch()
    assert auto_prepare_dataset_if_needed(source) == out
    assert scanned == [source, source]


def test_options_take_precedence_over_a_config(tmp_path: Path) -> None:
    out, source = prepared(tmp_path, config=PrepareConfig(seed=2, link="copy"), seed=3)
    assert prepared_is_up_to_date(out, source, config=PrepareConfig(seed=3, link="copy"))
    assert prepared_is_up_to_date(out, scan_dataset(source), seed=3, link="copy")
    assert not prepared_is_up_to_date(out, source, config=PrepareConfig(seed=2, link="copy"))


@pytest.mark.parametrize(
    ("name", "old", "new"), [("data.yaml", b"nc:", b"nd:"), ("manifest.json", b"0", b"1")]
)
def test_a_changed_data_yaml_or_manifest_is_named(tmp_path: Path, name: str, old: bytes, new: bytes) -> None:
    out, source = prepared(tmp_path)
    assert changes.changed_files(out) == []
    path = out / name
    path.write_bytes(path.read_bytes().replace(old, new, 1))
    assert changes.changed_files(out) == [str(path)]
    if name == "manifest.json":  # what it says of the other files cannot be trusted
        assert not prepared_is_up_to_date(out, source)
