"""Everything that needs a GPU, in one go: build, test, sanitize, measure. Writes gpu.json and logs to --out.

    python benchmarks/run_gpu.py --out results [--data FOLDER] [--binary FOLDER] [--only STEP ...] [--dry-run]

Meant for a bare machine with torch, nvcc and a GPU but no network: each step has its time limit, and one
that fails does not stop the others. --data is a dataset's folder (drawn pictures without it), --binary one
with `_torch_ops*.so` that were built beside another torch: the tests then run with these, too. --dry-run
walks through all of it without a GPU, in small; its figures mean nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[1]
BENCHMARKS = Path(__file__).resolve().parent


class Run:
    """The steps and what came of each, written to `out/gpu.json` after every one."""

    def __init__(self, out: Path, dry: bool) -> None:
        self.out, self.dry = out, dry
        self.results: dict[str, Any] = {"date": time.strftime("%Y-%m-%d"), "dry_run": dry, "steps": {}}
        out.mkdir(parents=True, exist_ok=True)

    def step(self, name: str, work: Callable[[], Any]) -> None:
        started = time.monotonic()
        print(f"--- {name}", flush=True)
        try:
            result = work()
        except Exception as error:  # the others go on
            result = {"failed": f"{type(error).__name__}: {error}"}
            print(result["failed"], flush=True)
        seconds = round(time.monotonic() - started, 1)
        self.results["steps"][name] = {"seconds": seconds, "result": result}
        (self.out / "gpu.json").write_text(json.dumps(self.results, indent=2) + "\n", encoding="utf-8")

    def command(
        self, name: str, command: list[str], limit_s: float, environment: dict[str, str] | None = None
    ) -> dict[str, Any]:
        """Run a command, its output in `out/NAME.log`; what it returned and its last lines."""
        log = self.out / f"{name}.log"
        with log.open("w", encoding="utf-8") as file:
            try:
                done = subprocess.run(
                    command,
                    stdout=file,
                    stderr=subprocess.STDOUT,
                    cwd=REPOSITORY,
                    timeout=limit_s,
                    env=os.environ | (environment or {}),
                    check=False,
                )
                code: int | str = done.returncode
            except subprocess.TimeoutExpired:
                code = f"stopped after {limit_s} s"
        last = log.read_text(encoding="utf-8", errors="replace").splitlines()[-6:]
        print("\n".join([f"exit code {code}", *last]), flush=True)
        return {"command": " ".join(command), "exit_code": code, "last_lines": last}


def machine() -> dict[str, Any]:
    import torch

    found: dict[str, Any] = {
        "torch": torch.__version__,
        "python": sys.version.split()[0],
        "cores": os.cpu_count(),
    }
    if torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(0)
        found |= {"device": properties.name, "multiprocessors": properties.multi_processor_count}
        found["driver"] = subprocess.run(
            ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"],
            capture_output=True,
            text=True,
        ).stdout.strip()
    return found


def build(run: Run) -> dict[str, Any]:
    command = [sys.executable, "setup.py", "-q", "build_ext", "--inplace", "-j", str(os.cpu_count() or 1)]
    return run.command("build", command, 400, {"YOLOFAST_CUDA": "1"})


def device_tests(run: Run, name: str, root: Path) -> dict[str, Any]:
    """The tests that have a device, on the real one (a dry run: on the host's stand-in)."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--rootdir={root}"]
    command += ["-k", "not cuda" if run.dry else "not emulated"]
    command += [str(root / folder) for folder in ("tests/gpu", "tests/load/test_device_loader.py")]
    environment = {"PYTHONPATH": str(root)} | ({} if run.dry else {"YOLOFAST_REQUIRE_CUDA": "1"})
    return run.command(name, command, 240, environment)


def run_binary(run: Run, binary: Path) -> dict[str, Any]:
    """The tests in a copy of the tree whose operators were built beside another torch."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder, "tree")
        shutil.copytree(REPOSITORY, root, ignore=shutil.ignore_patterns(".git", ".venv", "build", "runs"))
        for old in root.glob("yolofast/kernels/_torch_ops*.so"):
            old.unlink()
        copied = [shutil.copy(file, root / "yolofast/kernels") for file in binary.glob("_torch_ops*.so")]
        suffix = next(root.glob("yolofast/kernels/_nms*.so")).name.removeprefix("_nms")
        for file in map(Path, copied):  # no Python modules: they only have to be found
            file.rename(file.with_name(file.name.split(".")[0] + suffix))
        return {
            "files": [Path(file).name for file in copied],
            **device_tests(run, "tests_other_binary", root),
        }


def sanitizer(run: Run, tool: str) -> dict[str, Any]:
    script = [sys.executable, str(BENCHMARKS / "gpu_small.py"), *(["--dry-run"] if run.dry else [])]
    if run.dry:
        return run.command(f"sanitizer_{tool}", script, 120)
    checker = ["compute-sanitizer", "--tool", tool, "--error-exitcode", "9", "--launch-timeout", "60"]
    return run.command(f"sanitizer_{tool}", [*checker, *script], 150, {"PYTORCH_NO_CUDA_MEMORY_CACHING": "1"})


def measure(run: Run, data: Path | None) -> dict[str, Any]:
    target = run.out / "figures.json"
    command = [sys.executable, str(BENCHMARKS / "gpu_figures.py"), str(target)]
    command += [*(["--dry-run"] if run.dry else []), *(["--data", str(data)] if data else [])]
    said = run.command("figures", command, 420)
    figures = json.loads(target.read_text(encoding="utf-8")) if target.exists() else None
    return {**said, "figures": figures}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--binary", type=Path)
    parser.add_argument("--only", nargs="*")
    parser.add_argument("--dry-run", action="store_true")
    options = parser.parse_args()
    run = Run(options.out.resolve(), options.dry_run)
    steps: dict[str, Callable[[], Any]] = {
        "machine": machine,
        "build": lambda: build(run),
        "tests": lambda: device_tests(run, "tests", REPOSITORY),
        "memcheck": lambda: sanitizer(run, "memcheck"),
        "racecheck": lambda: sanitizer(run, "racecheck"),
        "figures": lambda: measure(run, options.data),
    }
    if options.binary:
        steps["tests of the other binary"] = lambda: run_binary(run, options.binary)
    for name, work in steps.items():
        if not options.only or name in options.only:
            run.step(name, work)
    print(run.out / "gpu.json")


if __name__ == "__main__":
    main()
