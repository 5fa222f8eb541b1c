"""What each command does, and what it prints for people; the work itself is in the stages.

Stages are imported inside the commands: `yolofast --help` loads none of them, and the data commands no torch.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yolofast.cli.arguments import (
    AnalyzeArgs,
    CheckArgs,
    ConvertArgs,
    DemoArgs,
    ExportArgs,
    FetchArgs,
    ImportArgs,
    PredictArgs,
    PrepareArgs,
    TrainArgs,
    ValArgs,
)
from yolofast.cli.output import print_json, say, say_lines
from yolofast.config import Link, LoggingConfig, TrainingConfig, YOLOConfig
from yolofast.errors import ConfigError, DataError
from yolofast.printable import command_line
from yolofast.types import Finding, PreparedDataset, QualityReport, Severity

if TYPE_CHECKING:
    from yolofast.prepare import ConvertedDataset

MAX_FINDINGS_SHOWN = 20
CHECK_FAILED = 1
"""Exit code of `check --fail-on` when there is such a finding."""


def _print_findings(findings: Sequence[Finding]) -> None:
    for finding in findings[:MAX_FINDINGS_SHOWN]:
        say(f"  {finding}")
    if len(findings) > MAX_FINDINGS_SHOWN:
        say(f"  ... and {len(findings) - MAX_FINDINGS_SHOWN} more (--json lists all)")


def _print_next(*words: object) -> None:
    say(f"Next: {command_line('yolofast', *words)}")


def demo(args: DemoArgs) -> None:
    from yolofast.demo import run_demo

    summary = run_demo(args.project, report=say_lines)
    say()
    say("Done.")
    say(f"  mAP50 {summary['map50']:.3f}   mAP50-95 {summary['map50_95']:.3f}   (validation split)")
    say("  seconds: " + ", ".join(f"{name} {value:.1f}" for name, value in summary["seconds"].items()))
    for name, exported in summary["export"].items():
        say(f"  {name:12} {exported['path']}  (differs from torch by at most {exported['max_rel_diff']:.1e})")
    for name, path in summary["files"].items():
        say(f"  {name:12} {path}")


def fetch(args: FetchArgs) -> None:
    from yolofast.ingest import fetch_dataset

    folder = fetch_dataset(
        args.source,
        args.out,
        sha256=args.sha256,
        size=args.size,
        retries=args.retries,
        unsafe_redirects=args.unsafe_redirects,
    )
    say(folder)
    _print_next("analyze", folder)


def analyze(args: AnalyzeArgs) -> None:
    from yolofast.analyze import analyze_dataset, validate_dataset_input

    validate_dataset_input(args.path)
    info = analyze_dataset(args.path, label_format=args.label_format)
    if args.json:
        print_json(dataclasses.asdict(info) | {"class_count": info.class_count})
        return
    say(f"{info.root}: {info.structure_type} structure ({info.layout}), {info.label_format} labels")
    for sentence in info.evidence:
        say(f"  {sentence}")
    say(f"images   {info.total_images} ({_counts(info.image_formats)})")
    say(f"boxes    {info.total_boxes}")
    say(f"splits   {_counts(info.splits) or 'none'}")
    say(f"classes  {info.class_count}: {_counts(info.class_counts)}")
    if info.findings:
        say("notes")
        _print_findings(info.findings)


def _counts(counts: Any) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items())


def check(args: CheckArgs) -> int:
    from yolofast.analyze import check_data_quality, validate_dataset_input, write_html_report

    validate_dataset_input(args.path)
    report = check_data_quality(args.path, decode=args.decode, label_format=args.label_format)
    if args.html is not None:
        write_html_report(report, args.html)
    if args.json:
        entries = dataclasses.asdict(dataclasses.replace(report, examples=(), samples=(), rare_samples=()))
        for pictures in ("examples", "samples", "rare_samples"):
            del entries[pictures]
        print_json(entries | {"errors": report.errors})
    else:
        _print_report(report)
        if args.html is not None:
            say(f"written to {args.html}")
    return _failed_check(report, args.fail_on)


def _failed_check(report: QualityReport, fail_on: Severity | None) -> int:
    """The exit code of `check --fail-on`."""
    if fail_on is None:
        return 0
    counts = Counter(finding.severity for finding in (*report.findings, *report.recommendations))
    failing = counts["error"] + (counts["warning"] if fail_on == "warning" else 0)
    if not failing:
        return 0
    found = "1 finding" if failing == 1 else f"{failing} findings"
    print(f"yolofast: check failed: {found} that --fail-on {fail_on} counts", file=sys.stderr)
    return CHECK_FAILED


def _print_report(report: QualityReport) -> None:
    counts = f"{report.images_checked} images, {report.boxes_checked} boxes, {report.errors} errors"
    say(f"{report.root}: {counts}")
    for title, findings in (
        ("images", report.image_issues),
        ("labels", report.label_issues),
        ("formats", report.format_issues),
        ("recommendations", report.recommendations),
    ):
        if findings:
            say(f"{title}: {len(findings)}")
            _print_findings(findings)
    if report.summary:
        say("summary")
    for entry in report.summary:
        say(f"  {entry}")


def prepare(args: PrepareArgs) -> None:
    from yolofast.prepare import prepare_dataset

    done = prepare_dataset(args.path, args.out, config=args.output)
    if args.json:
        print_json(dataclasses.asdict(done))
        return
    _print_converted(done)
    _print_links(done.root, args.output.link)
    say(done.data_yaml)
    _print_next("train", "--data", done.data_yaml)


def convert(args: ConvertArgs) -> None:
    from yolofast.prepare import convert_dataset

    done = convert_dataset(args.path, args.out, to=args.to, link=args.link, label_format=args.label_format)
    if args.json:
        print_json(dataclasses.asdict(done))
        return
    _print_converted(done)
    _print_links(done.root, args.link)
    say(done.root)


def _print_links(root: Path, link: Link) -> None:
    from yolofast.prepare import has_hard_links

    if link == "hard" and has_hard_links(root):
        print(
            "images are hard links: editing one in place, here or in the source, changes both; --link copy "
            "keeps them apart"
        )


def _print_converted(done: PreparedDataset | ConvertedDataset) -> None:
    """Images and boxes per split, what was dropped, and what else deserves a look."""
    width = max(6, *map(len, done.images))
    for split, count in done.images.items():
        say(f"{split:{width}} {count} images, {done.boxes[split]} boxes")
    for note in done.noticed:
        if note.severity == "info":
            say(note.message)
    dropped = f"{done.source_boxes - sum(done.boxes.values())} of {done.source_boxes} boxes dropped"
    say(f"{dropped}; every reason is in {done.root / 'manifest.json'}")
    _print_findings(done.dropped)
    problems = [note for note in done.noticed if note.severity != "info"]
    if problems:
        say(f"also worth checking ({len(problems)})")
        _print_findings(problems)


def train_defaults(given: Mapping[str, Any]) -> TrainArgs:
    """The settings that the flags of `train` override: those of the run to resume, or of --config."""
    if given.get("resume"):
        config = _config_of_run(given)
    elif given.get("config") is not None:
        config = YOLOConfig.from_yaml(given["config"])
    else:
        config = YOLOConfig()
    return TrainArgs(None, config.model, config.dataset, config.training, config.augment, config.logging)


def _config_of_run(given: Mapping[str, Any]) -> YOLOConfig:
    """The settings of the run that `train --resume` means. Raises `CheckpointError` when there is none."""
    from yolofast.runs import newest_unfinished, resumed_config

    for flag, what in (("config", "settings"), ("weights", "weights")):
        if given.get(flag) is not None:
            raise ConfigError(
                f"--resume and --{flag}: got both, but a run that is resumed has its own {what}. Drop one of "
                "them; single flags, such as --epochs, may change the settings."
            )
    logging = LoggingConfig(**{name: given[name] for name in ("project", "name") if name in given})
    if "run" in given:
        if "project" in given or "name" in given:
            raise ConfigError(
                f"--resume {given['run']}: got --project or --name, too. Name the run once: drop them."
            )
        return resumed_config(given["run"])
    if "name" in given:
        return resumed_config(logging.run_dir)
    limits = TrainingConfig(**{name: given[name] for name in ("epochs", "patience", "time") if name in given})
    return resumed_config(
        newest_unfinished(
            logging.project,
            epochs=limits.epochs if "epochs" in given else None,
            patience=limits.patience if "patience" in given else None,
            time=limits.time,
        )
    )


def train(args: TrainArgs) -> None:
    from yolofast.pipeline import print_line, train_run
    from yolofast.train import best_row

    config = YOLOConfig(args.model, args.dataset, args.training, args.augment, args.logging)
    folder, result = train_run(config, report=print_line)
    best = best_row(result["training_history"])
    weights = folder / "weights" / "best.safetensors"
    if args.json:
        print_json({"weights": weights, "final_epoch": result["final_epoch"], "best": best})
        return
    say(weights)
    _print_next("val", "--weights", weights, "--data", config.dataset.data)


def _output_folder(args: ValArgs | PredictArgs) -> AbstractContextManager[Path]:
    from yolofast.output_folder import output_folder

    checked = LoggingConfig(project=args.project, name=args.name)
    return output_folder(checked.project, checked.name, exist_ok=args.exist_ok)


def val(args: ValArgs) -> None:
    from yolofast.pipeline import evaluate_run
    from yolofast.trained_settings import trained_config

    config = trained_config(
        args.weights,
        data=args.data,
        label_format=args.label_format,
        imgsz=args.imgsz,
        batch=args.batch,
        rect=args.rect,
        device=args.device,
        workers=args.workers,
    )
    with _output_folder(args) as folder:
        result = evaluate_run(
            args.weights,
            config,
            split=args.split,
            save_dir=folder,
            conf=args.conf,
            iou=args.iou,
            max_det=args.max_det,
            classes=args.classes,
            half=args.half,
            augment=args.augment,
        )
    if args.json:
        print_json(result.to_dict())
        return
    say_lines(result.table())
    if args.metrics == "coco":
        say_lines(f"\n{result.coco_table()}")
    say(f"written to {folder} (confusion matrix at {result.confusion.thresholds})")


def predict(args: PredictArgs) -> None:
    from yolofast.outputs import DETECTIONS_NAME
    from yolofast.predict import predict_run
    from yolofast.trained_settings import trained_config

    config = trained_config(args.weights, imgsz=args.imgsz)
    done: list[tuple[str, int]] = []  # path and objects, for the lines at the end
    total = failed = 0
    with ExitStack() as stack:
        folder = stack.enter_context(_output_folder(args))
        entries = predict_run(
            args.weights,
            args.source,
            folder,
            imgsz=config.dataset.imgsz,
            conf=args.conf,
            iou=args.iou,
            max_det=args.max_det,
            classes=args.classes,
            half=args.half,
            augment=args.augment,
            rect=args.rect,
            batch=args.batch,
            vid_stride=args.vid_stride,
            device=args.device,
            save=args.save,
            save_txt=args.save_txt,
            save_conf=args.save_conf,
            save_crop=args.save_crop,
            line_width=args.line_width,
        )
        for entry in stack.enter_context(closing(entries)):
            total, failed = total + 1, failed + (entry["error"] is not None)
            if args.stream:
                _print_entry(entry, args.json)
            elif entry["error"] is None:
                done.append((entry["path"], len(entry["detections"])))
    if not args.stream:
        if args.json:
            print((folder / DETECTIONS_NAME).read_text(encoding="utf-8"), end="")
        else:
            for path, count in done:
                say(f"{path}: {count} objects")
    if not args.json:
        say(f"written to {folder}")
    if failed:
        raise DataError(
            f"{failed} of {total} images could not be read; {folder / DETECTIONS_NAME} says why. "
            "The others are done."
        )


def import_weights(args: ImportArgs) -> None:
    from yolofast.models import import_metadata, read_checkpoint, save_weights
    from yolofast.models.translate import detector_of

    checkpoint = read_checkpoint(args.file)
    out = args.file.with_suffix(".safetensors") if args.out is None else args.out
    if out.exists() and out.samefile(args.file):
        raise ConfigError(f"--out {out}: got the checkpoint itself, which is not replaced. Use another name.")
    save_weights(detector_of(checkpoint), out, import_metadata(checkpoint))
    if args.json:
        found = dataclasses.asdict(dataclasses.replace(checkpoint, tensors={}))
        print_json({key: value for key, value in found.items() if key != "tensors"} | {"out": out})
        return
    size = "not stated" if checkpoint.imgsz is None else checkpoint.imgsz
    say(f"model      {checkpoint.family}{checkpoint.size} ({checkpoint.part}, {checkpoint.precision})")
    say(f"classes    {len(checkpoint.class_names)}: {', '.join(checkpoint.class_names)}")
    say(f"imgsz      {size}, strides {', '.join(map(str, checkpoint.stride))}")
    say(f"written by {checkpoint.version or 'an unknown version'}")
    say(out)
    _print_next("val", "--weights", out, "--data", "data.yaml")


def _print_entry(entry: Mapping[str, Any], as_json: bool) -> None:
    """One line at once: JSON, or what was found for people; an image that failed is in the log already."""
    if as_json:
        print(json.dumps(entry), flush=True)
    elif entry["error"] is None:
        counts = Counter(found["name"] for found in entry["detections"])
        shown = ", ".join(f"{count} {name}" for name, count in counts.items()) or "no detections"
        say(f"{entry['path']}: {shown}")
        sys.stdout.flush()


def export(args: ExportArgs) -> None:
    from yolofast.pipeline import export_run
    from yolofast.trained_settings import trained_config

    settings = dataclasses.asdict(args.export)
    config = trained_config(args.weights, data=args.data, imgsz=args.imgsz, **settings)
    result = export_run(args.weights, config, args.out)
    if args.json:
        print_json(dataclasses.asdict(result))
        return
    say(f"{result.path} ({result.size_bytes / 2**20:.1f} MiB, {result.seconds:.1f} s)")
    if result.max_rel_diff is None:
        say("not compared with torch: give --data to check it on real images")
    else:
        say(f"differs from torch by at most {result.max_rel_diff:.1e} on {result.images_checked} images")
