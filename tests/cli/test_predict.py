"""predict: the files that its flags ask for, lines as images are done, and what an interrupt leaves."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support.dataset_files import write_image
from support.videos import write_video
from support.weights_files import write_unsure_weights

from yolofast.cli import main


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of size p whose scores are all about one half, with a class name that is no folder name."""
    return write_unsure_weights(tmp_path_factory.mktemp("weights") / "w.safetensors", ("cat", "../dog"))


@pytest.fixture
def arguments(weights: Path, tmp_path: Path) -> list[str]:
    for name in ("a", "b"):
        write_image(tmp_path / "in" / f"{name}.jpg")
    source = ["--source", str(tmp_path / "in"), "--project", str(tmp_path), "--max-det", "3"]
    return ["predict", "--weights", str(weights), "--device", "cpu", "--conf", "0.1", *source]


def files_in(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_flags_ask_for_files(arguments: list[str], tmp_path: Path) -> None:
    assert main([*arguments, "--no-save"]) == 0
    assert files_in(tmp_path / "predict") == {"detections.json"}
    assert main([*arguments, "--save-txt", "--save-conf", "--save-crop", "--line-width", "1"]) == 0
    folder = tmp_path / "predict-2"
    labels = {"labels/a.txt", "labels/b.txt"}
    files = files_in(folder)
    crops = {name for name in files if name.startswith("crops/")}
    assert files - crops == {"detections.json", "a.jpg", "b.jpg"} | labels
    assert len(crops) == 6
    assert {name.split("/")[1] for name in crops} <= {"cat", "_dog"}
    entries = json.loads((folder / "detections.json").read_text())
    for entry, label in zip(entries, sorted(labels), strict=True):
        rows = [line.split() for line in (folder / label).read_text().splitlines()]
        assert [int(row[0]) for row in rows] == [found["class"] for found in entry["detections"]]
        assert [float(row[5]) for row in rows] == pytest.approx(
            [found["score"] for found in entry["detections"]], abs=1e-5
        )


def test_a_stream_prints_a_line_per_image(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in" / "broken.jpg").write_bytes(b"no")
    assert main([*arguments, "--stream", "--json"]) == 2
    out, err = capsys.readouterr()
    entries = [json.loads(line) for line in out.splitlines()]
    assert [Path(entry["path"]).name for entry in entries] == ["a.jpg", "b.jpg", "broken.jpg"]
    assert entries == json.loads((tmp_path / "predict" / "detections.json").read_text())
    assert "1 of 3 images could not be read" in err
    (tmp_path / "in" / "broken.jpg").unlink()
    assert main([*arguments, "--stream"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(": ")[0] for line in lines[:2]] == [entry["path"] for entry in entries[:2]]
    assert lines[2:] == [f"written to {tmp_path / 'predict-2'}"]
    assert main([*arguments, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == entries[:2]


def test_save_conf_alone_is_a_mistake(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*arguments, "--save-conf"]) == 2
    assert "Add --save-txt" in capsys.readouterr().err


def test_an_interrupt_leaves_what_was_done(arguments: list[str], tmp_path: Path) -> None:
    for number in range(400):
        (tmp_path / "in" / f"c{number:03d}.jpg").hardlink_to(tmp_path / "in" / "a.jpg")
    command = [sys.executable, "-m", "yolofast.cli", *arguments, "--stream", "--batch", "1"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stdout is not None
        seen = [process.stdout.readline() for _ in range(3)]
        process.send_signal(signal.SIGINT)
        rest, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    assert err.endswith("yolofast: interrupted\n")
    assert "Traceback" not in err
    entries = json.loads((tmp_path / "predict" / "detections.json").read_text())
    printed = [line.partition(": ")[0] for line in [*seen, *rest.splitlines()]]
    paths = [entry["path"] for entry in entries]
    assert 3 <= len(printed) <= len(paths) < 402
    assert paths[: len(printed)] == printed
    assert not [name for name in files_in(tmp_path / "predict") if name.startswith(".")]


def test_a_video_becomes_a_video_with_labels_by_frame(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    video = str(write_video(tmp_path / "clip.avi", 9))
    words = ["--vid-stride", "4", "--save-txt", "--stream", "--json"]
    assert main([*arguments, "--source", video, *words]) == 0
    entries = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [entry["frame"] for entry in entries] == [0, 4, 8]
    assert {entry["path"] for entry in entries} == {f"frame{number} of {video}" for number in (0, 4, 8)}
    files = files_in(tmp_path / "predict")
    labels = {f"labels/clip/{number:06d}.txt" for number in (0, 4, 8)}
    assert files - labels in ({"detections.json", "clip.mp4"}, {"detections.json", "clip.avi"})
    assert labels < files
    assert main([*arguments, "--source", video, "--no-save"]) == 0
    assert files_in(tmp_path / "predict-2") == {"detections.json"}
    assert main([*arguments, "--source", "97"]) == 2
    assert "camera 97: cannot be opened" in capsys.readouterr().err
