"""Everything that needs a GPU, in one go: build, test, sanitize, measure. Writes gpu.json and logs to --out.

    python benchmarks/run_gpu.py --out results [--data FOLDER] [--binary FOLDER] [--only STEP ...]
                                 [--seconds N] [--dry-run]

Meant for a machine with torch, nvcc and a GPU but no network: each step is a process with its time limit, all
of them together have --seconds, and one that fails, or breaks its CUDA context, does not stop the others.
Missing packages are listed and their parts skipped; only libjpeg has to be found by compiler and linker
(CPATH, LIBRARY_PATH and LD_LIBRARY_PATH, where it is elsewhere). --data is the folder of a dataset (omitted
means generated images), --binary a folder with `_torch_ops*.so` that were built for another torch: the tests
then also run with these. --dry-run runs all steps without a GPU, with small inputs; its figures mean nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes.util
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from folders import REPOSITORY

FIGURES = {"postprocess": 90, "render": 90, "files": 90, "train": 200}
"""Parts of gpu/figures.py, and the time limit of each in seconds."""
CUDA = "/usr/local/cuda"


class Run:
    """The steps and their results, written to `out/gpu.json` after every one.

    Commands import yolofast and the modules of benchmarks/ from this tree, whatever is installed, and keep
    the PYTHONPATH of this process behind it.
    """

    def __init__(self, out: Path, dry: bool, seconds: float) -> None:
        self.out, self.dry = out, dry
        self.end = time.monotonic() + seconds
        self.logs: set[Path] = set()  # of this run
        self.results: dict[str, Any] = {"date": time.strftime("%Y-%m-%d"), "dry_run": dry, "steps": {}}
        out.mkdir(parents=True, exist_ok=True)

    def step(self, name: str, work: Callable[[], Any]) -> None:
        started = time.monotonic()
        print(f"--- {name}", flush=True)
        try:
            result = work()
        except Exception as error:  # the other steps still run
            result = {"failed": f"{type(error).__name__}: {error}"}
            print(result["failed"], flush=True)
        seconds = round(time.monotonic() - started, 1)
        self.results["steps"][name] = {"seconds": seconds, "result": result}
        (self.out / "gpu.json").write_text(json.dumps(self.results, indent=2) + "\n", encoding="utf-8")

    def command(
        self,
        name: str,
        command: list[str],
        limit_s: float,
        environment: dict[str, str] | None = None,
        root: Path = REPOSITORY,
    ) -> dict[str, Any]:
        """Run a command in `root`, its output in `out/NAME.log`; returns its exit code and last lines."""
        limit_s = round(min(limit_s, self.end - time.monotonic()), 1)
        if limit_s < 1:
            raise TimeoutError("the time for all steps (--seconds) is used up")
        paths = [str(root), str(root / "benchmarks"), *filter(None, [os.environ.get("PYTHONPATH")])]
        log = self.out / f"{name}.log"
        with log.open("a" if log in self.logs else "w", encoding="utf-8") as file:
            self.logs.add(log)
            begin = file.tell()
            process = subprocess.Popen(
                command,
                stdout=file,
                stderr=subprocess.STDOUT,
                cwd=root,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), **(environment or {})},
                process_group=0,
            )
            try:
                code: int | str = process.wait(limit_s)
            except subprocess.TimeoutExpired:
                code = f"stopped after {limit_s} s"
            finally:  # with the processes that it started
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        last = log.read_bytes()[begin:].decode("utf-8", "replace").splitlines()[-6:]
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
    if shutil.which("nvidia-smi"):
        query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        found["driver"] = subprocess.run(query, capture_output=True, text=True).stdout.strip()
    wanted = ("torchvision", "ultralytics", "xdist", "hypothesis", "numba", "cv2", "Cython")
    found["missing"] = [name for name in wanted if importlib.util.find_spec(name) is None]
    found["missing"] += [name for name in ("nvcc", "g++", "compute-sanitizer") if cuda_tool(name) is None]
    if ctypes.util.find_library("jpeg") is None:
        found["missing"].append("libjpeg")
    return found


def cuda_tool(name: str) -> str | None:
    """A program of the CUDA toolkit: on PATH, or next to nvcc."""
    nvcc = shutil.which("nvcc")
    homes = [os.environ.get("CUDA_HOME"), nvcc and str(Path(nvcc).resolve().parents[1]), CUDA]
    folders = [str(Path(home, "bin")) for home in homes if home]
    return shutil.which(name) or shutil.which(name, path=os.pathsep.join(folders))


def nvjpeg_of_torchvision() -> dict[str, str]:
    """The variable that selects torchvision's nvJPEG, where there is no other."""
    import torch

    from yolofast.kernels.torch_nvjpeg import library_candidates  # it is built by now

    # Paths are libraries that exist or were chosen; a bare name is looked up by the system.
    torchvision = importlib.util.find_spec("torchvision")
    if torchvision is None or any("/" in each for each in library_candidates(torch.version.cuda)):
        return {}
    folders = map(Path, torchvision.submodule_search_locations or ())
    inside = [path for folder in folders for path in folder.parent.glob("torchvision.libs/libnvjpeg*.so.*")]
    return {"YOLOFAST_NVJPEG": str(inside[0])} if inside else {}


def build(run: Run) -> dict[str, Any]:
    command = [sys.executable, "setup.py", "-q", "build_ext", "--inplace", "-j", str(os.cpu_count() or 1)]
    return run.command("build", command, 400, {"YOLOFAST_CUDA": "1"})


def device_tests(run: Run, name: str, root: Path) -> dict[str, Any]:
    """The tests that use a device, on the real one (a dry run: on the host's emulation).

    With xdist each file has a process of its own, so that an error that breaks a CUDA context affects one
    file.
    """
    files = [*sorted(root.glob("tests/gpu/test_*.py")), root / "tests/load/test_device_loader.py"]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--rootdir={root}"]
    # In place of the project's own, which need plugins.
    command += ["-o", "addopts=--import-mode=importlib -ra"]
    if importlib.util.find_spec("xdist") is not None:
        command += ["-n", "1" if run.dry else str(len(files)), "--dist", "loadfile"]
    command += ["-k", "not cuda" if run.dry else "not emulated", *map(str, files)]
    environment = {} if run.dry else {"YOLOFAST_REQUIRE_CUDA": "1", **nvjpeg_of_torchvision()}
    return run.command(name, command, 240, environment, root)


def run_binary(run: Run, binary: Path) -> dict[str, Any]:
    """The tests in a copy of the tree whose operators were built for another torch."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder, "tree")
        shutil.copytree(REPOSITORY, root, ignore=shutil.ignore_patterns(".git", ".venv", "build", "runs"))
        for old in root.glob("yolofast/kernels/_torch_ops*.so"):
            old.unlink()
        copied = [shutil.copy(file, root / "yolofast/kernels") for file in binary.glob("_torch_ops*.so")]
        suffix = next(root.glob("yolofast/kernels/_nms*.so")).name.removeprefix("_nms")
        for file in map(Path, copied):  # not imported, only found by name
            file.rename(file.with_name(file.name.split(".")[0] + suffix))
        return {
            "files": [Path(file).name for file in copied],
            **device_tests(run, "tests_other_binary", root),
        }


def sanitizer(run: Run, tool: str) -> dict[str, Any]:
    script = [sys.executable, "-m", "gpu.small", *(["--dry-run"] if run.dry else [])]
    if run.dry:
        return run.command(f"sanitizer_{tool}", script, 120)
    program = cuda_tool("compute-sanitizer")
    if program is None:
        return {"left out": "compute-sanitizer is neither on PATH nor next to nvcc"}
    checker = [program, "--tool", tool, "--error-exitcode", "9", "--launch-timeout", "60"]
    return run.command(f"sanitizer_{tool}", [*checker, *script], 100, {"PYTORCH_NO_CUDA_MEMORY_CACHING": "1"})


def measure(run: Run, part: str, limit_s: float, data: Path | None) -> dict[str, Any]:
    target = run.out / "figures.json"
    target.unlink(missing_ok=True)  # it may be from another run
    command = [sys.executable, "-m", "gpu.figures", str(target), "--only", part]
    command += [*(["--dry-run"] if run.dry else []), *(["--data", str(data)] if data else [])]
    result = run.command("figures", command, limit_s, {} if run.dry else nvjpeg_of_torchvision())
    figures = json.loads(target.read_text(encoding="utf-8")) if target.exists() else None
    return {**result, "figures": figures}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--binary", type=Path)
    parser.add_argument("--only", nargs="*")
    parser.add_argument("--seconds", type=float, default=480)
    parser.add_argument("--dry-run", action="store_true")
    options = parser.parse_args()
    data = options.data.resolve() if options.data else None  # commands run elsewhere
    run = Run(options.out.resolve(), options.dry_run, options.seconds)
    sys.path.insert(0, str(REPOSITORY))  # as in the commands

    def measuring(part: str, limit_s: float) -> Callable[[], Any]:
        return lambda: measure(run, part, limit_s, data)

    steps: dict[str, Callable[[], Any]] = {
        "machine": machine,
        "build": lambda: build(run),
        "tests": lambda: device_tests(run, "tests", REPOSITORY),
        **{part: measuring(part, limit_s) for part, limit_s in FIGURES.items()},
        "memcheck": lambda: sanitizer(run, "memcheck"),
        "racecheck": lambda: sanitizer(run, "racecheck"),
        "ultralytics": measuring("ultralytics", 240),
    }
    if options.binary:
        steps["tests of the other binary"] = lambda: run_binary(run, options.binary.resolve())
    unknown = sorted(set(options.only or ()) - set(steps))
    if unknown:
        parser.error(f"--only: got {', '.join(unknown)}, expected some of {', '.join(steps)}")
    for name, work in steps.items():
        if not options.only or name in options.only:
            run.step(name, work)
    print(run.out / "gpu.json")


if __name__ == "__main__":
    main()
