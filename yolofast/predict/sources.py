"""What people predict on, as one list: nothing is opened or read before its turn comes."""

from __future__ import annotations

import errno
import glob
import logging
from pathlib import Path
from typing import Any, NamedTuple, SupportsIndex, TypeAlias, overload

import numpy as np
from numpy.typing import NDArray

from yolofast.errors import DataError, DatasetNotFoundError, ImageError
from yolofast.images import IMAGE_SUFFIXES, UNREAD_SUFFIXES, read_header
from yolofast.predict.videos import STREAM_SCHEMES, VIDEO_SUFFIXES, Video
from yolofast.printable import printable

MAX_SHOWN = 200
"""Characters of a source that an error quotes."""
_log = logging.getLogger(__name__)


class WebAddress(NamedTuple):
    """An http or https URL of an image, a video or a stream."""

    url: str


Picture: TypeAlias = Path | bytes | NDArray[np.uint8] | Video | WebAddress
"""The path of an image file, the bytes of one, uint8 [H, W, 3] RGB, what has frames, or an address."""


class Source(list[tuple[str, Picture]]):
    """(name, picture) of each; arrays and bytes are named `image0`, `image1`, ... by their position."""

    @overload
    def __getitem__(self, index: SupportsIndex) -> tuple[str, Picture]: ...

    @overload
    def __getitem__(self, index: slice) -> Source: ...

    def __getitem__(self, index: SupportsIndex | slice) -> tuple[str, Picture] | Source:
        return Source(list(self)[index]) if isinstance(index, slice) else super().__getitem__(index)

    @property
    def has_frames(self) -> bool:
        """Whether a video, camera or stream is in it."""
        return any(isinstance(picture, Video) for _, picture in self)

    @property
    def is_live(self) -> bool:
        """Whether it is a camera or a stream, which does not wait for its reader."""
        return any(isinstance(picture, Video) and picture.live for _, picture in self)

    @property
    def in_memory(self) -> bool:
        """Whether all are decoded images."""
        return all(isinstance(picture, np.ndarray) for _, picture in self)


def open_source(source: Any) -> Source:
    """The images and videos of `source`, in order.

    source  path of an image or a video, a folder, a glob pattern, a .txt list of paths (relative to the list)
            and URLs; an http(s) URL of an image, a video or a stream, an rtsp:// (rtmp://, ...) URL; a camera
            index (0 or "0"); the bytes of an image file; a numpy array uint8 [H, W, 3] RGB or [H, W] gray; a
            PIL image; a torch tensor [3, H, W] or [B, 3, H, W], uint8 or float 0..1, RGB; or a list or tuple
            of any of these; what this has returned stays as it is

    Nothing is opened. Raises `DatasetNotFoundError` for a path without a file, `DataError` for a folder or
    list without images and videos, a file that is neither, a live source beside others, and an array that is
    none of the above: says what came and what was wanted.
    """
    if isinstance(source, Source):
        return source
    pictures = _pictures(source)
    if not pictures:
        raise DataError("source: got no image, expected at least one.")
    for picture in pictures:
        if len(pictures) > 1 and isinstance(picture, Video) and picture.live:
            raise DataError(
                f"source: got {picture.name} beside {len(pictures) - 1} others, expected it alone: a live "
                "source does not end. Use one process for each."
            )
    return Source((_name(picture, i), picture) for i, picture in enumerate(pictures))


def images_of(source: Path) -> list[Path]:
    """The image or video `source`, or those in that folder, sorted.

    Images in formats that are not read are logged. Raises `DatasetNotFoundError` when there is no `source`,
    `DataError` for a folder without images and videos, and for a file that is neither.
    """
    if source.is_dir():
        files = sorted(source.iterdir())
        unread = [path.name for path in files if path.suffix.lower() in UNREAD_SUFFIXES]
        if unread:
            shown = ", ".join(unread[:5]) + (" ..." if len(unread) > 5 else "")
            _log.warning(
                "%s: %d images in formats that are not read (%s): convert them", source, len(unread), shown
            )
        paths = [path for path in files if path.suffix.lower() in IMAGE_SUFFIXES | VIDEO_SUFFIXES]
        if not paths:
            raise DataError(f"{source}: no image in this folder, expected {_KNOWN}.")
        return paths
    if not source.exists():
        raise DatasetNotFoundError(f"{source}: no such image, video or folder.")
    if source.suffix.lower() not in IMAGE_SUFFIXES | VIDEO_SUFFIXES:
        try:
            read_header(source)  # an image may have any name
        except ImageError:
            got = f"the suffix {source.suffix}" if source.suffix else "no suffix"
            raise DataError(f"{source}: is no image and has {got}, expected {_KNOWN}.") from None
    return [source]


_KNOWN = f"an image ({', '.join(sorted(IMAGE_SUFFIXES))}) or a video ({', '.join(sorted(VIDEO_SUFFIXES))})"


def _name(picture: Picture, position: int) -> str:
    if isinstance(picture, Video):
        return picture.name
    if isinstance(picture, WebAddress):
        from yolofast.ingest.urls import redacted_url

        return redacted_url(picture.url)
    return str(picture) if isinstance(picture, Path) else f"image{position}"


def _pictures(source: Any) -> list[Picture]:
    if isinstance(source, Source):
        return [picture for _, picture in source]
    if isinstance(source, list | tuple):
        return [picture for part in source for picture in _pictures(part)]
    if isinstance(source, str):
        return _named(source)
    if isinstance(source, Path):
        return _files(source)
    if isinstance(source, np.ndarray):
        return [_array(source)]
    if isinstance(source, bytes | bytearray | memoryview):
        return [bytes(source)]
    if isinstance(source, int | np.integer) and not isinstance(source, bool):
        return [_camera(int(source))]
    module = type(source).__module__.partition(".")[0]  # neither library is imported for this
    if module == "PIL":
        from PIL import ImageOps

        return [np.asarray(ImageOps.exif_transpose(source).convert("RGB"))]
    if module == "torch":
        return _tensor(source)
    raise DataError(
        f"source: got {type(source).__name__}, expected a path, a folder, a glob pattern, a .txt list, a "
        "URL, a camera index, the bytes of an image file, a numpy array (RGB), a PIL image, a torch tensor, "
        "or a list of these."
    )


def _named(text: str) -> list[Picture]:
    """What a text names: a URL, a camera, or files."""
    lowered = text.lower()
    if lowered.startswith(("http://", "https://")):
        from yolofast.ingest.urls import check_http_url

        check_http_url(text)
        return [WebAddress(text)]
    if lowered.startswith(STREAM_SCHEMES):
        from yolofast.ingest.urls import redacted_url

        return [Video(text, redacted_url(text), live=True)]
    if "://" in text:
        shown = printable(text.partition("://")[0], MAX_SHOWN)
        known = ", ".join(scheme.removesuffix("://") for scheme in ("http", "https", *STREAM_SCHEMES))
        raise DataError(f"source: got a URL that begins with {shown}://, expected one of {known}, or a path.")
    if text.isascii() and text.isdecimal() and len(text) < 4 and not Path(text).exists():
        return [_camera(int(text))]
    return _files(Path(text))


def _camera(index: int) -> Video:
    if index < 0:
        raise DataError(f"source: got the camera index {index}, expected 0 or more.")
    return Video(index, f"camera {index}", live=True)


def _files(path: Path) -> list[Picture]:
    try:
        path.stat()
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            shown = printable(str(path), MAX_SHOWN)
            raise DatasetNotFoundError(
                f"{shown}: no such image, video or folder: the name is too long."
            ) from None
    if path.suffix.lower() == ".txt" and path.is_file():
        lines = path.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
        return [picture for line in lines if line.strip() for picture in _listed(path.parent, line.strip())]
    if not path.exists() and glob.has_magic(str(path)):
        found = [Path(name) for name in sorted(glob.glob(str(path), recursive=True))]  # noqa: PTH207
        if not found:
            raise DatasetNotFoundError(f"{path}: no file matches this pattern.")
        return [_file(file) for file in found if file.is_file()]
    return [_file(file) for file in images_of(path)]


def _listed(folder: Path, line: str) -> list[Picture]:
    return _named(line) if "://" in line else [_file(folder / line)]


def _file(path: Path) -> Picture:
    return Video(path, str(path), live=False) if path.suffix.lower() in VIDEO_SUFFIXES else path


def _array(image: NDArray[Any]) -> NDArray[np.uint8]:
    gray = image.ndim == 2
    if image.dtype != np.uint8 or not (gray or (image.ndim == 3 and image.shape[2] == 3)) or not image.size:
        raise DataError(
            f"source: got an array {image.dtype} {list(image.shape)}, expected uint8 [H, W, 3] RGB or "
            "[H, W] gray."
        )
    return np.repeat(image[:, :, None], 3, axis=2) if gray else np.ascontiguousarray(image)


def _tensor(images: Any) -> list[Picture]:
    shape, kind = list(images.shape), str(images.dtype).removeprefix("torch.")
    if len(shape) not in (3, 4) or shape[-3] != 3 or not images.numel():
        raise DataError(f"source: got a tensor {kind} {shape}, expected [3, H, W] or [B, 3, H, W] RGB.")
    values = images.detach().cpu()
    if values.is_floating_point():
        low, high = float(values.min()), float(values.max())
        if not (low >= 0 and high <= 1):  # NaN fails, too
            raise DataError(f"source: got a tensor {kind} in {low:g}..{high:g}, expected floats in 0..1.")
        levels = (values.float() * 255).round().byte().numpy()
    elif kind == "uint8":
        levels = values.numpy()
    else:
        raise DataError(f"source: got a tensor {kind} {shape}, expected uint8 or float 0..1.")
    return [_array(image.transpose(1, 2, 0)) for image in levels.reshape(-1, *shape[-3:])]
