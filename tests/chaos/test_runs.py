"""Runs that are killed at any moment, that start together, or that meet a full disk.

After a kill the next run gives the same bytes, and nothing else is left. Of two that write the same, both end
well, or one is refused with one line.
"""

from __future__ import annotations

import csv
import itertools
import os
import random
import shutil
import signal
import subprocess
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from support.chaos import Attack, Ran
from support.dataset_files import tree_digest
from support.forked import Forked, command, fork

from yolofast.load import YOLODataset
from yolofast.prepare import prepare_dataset
from yolofast.sample import make_sample_dataset

pytestmark = pytest.mark.chaos

KILLS = [signal.SIGKILL, signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT]
TIMES = {"epoch_s", "images_per_s", "memory_mb"}
Start = Callable[[], Forked]


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_sample_dataset(tmp_path_factory.mktemp("source") / "raw", count=24)


@pytest.fixture(scope="module")
def data(raw: Path) -> Path:
    """Of a few images, so that an epoch takes no time next to the rest of a run."""
    return prepare_dataset(make_sample_dataset(raw.with_name("few"), count=8)).data_yaml


@pytest.fixture(scope="module")
def weights(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a run of two epochs, after which the modules that a command imports are there."""
    folder = tmp_path_factory.mktemp("trained")
    ended(train(folder / "log", data, folder, "a", "--epochs", 2))
    import matplotlib.pyplot  # noqa: F401
    import onnx  # noqa: F401
    import onnxruntime  # noqa: F401
    import onnxscript  # noqa: F401

    import yolofast.cli.commands
    import yolofast.evaluate.evaluator
    import yolofast.pipeline  # noqa: F401

    return folder / "a" / "weights" / "best.safetensors"


def train(log: Path, data: Path, project: Path, name: str, *more: object) -> Forked:
    return command(
        log, "train", "--data", data, "--project", project, "--name", name, "--model", "p", "--imgsz", 32,
        "--batch", 8, "--workers", 0, "--device", "cpu", "--no-plots", *more,
    )  # fmt: skip


def ended(process: Forked, codes: tuple[int, ...] = (0,)) -> Ran:
    ran = process.end()
    assert ran.code in codes, f"exit code {ran.code}\n{ran.err}"
    return ran


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def kill_at_random(start: Start, seconds: float, draw: random.Random) -> None:
    """Start, kill after a moment of up to `seconds`, and check that what can speak is brief."""
    process, number = start(), draw.choice(KILLS)
    time.sleep(draw.uniform(0, seconds))
    process.kill(number)
    ran = process.end()
    assert ran.code in (0, -number, 128 + number), f"exit code {ran.code}\n{ran.err}"
    assert "Traceback" not in ran.err, ran.err


def time_of(start: Start) -> float:
    return ended(start()).seconds


# ---------------------------------------------------------------- kills


@pytest.mark.parametrize(("tries", "replaces"), [(100, False), (100, True)], ids=["fresh", "replacing"])
def test_prepare_killed(raw: Path, tmp_path: Path, tries: int, replaces: bool) -> None:
    made, log = tmp_path / "made", tmp_path / "log"
    out = made / "out"

    def start() -> Forked:
        return command(log, "prepare", raw, "--out", out, "--max-side", 100)

    seconds, expected = time_of(start), tree_digest(out)
    with Attack(f"prepare killed, {'replacing' if replaces else 'fresh'}", tries) as attack:
        for draw in attack:
            shutil.rmtree(out)
            old = tree_digest(prepare_dataset(raw, out, seed=1).root) if replaces else {}
            kill_at_random(start, seconds, draw)
            assert not out.exists() or tree_digest(out) in (old, expected)
            attack.saw(ended(start()))
            assert tree_digest(out) == expected
            assert names(made) == ["out"]


def test_convert_killed(raw: Path, tmp_path: Path) -> None:
    made, log = tmp_path / "made", tmp_path / "log"

    def start() -> Forked:
        return command(log, "convert", raw, "--out", made / "out", "--to", "coco")

    seconds, expected = time_of(start), tree_digest(made / "out")
    with Attack("convert killed", 60) as attack:
        for draw in attack:
            kill_at_random(start, seconds, draw)
            attack.saw(ended(start()))
            assert tree_digest(made / "out") == expected
            assert names(made) == ["out"]


def test_cache_building_killed(data: Path, tmp_path: Path) -> None:
    cache, log = tmp_path / "cache", tmp_path / "log"

    def build() -> None:
        YOLODataset(data, "train", imgsz=64, cache="disk", cache_dir=cache)

    time.sleep(0.1)  # the times of files that were just written are not trusted yet, and not kept
    seconds = time_of(lambda: fork(build, log))
    expected = tree_digest(cache)
    with Attack("cache building killed", 100) as attack:
        for draw in attack:
            shutil.rmtree(cache)
            process = fork(build, log)
            time.sleep(draw.uniform(0, seconds))
            process.kill(signal.SIGKILL)
            process.end()
            attack.saw(ended(fork(build, log)))
            assert tree_digest(cache) == expected


def test_training_killed(data: Path, weights: Path, tmp_path: Path) -> None:
    log, runs = tmp_path / "log", tmp_path / "runs"
    seconds = time_of(lambda: train(log, data, runs, "whole", "--epochs", 3))
    expected, rows, files = tensors(runs / "whole"), results(runs / "whole"), names(runs / "whole")
    with Attack("train killed", 100) as attack:
        for draw, number in zip(attack, itertools.count(), strict=False):
            name = f"run{number}"
            kill_at_random(lambda name=name: train(log, data, runs, name, "--epochs", 3), seconds, draw)
            folder = runs / name
            begun = (folder / "config.yaml").exists()
            more = command(log, "train", "--resume", folder) if begun else train(
                log, data, runs, name, "--epochs", 3
            )  # fmt: skip
            attack.saw(ended(more))
            drawn_at_the_end = {"dataflow.json", "dataflow.png"}  # not by a run that was killed right before
            assert {*names(folder)} - drawn_at_the_end == {*files} - drawn_at_the_end
            assert names(folder / "weights") == names(runs / "whole" / "weights")
            assert results(folder) == rows
            found = tensors(folder)
            assert found.keys() == expected.keys()
            assert all(torch.equal(found[key], value) for key, value in expected.items())
            assert names(runs) == sorted([name, "whole"])
            shutil.rmtree(folder)


def test_export_killed(weights: Path, tmp_path: Path) -> None:
    made, log = tmp_path / "made", tmp_path / "log"
    made.mkdir()

    def start() -> Forked:
        return command(log, "export", "--weights", weights, "--out", made / "a.onnx", "--imgsz", 64)

    seconds, expected = time_of(start), (made / "a.onnx").read_bytes()
    with Attack("export killed", 40) as attack:
        for draw in attack:
            kill_at_random(start, seconds, draw)
            assert (made / "a.onnx").read_bytes() == expected
            attack.saw(ended(start()))
            assert names(made) == ["a.onnx"]


def tensors(run: Path) -> dict[str, torch.Tensor]:
    with safe_open(run / "weights" / "last.safetensors", framework="pt") as file:
        return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118


def results(run: Path) -> list[dict[str, str]]:
    with (run / "results.csv").open(newline="") as file:
        return [{k: v for k, v in row.items() if k not in TIMES} for row in csv.DictReader(file)]


# ---------------------------------------------------------------- pairs


def pairs(name: str, start: Callable[[Path], Forked], tmp_path: Path) -> Iterator[tuple[int, int]]:
    """The exit codes of fifty pairs that start within milliseconds of each other."""
    with Attack(f"two at once: {name}", 50) as attack:
        for draw in attack:
            first = start(tmp_path / "log1")
            time.sleep(draw.uniform(0, 0.01))
            second = start(tmp_path / "log2")
            codes = []
            for process in (first, second):
                ran = attack.saw(process.end())
                assert ran.code in (0, 2), ran.err
                errors = [line for line in ran.err.splitlines() if line.startswith("yolofast: error")]
                assert len(errors) == (ran.code == 2), ran.err
                codes.append(ran.code)
            assert 0 in codes
            yield codes[0], codes[1]


@pytest.mark.parametrize("words", [["prepare"], ["convert", "--to", "voc"], ["prepare", "--max-side", 90]])
def test_pairs_of_prepare_and_convert(raw: Path, tmp_path: Path, words: list[object]) -> None:
    made = tmp_path / "made"
    out = made / "out"

    def start(log: Path) -> Forked:
        return command(log, *words, raw, "--out", out)

    time_of(lambda: start(tmp_path / "log"))
    expected = tree_digest(out)
    shutil.rmtree(out)
    for codes in pairs(" ".join(map(str, words)), start, tmp_path):
        assert codes == (0, 0)
        assert tree_digest(out) == expected
        assert names(made) == ["out"]
        shutil.rmtree(out)


def test_pairs_of_fetch(raw: Path, tmp_path: Path) -> None:
    made, archive = tmp_path / "made", tmp_path / "set.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted(raw.iterdir()):
            file.write(path, path.name)
    expected = tree_digest(raw)
    for codes in pairs("fetch", lambda log: command(log, "fetch", archive, "--out", made), tmp_path):
        assert sorted(codes) == [0, 2], "the second finds the folder not empty"
        assert tree_digest(made / "set") == expected
        assert names(made) == ["set"]
        shutil.rmtree(made)


def test_pairs_of_training(data: Path, weights: Path, tmp_path: Path) -> None:
    runs = tmp_path / "runs"

    def start(log: Path) -> Forked:
        return train(log, data, runs, "a", "--epochs", 1)

    time_of(lambda: start(tmp_path / "log"))
    files = names(runs / "a")
    shutil.rmtree(runs)
    for codes in pairs("train --name", start, tmp_path):
        assert codes == (0, 0)
        assert names(runs) == ["a", "a-2"]
        for name in ("a", "a-2"):
            assert names(runs / name) == files
            assert len(results(runs / name)) == 1
        shutil.rmtree(runs)


def test_pairs_of_resume(data: Path, weights: Path, tmp_path: Path) -> None:
    whole = weights.parent.parent
    run = tmp_path / "runs" / "a"

    def start(log: Path) -> Forked:
        if not run.exists():
            shutil.copytree(whole, run)
        return command(log, "train", "--resume", run, "--epochs", 3)

    for _ in pairs("train --resume", start, tmp_path):
        refused = [
            log for log in ("log1", "log2") if "is training this run, pid" in (tmp_path / log).read_text()
        ]
        assert len(refused) <= 1  # none, where the first was over before the second looked
        assert [row["epoch"] for row in results(run)] == ["1", "2", "3"]
        assert names(run) == names(whole)
        assert names(run.parent) == ["a"]
        shutil.rmtree(run)


@pytest.mark.parametrize("extra", [[], ["--exist-ok"]], ids=["numbered", "exist-ok"])
@pytest.mark.parametrize("kind", ["val", "predict"])
def test_pairs_of_val_and_predict(
    data: Path, weights: Path, tmp_path: Path, kind: str, extra: list[str]
) -> None:
    source = {"val": ["--data", data], "predict": ["--source", data.parent / "valid" / "images"]}[kind]
    runs = tmp_path / "runs"

    def start(log: Path) -> Forked:
        return command(
            log, kind, "--weights", weights, *source, "--imgsz", 64, "--device", "cpu",
            "--project", runs, "--name", "r", *extra,
        )  # fmt: skip

    time_of(lambda: start(tmp_path / "log"))
    files = names(runs / "r")
    shutil.rmtree(runs)
    for codes in pairs(" ".join([kind, *extra]), start, tmp_path):
        assert codes == (0, 0)
        assert names(runs) == (["r"] if extra else ["r", "r-2"])
        assert all(names(folder) == files for folder in runs.iterdir())
        shutil.rmtree(runs)


def test_pairs_of_check_with_a_report(raw: Path, tmp_path: Path) -> None:
    made = tmp_path / "made"
    made.mkdir()
    for codes in pairs(
        "check --html", lambda log: command(log, "check", raw, "--html", made / "r.html"), tmp_path
    ):
        assert codes == (0, 0)
        assert (made / "r.html").read_text().rstrip().endswith("</html>")
        assert names(made) == ["r.html"]


def test_pairs_of_export(weights: Path, tmp_path: Path) -> None:
    made = tmp_path / "made"
    made.mkdir()

    def start(log: Path) -> Forked:
        return command(log, "export", "--weights", weights, "--out", made / "a.onnx", "--imgsz", 64)

    time_of(lambda: start(tmp_path / "log"))
    expected = (made / "a.onnx").read_bytes()
    for codes in pairs("export", start, tmp_path):
        assert codes == (0, 0)
        assert (made / "a.onnx").read_bytes() == expected
        assert names(made) == ["a.onnx"]


# ---------------------------------------------------------------- full disks


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """A function that gives an empty disk of so many KiB; skips where none can be mounted."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = False

    def mount(kib: int) -> Path:
        nonlocal mounted
        unmount()
        made = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={kib}k", "tmpfs", str(folder)],
            capture_output=True,
            check=False,
        )
        mounted = made.returncode == 0
        if not mounted:
            pytest.skip("no small disk can be mounted here")
        return folder

    def unmount() -> None:
        if mounted:
            subprocess.run(["umount", "-l", str(folder)], check=True)

    yield mount
    unmount()


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk takes root")
@pytest.mark.parametrize("kind", ["prepare", "convert", "train", "export", "cache", "fetch"])
def test_full_disks(
    raw: Path,
    data: Path,
    weights: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    small_disk: Callable[[int], Path],
    kind: str,
) -> None:
    log, archive = tmp_path / "log", tmp_path / "set.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted(raw.iterdir()):
            file.write(path, path.name)

    def start(disk: Path) -> Forked:
        if kind == "train":
            return train(log, data, disk, "a", "--epochs", 1)
        if kind == "cache":
            words = ["bench", "loader", "--data", data, "--imgsz", 64, "--cache", "disk", "--images", 8]
            monkeypatch.setenv("XDG_CACHE_HOME", str(disk))
            return command(log, *words)
        words = {
            "prepare": ["prepare", raw, "--out", disk / "out", "--link", "copy"],
            "convert": ["convert", raw, "--out", disk / "out", "--link", "copy"],
            "export": ["export", "--weights", weights, "--out", disk / "a.onnx", "--imgsz", 64],
            "fetch": ["fetch", archive, "--out", disk],
        }
        return command(log, *words[kind])

    with Attack(f"full disk: {kind}", 10) as attack:
        for draw in attack:
            disk = small_disk(draw.choice([4, 16, 60, 120, 200]))
            ran = attack.saw(start(disk).end())
            if ran.code == 0:
                continue
            assert ran.code == 2, ran.err
            assert len([line for line in ran.err.splitlines() if line.startswith("yolofast: error")]) == 1
            left = [path.name for path in disk.rglob("*") if path.is_file()]
            of_a_run = {"config.yaml", ".lock", "dataflow.json", "results.csv"}
            allowed = of_a_run if kind == "train" else set[str]()
            assert set(left) <= allowed, left
