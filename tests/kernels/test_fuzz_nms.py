"""The suppression fuzz target, built with sanitizers, over random bytes: it finds what plain loops find."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
CORE, FUZZ = REPOSITORY / "csrc" / "core", REPOSITORY / "csrc" / "fuzz"
FLAGS = ["-std=c++20", "-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
FLAGS += ["-ffp-contract=off", "-DYOLOFAST_NO_MULTIVERSION", f"-I{CORE}"]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("g++") is None:
        pytest.skip("no g++ here")
    if not FUZZ.is_dir():
        pytest.skip("no sources here (an installed package)")
    sources = [FUZZ / "fuzz_nms.cpp", FUZZ / "replay_main.cpp"]
    sources += [CORE / f"{name}.cpp" for name in ("nms", "soft_nms", "postprocess")]
    made = tmp_path_factory.mktemp("fuzz") / "replay_nms"
    command = ["g++", *FLAGS, *map(str, sources), "-o", str(made)]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    if "cannot find -lasan" in built.stderr or "cannot find -lubsan" in built.stderr:
        pytest.skip("g++ has no sanitizer libraries here")
    assert built.returncode == 0, built.stderr
    return made


def test_any_bytes_give_what_plain_loops_give(program: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    inputs = [b"", b"\x00", bytes(4000), b"\xf0" * 4000]
    for _ in range(300):
        size = int(rng.choice([30, 300, 3000, 6000]))
        inputs.append(rng.integers(0, rng.choice([60, 130, 256]), size, dtype=np.uint8).tobytes())
    for i, data in enumerate(inputs):
        (tmp_path / f"{i:04}").write_bytes(data)
    done = subprocess.run([program, tmp_path], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    assert done.stdout == f"{len(inputs)} inputs, no crash\n"
