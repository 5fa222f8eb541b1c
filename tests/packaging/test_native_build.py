"""csrc/native.py: what it compiles again, and that it never takes a part that is out of date."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from support.fake_programs import write_compiler_without
from support.modules import load_module
from support.native_build import native


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A small csrc of its own, in a folder whose name has a space, with the project's driver."""
    csrc = tmp_path / "a tree" / "csrc"
    (csrc / "core" / "sums").mkdir(parents=True)
    (csrc / "fuzz").mkdir()
    (csrc / "native.py").write_text(Path(str(native().__file__)).read_text())
    (csrc / "core" / "sums" / "one.hpp").write_text("inline int one() { return 1; }")
    (csrc / "core" / "sums" / "one.cpp").write_text(
        '#include "core/sums/one.hpp"\nint first() { return one(); }'
    )
    (csrc / "core" / "sums" / "two.cpp").write_text("int second() { return 2; }")
    (csrc / "fuzz" / "replay_main.cpp").write_text("void unused() {}")
    main = "int first();\nint second();\nint main() { return first() + second(); }"
    (csrc / "fuzz" / "stress_sum.cpp").write_text(main)
    return csrc


def driver(csrc: Path) -> ModuleType:
    return load_module("native_of_a_tree", csrc / "native.py")


def compiled_again(build: ModuleType) -> set[str]:
    """The sources of csrc/core that are compiled when the library is asked for."""
    folder = build.BUILD / "release" / "core"
    before = {path: path.stat().st_mtime_ns for path in folder.glob("*.o")}
    build.core_library("release")
    return {
        path.stem.rpartition("__")[2]
        for path in folder.glob("*.o")
        if before.get(path) != path.stat().st_mtime_ns
    }


def rewrite(path: Path, text: str) -> None:
    """Write a file so that it is newer than what has been made of it."""
    before = path.stat().st_mtime_ns
    path.write_text(text)
    os.utime(path, ns=(before + 10**10, before + 10**10))


def test_an_object_is_compiled_again_when_something_changed(tree: Path) -> None:
    build = driver(tree)
    assert compiled_again(build) == {"one.cpp", "two.cpp"}
    assert compiled_again(build) == set()
    rewrite(tree / "core" / "sums" / "one.hpp", "inline int one() { return 5; }")
    assert compiled_again(build) == {"one.cpp"}
    build.COMMON.append("-DSOMETHING")
    assert compiled_again(build) == {"one.cpp", "two.cpp"}


def test_a_header_that_is_gone_is_an_error(tree: Path) -> None:
    build = driver(tree)
    build.core_library("release")
    (tree / "core" / "sums" / "one.hpp").unlink()
    for _ in range(2):
        with pytest.raises(build.CompileError, match=r"one\.hpp"):
            build.core_library("release")


def test_a_source_that_is_gone_leaves_the_library(tree: Path) -> None:
    build = driver(tree)
    members = subprocess.check_output(["ar", "t", build.core_library("release")], text=True).split()
    assert members == ["csrc__core__sums__one.cpp.o", "csrc__core__sums__two.cpp.o"]
    (tree / "core" / "sums" / "two.cpp").unlink()
    library = driver(tree).core_library("release")
    assert subprocess.check_output(["ar", "t", library], text=True).split() == members[:1]


def test_programs_by_name_from_processes_side_by_side(tree: Path) -> None:
    def command(*names: str) -> list[str]:
        return [sys.executable, str(tree / "native.py"), "programs", "--variant", "thread", *names]

    builds = [subprocess.Popen(command(), stdout=subprocess.PIPE, text=True) for _ in range(3)]
    outputs = {build.communicate()[0] for build in builds}
    assert [build.returncode for build in builds] == [0, 0, 0]
    assert len(outputs) == 1
    assert subprocess.run([outputs.pop().strip()], check=False).returncode == 3
    unknown = subprocess.run(command("stress_product"), capture_output=True, text=True, check=False)
    assert unknown.returncode == 1
    assert unknown.stderr == "no program is called stress_product; expected some of stress_sum\n"


def test_a_missing_compiler_is_one_line(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "/nowhere/g++")
    build = driver(tree)
    with pytest.raises(build.CompileError) as caught:
        build.check_toolchain()
    assert str(caught.value) == (
        "yolofast cannot be built: a compiler for C++20 is missing (/nowhere/g++: No such file or directory)."
        " On Debian and Ubuntu: sudo apt-get install -y g++"
    )


@pytest.mark.parametrize(
    ("header", "package"), [("concepts", "g++"), ("jpeglib.h", "libjpeg-dev"), ("Python.h", "python3-dev")]
)
def test_a_missing_header_is_one_line(
    header: str, package: str, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", str(write_compiler_without(tmp_path / "g++", header)))
    build = driver(tree)
    with pytest.raises(
        build.CompileError, match=r"\Ayolofast cannot be built: [^\n]* is missing [^\n]*\Z"
    ) as caught:
        build.check_toolchain()
    assert f"{header}: No such file or directory" in str(caught.value)
    assert str(caught.value).endswith(f"sudo apt-get install -y {package}")


def test_what_is_here_suffices(tree: Path) -> None:
    driver(tree).check_toolchain()


def test_setup_says_what_is_missing_and_nothing_else(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "setup.py", "-q", "build_ext", "--build-lib", str(tmp_path)],
        cwd=Path(str(native().__file__)).parents[1],
        env=os.environ | {"CXX": str(write_compiler_without(tmp_path / "g++", "jpeglib.h"))},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert "jpeglib.h" in line
    assert line.endswith("sudo apt-get install -y libjpeg-dev")


def test_a_build_that_compiles_says_so_once(tree: Path) -> None:
    """It takes a minute, and the compiler is silent."""
    command = [sys.executable, str(tree / "native.py"), "programs", "--variant", "thread"]
    lines = [
        subprocess.run(command, capture_output=True, text=True, check=True).stderr.splitlines()
        for _ in range(2)
    ]
    assert lines == [["compiling: about a minute if everything is new"], []]


def test_libfuzzer_asks_for_clang(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build = native()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(build.CompileError, match=r"no clang.* is here.*sudo apt-get install -y clang"):
        build.programs("fuzzer", ["fuzz_jpeg"])
    clang = tmp_path / "clang++-19"
    clang.write_text("#!/bin/sh\n")
    clang.chmod(0o755)
    assert build.compiler("fuzzer") == [str(clang)]
    with pytest.raises(ValueError, match="no program is called stress_engine"):
        build.programs("fuzzer", ["stress_engine"])
