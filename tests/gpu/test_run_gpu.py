"""The script for a machine with a GPU: its steps depend neither on what is installed nor on each other."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import pytest
from folders import REPOSITORY
from run_gpu import Run, nvjpeg_of_torchvision


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path, dry=True, seconds=60)


def test_commands_import_from_this_tree(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Scripts have their own folder on their path, not the one that they run in; nothing is installed."""
    monkeypatch.setenv("PYTHONPATH", "/wheels")
    code = "import sys, yolofast, gpu; print(yolofast.__file__, gpu.__file__, '/wheels' in sys.path)"
    result = run.command("log", [sys.executable, "-c", code], 30)
    expected = (REPOSITORY / "yolofast/__init__.py", REPOSITORY / "benchmarks/gpu/__init__.py", True)
    assert result["last_lines"] == [" ".join(map(str, expected))]


def test_a_step_that_fails_or_hangs_is_one_step(run: Run) -> None:
    script = "import os, time; print(os.getpid()); pid = os.fork(); print(os.getpid()); time.sleep(60)"
    started = time.monotonic()
    run.step("hangs", lambda: run.command("a", [sys.executable, "-u", "-c", script], 2))
    assert time.monotonic() - started < 20
    run.step("is not there", lambda: run.command("b", ["/nowhere/program"], 2))
    run.step("fails", lambda: run.command("a", [sys.executable, "-c", "print(1); raise SystemExit(3)"], 20))
    run.end = time.monotonic()
    run.step("late", lambda: run.command("c", [sys.executable, "-c", ""], 20))
    steps = json.loads((run.out / "gpu.json").read_text())["steps"]
    results = {name: step["result"] for name, step in steps.items()}
    assert results["hangs"]["exit_code"] == "stopped after 2 s"
    for pid in results["hangs"]["last_lines"]:  # what a command has started goes with it
        assert not is_running(int(pid))
    assert "FileNotFoundError" in results["is not there"]["failed"]
    assert (results["fails"]["exit_code"], results["fails"]["last_lines"]) == (3, ["1"])
    assert "the time for all steps (--seconds) is used up" in results["late"]["failed"]


def is_running(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_an_nvjpeg_that_was_chosen_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("YOLOFAST_NVJPEG", os.devnull)
    assert nvjpeg_of_torchvision() == {}
