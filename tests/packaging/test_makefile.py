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
    ours = ("MAKE", "DEBIAN", "YOLOFAST_APT")
    environment = {key: value for key, value in os.environ.items() if not key.startswith(ours)}
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
    assert (
        "Missing to build yolofast:\n  a C++ compiler (g++)\nInstall it, then run make again:\n"
        in done.stderr
    )
    assert f"\n    sudo apt-get install -y {PACKAGES}\n" in done.stderr
    assert apt_calls(programs) == []


def test_only_what_is_missing_is_said(programs: Path) -> None:
    write_compiler_without(programs / "g++", "jpeglib.h")
    done = make_system(programs)
    assert done.returncode != 0
    assert "Missing to build yolofast:\n  the headers of libjpeg\nInstall it" in done.stderr
    assert f"sudo apt-get install -y {PACKAGES}\n" in done.stderr


def test_a_python_that_cannot_build_is_named(programs: Path) -> None:
    with_compiler(programs)
    write_program(programs / "python3", 'case "$2" in *version_info*) exit 0;; *) exit 1;; esac')
    done = make_system(programs)
    assert done.returncode != 0
    assert (
        "yolofast:\n  Python with its venv module (python3)\n  the headers of Python\nInstall" in done.stderr
    )


def test_root_is_told_before_apt_installs(programs: Path) -> None:
    write_program(programs / "id", "echo 0")
    done = make_system(programs)
    assert done.returncode == 0
    assert done.stderr == (
        "Missing to build yolofast:\n  a C++ compiler (g++)\n"
        f"Installing it as root (YOLOFAST_APT=0 forbids that): apt-get install -y {PACKAGES}\n"
    )
    assert apt_calls(programs) == [" update -qq", f"noninteractive install -y -qq {PACKAGES}"]


def test_root_can_forbid_apt(programs: Path) -> None:
    write_program(programs / "id", "echo 0")
    done = make_system(programs, "YOLOFAST_APT=0")
    assert done.returncode != 0
    assert f"\n    sudo apt-get install -y {PACKAGES}\n" in done.stderr
    assert apt_calls(programs) == []


def test_without_apt_the_needs_are_named(programs: Path) -> None:
    (programs / "apt-get").unlink()
    done = make_system(programs)
    assert done.returncode != 0
    assert f"  a C++ compiler (g++)\nInstall what your system calls: {PACKAGES}\n" in done.stderr
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


def make_setup_commands(*settings: str) -> str:
    """What `make setup` would run."""
    command = ["make", "-n", "-W", "requirements/lock.txt", "-C", str(REPOSITORY), ".venv/.ready", *settings]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_setup_installs_the_lock_file_with_hashes() -> None:
    commands = make_setup_commands()
    assert "--require-hashes --no-deps --only-binary :all: -r requirements/lock.txt\n" in commands
    assert '-m pip install -q "torch==2.13.0"\n' in commands
    assert "--no-build-isolation --no-deps -e .\n" in commands


def test_setup_with_other_extras_and_torch_keeps_the_locked_versions() -> None:
    commands = make_setup_commands("EXTRAS=onnx", "TORCH=torch==2.11.0", "PYTHON=python3.13")
    assert "python3.13 -m venv" in commands
    assert '-m pip install -q "torch==2.11.0"\n' in commands
    assert '--no-build-isolation -c build/versions.txt -e ".[onnx]"\n' in commands
    assert "--require-hashes" not in commands


def test_the_readme_names_the_same_packages() -> None:
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    assert f"sudo apt-get install -y {PACKAGES}\n" in readme
