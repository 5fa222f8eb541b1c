"""A video of annotated frames, written by OpenCV: nothing is lost that was added, however the run ends."""

from __future__ import annotations

import logging
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from yolofast.result_pictures import optional_picture
from yolofast.work_folder import only_writer, work_folder

if TYPE_CHECKING:
    import cv2

_log = logging.getLogger(__name__)

CODECS = ((".mp4", "mp4v"), (".avi", "MJPG"))
DEFAULT_FPS = 25.0
"""Frames per second where the source does not say."""


class VideoFile:
    """Writes `path` with the suffix .mp4 (MPEG-4), or .avi (Motion JPEG) where OpenCV has no encoder for it.

    OpenCV drops the last row or column of frames with an odd side. Frames go to a
    hidden work folder; `close` moves the video to its place. A failure is one warning.
    """

    def __init__(self, path: Path, fps: float | None) -> None:
        self._path, self._fps = path, fps if fps is not None and 0 < fps < 1000 else DEFAULT_FPS
        self._stack = ExitStack()
        self._size: tuple[int, int] | None = None
        self._writer: cv2.VideoWriter | None = None
        self._files: tuple[Path, Path] | None = None
        """The file in the work folder, and its place."""

    def add(self, frame: NDArray[np.uint8]) -> None:
        """Append `frame` uint8 [H, W, 3] RGB; one of another size than the first is resized to it."""
        import cv2

        with optional_picture(self._path):
            if self._size is None:
                self._size = (frame.shape[1], frame.shape[0])
                self._open(self._size)
            if self._writer is not None:
                if self._size != (frame.shape[1], frame.shape[0]):
                    frame = np.asarray(cv2.resize(frame, self._size), np.uint8)
                self._writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))

    def close(self) -> None:
        """Finish the video."""
        with optional_picture(self._path), self._stack:
            if self._writer is not None and self._files is not None:
                self._writer.release()
                self._files[0].replace(self._files[1])

    def _open(self, size: tuple[int, int]) -> None:
        import cv2

        for suffix, codec in CODECS:
            place = self._path.with_name(self._path.name + suffix)
            with ExitStack() as attempt:
                attempt.enter_context(only_writer(place))
                file = attempt.enter_context(work_folder(place)) / f"video{suffix}"
                writer = cv2.VideoWriter(str(file), cv2.VideoWriter.fourcc(*codec), self._fps, size)
                if writer.isOpened():
                    self._writer, self._files = writer, (file, place)
                    self._stack.enter_context(attempt.pop_all())
                    return
        _log.warning("%s was not written: OpenCV can write neither MPEG-4 nor Motion JPEG here", self._path)
