"""Frames of videos, cameras and network streams, read one by one by OpenCV."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from yolofast.errors import ImageError
from yolofast.limits import MAX_PIXELS

if TYPE_CHECKING:
    import cv2

VIDEO_SUFFIXES = frozenset(
    {
        ".mp4",
        ".m4v",
        ".mov",
        ".avi",
        ".mkv",
        ".webm",
        ".mpg",
        ".mpeg",
        ".ts",
        ".wmv",
        ".flv",
        ".3gp",
        ".mjpeg",
    }
)
STREAM_SCHEMES = ("rtsp://", "rtsps://", "rtmp://", "rtp://", "udp://", "tcp://", "srt://")
TIMEOUT_MS = 10_000
"""Milliseconds that a network stream may take to open, and to give a frame."""
TOLERANCE = 8, 50
"""Frames, and one in how many, that may be missing: some files state those that are not to be shown, too."""
_COUNTED = frozenset({".mp4", ".m4v", ".mov", ".avi"})
"""Files whose headers state the number of frames; that of others is an estimate."""


@dataclass(frozen=True, slots=True)
class Video:
    """What has frames: the path of a file, the URL of a stream, or the index of a camera.

    `name` is how it is called in results and messages, without secrets. A `live` source does not wait for its
    reader.
    """

    source: Path | str | int
    name: str
    live: bool


class Frame(NamedTuple):
    """`number` counts all frames from 0; `image` uint8 [H, W, 3] RGB; `fps` None = not known."""

    number: int
    image: NDArray[np.uint8]
    fps: float | None


def frames(video: Video, stride: int = 1) -> Iterator[Frame]:
    """The frames of `video` in order, every `stride`-th one of them, upright as the file says.

    One frame is held. The source is released at the end, and when the iterator is closed. Raises `ImageError`
    when it cannot be opened, and after its last frame when there was none, or fewer than the file states.
    """
    import cv2

    capture = _opened(video)
    try:
        number, fps = 0, _fps(capture.get(cv2.CAP_PROP_FPS))
        stated = _stated_frames(video, capture)
        while capture.grab():
            if number % stride == 0:
                read, bgr = capture.retrieve()
                if not read:
                    break
                yield Frame(number, np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8), fps)
            number += 1
    except cv2.error as error:
        raise ImageError(f"{video.name}: cannot be decoded: {error.err}") from None
    finally:
        capture.release()
    if number == 0:
        raise ImageError(f"{video.name}: no frame could be read; check that it is a video and can be played.")
    if stated - number > max(TOLERANCE[0], stated // TOLERANCE[1]):
        raise ImageError(
            f"{video.name}: ends after {number:,} of {stated:,} frames: it is truncated or damaged. The "
            "frames before that are done; get the file again for the others."
        )


def _opened(video: Video) -> cv2.VideoCapture:
    import cv2

    with _quiet():
        if isinstance(video.source, int):
            capture = cv2.VideoCapture(video.source, cv2.CAP_V4L2)
            advice = f"expected a camera at /dev/video{video.source}. Connect it, or close what uses it."
        elif isinstance(video.source, Path):
            capture = cv2.VideoCapture(str(video.source.absolute()), cv2.CAP_FFMPEG)  # "a:b" is a protocol
            advice = "it is damaged, truncated, or of a format that OpenCV lacks. Get it again or convert it."
        else:
            options = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, TIMEOUT_MS, cv2.CAP_PROP_READ_TIMEOUT_MSEC, TIMEOUT_MS]
            capture = cv2.VideoCapture(video.source, cv2.CAP_FFMPEG, options)
            advice = "expected a stream or video there. Check the address, and that the server is running."
    if not capture.isOpened():
        capture.release()
        raise ImageError(f"{video.name}: cannot be opened: {advice}")
    width, height = capture.get(cv2.CAP_PROP_FRAME_WIDTH), capture.get(cv2.CAP_PROP_FRAME_HEIGHT)
    if width * height > MAX_PIXELS:
        capture.release()
        raise ImageError(
            f"{video.name}: has frames of {width:.0f} x {height:.0f} pixels, expected at most {MAX_PIXELS:,}."
        )
    return capture


def _stated_frames(video: Video, capture: cv2.VideoCapture) -> int:
    """How many frames the header of a file states; 0 where it does not say."""
    import cv2

    counted = isinstance(video.source, Path) and video.source.suffix.lower() in _COUNTED
    return int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) if counted else 0


def _fps(stated: float) -> float | None:
    return stated if 0 < stated < 1000 else None


_level_lock = threading.Lock()
_levels: list[int] = []
"""OpenCV's log level before each opening that is under way; the first is the user's."""


@contextmanager
def _quiet() -> Iterator[None]:
    """OpenCV itself says nothing on stderr (FFmpeg may): what cannot be opened is an error of ours."""
    import cv2

    with _level_lock:
        _levels.append(cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT))
    try:
        yield
    finally:
        with _level_lock:
            before = _levels.pop()
            if not _levels:
                cv2.utils.logging.setLogLevel(before)
