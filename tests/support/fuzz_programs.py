"""The programs of csrc/fuzz, built once with sanitizers (build/native), and fed files."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from support.native_build import native


def fuzz_programs(*names: str, variant: str = "address") -> dict[str, Path]:
    """The programs by name. Skips the test where there is no compiler, source or sanitizer library."""
    build = native()
    try:
        made: dict[str, Path] = build.programs(variant, names)
    except build.CompileError as error:
        if "cannot find -lasan" in str(error) or "cannot find -lubsan" in str(error):
            pytest.skip("g++ has no sanitizer libraries here")
        raise
    return made


def feed(program: Path, *paths: Path) -> tuple[int, str]:
    """How many inputs the target survived, and what it said; fails with its report when it did not."""
    done = subprocess.run(
        [program, *paths], capture_output=True, text=True, timeout=300, errors="replace", check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return int(done.stdout.split()[0]), done.stderr
