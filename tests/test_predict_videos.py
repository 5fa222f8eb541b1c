"""Prediction on videos, streams, URLs and bytes: in order, in flat memory, and every wrong kind is named."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from support.videos import Site, number_in, numbered_frame, served_site, write_video

from yolofast.errors import ConfigError, DataError, ImageError
from yolofast.ingest import web_picture
from yolofast.predict import images_of, open_source, predict
from yolofast.predict.ahead import Ahead
from yolofast.predict.videos import _quiet
from yolofast.process_memory import resident_mib


class Blind(torch.nn.Module):
    """Finds one box in every image; `seen` counts images. Takes `pause_s` per batch."""

    class_names = ("a",)

    def __init__(self, pause_s: float = 0.0) -> None:
        super().__init__()
        self.seen, self.pause_s = 0, pause_s

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.seen += len(images)
        time.sleep(self.pause_s)
        raw = torch.zeros(len(images), 4 + 1, 3)
        raw[:, :, 1] = torch.tensor([16.0, 16.0, 8.0, 8.0, 0.9])
        return raw


@pytest.fixture
def site() -> Iterator[Site]:
    with served_site() as site:
        yield site


def found(source: Any, model: Blind | None = None, **settings: Any) -> list[Any]:
    return list(predict(model or Blind(), source, imgsz=32, device="cpu", **settings))


def our_threads() -> list[str]:
    """Those of `predict`; the pools of loaders may outlive other tests."""
    names = ("yolofast-ahead", "yolofast-nms")
    return [thread.name for thread in threading.enumerate() if thread.name.startswith(names)]


def test_a_long_video_streams_in_order_and_in_flat_memory(tmp_path: Path) -> None:
    video = write_video(tmp_path / "long.avi", 1000)
    numbers, memory = [], []
    for result in predict(Blind(), video, imgsz=32, device="cpu"):
        assert (result.path, result.source) == (f"frame{result.frame} of {video}", str(video))
        assert result.fps == pytest.approx(10)
        assert number_in(result.image) == result.frame
        assert len(result) == 1
        assert set(result.speed) == {"preprocess", "inference", "postprocess"}
        numbers.append(result.frame)
        if len(numbers) % 100 == 0:
            memory.append(resident_mib())
    assert numbers == list(range(1000))
    assert memory[-1] - memory[1] < 8, "1,000 frames have 12 MB, and as many again in the network"
    assert not our_threads()


@pytest.mark.parametrize("batch", [None, 1, 7])
def test_every_nth_frame_is_taken(tmp_path: Path, batch: int | None) -> None:
    video = write_video(tmp_path / "a.avi", 20)
    model = Blind()
    results = found(video, model, vid_stride=6, batch=batch)
    assert [result.frame for result in results] == [0, 6, 12, 18]
    assert [number_in(result.image) for result in results] == [0, 6, 12, 18]
    assert model.seen == 4


def test_frames_are_rgb_and_a_folder_has_images_and_videos(tmp_path: Path) -> None:
    red = np.zeros((64, 64, 3), np.uint8)
    red[:, :, 2] = 255  # BGR
    writer = cv2.VideoWriter(str(tmp_path / "b.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 5.0, (64, 64))
    writer.write(red)
    writer.release()
    cv2.imwrite(str(tmp_path / "a.png"), red)
    cv2.imwrite(str(tmp_path / "c.jpg"), red)
    assert [path.name for path in images_of(tmp_path)] == ["a.png", "b.avi", "c.jpg"]
    for source in (tmp_path, tmp_path / "*"):
        results = found(source)
        assert [Path(result.source).name for result in results] == ["a.png", "b.avi", "c.jpg"]
        assert [result.frame for result in results] == [None, 0, None]
        for result in results:
            assert np.abs(result.image[32, 32].astype(int) - [255, 0, 0]).max() < 8


def test_closing_early_stops_threads_and_releases_the_file(tmp_path: Path) -> None:
    video = write_video(tmp_path / "a.avi", 200)
    model = Blind()
    stream = predict(model, video, imgsz=32, device="cpu", batch=2)
    assert next(stream).frame == 0
    assert our_threads()
    stream.close()
    assert not our_threads()
    assert model.seen <= 6
    opened = [str(link.resolve()) for link in Path("/proc/self/fd").iterdir()]
    assert str(video) not in opened


def test_an_error_of_the_network_comes_once_after_the_results_before_it(tmp_path: Path) -> None:
    class Failing(Blind):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            if self.seen >= 4:
                raise RuntimeError("no more")
            return super().forward(images)

    stream = predict(Failing(), write_video(tmp_path / "a.avi", 20), imgsz=32, device="cpu", batch=2)
    numbers = []
    with pytest.raises(RuntimeError, match=r"^no more$"):
        numbers.extend(result.frame for result in stream)
    assert next(stream, None) is None
    assert not our_threads()


def test_a_thread_ahead_is_bounded_and_hands_its_error_over_once() -> None:
    made = []

    def values() -> Iterator[int]:
        for value in range(10):
            made.append(value)
            yield value
        raise ValueError("its own message")

    with Ahead(values(), room=2) as ahead:
        assert next(ahead) == 0
        time.sleep(0.05)
        assert len(made) <= 4
        with pytest.raises(ValueError, match="its own message"):
            list(ahead)
        assert made == list(range(10))
        assert list(ahead) == []


def test_bytes_of_an_image_are_read_like_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), numbered_frame(300))
    (result,) = found(path.read_bytes())
    assert result.path == "image0"
    assert number_in(result.image) == 300
    with pytest.raises(ImageError, match=r"^image0: not an image, or damaged"):
        found(b"nothing")


def test_an_image_of_a_url(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    png = cv2.imencode(".png", numbered_frame(77))[1].tobytes()
    site.files |= {
        "/a.png": ("image/png", png),
        "/b": ("application/octet-stream", png),
        "/page": ("text/html", b"<html>"),
        "/odd.gif": ("image/gif", b"GIF89a"),
    }
    site.redirects |= {"/moved": "/a.png", "/out": "http://169.254.169.254/latest"}
    for path in ("/a.png?key=secret", "/b", "/moved"):
        (result,) = found(site.url + path)
        assert number_in(result.image) == 77
        assert result.path == site.url + path.partition("?")[0]
    mixed = found([site.url + "/a.png", numbered_frame(5), site.url + "/b"])
    assert [number_in(result.image) for result in mixed] == [77, 5, 77]
    for path, words in (
        ("/page", "got text/html that is no image"),
        ("/odd.gif", "got image/gif that is no image"),
        ("/missing", "the server answered 404"),
        ("/out", r"a private address.*give the URL that it leads to"),
    ):
        with pytest.raises(ImageError, match=words):
            found(site.url + path)
    monkeypatch.setattr(web_picture, "MAX_URL_IMAGE_BYTES", 50)
    with pytest.raises(ImageError, match="has over 50 bytes"):
        found(site.url + "/a.png?key=secret")
    monkeypatch.undo()
    monkeypatch.setattr(web_picture, "MAX_URL_IMAGE_S", -1)
    with pytest.raises(ImageError, match="took over"):
        found(site.url + "/a.png")


def test_a_video_of_a_url_is_read_to_its_end(site: Site, tmp_path: Path) -> None:
    video = write_video(tmp_path / "a.avi", 12).read_bytes()
    site.files |= {"/a.avi": ("video/x-msvideo", video), "/b": ("application/octet-stream", video)}
    assert len(found(site.url + "/b")) == 12
    results = found(site.url + "/a.avi")
    assert [number_in(result.image) for result in results] == list(range(12))
    assert results[3].path == f"frame3 of {site.url}/a.avi"


def test_of_a_stream_the_newest_frame_is_taken(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    site.frames, site.interval_s = 60, 0.01
    caplog.set_level(logging.INFO, "yolofast")
    results = found(site.url + "/stream", Blind(pause_s=0.1))
    numbers = [result.frame for result in results]
    assert numbers == sorted(set(numbers))
    assert 1 < len(numbers) < 30, "most frames came while the network was busy"
    assert all(number_in(result.image) == result.frame for result in results)
    assert f"frames dropped, while {len(numbers)} were predicted" in caplog.text


def test_a_stream_is_left_when_its_consumer_goes(site: Site) -> None:
    site.frames, site.interval_s = 100_000, 0.02
    stream = predict(Blind(), site.url + "/stream", imgsz=32, device="cpu")
    assert next(stream).frame is not None
    started = time.monotonic()
    stream.close()
    assert time.monotonic() - started < 5
    assert not our_threads()


def test_a_video_that_is_cut_gives_its_frames_and_an_error(tmp_path: Path) -> None:
    whole = write_video(tmp_path / "a.avi", 100).read_bytes()
    cut = tmp_path / "cut.avi"
    cut.write_bytes(whole[: len(whole) // 2])
    errors: list[tuple[Any, ImageError]] = []
    results = found(cut, on_error=lambda *error: errors.append(error))
    assert 30 < len(results) < 60
    assert [number_in(result.image) for result in results] == list(range(len(results)))
    ((path, error),) = errors
    assert path == str(cut)
    assert f"ends after {len(results)} of 100 frames: it is truncated" in str(error)


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda folder: folder / "a.mp4", ImageError, "a.mp4: cannot be opened: it is damaged"),
        (lambda folder: folder / "a.yaml", DataError, r"has the suffix \.yaml, expected an image"),
        (lambda folder: folder / "empty", DataError, "no image in this folder"),
        (lambda folder: 97, ImageError, "^camera 97: cannot be opened: .*/dev/video97"),
        (lambda folder: "97", ImageError, "^camera 97: cannot be opened"),
        (lambda folder: -1, DataError, "camera index -1"),
        (lambda folder: "ftp://a/b.jpg", DataError, "begins with ftp://"),
        (lambda folder: "http://", DataError, "expected a URL"),
        (lambda folder: "rtsp://u:pw@127.0.0.1:1/s", ImageError, "^rtsp://127.0.0.1:1/s: cannot be opened"),
        (lambda folder: [0, folder / "a.mp4"], DataError, "camera 0 beside 1 others"),
        (lambda folder: True, DataError, "got bool"),
    ],
)
def test_a_wrong_source_is_named(tmp_path: Path, make: Any, error: type[Exception], words: str) -> None:
    (tmp_path / "a.mp4").write_bytes(b"no video")
    (tmp_path / "a.yaml").write_text("names: [a]")
    (tmp_path / "empty").mkdir()
    with pytest.raises(error, match=words):
        found(make(tmp_path))
    assert not our_threads()


def test_a_list_names_addresses_and_files(tmp_path: Path) -> None:
    listed = tmp_path / "list.txt"
    listed.write_text("http://example.org/a.jpg?key=1\nb.mp4\nc.png\n")
    names = [name for name, _ in open_source(listed)]
    assert names == ["http://example.org/a.jpg", str(tmp_path / "b.mp4"), str(tmp_path / "c.png")]


@pytest.mark.parametrize("setting", ["batch", "vid_stride"])
def test_numbers_below_one_are_refused(setting: str) -> None:
    with pytest.raises(ConfigError, match=f"{setting}: got 0"):
        found(numbered_frame(1), **{setting: 0})


def test_a_name_with_a_colon_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_video(tmp_path / "a.avi", 3).rename(tmp_path / "12:30:05.avi")
    monkeypatch.chdir(tmp_path)
    assert len(found("12:30:05.avi")) == 3


def test_openings_at_once_leave_the_log_level_of_opencv(tmp_path: Path) -> None:
    before = cv2.utils.logging.getLogLevel()
    with _quiet():
        with _quiet():
            pass
        assert cv2.utils.logging.getLogLevel() == 0
    assert cv2.utils.logging.getLogLevel() == before
