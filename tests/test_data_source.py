"""`--data` of a prepared dataset: a warning when its files are no longer those that were prepared."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from support.dataset_files import rewrite, wait_for_the_clock, write_cats, write_text

from yolofast.cli import main
from yolofast.data_source import resolve_data
from yolofast.prepare import changes, prepare_dataset

ROW = "0 0.5 0.5 0.2 0.2\n"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_cats(tmp_path / "set")


def test_an_edited_source_image_is_noticed_through_its_hard_link(
    source: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out = prepare_dataset(source).root
    wait_for_the_clock(out.parent)
    prepare_dataset(source, out.with_name("other"))  # more links, the same bytes
    resolve_data(out / "data.yaml")
    assert caplog.messages == []
    wait_for_the_clock(out.parent)
    rewrite(source / "1.jpg")
    resolve_data(out / "data.yaml")
    (message,) = caplog.messages
    assert "/images/1.jpg has changed since `yolofast prepare`" in message
    assert "Prepare again" in message


def test_with_copies_only_edits_of_the_prepared_files_are(
    source: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out = prepare_dataset(source, link="copy").root
    wait_for_the_clock(out.parent)
    rewrite(source / "1.jpg")
    write_text(out / "train/labels/added.txt", ROW)
    resolve_data(out)
    assert caplog.messages == []
    for label in sorted(out.glob("*/labels/[0-9].txt"))[:2]:
        write_text(label, ROW * 2)
    resolve_data(out)
    assert "labels/" in caplog.text
    assert "and 1 more have changed" in caplog.text


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files whose bytes are compared."""
    paths, digest = [], changes.file_digest

    def counted(path: str) -> tuple[int, bytes]:
        paths.append(path)
        return digest(path)

    monkeypatch.setattr(changes, "file_digest", counted)
    return paths


def moved(out: Path, source: Path) -> Path:
    return out.rename(out.with_name("elsewhere"))


def copied(out: Path, source: Path) -> Path:
    return shutil.copytree(out, out.with_name("elsewhere"))


def copied_without_times(out: Path, source: Path) -> Path:
    return shutil.copytree(out, out.with_name("elsewhere"), copy_function=shutil.copyfile)


def source_removed(out: Path, source: Path) -> Path:
    shutil.rmtree(source)
    return out


@pytest.mark.parametrize("what", [moved, copied, copied_without_times, source_removed])
def test_a_dataset_that_was_copied_is_compared_once_and_without_a_word(
    source: Path,
    caplog: pytest.LogCaptureFixture,
    compared: list[str],
    what: Callable[[Path, Path], Path],
) -> None:
    out = prepare_dataset(source).root
    wait_for_the_clock(out.parent)
    data = what(out, source) / "data.yaml"
    resolve_data(data)
    once = len(compared)
    resolve_data(data)
    assert len(compared) == once <= 8
    assert caplog.messages == []


def test_of_a_large_copy_only_the_files_that_changed_last_are_compared(
    source: Path, caplog: pytest.LogCaptureFixture, compared: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = copied(prepare_dataset(source).root, source)
    label = sorted(out.glob("*/labels/*.txt"))[0]
    monkeypatch.setattr(changes, "MAX_COMPARED_BYTES", 2 * label.stat().st_size)
    wait_for_the_clock(out.parent)
    rewrite(label)
    resolve_data(out)
    assert f"{label} has changed" in caplog.text
    assert len(compared) <= 2
    monkeypatch.setattr(changes, "MAX_COMPARED", 0)
    resolve_data(out)
    assert len(caplog.messages) == 1
    assert len(compared) <= 2


@pytest.mark.parametrize(
    "images", ["", ', "images": 1', ', "images": [1]', ', "images": [{"name": "a.jpg"}]']
)
def test_a_damaged_manifest_does_not_stop_a_training(
    source: Path, caplog: pytest.LogCaptureFixture, images: str
) -> None:
    out = prepare_dataset(source).root
    write_text(out / "manifest.json", f'{{"made_by": "yolofast prepare"{images}}}')
    assert resolve_data(out).path == out / "data.yaml"
    assert caplog.messages == []


@pytest.mark.parametrize("command", [["prepare"], ["convert", "--to", "voc"]])
def test_hard_links_are_said(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    for link in ("hard", "copy"):
        main([*command, str(source), "--out", str(tmp_path / link), "--link", link])
        assert ("images are hard links" in capsys.readouterr().out) == (link == "hard")
