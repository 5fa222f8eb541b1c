"""csrc/native.py for tests: the compiler driver of the build, and when there is nothing to build with."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from types import ModuleType

import pytest
from support.modules import load_module

REPOSITORY = Path(__file__).resolve().parents[2]
CSRC = REPOSITORY / "csrc"


def native() -> ModuleType:
    """The module csrc/native.py; skips the test where there are no sources or no compiler."""
    if not (CSRC / "native.py").is_file():
        pytest.skip("no sources here (an installed package)")
    if shutil.which("g++") is None:
        pytest.skip("no g++ here")
    return sys.modules.get("native") or load_module("native", CSRC / "native.py", registered=True)
