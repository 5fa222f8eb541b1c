"""Outputs of a stream: what was done is there, complete, under names of its own, whatever ends the stream."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import cv2
import numpy as np
import pytest

from yolofast import video_file
from yolofast.errors import DataError, ImageError
from yolofast.images import read_image
from yolofast.output_names import OutputNames
from yolofast.outputs import JsonArray, ResultWriter
from yolofast.result import Result
from yolofast.types import Detections


def found(path: str, frame: int | None = None, size: tuple[int, int] = (64, 48), level: int = 60) -> Result:
    box = Detections(np.float32([[8, 8, 40, 40]]), np.float32([0.75]), np.array([0]))
    image = np.full((size[1], size[0], 3), level, np.uint8)
    name = path if frame is None else f"frame{frame} of {path}"
    return Result(name, image, box, ("cat",), frame=frame, fps=None if frame is None else 12.0)


def files_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def frames_of(path: Path) -> tuple[list[np.ndarray], float]:
    video, frames = cv2.VideoCapture(str(path)), []
    while (read := video.read())[0]:
        frames.append(read[1])
    return frames, video.get(cv2.CAP_PROP_FPS)


def test_everything_of_images_and_videos(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with ResultWriter(out, txt=True, conf=True, crops=True) as writer:
        for path in ("a/x.jpg", "b/x.jpg", "b/x.bmp"):
            writer.write(found(path))
        bad = writer.failed("c/bad.jpg", ImageError("c/bad.jpg: cannot decode JPEG"))
        for clip in ("v/clip.mp4", "w/clip.mp4", "w/clip.mp4"):
            for frame in range(5):
                writer.write(found(clip, frame, level=40 * frame))
    entries = json.loads((out / "detections.json").read_text())
    assert [entry["path"] for entry in entries[:4]] == ["a/x.jpg", "b/x.jpg", "b/x.bmp", "c/bad.jpg"]
    assert entries[3] == bad == {"path": "c/bad.jpg", "detections": [], "error": "cannot decode JPEG"}
    assert entries[4]["frame"] == 0
    assert entries[4]["path"] == "frame0 of v/clip.mp4"
    assert len(entries) == 4 + 15
    images = {f"crops/cat/{name}-0.jpg" for name in ("x", "x-2", "x-3")} | {"x.jpg", "x-2.jpg", "x-3.png"}
    images |= {f"labels/{name}.txt" for name in ("x", "x-2", "x-3")}
    clips = ("clip", "clip-2", "clip-3")
    frames = {f"labels/{clip}/{n:06d}.txt" for clip in clips for n in range(5)}
    frames |= {f"crops/cat/{clip}/{n:06d}-0.jpg" for clip in clips for n in range(5)}
    assert set(files_in(out)) == images | frames | {f"{clip}.mp4" for clip in clips} | {"detections.json"}
    assert len((out / "labels/x.txt").read_text().split()) == 6
    shown, fps = frames_of(out / "clip.mp4")
    assert fps == 12.0
    assert [frame.shape for frame in shown] == [(48, 64, 3)] * 5
    assert [int(frame[-2, -2].mean()) for frame in shown] == pytest.approx([0, 40, 80, 120, 160], abs=6)
    assert max(read_image(out / "x.jpg").shape) == 640


def test_nothing_but_detections_is_written_unless_asked_for(tmp_path: Path) -> None:
    with ResultWriter(tmp_path / "a", pictures=False) as writer:
        writer.write(found("x.jpg"))
        writer.write(found("clip.mp4", 0))
    assert files_in(tmp_path) == ["a/detections.json"]
    with ResultWriter(tmp_path / "b"):
        pass
    assert json.loads((tmp_path / "b" / "detections.json").read_text()) == []


@pytest.mark.parametrize("kind", [KeyboardInterrupt, DataError, GeneratorExit])
def test_what_was_done_stays_when_a_stream_ends_early(tmp_path: Path, kind: type[BaseException]) -> None:
    def stream() -> None:
        with ResultWriter(tmp_path) as writer:
            writer.write(found("x.jpg"))
            for frame in range(3):
                writer.write(found("clip.avi", frame))
            assert not (tmp_path / "detections.json").exists(), "renamed at the end only"
            raise kind

    with pytest.raises(kind):
        stream()
    assert len(json.loads((tmp_path / "detections.json").read_text())) == 4
    assert len(frames_of(tmp_path / "clip.mp4")[0]) == 3
    assert files_in(tmp_path) == ["clip.mp4", "detections.json", "x.jpg"], "nothing temporary is left"


def test_a_stream_that_fails_at_once_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(DataError), ResultWriter(tmp_path):
        raise DataError("no")
    assert files_in(tmp_path) == []


def test_a_json_value_that_was_cut_is_dropped(tmp_path: Path) -> None:
    array = JsonArray(tmp_path / "a.json")
    array.add({"n": 1})
    with pytest.raises(TypeError):
        array.add({"n": object()})
    assert array._file is not None
    array._file.write(b',\n{"n": ')  # an interrupt while it is written
    array.close(failed=True)
    assert json.loads((tmp_path / "a.json").read_text()) == [{"n": 1}]


def test_frames_of_another_size_fit_and_other_codecs_are_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(video_file, "CODECS", ((".mp4", "nono"), (".avi", "MJPG")))
    with ResultWriter(tmp_path) as writer:
        writer.write(found("rtsp://host/live.sdp", 0, size=(65, 49)))
        writer.write(found("rtsp://host/live.sdp", 9, size=(100, 30)))
    assert [frame.shape for frame in frames_of(tmp_path / "live.avi")[0]] == [(48, 64, 3)] * 2
    monkeypatch.setattr(video_file, "CODECS", ((".mp4", "nono"),))
    with ResultWriter(tmp_path / "none") as writer:
        for frame in range(3):
            writer.write(found("a.mp4", frame))
    assert len(json.loads((tmp_path / "none" / "detections.json").read_text())) == 3
    assert files_in(tmp_path / "none") == ["detections.json"]
    assert caplog.text.count("a was not written") == 1


@pytest.mark.parametrize("folder", ["", "labels", "crops/cat"])
def test_sources_are_never_written_to(tmp_path: Path, folder: str) -> None:
    image = tmp_path / folder / "x.jpg"
    image.parent.mkdir(parents=True, exist_ok=True)
    image.write_bytes(b"mine")
    with pytest.raises(DataError, match="never written to"), ResultWriter(tmp_path, txt=True) as writer:
        writer.write(found(str(image)))
    assert files_in(tmp_path) == [str(Path(folder) / "x.jpg")]


def test_a_picture_that_fails_costs_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "x.jpg").mkdir()
    (tmp_path / "crops").write_text("a file")
    with ResultWriter(tmp_path, crops=True) as writer:
        writer.write(found("a/x.jpg"))
        writer.write(found("a/y.jpg"))
    assert len(json.loads((tmp_path / "detections.json").read_text())) == 2
    assert (tmp_path / "y.jpg").exists()
    assert "x.jpg was not drawn" in caplog.text
    assert "crops was not drawn" in caplog.text


def test_names_that_no_file_can_have(tmp_path: Path) -> None:
    paths = ["https://host/" + "x" * 5000 + ".jpg?a=/b", "a\0b.jpg", "\ud800.jpg", "..", "", "image0", "~.\n"]
    with ResultWriter(tmp_path, txt=True, crops=True) as writer:
        for path in paths:
            writer.write(found(path))
        for path in paths:
            writer.write(found(path, 3))
    assert [entry["path"] for entry in json.loads((tmp_path / "detections.json").read_text())][
        : len(paths)
    ] == paths
    assert (
        len(list(tmp_path.glob("labels/*.txt"))) == len(list(tmp_path.glob("labels/*/*.txt"))) == len(paths)
    )
    assert len([p for p in tmp_path.iterdir() if p.suffix in (".png", ".jpg")]) == len(paths)
    assert len(list(tmp_path.glob("*.mp4"))) == len(paths)


def test_no_two_files_have_one_name() -> None:
    names = OutputNames()
    given = [names.claim(name) for name in ("x", "x", "x-2", "X", "x", "x-2", "É", "E\u0301")]
    assert len({unicodedata.normalize("NFC", name).casefold() for name in given}) == len(given)
    assert given[:2] == ["x", "x-2"]
