"""Batches of image files without labels, with the pixels that a `Loader` gives: what prediction reads."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from yolofast.config import MODEL_STRIDE
from yolofast.config_fields import at_least
from yolofast.errors import ImageError, without_location
from yolofast.images import read_headers
from yolofast.kernels.packed_paths import PackedPaths, pack_paths, path_ends
from yolofast.load.execute._engine import Engine
from yolofast.load.execute.executor import render_plan
from yolofast.load.plan.letterboxed import plan_letterbox
from yolofast.types import Batch


def image_batches(
    paths: Sequence[str | Path],
    *,
    imgsz: int,
    batch_size: int = 16,
    rect: bool = False,
    stride: int = MODEL_STRIDE,
    pad: float = 0.5,
    tensors: bool = False,
    on_error: Callable[[Path, ImageError], None],
) -> Iterator[Batch]:
    """The images of files in the order of `paths`, letterboxed, in batches without targets.

    An image is decoded and resized exactly as in a batch of a `Loader` without augmentation, so a model sees
    the same pixels in training's validation, evaluation and prediction.

    paths       image files of any supported format
    imgsz       side of the square images in pixels, with `rect` the longer side before padding
    batch_size  images per batch; a batch has fewer where images cannot be read, and is left out without any
    rect        one shape per batch, just large enough for its images, as in a dataset with `rect`;
                `stride` and `pad` as there
    tensors     torch tensors instead of numpy arrays
    on_error    called for each image that cannot be read, which is left out

    Yields `Batch` with `images` uint8 [B, 3, H, W] RGB, `targets` float32 [0, 6], and in `shapes` the size of
    the upright original. Only one decoded image is held at a time.
    """
    at_least(imgsz=(imgsz, 1), batch_size=(batch_size, 1), stride=(stride, 1), pad=(pad, 0))
    for begin in range(0, len(paths), batch_size):
        readable, shapes = [], []
        chunk = paths[begin : begin + batch_size]
        for path, header in zip(chunk, read_headers(chunk), strict=True):
            if isinstance(header, ImageError):
                on_error(Path(path), header)
            else:
                readable.append(path)
                shapes.append(header.shape)
        if not readable:
            continue
        sides = np.array(shapes, np.int32)
        plan, decode_side = plan_letterbox(sides, imgsz, rect=rect, stride=stride, pad=pad)
        packed = pack_paths(readable)
        names = PackedPaths(np.frombuffer(packed, np.uint8), np.concatenate([[0], path_ends(packed)]))
        jobs = render_plan(Engine(names, sides, decode_side), plan)
        failed = {sample: reason for sample, _, reason in jobs.failures()}
        for sample, reason in sorted(failed.items()):
            path = readable[sample]
            on_error(Path(path), ImageError(f"{path}: {without_location(reason, path)}"))
        kept = np.array([sample for sample in range(len(readable)) if sample not in failed], dtype=np.int64)
        if not len(kept):
            continue
        batch = Batch(
            jobs.out if not failed else jobs.out[kept],
            np.zeros((0, 6), np.float32),
            tuple(str(readable[sample]) for sample in kept.tolist()),
            sides[kept].astype(np.int64),
        )
        yield _as_tensors(batch) if tensors else batch


def _as_tensors(batch: Batch) -> Batch:
    from yolofast.load.tensors import as_tensors

    return as_tensors(batch)
