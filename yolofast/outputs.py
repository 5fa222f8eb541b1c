"""The files of a stream of results: pictures, videos, labels, crops and detections.json, in bounded memory.

Results are written as they come, and what was done stays, with valid files, when the stream ends early.
"""

from __future__ import annotations

import json
import os
from contextlib import ExitStack
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import IO, Any

from yolofast.errors import DataError, ImageError, without_location
from yolofast.files import atomic_file
from yolofast.output_names import OutputNames, safe_name
from yolofast.result import Result
from yolofast.result_pictures import optional_picture
from yolofast.video_file import VideoFile

DETECTIONS_NAME = "detections.json"
PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg")


class JsonArray:
    """A JSON array that is written value by value to a temporary file, which is renamed at the end.

    The end also comes when the block fails: the file then holds the values that were added completely.
    Without a value there is no file until a block ends without an error. Raises `DataError` when it cannot be
    written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._stack = ExitStack()
        self._file: IO[bytes] | None = None
        self._complete = 0

    def add(self, value: Any) -> None:
        """Append one value, on a line of its own."""
        if self._file is None:
            temporary = self._stack.enter_context(atomic_file(self.path))
            self._file = self._stack.enter_context(temporary.open("r+b"))
        data = (b",\n" if self._complete else b"[\n") + json.dumps(value).encode("ascii")
        self._file.write(data)
        self._complete += len(data)

    def close(self, *, failed: bool = False) -> None:
        """Finish the file; with `failed` only if a value was added."""
        if self._file is not None:
            self._file.flush()
            self._file.seek(self._complete)  # an interrupt may have cut the last one
            self._file.truncate()
            self._file.write(b"\n]\n" if self._complete else b"[]\n")
            self._file, self._complete = None, 0
            self._stack.close()
        elif not failed:
            with atomic_file(self.path) as temporary:
                temporary.write_bytes(b"[]\n")


class ResultWriter:
    """Writes the outputs of results into `folder`; a context manager, which finishes all files at its end.

    pictures    each image with its boxes, under its own name; for frames one video for each source, .mp4
                (.avi where OpenCV cannot write MPEG-4)
    txt         labels/NAME.txt in YOLO form, labels/VIDEO/FRAME.txt for frames; with `conf` the score, too
    crops       crops/CLASS/NAME-ROW.jpg, crops/CLASS/VIDEO/FRAME-ROW.jpg; ROW as in detections.json, from 0
    line_width  of boxes in pixels; None = a 400th of the longer side, at least 2

    detections.json has an entry for each result (`Result.to_dict`, and `error`: None) and for each image that
    could not be read. Images of the same name get -2, -3, ... appended. A picture, video or crop that cannot
    be written is a warning. Raises `DataError` when another file cannot be written, or `folder` holds one of
    the source images, which are never written to.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        pictures: bool = True,
        txt: bool = False,
        conf: bool = False,
        crops: bool = False,
        line_width: int | None = None,
    ) -> None:
        self.folder = Path(folder)
        self._pictures, self._txt, self._conf, self._crops = pictures, txt, conf, crops
        self._line_width = line_width
        self._names = OutputNames()
        self._entries = JsonArray(self.folder / DETECTIONS_NAME)
        self._video: VideoFile | None = None
        self._clip: tuple[str, int, str] | None = None
        """Source, number of the last frame and name of the video that frames come from now."""

    def __enter__(self) -> ResultWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._end_video()
        finally:
            self._entries.close(failed=kind is not None)

    def write(self, result: Result) -> dict[str, Any]:
        """Write the outputs of one result; returns its entry in detections.json."""
        self._refuse_source(result)
        entry = result.to_dict() | {"error": None}
        self._entries.add(entry)
        name = self._name(result)
        if self._txt:
            result.to_txt(self.folder / "labels" / f"{name}.txt", conf=self._conf)
        if self._crops:
            with optional_picture(self.folder / "crops"):
                result.save_crop(self.folder / "crops", name)
        if self._pictures and result.frame is None:
            path = self.folder / (name + _picture_suffix(result.path))
            with optional_picture(path):
                result.save(path, line_width=self._line_width)
        elif self._pictures and self._video is not None:
            self._video.add(result.plot(line_width=self._line_width))
        return entry

    def failed(self, path: str | Path, error: ImageError) -> dict[str, Any]:
        """Note an image that could not be read; returns its entry in detections.json."""
        entry = {"path": str(path), "detections": [], "error": without_location(error, path)}
        self._entries.add(entry)
        return entry

    def _name(self, result: Result) -> str:
        """What the files of a result are called in their folders, without suffix."""
        if result.frame is None:
            self._end_video()
            stem = PurePosixPath(result.path).stem
            return self._names.claim(stem if _exists(result.path) else safe_name(stem, "image"))
        if self._clip is None or self._clip[0] != result.source or self._clip[1] >= result.frame:
            self._end_video()
            stem = safe_name(PurePosixPath(result.source).stem, "video").replace(".", "_")
            clip = self._names.claim(stem)  # without a dot: a folder never has the name of a file
            self._clip = (result.source, result.frame, clip)
            if self._pictures:
                self._video = VideoFile(self.folder / clip, result.fps)
        self._clip = (result.source, result.frame, self._clip[2])
        return f"{self._clip[2]}/{result.frame:06d}"

    def _end_video(self) -> None:
        video, self._video, self._clip = self._video, None, None
        if video is not None:
            video.close()

    def _refuse_source(self, result: Result) -> None:
        if not _exists(result.source):
            return
        path = Path(result.source)
        parent, own = path.parent.resolve(), self.folder.resolve()
        if parent == own or any(parent.is_relative_to(own / made) for made in ("labels", "crops")):
            raise DataError(
                f"{self.folder}: this folder holds the source image {path.name}, expected another one. "
                "Choose another save_dir: source images are never written to."
            )


def _exists(path: str) -> bool:
    """Whether there is such a file; False for names that no file can have, such as long URLs."""
    return os.path.exists(path)  # noqa: PTH110 - Path.exists raises for them


def _picture_suffix(path: str) -> str:
    suffix = PurePosixPath(path).suffix.lower()
    return suffix if suffix in PICTURE_SUFFIXES else ".png"
