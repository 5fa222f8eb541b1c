"""What people predict on, as one list: image files stay paths, everything else becomes an RGB array."""

from __future__ import annotations

import glob
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from yolofast.errors import DataError, DatasetNotFoundError
from yolofast.predict.files import images_of

Picture: TypeAlias = Path | NDArray[np.uint8]
"""The path of an image file, or uint8 [H, W, 3] RGB."""
Source: TypeAlias = list[tuple[str, Picture]]
"""(name, picture) of each image; arrays are named `image0`, `image1`, ... by their position."""


def open_source(source: Any) -> Source:
    """The images of `source`, in order.

    source  path of an image, a folder, a glob pattern, a .txt list of paths (relative to the list); a numpy
            array uint8 [H, W, 3] RGB or [H, W] gray; a PIL image; a torch tensor [3, H, W] or [B, 3, H, W],
            uint8 or float 0..1, RGB; or a list or tuple of any of these

    Files are not opened. Raises `DatasetNotFoundError` for a path without a file, `DataError` for a folder or
    list without images and for an array that is none of the above: says what came and what was wanted.
    """
    pictures = _pictures(source)
    if not pictures:
        raise DataError("source: got no image, expected at least one.")
    return [
        (str(picture) if isinstance(picture, Path) else f"image{i}", picture)
        for i, picture in enumerate(pictures)
    ]


def _pictures(source: Any) -> list[Picture]:
    if isinstance(source, list | tuple):
        return [picture for part in source for picture in _pictures(part)]
    if isinstance(source, str | Path):
        return _files(Path(source))
    if isinstance(source, np.ndarray):
        return [_array(source)]
    module = type(source).__module__.partition(".")[0]  # neither library is imported for this
    if module == "PIL":
        from PIL import ImageOps

        return [np.asarray(ImageOps.exif_transpose(source).convert("RGB"))]
    if module == "torch":
        return _tensor(source)
    raise DataError(
        f"source: got {type(source).__name__}, expected a path, a folder, a glob pattern, a .txt list, a "
        "numpy array (RGB), a PIL image, a torch tensor, or a list of these."
    )


def _files(path: Path) -> list[Picture]:
    if path.suffix.lower() == ".txt" and path.is_file():
        lines = path.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
        return [path.parent / line.strip() for line in lines if line.strip()]
    if not path.exists() and glob.has_magic(str(path)):
        found = [Path(name) for name in sorted(glob.glob(str(path), recursive=True))]  # noqa: PTH207
        if not found:
            raise DatasetNotFoundError(f"{path}: no file matches this pattern.")
        return [file for file in found if file.is_file()]
    return list(images_of(path))


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
