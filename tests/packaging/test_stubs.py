"""The stubs of the native modules say what the modules are."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import yolofast

pytestmark = pytest.mark.deep

FOLDER = Path(yolofast.__file__).parent


def test_every_native_module_has_a_stub_that_agrees_with_it(tmp_path: Path) -> None:
    sources = sorted(FOLDER.rglob("_*.pyx"))
    modules = [".".join(path.relative_to(FOLDER.parent).with_suffix("").parts) for path in sources]
    assert len(modules) == 15
    allowed = tmp_path / "allowed.txt"
    cython = ["yolofast.kernels._pictures.__pyx_capi__", *(f"{module}.__test__" for module in modules)]
    allowed.write_text("\n".join(cython))  # not the module's own
    settings = ["--allowlist", str(allowed), "--mypy-config-file", "pyproject.toml"]
    command = [sys.executable, "-m", "mypy.stubtest", *settings, *modules]
    done = subprocess.run(command, capture_output=True, text=True, cwd=FOLDER.parent)
    assert done.returncode == 0, done.stdout + done.stderr
    assert all(path.with_suffix(".pyi").exists() for path in sources)
