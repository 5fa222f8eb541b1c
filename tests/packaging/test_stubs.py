"""The stubs of the native modules say what the modules are."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from yolofast import kernels

FOLDER = Path(kernels.__file__).parent


def test_every_native_module_has_a_stub_that_agrees_with_it(tmp_path: Path) -> None:
    modules = [f"yolofast.kernels.{path.stem}" for path in sorted(FOLDER.glob("_*.pyx"))]
    assert len(modules) == 4
    allowed = tmp_path / "allowed.txt"
    allowed.write_text("".join(f"{module}.__test__\n" for module in modules))  # Cython's own
    command = [sys.executable, "-m", "mypy.stubtest", "--allowlist", str(allowed), *modules]
    done = subprocess.run(command, capture_output=True, text=True, cwd=FOLDER.parent.parent)
    assert done.returncode == 0, done.stdout + done.stderr
    assert all(path.with_suffix(".pyi").exists() for path in FOLDER.glob("_*.pyx"))
