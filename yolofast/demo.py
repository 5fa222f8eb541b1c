"""The demo: the whole pipeline on the generated sample dataset, from nothing to an image with boxes."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from yolofast.config import YOLOConfig
from yolofast.files import write_json
from yolofast.pipeline import SUMMARY_NAME, run
from yolofast.predict import predict_run
from yolofast.sample import CLASSES, make_sample_dataset
from yolofast.stopwatch import Report, Stopwatch
from yolofast.work_folder import only_writer

STAGES = 7
_log = logging.getLogger(__name__)


def demo_config(project: Path) -> YOLOConfig:
    """Settings that bring the pico model past mAP50 0.8 in a few minutes on two CPU cores."""
    return YOLOConfig().replace(
        model="p", imgsz=192, epochs=32, batch=16, lr0=0.004, close_mosaic=6, project=project, name="demo"
    )


def run_demo(
    project: Path = Path("runs"),
    config: YOLOConfig | None = None,
    report: Report = _log.info,
) -> dict[str, Any]:
    """Generate the sample dataset, run the whole pipeline on it, and predict on its validation images.

    Everything goes to PROJECT/demo. An earlier demo there is replaced, except for its training runs: each one
    has a folder of its own (train, train-2, ...). A second demo waits until the first ends. Progress goes to
    `report`, line by line. Returns the summary that PROJECT/demo/summary.json holds: map50, map50_95, seconds
    per stage, exports and files.
    """
    config = config or demo_config(project)
    with only_writer(config.logging.run_dir):
        return _run(config, report)


def _run(config: YOLOConfig, report: Report) -> dict[str, Any]:
    folder = config.logging.run_dir
    clock = Stopwatch(STAGES, report)
    with clock.stage("sample", f"300 images of {', '.join(CLASSES)}"):
        source = make_sample_dataset(folder / "raw")
    result = run(source, config, clock)
    predictions = folder / "predictions"
    with clock.stage("predict", f"boxes drawn on the validation images, in {predictions}"):
        images = result.prepared.root / "valid" / "images"
        weights = Path(result.summary["files"]["weights"])
        for _ in predict_run(weights, images, predictions, imgsz=config.dataset.imgsz):
            pass  # each is written as it comes
    summary = result.summary | {"seconds": clock.seconds}
    summary["files"] |= {"predictions": str(predictions), "evaluation": str(folder / "evaluation")}
    write_json(folder / SUMMARY_NAME, summary)
    return summary
