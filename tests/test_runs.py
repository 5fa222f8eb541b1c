"""Run folders: no two runs share one, what never began leaves none, and --resume finds the right one."""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
from pathlib import Path

import pytest
import torch
from support.dataset_files import write_text

from yolofast.config import YOLOConfig
from yolofast.errors import CheckpointError
from yolofast.runs import newest_unfinished, open_run, resumed_config, run_folder
from yolofast.train import CheckpointManager, TrainingState

PROCESS = f"pid {os.getpid()} on host {os.uname().nodename}"


def settings(project: Path, **changes: object) -> YOLOConfig:
    return YOLOConfig().replace(project=project, name="a", **changes)


def make_run(
    folder: Path, *maps: float, epochs: int = 5, patience: int = 0, age: float | None = None
) -> Path:
    """A run of `epochs` that has trained one epoch for each of `maps`, last touched `age` seconds ago."""
    settings(folder.parent, epochs=epochs, patience=patience).to_yaml(folder / "config.yaml")
    history = [{"epoch": n, "map50_95": score} for n, score in enumerate(maps, start=1)]
    if history:
        state = TrainingState({"model/w": torch.zeros(1)}, {"history": history})
        CheckpointManager(folder / "weights").save(state, is_best=False)
    for file in folder.rglob("*"):
        if age is not None and file.is_file():
            os.utime(file, (2e9 - age, 2e9 - age))
    return folder


def test_a_name_that_is_taken_gets_a_number(tmp_path: Path) -> None:
    make_run(tmp_path / "a", 0.1)
    write_text(tmp_path / "a-2" / "notes.txt", "mine")
    write_text(tmp_path / "a-3", "a file")
    with open_run(settings(tmp_path)) as config:
        assert config.logging.run_dir == tmp_path / "a-4"
        write_text(config.logging.run_dir / "config.yaml", "")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "a-2", "a-3", "a-4"]
    assert [p.name for p in (tmp_path / "a-2").iterdir()] == ["notes.txt"]


def test_the_folder_of_a_run_without_a_checkpoint_is_taken_again(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "a")
    left = (".labels.png.yolofast-1.tmp", "weights/.best.safetensors.yolofast-2.tmp")
    for name in (".lock", "labels.png", "train_batch1.png", *left):
        write_text(folder / name, "")
    with open_run(settings(tmp_path)) as config:
        assert config.logging.run_dir == folder
        assert not list(folder.glob("*.png")), "pictures of another run"
        assert not list(folder.rglob("*.tmp")), "files that a killed run was writing"


def test_a_config_that_a_user_put_there_is_not_overwritten(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "a")
    assert [path.name for path in folder.iterdir()] == ["config.yaml"]
    with open_run(settings(tmp_path)) as config:
        assert config.logging.name == "a-2"


@pytest.mark.parametrize("name", ["results.csv", "weights/mine.safetensors", "notes/a.txt"])
def test_a_folder_with_anything_else_is_not(tmp_path: Path, name: str) -> None:
    folder = make_run(tmp_path / "a")
    write_text(folder / ".lock", "")
    write_text(folder / name, "")
    with open_run(settings(tmp_path)) as config:
        assert config.logging.name == "a-2"


def test_a_run_that_was_killed_before_its_first_last_is_resumed_not_overwritten(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "a")
    for name in (".lock", "results.csv", "weights/best.safetensors"):
        write_text(folder / name, "")
    with open_run(settings(tmp_path)) as config:
        assert config.logging.name == "a-2"
    with open_run(resumed_config(newest_unfinished(tmp_path))) as config:
        assert config.logging.run_dir == folder


def test_resuming_removes_what_a_killed_run_was_writing(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "a", 0.1)
    left = [
        ".dataflow.png.yolofast-1.tmp",
        ".é.png.yolofast-12.tmp",
        "weights/.last.safetensors.yolofast-1.tmp",
    ]
    mine = [".notes.tmp", ".x.yolofast-1.tmp.txt", "yolofast-1.tmp"]
    for name in (*left, *mine):
        write_text(folder / name, "")
    with open_run(resumed_config(folder)):
        assert not [name for name in left if (folder / name).exists()]
        assert all((folder / name).exists() for name in mine)


def test_runs_started_together_get_folders_of_their_own(tmp_path: Path) -> None:
    count, names, all_open = 8, list[str](), threading.Barrier(8)

    def train() -> None:
        with open_run(settings(tmp_path / "runs")) as config:
            names.append(config.logging.name)
            all_open.wait(10)

    threads = [threading.Thread(target=train) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(names)) == count


def test_a_run_that_is_being_trained_cannot_be_resumed(tmp_path: Path) -> None:
    make_run(tmp_path / "a", 0.1)
    config = resumed_config(tmp_path / "a")
    with (
        open_run(config),
        pytest.raises(CheckpointError, match=f"a: another process is training this run, {PROCESS}. Wait"),
        open_run(config),
    ):
        pass
    with open_run(config) as again:
        assert again.logging.run_dir == tmp_path / "a"


def test_a_file_is_no_run_to_resume(tmp_path: Path) -> None:
    write_text(tmp_path / "a", "mine")
    with (
        pytest.raises(CheckpointError, match="no run to resume here"),
        open_run(settings(tmp_path, resume=True)),
    ):
        pass


def test_a_run_that_never_began_leaves_no_folder(tmp_path: Path) -> None:
    with contextlib.suppress(KeyError), open_run(settings(tmp_path / "new" / "runs")):
        raise KeyError
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "a").mkdir()
    with open_run(settings(tmp_path)) as config:
        assert config.logging.name == "a"
    assert list((tmp_path / "a").iterdir()) == [], "an empty folder of the user stays"


def test_a_file_system_without_locks_still_gives_each_run_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextlib.contextmanager
    def no_locks(file: object) -> object:
        raise OSError("no locks")
        yield

    monkeypatch.setattr("yolofast.runs.file_lock", no_locks)
    with open_run(settings(tmp_path)) as one, open_run(settings(tmp_path)) as two:
        assert (one.logging.name, two.logging.name) == ("a", "a-2")


def test_a_run_on_a_file_system_without_locks_is_resumed_only_when_its_process_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(*_: object) -> None:
        raise OSError("no locks")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    make_run(tmp_path / "a", 0.1)
    config = resumed_config(tmp_path / "a")
    with open_run(config), pytest.raises(CheckpointError, match=PROCESS), open_run(config):
        pass
    child = os.fork()
    if child == 0:
        with open_run(config):
            os._exit(9)
    os.waitpid(child, 0)
    lock = tmp_path / "a" / ".lock"
    with open_run(config):
        assert lock.read_text() == PROCESS
    assert lock.stat().st_size == 0
    write_text(lock, PROCESS)  # of the first process of a container, which was killed and started again
    with open_run(config):
        pass
    write_text(lock, f"pid 1 on host other.{os.uname().nodename}")
    with pytest.raises(CheckpointError, match=f"if that run is gone, remove {lock}"), open_run(config):
        pass


@pytest.mark.parametrize("path", ["", "weights/last.safetensors", "weights/best.safetensors"])
def test_a_run_is_named_by_its_folder_or_its_weights(tmp_path: Path, path: str) -> None:
    folder = make_run(tmp_path / "deep" / "a", 0.1, epochs=7)
    write_text(folder / "weights" / "best.safetensors", "")
    config = resumed_config(folder / path)
    assert config.logging.run_dir == folder
    assert (config.training.resume, config.training.epochs) == (True, 7)


def test_a_config_that_was_changed_since_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = make_run(tmp_path / "a", 0.1, epochs=7)
    resumed_config(folder)
    assert not caplog.records
    path = folder / "config.yaml"
    path.write_text(path.read_text().replace("epochs: 7", "epochs: 9"))
    assert resumed_config(folder).training.epochs == 9
    assert f"{path}: changed since the run wrote it" in caplog.text


def test_no_run_there_names_those_next_to_it(tmp_path: Path) -> None:
    make_run(tmp_path / "a", 0.1)
    with pytest.raises(CheckpointError, match=rf"b: no run to resume here.* Runs here: {tmp_path}/a\."):
        run_folder(tmp_path / "b")
    with pytest.raises(CheckpointError, match="Drop --resume to start a new run"):
        run_folder(tmp_path / "nowhere" / "b")


def test_the_newest_unfinished_run_is_resumed(tmp_path: Path) -> None:
    make_run(tmp_path / "finished", *[0.1] * 5, age=1)
    make_run(tmp_path / "stopped_early", 0.5, 0.4, 0.4, patience=2, age=2)
    write_text(tmp_path / "broken" / "config.yaml", "epochs: [")
    make_run(tmp_path / "demo" / "train", 0.1, 0.2, age=3)
    make_run(tmp_path / "older", 0.1, age=4)
    assert newest_unfinished(tmp_path) == tmp_path / "demo" / "train"
    assert newest_unfinished(tmp_path, epochs=9) == tmp_path / "finished"
    assert newest_unfinished(tmp_path, patience=9) == tmp_path / "stopped_early"
    make_run(tmp_path / "killed_in_epoch_1", age=0)
    assert newest_unfinished(tmp_path) == tmp_path / "killed_in_epoch_1"


def test_no_unfinished_run_says_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"nowhere: no run to resume here\. Give its folder"):
        newest_unfinished(tmp_path / "nowhere")
    make_run(tmp_path / "a", *[0.1] * 5, age=2)
    make_run(tmp_path / "my b", *[0.1] * 5, age=1)
    with pytest.raises(
        CheckpointError, match=rf"every run here is finished \(2\).*--resume '{tmp_path}/my b' with more"
    ):
        newest_unfinished(tmp_path)
