"""The demo: the whole road on the embedded sample dataset, from nothing to a picture of boxes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from yolofast.config import YOLOConfig
from yolofast.files import write_json
from yolofast.pipeline import SUMMARY_NAME, Stopwatch, predict_run, run
from yolofast.sample import CLASSES, make_sample_dataset

STAGES = 7


def demo_config(project: Path) -> YOLOConfig:
    """Settings that bring the pico model past mAP50 0.8 in a few minutes on two CPU cores."""
    return YOLOConfig().replace(
        model="p", imgsz=192, epochs=60, batch=16, lr0=0.004, close_mosaic=10, project=project, name="demo"
    )


def run_demo(project: Path = Path("runs"), config: YOLOConfig | None = None) -> dict[str, Any]:
    """Draw the sample dataset, walk the whole road on it, predict, and say where everything is.

    Everything goes to PROJECT/demo. An earlier demo there is replaced, but for its training: each
    gets a folder of its own (train, train-2, ...). Returns the summary
    that PROJECT/demo/summary.json holds.
    """
    config = config or demo_config(project)
    folder = config.logging.run_dir
    clock = Stopwatch(STAGES)
    with clock.stage("sample", f"300 images of {', '.join(CLASSES)}"):
        source = make_sample_dataset(folder / "raw")
    result = run(source, config, clock)
    drawn = folder / "predictions"
    with clock.stage("predict", f"boxes drawn on the validation images, in {drawn}"):
        predict_run(
            Path(result.summary["files"]["weights"]),
            result.prepared.root / "valid" / "images",
            drawn,
            imgsz=config.dataset.imgsz,
        )
    summary = result.summary | {"seconds": clock.seconds}
    summary["files"] |= {"predictions": str(drawn), "evaluation": str(folder / "evaluation")}
    write_json(folder / SUMMARY_NAME, summary)
    print_summary(summary)
    return summary


def print_summary(summary: dict[str, Any]) -> None:
    """The closing page of the demo."""
    print("\nDone.")
    print(f"  mAP50 {summary['map50']:.3f}   mAP50-95 {summary['map50_95']:.3f}   (validation split)")
    print("  seconds: " + ", ".join(f"{name} {value:.1f}" for name, value in summary["seconds"].items()))
    for name, export in summary["export"].items():
        print(f"  {name:12} {export['path']}  (differs from torch by at most {export['max_rel_diff']:.1e})")
    for name, path in summary["files"].items():
        print(f"  {name:12} {path}")
