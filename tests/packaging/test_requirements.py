"""Floors above known vulnerabilities, a lock file that keeps to them, an audit that admits failure."""

from __future__ import annotations

import json
import subprocess
import tomllib
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version
from support.modules import load_module

REPOSITORY = Path(__file__).resolve().parents[2]
FOLDER = REPOSITORY / "requirements"

pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="no requirements here (an installed package)")


def requirements(text: str) -> list[Requirement]:
    lines = (line.split("#")[0].split("\\")[0].strip() for line in text.splitlines())
    return [Requirement(line) for line in lines if line and not line.startswith("--")]


def lowest(requirement: Requirement) -> Version:
    """The floor, or the pinned version."""
    (specifier,) = requirement.specifier
    assert specifier.operator in (">=", "=="), requirement
    return Version(specifier.version)


@pytest.fixture(scope="module")
def floors() -> dict[str, Version]:
    found = requirements((FOLDER / "floors.txt").read_text())
    return {canonicalize_name(r.name): lowest(r) for r in found}


@pytest.fixture(scope="module")
def locked() -> dict[str, list[Requirement]]:
    found: dict[str, list[Requirement]] = {}
    for requirement in requirements((FOLDER / "lock.txt").read_text()):
        found.setdefault(canonicalize_name(requirement.name), []).append(requirement)
    return found


@pytest.fixture(scope="module")
def declared() -> dict[str, list[Requirement]]:
    """The requirements of pyproject.toml: of the build, of the package, and of each extra."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    lists = {
        "build": project["build-system"]["requires"],
        "": project["project"]["dependencies"],
        **project["project"]["optional-dependencies"],
    }
    return {name: [Requirement(line) for line in lines] for name, lines in lists.items()}


def test_no_requirement_allows_a_version_with_a_known_vulnerability(
    floors: dict[str, Version], declared: dict[str, list[Requirement]]
) -> None:
    below = [
        str(requirement)
        for group in declared.values()
        for requirement in group
        if (floor := floors.get(canonicalize_name(requirement.name)))
        and (not requirement.specifier or lowest(requirement) < floor)
    ]
    assert below == []


def test_the_lock_file_is_above_the_floors(
    floors: dict[str, Version], locked: dict[str, list[Requirement]]
) -> None:
    outside = set(floors) - set(locked)
    assert outside <= {"torch", "nvidia-nvjpeg"}, "a floor of nothing that is installed"
    below = [str(r) for name in set(floors) & set(locked) for r in locked[name] if lowest(r) < floors[name]]
    assert below == []


def test_the_lock_file_is_up_to_date_with_pyproject(
    locked: dict[str, list[Requirement]], declared: dict[str, list[Requirement]]
) -> None:
    """Else: make lock."""
    makefile = (REPOSITORY / "Makefile").read_text()
    (extras,) = (line.split(":=")[1].strip() for line in makefile.splitlines() if "LOCKED_EXTRAS :=" in line)
    for group in ("build", "", *extras.split(",")):
        for requirement in declared[group]:
            if requirement.name == "torch":
                continue
            for pinned in locked[canonicalize_name(requirement.name)]:
                assert requirement.specifier.contains(lowest(pinned)), (str(requirement), str(pinned))


def test_everything_in_the_lock_file_is_exact_and_hashed() -> None:
    text = (FOLDER / "lock.txt").read_text()
    entries = [line for line in text.splitlines() if line and not line.startswith(("#", " "))]
    assert all("==" in line and line.endswith(" \\") for line in entries)
    assert text.count("\\\n    --hash=sha256:") >= len(entries)
    assert "://" not in text
    assert not [line for line in entries if line.startswith("torch==")]


@pytest.fixture
def audit() -> ModuleType:
    return load_module("audit", FOLDER / "audit.py")


SOUND = {"name": "a", "version": "1", "vulns": []}
SKIPPED = {"name": "b", "version": "2", "skip_reason": "Dependency not found"}
VULNERABLE = {"name": "c", "version": "3", "vulns": [{"id": "CVE-1", "fix_versions": ["4"]}]}


@pytest.mark.parametrize(
    ("found", "code", "says"),
    [
        ([SOUND, SOUND], 0, "2 of 2 packages looked up, 0 vulnerable"),
        ([SOUND, VULNERABLE], 1, "c 3: CVE-1, fixed in 4"),
        ([SOUND, SKIPPED], 2, "The audit could not be run for 1 packages (b, ...)"),
        ([SKIPPED, SKIPPED], 2, "0 of 2 packages looked up"),
        ([], 2, "0 of 0 packages looked up"),
        ([VULNERABLE, SKIPPED], 1, "1 vulnerable"),
    ],
)
def test_an_audit_that_looked_nothing_up_is_no_success(
    found: list[dict[str, Any]],
    code: int,
    says: str,
    audit: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    answer = SimpleNamespace(stdout=json.dumps({"dependencies": found}), stderr="", returncode=0)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: answer)
    (tmp_path / "lock.txt").write_text("a==1 ; python_version < '3.12' \\\n    --hash=sha256:0\n")
    assert audit.main(str(tmp_path / "lock.txt")) == code
    shown = capsys.readouterr()
    assert says in shown.out + shown.err


def test_an_audit_without_a_network_says_why(
    audit: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    answer = SimpleNamespace(stdout="", stderr="Traceback\nConnectionError: no route", returncode=1)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: answer)
    (tmp_path / "lock.txt").write_text("a==1\n")
    assert audit.main(str(tmp_path / "lock.txt")) == 2
    assert "could not be run: pip-audit ended with exit code 1: ConnectionError: no route" in (
        capsys.readouterr().err
    )


def test_an_audit_of_a_package_without_a_version_is_no_success(
    audit: ModuleType, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "lock.txt").write_text("a==1\n")
    assert audit.main(str(tmp_path / "lock.txt"), "torch") == 2
    assert "could not be run: 'torch' has no version" in capsys.readouterr().err


def test_an_audit_covers_the_versions_of_every_python(audit: ModuleType) -> None:
    lock = (
        "a==1 ; python_version < '3.12' \\\n    --hash=sha256:0\na==2 ; python_version >= '3.12' \\\nb==3\n"
    )
    assert audit.pinned([lock, "torch==2.13.0"]) == [["a==1", "b==3", "torch==2.13.0"], ["a==2"]]
