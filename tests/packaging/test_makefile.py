"""`make system`: what a machine lacks is said in a line or two, before anything else is done."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.fake_programs import link_programs, write_compiler_without, write_program

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGES = "g++ python3-dev python3-venv libjpeg-dev"

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A PATH with a shell's tools, a user who is not root, and an apt-get that only notes its arguments."""
    folder = tmp_path / "bin"
    link_programs(folder, ["sh", "make", "cat"])
    write_program(folder / "id", "echo 1000")
    write_program(folder / "apt-get", f'echo "$DEBIAN_FRONTEND $*" >> {tmp_path}/apt.log')
    write_program(folder / "python3", f'exec {sys.executable} "$@"')
    return folder


def make_system(programs: Path, *settings: str) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("MAKE", "DEBIAN"))}
    return subprocess.run(
        ["make", "-s", "-C", str(REPOSITORY), "system", *settings],
        env=environment | {"PATH": str(programs)},
        capture_output=True,
        text=True,
    )


def apt_calls(programs: Path) -> list[str]:
    log = programs.parent / "apt.log"
    return log.read_text().splitlines() if log.exists() else []


def with_compiler(programs: Path) -> None:
    write_program(programs / "g++", f'exec {shutil.which("g++")} "$@"')
    link_programs(programs, ["as", "ld"])


def test_a_complete_machine_says_nothing(programs: Path) -> None:
    with_compiler(programs)
    done = make_system(programs)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert apt_calls(programs) == []


def test_a_user_gets_the_line_to_run(programs: Path) -> None:
    done = make_system(programs)
    assert done.returncode != 0
    assert f"\n    sudo apt-get install -y {PACKAGES}\n" in done.stderr
    assert apt_calls(programs) == []


def test_a_missing_header_counts_too(programs: Path) -> None:
    write_compiler_without(programs / "g++", "jpeglib.h")
    done = make_system(programs)
    assert done.returncode != 0
    assert f"sudo apt-get install -y {PACKAGES}\n" in done.stderr


def test_root_gets_the_packages(programs: Path) -> None:
    write_program(programs / "id", "echo 0")
    done = make_system(programs)
    assert (done.returncode, done.stderr) == (0, "")
    assert apt_calls(programs) == [" update -qq", f"noninteractive install -y -qq {PACKAGES}"]


def test_without_apt_the_needs_are_named(programs: Path) -> None:
    (programs / "apt-get").unlink()
    done = make_system(programs)
    assert done.returncode != 0
    assert (
        "Missing: a C++ compiler, Python's venv module, or the headers of Python or libjpeg." in done.stderr
    )
    assert PACKAGES in done.stderr
    assert "apt-get" not in done.stderr


@pytest.mark.parametrize(
    ("version", "old"), [("(3, 9, 2)", True), ("(3, 10, 12)", True), ("(3, 11, 0)", False)]
)
def test_an_old_python_is_refused_first(version: str, old: bool, programs: Path) -> None:
    run = f'exec {sys.executable} -c "import sys; sys.version_info = {version}; exec(sys.argv.pop())" "$2"'
    write_program(programs / "python-other", run)
    with_compiler(programs)
    done = make_system(programs, "PYTHON=python-other")
    if not old:
        assert (done.returncode, done.stderr) == (0, "")
        return
    assert done.returncode != 0
    shown = ".".join(version.strip("()").split(", ")[:2])
    first = done.stderr.splitlines()[0]
    assert first.startswith(f"python-other is Python {shown}, and yolofast needs 3.11 or newer.")
    assert "make setup PYTHON=python3.12" in first
    assert "Traceback" not in done.stderr
    assert apt_calls(programs) == []


def test_the_readme_names_the_same_packages() -> None:
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    assert f"sudo apt-get install -y {PACKAGES}\n" in readme
