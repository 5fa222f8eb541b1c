"""prepare_dataset(restart_rows=N): the same images in files that can be decoded in parts."""

from __future__ import annotations

import io
import json
import os
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.dataset_files import image_bytes, tree_digest, write_text, write_yolo
from support.jpeg_files import APP1, DRI, exif_segment, segment, take_apart

from yolofast.cli import main
from yolofast.errors import ConfigError, DataError
from yolofast.images import read_image
from yolofast.kernels import jpeg_info, rewrite_jpeg
from yolofast.prepare import prepare_dataset, prepared_is_up_to_date, restart_markers, write_images
from yolofast.types import PreparedDataset

ROW = "0 0.5 0.5 0.2 0.2\n"


def mixed(root: Path) -> Path:
    """Six JPEGs, a PNG, and a PNG that is called .jpg."""
    source = write_yolo(root, {f"{i}.jpg": ROW for i in range(6)} | {"p.png": ROW, "q.jpg": ROW})
    (source / "q.jpg").write_bytes(image_bytes(100, 50, "PNG"))
    return source


def images(done: PreparedDataset) -> dict[str, Path]:
    return {path.name: path for path in sorted(done.root.glob("*/images/*"))}


def inodes(root: Path) -> dict[str, tuple[int, int]]:
    """What each file is and when it was last written."""
    files = (path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): (path.stat().st_ino, path.stat().st_mtime_ns) for path in files}


def interval(path: Path) -> int | None:
    """MCUs between two restart markers, as the file says; 100 px are 7 MCUs across."""
    segments = dict(take_apart(path.read_bytes()).segments)
    return int.from_bytes(segments[DRI], "big") if DRI in segments else None


def notes_of(done: PreparedDataset) -> list[dict[str, Any]]:
    notes: list[dict[str, Any]] = json.loads((done.root / "manifest.json").read_text())["notes"]
    return [note for note in notes if note["code"] != "split-drawn"]


@pytest.mark.parametrize("link", ["hard", "copy"])
@pytest.mark.parametrize("rows", [1, 2])
def test_jpegs_are_rewritten_and_all_else_is_as_ever(tmp_path: Path, link: Any, rows: int) -> None:
    source = mixed(tmp_path / "set")
    before, places = tree_digest(source), inodes(source)
    plain = prepare_dataset(source, tmp_path / "plain", link=link)
    done = prepare_dataset(source, tmp_path / "out", link=link, restart_rows=rows)
    assert (tree_digest(source), inodes(source)) == (before, places)
    assert (done.images, done.boxes, done.dropped) == (plain.images, plain.boxes, ())
    made, usual = images(done), images(plain)
    assert list(made) == list(usual)
    for name, path in made.items():
        np.testing.assert_array_equal(read_image(path), read_image(source / name))
        assert not path.is_symlink()
        if name in ("p.png", "q.jpg"):
            assert path.read_bytes() == (source / name).read_bytes()
            assert path.samefile(source / name) == (link == "hard")
        else:
            assert interval(path) == 7 * rows
            assert path.stat().st_nlink == 1
    labels = {p.name: p.read_text() for p in plain.root.glob("*/labels/*")}
    assert {p.name: p.read_text() for p in done.root.glob("*/labels/*")} == labels
    assert notes_of(done) == []
    settings = json.loads((done.root / "manifest.json").read_text())["settings"]
    assert settings["restart_rows"] == rows


def test_the_same_again_does_nothing(tmp_path: Path) -> None:
    source = mixed(tmp_path / "set")
    write_text(source / "5.txt", ROW + "0 nan .5 .2 .2\n")
    first = prepare_dataset(source, restart_rows=1)
    places = inodes(first.root)
    assert prepare_dataset(source, restart_rows=1) == first
    assert inodes(first.root) == places
    assert [f.line for f in first.dropped] == [2]


def test_an_output_that_was_cut_is_made_again(tmp_path: Path) -> None:
    source = mixed(tmp_path / "in")
    done = prepare_dataset(source, tmp_path / "out", restart_rows=1)
    image = next(path for path in images(done).values() if interval(path))
    before = image.read_bytes()
    image.write_bytes(before[: len(before) // 2])
    assert not prepared_is_up_to_date(tmp_path / "out", source, restart_rows=1)
    prepare_dataset(source, tmp_path / "out", restart_rows=1)
    assert image.read_bytes() == before


def test_the_output_repeats(tmp_path: Path) -> None:
    source = mixed(tmp_path / "set")
    one, other = (prepare_dataset(source, tmp_path / name, restart_rows=1) for name in "ab")
    assert tree_digest(one.root) == tree_digest(other.root)


def test_other_rows_rewrite_and_none_brings_the_links_back(tmp_path: Path) -> None:
    source = mixed(tmp_path / "set")
    seen = []
    for rows in (1, 3, 0, 1):
        done = prepare_dataset(source, restart_rows=rows)
        seen.append(interval(images(done)["0.jpg"]))
        assert images(done)["0.jpg"].samefile(source / "0.jpg") == (rows == 0)
    assert seen == [7, 21, None, 7]


def change_label(source: Path) -> None:
    write_text(source / "0.txt", ROW + "0 0.2 0.2 0.1 0.1\n")


def change_image(source: Path) -> None:
    write_yolo(source, {"new.jpg": ROW})


@pytest.mark.parametrize("change", [change_label, change_image])
def test_a_changed_source_is_prepared_again(tmp_path: Path, change: Any) -> None:
    source = mixed(tmp_path / "set")
    first = prepare_dataset(source, restart_rows=1)
    change(source)
    again = prepare_dataset(source, restart_rows=1)
    assert sum(again.boxes.values()) == sum(first.boxes.values()) + 1


def test_current_for_the_same_rows_only(tmp_path: Path) -> None:
    source = mixed(tmp_path / "set")
    out = prepare_dataset(source, restart_rows=2).root
    assert prepared_is_up_to_date(out, source, restart_rows=2)
    assert not prepared_is_up_to_date(out, source, restart_rows=1)
    assert not prepared_is_up_to_date(out, source)


def test_damaged_images_are_left_out_with_their_boxes(tmp_path: Path) -> None:
    source = mixed(tmp_path / "set")
    whole = (source / "2.jpg").read_bytes()
    (source / "2.jpg").write_bytes(whole[: len(whole) // 2])
    write_text(source / "2.txt", ROW + "0 0.2 0.2 0.1 0.1\n")
    before = tree_digest(source)
    done = prepare_dataset(source, restart_rows=1)
    assert [(f.severity, f.code, Path(f.file or "").name, f.line) for f in done.dropped] == [
        ("error", "image-unreadable", "2.jpg", None),
        ("error", "box-no-image", "2.txt", 1),
        ("error", "box-no-image", "2.txt", 2),
    ]
    assert "truncated" in done.dropped[0].message
    assert not list(done.root.rglob("2.*"))
    assert done.source_boxes == sum(done.boxes.values()) + 2 == 9
    assert sum(done.images.values()) == 7
    assert tree_digest(source) == before
    assert prepare_dataset(source, restart_rows=1) == done


def test_images_that_decode_but_cannot_be_rewritten_are_placed_as_they_are(tmp_path: Path) -> None:
    source = mixed(tmp_path / "set")
    late = segment(APP1, exif_segment(6)) + b"\xff\xd9"  # readers do not look for EXIF behind the picture
    odd = take_apart((source / "2.jpg").read_bytes()).join(late)
    (source / "2.jpg").write_bytes(odd)
    done = prepare_dataset(source, restart_rows=1)
    assert done.dropped == ()
    assert images(done)["2.jpg"].read_bytes() == odd
    [note] = notes_of(done)
    assert (note["severity"], note["code"], note["file"]) == ("info", "image-not-rewritten", "2.jpg")
    assert note["message"].startswith("cannot rewrite JPEG: ")


def test_only_damaged_images_is_an_error_that_leaves_nothing(tmp_path: Path) -> None:
    source = write_yolo(tmp_path / "set", {f"{i}.jpg": ROW for i in range(3)})
    for path in source.glob("*.jpg"):
        path.write_bytes(path.read_bytes()[:700])
    with pytest.raises(DataError, match=r"no usable box in 3 images\. The first problem: .*0\.jpg: error"):
        prepare_dataset(source, restart_rows=1)
    assert [p.name for p in tmp_path.iterdir()] == ["set"]


def test_progressive_and_metadata(tmp_path: Path) -> None:
    source = mixed(tmp_path / "set")
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    Image.open(source / "0.jpg").save(buffer, "JPEG", progressive=True, exif=exif, icc_profile=b"profile")
    (source / "0.jpg").write_bytes(buffer.getvalue())
    done = prepare_dataset(source, restart_rows=1)
    made = Image.open(images(done)["0.jpg"])
    assert (made.info.get("progressive"), made.info["icc_profile"]) == (None, b"profile")
    assert made.getexif()[0x0112] == 6


def test_a_failure_keeps_the_old_dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = mixed(tmp_path / "set")
    before = tree_digest(prepare_dataset(source).root)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("yolofast.prepare.image_writer._write_new", full)
    with pytest.raises(DataError, match="cannot be written: No space left on device"):
        prepare_dataset(source, restart_rows=1)
    monkeypatch.undo()
    assert tree_digest(tmp_path / "set_yolo") == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["set", "set_yolo"]


def test_the_longest_file_names(tmp_path: Path) -> None:
    name = "n" * 251 + ".jpg"
    source = write_yolo(tmp_path / "set", {"a.jpg": ROW, "b.jpg": ROW})
    os.replace(source / "b.jpg", source / name)  # noqa: PTH105 - the label keeps a name of its own
    done = prepare_dataset(source, restart_rows=1)
    assert interval(images(done)[name]) == 7


@pytest.mark.parametrize("pictures", [0, 1, 2])
def test_so_many_pixels_at_one_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pictures: int) -> None:
    source = mixed(tmp_path / "set")
    info = jpeg_info((source / "0.jpg").read_bytes())
    working, seen, lock = 0, [], threading.Lock()

    def watched(data: bytes, **options: Any) -> bytes:
        nonlocal working
        with lock:
            working += 1
            seen.append(working)
        time.sleep(0.02)
        with lock:
            working -= 1
        return rewrite_jpeg(data, **options)

    monkeypatch.setattr(restart_markers, "rewrite_jpeg", watched)
    monkeypatch.setattr(write_images, "PIXELS_REWRITTEN", pictures * info.width * info.height)
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    done = prepare_dataset(source, restart_rows=1)
    assert len(seen) == 6
    assert max(seen) == max(pictures, 1)
    assert interval(images(done)["0.jpg"]) == 7


@pytest.mark.parametrize("rows", [-1, 65536])
def test_wrong_rows(tmp_path: Path, rows: int) -> None:
    message = f"restart_rows: got {rows}, expected a value at least 0 and at most 65535"
    with pytest.raises(ConfigError, match=message):
        prepare_dataset(mixed(tmp_path / "set"), restart_rows=rows)
    assert not (tmp_path / "set_yolo").exists()


def test_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, out = mixed(tmp_path / "set"), tmp_path / "out"
    assert main(["prepare", str(source), "--out", str(out), "--restart-rows", "4", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["boxes"]["train"] == 6
    assert {interval(p) for p in out.glob("*/images/[0-9].jpg")} == {28}
    assert main(["prepare", str(source), "--out", str(out), "--restart-rows", "-2"]) == 2
    assert "restart_rows" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["bccd_voc", "coco128", "tiny_coco_json"])
def test_real_data(shared_data: Path, tmp_path: Path, name: str) -> None:
    plain = prepare_dataset(shared_data / name, tmp_path / "plain", link="copy")
    done = prepare_dataset(shared_data / name, tmp_path / "out", link="copy", restart_rows=4)
    assert (done.images, done.boxes, done.dropped) == (plain.images, plain.boxes, plain.dropped)
    assert notes_of(done) == notes_of(plain)
    for name, path in list(images(done).items())[::20]:
        np.testing.assert_array_equal(read_image(path), read_image(images(plain)[name]))
        assert interval(path)
