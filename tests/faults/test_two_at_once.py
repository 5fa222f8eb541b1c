"""Two runs that write the same folder: the second waits, says for whom, and then does what is still to do."""

from __future__ import annotations

import os
import threading
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.dataset_files import tree_digest, write_cats, write_text

from yolofast.errors import DataError
from yolofast.ingest import ingest_local
from yolofast.output_folder import output_folder
from yolofast.prepare import convert_dataset, prepare_dataset

ROW = "0 0.5 0.5 0.2 0.2\n"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_cats(tmp_path / "set")


class TwoAtOnce:
    """Runs `work` twice; the first stops at `step` until the second has said that it waits."""

    def __init__(self, step: str, patch: pytest.MonkeyPatch, log: pytest.LogCaptureFixture) -> None:
        self.steps, self.log = 0, log
        self._begun = threading.Event()
        module, _, name = step.rpartition(".")
        original = getattr(__import__(module, fromlist=[name]), name)

        def stopped(*args: Any, **options: Any) -> Any:
            self.steps += 1
            self._begun.set()
            until = time.monotonic() + 5
            while not log.messages and time.monotonic() < until:
                time.sleep(0.001)
            return original(*args, **options)

        patch.setattr(step, stopped)

    def run(self, work: Callable[[], Any]) -> None:
        first = threading.Thread(target=work)
        first.start()
        self._begun.wait(5)
        try:
            work()
        finally:
            first.join()
            (message,) = self.log.messages
            assert f"another run is writing it (pid {os.getpid()} on host " in message


def test_a_second_prepare_has_nothing_to_do(
    source: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    two = TwoAtOnce("yolofast.prepare.dataset.write_images", monkeypatch, caplog)
    two.run(lambda: prepare_dataset(source, source.with_name("out")))
    assert two.steps == 1
    assert sorted(path.name for path in source.parent.iterdir()) == ["out", "set"]


def test_a_second_conversion_writes_it_again(
    source: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    expected = tree_digest(convert_dataset(source, source.with_name("alone"), to="voc").root)
    two = TwoAtOnce("yolofast.prepare.convert._write_images", monkeypatch, caplog)
    two.run(lambda: convert_dataset(source, source.with_name("out"), to="voc"))
    assert two.steps == 2
    assert tree_digest(source.with_name("out")) == expected
    assert sorted(path.name for path in source.parent.iterdir()) == ["alone", "out", "set"]


def test_a_second_fetch_finds_the_folder_not_empty(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(source / "0.jpg", "0.jpg")
        archive.write(source / "0.txt", "0.txt")
    two = TwoAtOnce("yolofast.ingest.extract.checked_files", monkeypatch, caplog)
    with pytest.raises(DataError, match="got: the folder is not empty"):
        two.run(lambda: ingest_local(tmp_path / "a.zip", tmp_path / "got"))
    assert sorted(path.name for path in (tmp_path / "got").iterdir()) == ["0.jpg", "0.txt"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zip", "got", "set"]


def test_results_in_one_folder_come_one_after_the_other(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    order = list[str]()

    def second() -> None:
        with output_folder(tmp_path, "r", exist_ok=True):
            order.append("second")

    with output_folder(tmp_path, "r", exist_ok=True) as folder:
        thread = threading.Thread(target=second)
        thread.start()
        while not caplog.messages:
            time.sleep(0.001)
        order.append("first")
        write_text(folder / "metrics.json", "{}")
    thread.join()
    assert order == ["first", "second"]
    assert [path.name for path in tmp_path.iterdir()] == ["r"]


def test_results_in_an_old_folder_are_cleared_of_what_a_killed_run_was_writing(tmp_path: Path) -> None:
    for name in ("a.jpg", ".a.jpg.yolofast-1.tmp", ".b.jpg.tmp"):
        write_text(tmp_path / "r" / name, "")
    with output_folder(tmp_path, "r", exist_ok=True) as folder:
        assert sorted(path.name for path in folder.iterdir()) == [".b.jpg.tmp", "a.jpg"]
