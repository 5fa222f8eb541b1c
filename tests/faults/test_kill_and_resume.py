"""SIGKILL between epochs, or Ctrl-C, then --resume: the run ends exactly as if nothing had happened.

Also when the environment asks for another number of threads than before.
"""

from __future__ import annotations

import csv
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

EPOCHS = 5
KILL_AFTER = 2
TIMES = {"epoch_s", "images_per_s", "memory_mb"}


def command(data: Path, project: Path, name: str, *extra: str) -> list[str]:
    return [
        *(sys.executable, "-m", "yolofast.cli", "train", "--data", str(data), "--project", str(project)),
        *("--name", name, "--model", "p", "--imgsz", "64", "--batch", "8", "--epochs", str(EPOCHS)),
        *("--workers", "0", "--device", "cpu", "--schedule", "plateau", "--close-mosaic", "2"),
        *extra,
    ]


def environment(threads: int = 1) -> dict[str, str]:
    return os.environ | {"OMP_NUM_THREADS": str(threads)}


def epochs_done(checkpoint: Path) -> int:
    """The epoch in a checkpoint, 0 while there is none."""
    try:
        with safe_open(checkpoint, framework="pt") as file:
            return int(json.loads(file.metadata()["yolofast_training"])["epoch"])
    except (OSError, RuntimeError):  # safetensors reports a missing file in either way
        return 0


def tensors(checkpoint: Path) -> dict[str, torch.Tensor]:
    with safe_open(checkpoint, framework="pt") as file:
        return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "results.csv").open(newline="") as file:
        return [{k: v for k, v in row.items() if k not in TIMES} for row in csv.DictReader(file)]


@pytest.mark.deep
@pytest.mark.parametrize(
    "extra", [(), ("--model", "yolo26n", "--optimizer", "musgd")], ids=["one head", "two heads, musgd"]
)
def test_killed_run_resumes_to_the_same_end(
    extra: tuple[str, ...], sample_yolo: Path, tmp_path: Path
) -> None:
    subprocess.run(
        command(sample_yolo, tmp_path, "whole", *extra), check=True, capture_output=True, env=environment()
    )

    killed = tmp_path / "killed"
    last = killed / "weights" / "last.safetensors"
    process = subprocess.Popen(
        command(sample_yolo, tmp_path, "killed", *extra),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment(),
    )
    deadline = time.monotonic() + 120
    while epochs_done(last) < KILL_AFTER and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    stopped = epochs_done(last)
    assert KILL_AFTER <= stopped < EPOCHS
    # What a kill in the middle of a write would leave must not matter either.
    (last.parent / ".last.safetensors.1.tmp").write_bytes(last.read_bytes()[:1000])

    resumed = subprocess.run(
        command(sample_yolo, tmp_path, "killed", *extra, "--resume"),
        check=True,
        capture_output=True,
        text=True,
        env=environment(threads=2),
    )
    assert "torch uses 1 threads instead of 2, as this run did before" in resumed.stderr
    assert f"resumed after epoch {stopped} of {EPOCHS}" in resumed.stderr

    expected, got = tensors(tmp_path / "whole" / "weights" / "last.safetensors"), tensors(last)
    assert expected.keys() == got.keys()
    assert {key.split("/")[0] for key in got} == {"model", "ema", "optimizer", "rng"}
    for key, value in expected.items():
        torch.testing.assert_close(got[key], value, rtol=0, atol=0, msg=key)
    assert rows(killed) == rows(tmp_path / "whole")
    assert [int(row["epoch"]) for row in rows(killed)] == list(range(1, EPOCHS + 1))


@pytest.mark.deep
def test_ctrl_c_says_how_to_continue_and_the_line_it_gives_works(sample_yolo: Path, tmp_path: Path) -> None:
    process = subprocess.Popen(
        command(sample_yolo, tmp_path, "stopped"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    last = tmp_path / "stopped" / "weights" / "last.safetensors"
    deadline = time.monotonic() + 120
    while epochs_done(last) < 1 and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    assert "Traceback" not in err
    *_, advice, end = err.strip().splitlines()
    assert end == "yolofast: interrupted"
    stopped = epochs_done(last)
    said, _, line = advice.partition("; continue with: yolofast ")
    assert said.endswith(f"interrupted: saved epoch {stopped}")
    assert (tmp_path / "stopped" / "results.png").exists()
    assert (tmp_path / "stopped" / "dataflow.json").exists()
    subprocess.run(
        [sys.executable, "-m", "yolofast.cli", *shlex.split(line)],
        check=True,
        capture_output=True,
        env=environment(),
    )
    assert epochs_done(last) == EPOCHS
