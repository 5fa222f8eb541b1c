"""Prediction with files around it: detections of image files, and a run that writes all outputs."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from yolofast.class_numbers import class_numbers
from yolofast.errors import ImageError
from yolofast.outputs import ResultWriter
from yolofast.predict.sources import open_source
from yolofast.predict.stream import nothing_read, predict

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
    rect: bool = False,
    batch: int = 16,
    device: str | torch.device = "cpu",
    on_error: Callable[[Path, ImageError], None] | None = None,
    **settings: Any,
) -> Iterator[tuple[Path, Detections]]:
    """Detect objects in image files; yields (path, detections) in the order of `paths`, without the images.

    imgsz     side of the network's square input in pixels, with `rect` its longer side before padding
    rect      one shape per batch, just large enough for its images
    batch     images per forward pass
    on_error  called for an image that cannot be read, which is then skipped; omitted means it is logged
    settings  conf, iou, max_det, classes, half, ... of `predict_batches`; also see there for model and device

    No image is decoded at full size, unless it is small. Boxes are xyxy in pixels of the original image, EXIF
    orientation applied; `predict` also gives the originals.
    """
    from yolofast.evaluate import predict_batches
    from yolofast.load import image_batches

    batches = image_batches(
        [Path(path) for path in paths],
        imgsz=imgsz,
        batch_size=batch,
        rect=rect,
        tensors=True,
        on_error=on_error or (lambda _, error: _log.error("%s", error)),
    )
    yield from predict_batches(model, batches, device=device, **settings)


def predict_run(
    weights: Path,
    source: Any,
    save_dir: Path,
    *,
    classes: Sequence[str] | None = None,
    device: str = "auto",
    save: bool = True,
    save_txt: bool = False,
    save_conf: bool = False,
    save_crop: bool = False,
    line_width: int | None = None,
    **settings: Any,
) -> Generator[dict[str, Any], None, None]:
    """Detect objects in any source (see `open_source`), and write the results into `save_dir`.

    Yields, and writes to `save_dir/detections.json`, one dict per image or frame, in order: path, frame,
    detections (class, name, score, box xyxy in pixels of the image), and error: None, or the reason why the
    image could not be read. No result is held. When the iterator is closed early, the files are those of the
    images so far. `classes` are names or numbers; the settings from `save` on are those of `ResultWriter`
    (pictures, txt, conf, crops, line_width), the other ones (`imgsz`, ...) those of `predict`. Raises
    `DatasetNotFoundError` when there is nothing at `source`, `DataError` when no image can be read,
    `ConfigError` for an unknown class.
    """
    from tqdm.contrib.logging import logging_redirect_tqdm  # takes asyncio with it

    from yolofast.models import load_weights
    from yolofast.train.trainer import LAYOUT

    opened = open_source(source)  # before the weights are read: it may be wrong
    total = None if opened.has_frames else len(opened)
    model = load_weights(weights)
    failed: list[tuple[Any, ImageError]] = []
    results = failures = 0
    first: ImageError | None = None

    def on_error(path: Any, error: ImageError) -> None:
        if results or len(opened) > 1:  # otherwise it is raised
            _log.error("%s", error)
        failed.append((path, error))

    found = predict(
        model.to(memory_format=LAYOUT),  # type: ignore[call-overload]
        opened,
        classes=class_numbers(classes, model.class_names),
        device=device,
        on_error=on_error,
        **settings,
    )
    with (
        ResultWriter(
            save_dir, pictures=save, txt=save_txt, conf=save_conf, crops=save_crop, line_width=line_width
        ) as writer,
        logging_redirect_tqdm(),
        tqdm(total=total, desc="predict", unit="image", leave=False) as progress,
        closing(found),
    ):
        for result in itertools.chain(found, [None]):
            for path, error in failed:
                first, failures = first or error, failures + 1
                progress.update()
                yield writer.failed(path, error)
            failed.clear()
            if result is not None:
                results += 1
                progress.update()
                yield writer.write(result)
    if first is not None and not results:
        raise nothing_read(failures, first)
