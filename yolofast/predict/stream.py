"""Results of a model on any source, one by one, in bounded memory.

Three things happen at once: a thread reads, decodes and letterboxes the next batch, the network runs on this
one, and another thread does the NMS of the one before.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from time import perf_counter
from typing import TYPE_CHECKING, Any, ParamSpec, TypeAlias, TypeVar

from yolofast.config_fields import at_least
from yolofast.errors import DataError, ImageError
from yolofast.predict.ahead import Ahead
from yolofast.predict.batches import Failure, Outcome, Ready, read_items, ready_batches, resolved
from yolofast.predict.sources import open_source
from yolofast.result import Result
from yolofast.types import Letterbox

if TYPE_CHECKING:
    import torch

    from yolofast.evaluate.inference import DetectionModel

OnError: TypeAlias = Callable[[Any, ImageError], None]
"""Called with the path of a file (or the name of another source) that cannot be read, and the error."""
P = ParamSpec("P")
R = TypeVar("R")
Found: TypeAlias = list[Result | Failure]
IMAGE_BATCH = 8
VIDEO_BATCH = 4
_log = logging.getLogger(__name__)


def predict(
    model: DetectionModel,
    source: Any,
    *,
    imgsz: int,
    conf: float = 0.25,
    iou: float = 0.7,
    max_det: int = 300,
    classes: Sequence[int] | None = None,
    half: bool = False,
    augment: bool = False,
    rect: bool = False,
    batch: int | None = None,
    vid_stride: int = 1,
    device: str | torch.device = "auto",
    on_error: OnError | None = None,
) -> Generator[Result, None, None]:
    """Detect objects in `source` (see `open_source`); yields a `Result` per image or frame, in order.

    model       torch module, see `predict_batches`, also for conf, iou, max_det, classes, half and
                augment; its `class_names` are the names of the results
    imgsz       side of the network's square input in pixels, with `rect` its longer side before padding
    rect        one shape per batch, just large enough for its images
    batch       images per forward pass; omitted means `IMAGE_BATCH`, or `VIDEO_BATCH`; 1 of live sources
    vid_stride  take every Nth frame of videos and streams
    device      "auto" takes a GPU where there is one
    on_error    called for what cannot be read, or not to its end, which is then skipped; omitted means it is
                logged, and that it is raised where nothing could be read

    Held are the originals of at most four batches, each of `batch` images or about 33 megapixels. Of a live
    source (a camera, a stream) the newest frame is taken, and those that come while the network is busy are
    dropped: `Result.frame` counts them. Closing the generator ends its threads and releases the source.

    The network sees the pixels that it sees in the evaluation of a dataset; what comes as an array, as bytes
    or from a URL has those of a PNG file of it. `speed` has milliseconds per image.
    """
    at_least(vid_stride=(vid_stride, 1), batch=(1 if batch is None else batch, 1))
    opened, unopened = open_source(source), list[Outcome]()
    try:
        opened = resolved(opened)
    except ImageError as error:
        unopened.append(Failure(opened[0][0], error))
    live = opened.is_live
    report = on_error or (lambda _, error: _log.error("%s", error))
    found = failures = 0
    first: ImageError | None = None
    latest: Ahead[Outcome] | None = None
    alone = False
    with ExitStack() as stack:
        read = stack.enter_context(closing(read_items(opened, vid_stride)))
        outcomes: Iterator[Outcome] = iter(unopened) if unopened else read
        if live:
            outcomes = latest = stack.enter_context(Ahead(outcomes, newest=True))
            batches = ready_batches(outcomes, imgsz=imgsz, batch=1, rect=rect, live=True)
        else:
            size = batch or (VIDEO_BATCH if opened.has_frames else IMAGE_BATCH)
            batches = ready_batches(outcomes, imgsz=imgsz, batch=size, rect=rect, live=False)
            alone = len(opened) <= size and opened.in_memory  # nothing to overlap, and a thread takes a while
            if not alone:
                batches = stack.enter_context(Ahead(batches))
        pool = _AtOnce() if alone else stack.enter_context(ThreadPoolExecutor(1, "yolofast-nms"))
        settings: dict[str, Any] = {"conf": conf, "iou": iou, "max_det": max_det, "classes": classes}
        pending = _submitted(model, batches, pool, device=device, half=half, augment=augment, **settings)
        for outcome in _unlagged(pending) if live else _one_behind(pending):
            if isinstance(outcome, Result):
                found += 1
                yield outcome
            else:
                failures, first = failures + 1, first or outcome.error
                if found or len(opened) > 1 or on_error is not None:  # otherwise it is raised
                    report(outcome.path, outcome.error)
    if latest is not None and latest.dropped:
        _log.info("%s: %d frames dropped, while %d were predicted", opened[0][0], latest.dropped, found)
    if first is not None and found == 0 and on_error is None:
        raise nothing_read(failures, first)


class _AtOnce(Executor):
    """Does what it is given in the caller's thread."""

    def submit(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        done: Future[R] = Future()
        done.set_result(fn(*args, **kwargs))
        return done


def nothing_read(count: int, first: ImageError) -> DataError:
    """The error about a source of which nothing could be read."""
    if count == 1:
        return first
    return DataError(f"source: none of the {count} images could be read. The first: {first}")


def _submitted(
    model: DetectionModel,
    batches: Iterable[Ready],
    pool: Executor,
    *,
    device: str | torch.device,
    half: bool,
    augment: bool,
    iou: float,
    **settings: Any,
) -> Iterator[Future[Found]]:
    """Runs the network on each batch, and leaves the rest to `pool`."""
    import torch

    from yolofast.evaluate.augmented import with_augmented_views
    from yolofast.evaluate.inference import inference, network_input, nms_threshold
    from yolofast.train import select_device

    where = select_device(device) if isinstance(device, str) else device
    names, iou = tuple(getattr(model, "class_names", ())), nms_threshold(model, iou, augment=augment)
    for ready in batches:
        raw = None
        began = perf_counter()
        if len(ready.pixels):
            with inference(model, where, half=half):  # not around the yield: modes stay inside
                images = network_input(torch.from_numpy(ready.pixels), where)
                raw = model(images)
                if augment:
                    raw = with_augmented_views(raw, model, images)
        took = (perf_counter() - began) * 1e3
        yield pool.submit(_found, ready, raw, names, took, iou=iou, **settings)
        del ready, raw  # not held while the next batch comes


def _found(
    ready: Ready, raw: torch.Tensor | None, names: tuple[str, ...], inference_ms: float, **settings: Any
) -> Found:
    """The results of a batch, with its failures in their places."""
    from yolofast.evaluate.detect import find_detections
    from yolofast.evaluate.predict import to_original

    if raw is None:
        return [outcome for outcome in ready.outcomes if isinstance(outcome, Failure)]
    began = perf_counter()
    detections = iter(find_detections(raw, **settings))
    count = len(ready.pixels)
    speed = {
        "preprocess": ready.milliseconds / count,
        "inference": inference_ms / count,
        "postprocess": (perf_counter() - began) * 1e3 / count,
    }
    size = (ready.pixels.shape[2], ready.pixels.shape[3])
    results: Found = []
    for outcome in ready.outcomes:
        if isinstance(outcome, Failure):
            results.append(outcome)
            continue
        name, image, frame, fps, _ = outcome
        placement = Letterbox.fit((image.shape[0], image.shape[1]), size)
        own = to_original(next(detections), placement)
        results.append(Result(name, image, own, names, speed, frame, fps))
    return results


def _unlagged(pending: Iterator[Future[Found]]) -> Iterator[Result | Failure]:
    for future in pending:
        yield from future.result()


def _one_behind(pending: Iterator[Future[Found]]) -> Iterator[Result | Failure]:
    """The results of a batch once the network has done the next one; also before an error about that."""
    before: Future[Found] | None = None
    while True:
        try:
            future = next(pending, None)
        except Exception:
            if before is not None:
                yield from before.result()
            raise
        if before is not None:
            yield from before.result()
        if future is None:
            return
        before = future
