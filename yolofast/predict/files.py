"""Prediction on image files: composes loading, the model's detections and their plots."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from yolofast.class_numbers import class_numbers
from yolofast.errors import DataError, DatasetNotFoundError, ImageError
from yolofast.images import IMAGE_SUFFIXES, UNREAD_SUFFIXES, read_image
from yolofast.outputs import ResultWriter
from yolofast.result import Result
from yolofast.result_pictures import optional_picture

if TYPE_CHECKING:
    import torch

    from yolofast.evaluate.inference import DetectionModel
    from yolofast.types import Detections

_log = logging.getLogger(__name__)


def predict_images(
    model: DetectionModel,
    paths: Iterable[str | Path],
    *,
    imgsz: int,
    conf: float = 0.25,
    iou: float = 0.7,
    max_det: int = 300,
    classes: Sequence[int] | None = None,
    half: bool = False,
    rect: bool = False,
    device: str | torch.device = "cpu",
    batch: int = 16,
    save_dir: str | Path | None = None,
    class_names: Sequence[str] | None = None,
    on_error: Callable[[Path, ImageError], None] | None = None,
) -> Iterator[tuple[Path, Detections]]:
    """Detect objects in image files; yields (path, detections) in the order of `paths`.

    model       torch module, float [B, 3, H, W] in 0..1 -> raw [B, 4 + classes, A]; see `predict_batches`,
                also for conf, iou, max_det, classes, half and device
    imgsz       side of the network's square input in pixels, with `rect` its longer side before padding
    rect        one shape per batch, just large enough for its images
    batch       images per forward pass
    save_dir    folder for the images with their boxes, under their own names; None = no plots. Needs
                `class_names`. Images of the same name get -2, -3, ... appended.
    on_error    called for an image that cannot be read, which is then skipped; omitted means it is logged.

    The network sees the same pixels as in the evaluation of a dataset. Boxes are xyxy in pixels of the
    original image, EXIF orientation applied. One image at a time is held at full size. A plot that fails is a
    warning. Raises `DataError` when `save_dir` is the folder of a source image.
    """
    from yolofast.evaluate import plot_detections, predict_batches
    from yolofast.evaluate.predict import plot_paths
    from yolofast.load import image_batches

    files = [Path(p) for p in paths]
    if save_dir is not None and class_names is None:
        raise DataError("save_dir: plotting needs class_names, got none. Pass the model's class names.")
    plots = iter(() if save_dir is None else zip(files, plot_paths(files, Path(save_dir)), strict=True))
    batches = image_batches(
        files,
        imgsz=imgsz,
        batch_size=batch,
        rect=rect,
        tensors=True,
        on_error=on_error or (lambda _, error: _log.error("%s", error)),
    )
    found = predict_batches(
        model, batches, conf=conf, iou=iou, max_det=max_det, classes=classes, half=half, device=device
    )
    for path, detections in found:
        if save_dir is not None and class_names is not None:
            target = next(plot for file, plot in plots if file == path)  # both are in the files' order
            with optional_picture(target):
                plot_detections(read_image(path), detections, class_names, target)
        yield path, detections


def images_of(source: Path) -> list[Path]:
    """The image `source`, or the images in that folder, sorted.

    Images in formats that are not read are logged. Raises `DatasetNotFoundError` when there is no `source`,
    `DataError` for a folder without images.
    """
    if source.is_dir():
        files = sorted(source.iterdir())
        unread = [path.name for path in files if path.suffix.lower() in UNREAD_SUFFIXES]
        if unread:
            shown = ", ".join(unread[:5]) + (" ..." if len(unread) > 5 else "")
            _log.warning(
                "%s: %d images in formats that are not read (%s): convert them", source, len(unread), shown
            )
        paths = [path for path in files if path.suffix.lower() in IMAGE_SUFFIXES]
        if not paths:
            known = ", ".join(sorted(IMAGE_SUFFIXES))
            raise DataError(f"{source}: no image in this folder, expected {known}.")
        return paths
    if not source.exists():
        raise DatasetNotFoundError(f"{source}: no such image or folder.")
    return [source]


def predict_run(
    weights: Path,
    source: Path,
    save_dir: Path,
    *,
    imgsz: int,
    conf: float = 0.25,
    iou: float = 0.7,
    max_det: int = 300,
    classes: Sequence[str] | None = None,
    half: bool = False,
    rect: bool = False,
    batch: int = 16,
    device: str = "auto",
    save: bool = True,
    save_txt: bool = False,
    save_conf: bool = False,
    save_crop: bool = False,
    line_width: int | None = None,
) -> Generator[dict[str, Any], None, None]:
    """Detect objects in an image or a folder of images, and write the results into `save_dir`.

    Yields, and writes to `save_dir/detections.json`, one dict per image, in the order of the names: path,
    detections (class, name, score, box xyxy in pixels of the image), and error: None, or the reason why the
    image could not be read. No result is held. When the iterator is closed early, the files are those of the
    images so far. `classes` are names or numbers; the settings from `save` on are those of `ResultWriter`
    (pictures, txt, conf, crops, line_width), the other ones those of `predict_images`. Raises
    `DatasetNotFoundError` when there is nothing at `source`, `DataError` when no image can be read,
    `ConfigError` for an unknown class.
    """
    from tqdm.contrib.logging import logging_redirect_tqdm  # takes asyncio with it

    from yolofast.models import load_weights
    from yolofast.train import select_device
    from yolofast.train.trainer import LAYOUT

    paths = images_of(source)
    model = load_weights(weights)
    errors: dict[Path, ImageError] = {}

    def failed(path: Path, error: ImageError) -> None:
        _log.error("%s", error)
        errors[path] = error

    found = predict_images(
        model.to(memory_format=LAYOUT),  # type: ignore[call-overload]
        paths,
        imgsz=imgsz,
        conf=conf,
        iou=iou,
        max_det=max_det,
        classes=class_numbers(classes, model.class_names),
        half=half,
        rect=rect,
        batch=batch,
        device=select_device(device),
        on_error=failed,
    )
    remaining, first = iter(paths), ""
    readable = False
    with (
        ResultWriter(
            save_dir, pictures=save, txt=save_txt, conf=save_conf, crops=save_crop, line_width=line_width
        ) as writer,
        logging_redirect_tqdm(),
        tqdm(total=len(paths), desc="predict", unit="image", leave=False) as progress,
    ):
        for path, detections in itertools.chain(found, [(None, None)]):
            for unread in itertools.takewhile(lambda other: other != path, remaining):  # noqa: B023
                first = first or f"{errors[unread]}"
                progress.update()
                yield writer.failed(unread, errors[unread])
            if path is not None and detections is not None:
                readable = True
                progress.update()
                try:
                    image = read_image(path)
                except ImageError as error:  # removed or replaced meanwhile
                    failed(path, error)
                    yield writer.failed(path, error)
                else:
                    yield writer.write(Result(str(path), image, detections, model.class_names))
    if not readable:
        raise DataError(f"{source}: none of the {len(paths)} images could be read. The first: {first}")
