"""csrc/native.py for tests: the compiler driver of the build, and when there is nothing to build with."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from pathlib import Path
from types import ModuleType

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
CSRC = REPOSITORY / "csrc"


def native() -> ModuleType:
    """The module csrc/native.py; skips the test where there are no sources or no compiler."""
    if not (CSRC / "native.py").is_file():
        pytest.skip("no sources here (an installed package)")
    if shutil.which("g++") is None:
        pytest.skip("no g++ here")
    known = sys.modules.get("native")
    if known is None:
        spec = importlib.util.spec_from_file_location("native", CSRC / "native.py")
        assert spec is not None
        assert spec.loader is not None
        known = importlib.util.module_from_spec(spec)
        sys.modules["native"] = known
        spec.loader.exec_module(known)
    return known
