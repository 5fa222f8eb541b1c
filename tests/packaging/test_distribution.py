"""What a user installs: the source archive builds, and the wheel works away from the repository."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


def backend(call: str, folder: Path, target: Path) -> Path:
    """Runs a PEP 517 hook of setuptools in `folder`; the file that it made in `target`.

    Without csrc/cuda, which takes minutes and is built where the tests are, and not optimised: what is tested
    here is that all of it is there.
    """
    script = f"import sys; from setuptools.build_meta import {call} as build; print(build(sys.argv[1]))"
    done = subprocess.run(
        [sys.executable, "-c", script, str(target)],
        cwd=folder,
        capture_output=True,
        text=True,
        env=os.environ | {"YOLOFAST_CUDA": "0", "CXXFLAGS": "-O0"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return target / done.stdout.split()[-1]


@pytest.mark.deep
def test_source_archive_to_wheel_to_import(tmp_path: Path) -> None:
    with tarfile.open(backend("build_sdist", REPOSITORY, tmp_path)) as archive:
        names = [name.split("/", 1)[1] for name in archive.getnames() if "/" in name]
        archive.extractall(tmp_path, filter="data")
    assert {
        "setup.py",
        "LICENSE",
        "Makefile",
        "csrc/core/jpeg/jpeg.hpp",
        "csrc/fuzz/fuzz_jpeg.cpp",
        "csrc/native.py",
    } <= set(names)
    assert {"csrc/torch/nms.cpp", "csrc/torch/registration.hpp", "csrc/torch/tensors.cpp"} <= set(names)
    assert {"csrc/cuda/nms.cu", "csrc/cuda/launch.hpp", "tests/emulation/emulation.hpp"} <= set(names)
    modules = {str(path.relative_to(REPOSITORY)) for path in (REPOSITORY / "yolofast").rglob("*.pyx")}
    assert {n for n in names if n.endswith(".pyx")} == modules
    assert not [n for n in names if n.endswith(".so") or (n.startswith("yolofast/") and n.endswith(".cpp"))]

    source = next(p for p in tmp_path.iterdir() if p.is_dir())
    with zipfile.ZipFile(backend("build_wheel", source, tmp_path)) as wheel:
        members = wheel.namelist()
        wheel.extractall(tmp_path / "site")
    assert "yolofast/py.typed" in members
    assert {m for m in members if m.endswith(".pyi")} == {m.replace(".pyx", ".pyi") for m in modules}
    assert not [m for m in members if m.endswith((".cpp", ".pyx")) or m.startswith("tests")]

    script = (
        "import sys; sys.path.insert(0, 'site')\n"
        "import numpy as np, yolofast\n"
        "from yolofast import kernels\n"
        "assert 'site' in yolofast.__file__, yolofast.__file__\n"
        "boxes = np.array([[0, 0, 9, 9], [0, 0, 9, 8]], np.float32)\n"
        "assert kernels.nms(boxes, np.array([1, 2], np.float32), 0.5).tolist() == [1]\n"
        "from yolofast.load import Loader, YOLODataset\n"
        "assert 'torch' not in sys.modules\n"
    )
    if importlib.util.find_spec("torch"):
        script += (
            "import torch, yolofast.kernels.torch_ops\n"
            "keep = torch.ops.yolofast.nms(torch.from_numpy(boxes), torch.tensor([1.0, 2.0]), 0.5)\n"
            "assert keep.tolist() == [1]\n"
        )
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True)


@pytest.mark.parametrize(("version", "built"), [(None, False), ("2.10.1", False), ("2.11.0+cpu", True)])
def test_torch_operators_are_built_only_where_torch_is_new_enough(
    tmp_path: Path, version: str | None, built: bool
) -> None:
    if version is not None:
        (tmp_path / "torch").mkdir()
        (tmp_path / "torch" / "__init__.py").write_text("raise RuntimeError('imported while building')")
        (tmp_path / f"torch-{version}.dist-info").mkdir()
        (tmp_path / f"torch-{version}.dist-info" / "METADATA").write_text(
            f"Name: torch\nVersion: {version}\n"
        )
    # setup.py as it is, except that it translates and builds nothing, and sees only this torch.
    script = (
        "import importlib.util, runpy, setuptools, Cython.Build, sys\n"
        "from importlib.machinery import PathFinder\n"
        "sys.path.insert(0, sys.argv[1])\n"
        "Cython.Build.cythonize = lambda extensions, **options: extensions\n"
        "setuptools.setup = lambda ext_modules, **options: print([e.name for e in ext_modules])\n"
        "importlib.util.find_spec = lambda name: PathFinder.find_spec(name, sys.argv[1:])\n"
        "runpy.run_path('setup.py')\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert "yolofast.kernels._boxes" in done.stdout
    assert ("yolofast.kernels._torch_ops" in done.stdout) == built
    assert ("torch.ops.yolofast needs 2.11" in done.stdout) == (version == "2.10.1")
