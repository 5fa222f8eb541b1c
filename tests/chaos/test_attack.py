"""tests/support/chaos.py: what the attacks count, repeat and measure is true."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import chaos_table
import pytest
from support import chaos
from support.chaos import Attack, Ran


@pytest.fixture
def rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Reads the report of the attacks in a test."""
    report = tmp_path / "report.jsonl"
    monkeypatch.setattr(chaos, "REPORT", str(report))
    return lambda: [json.loads(line) for line in report.read_text().splitlines()]


def test_an_attack_counts_its_tries(rows: Any) -> None:
    with Attack("all", tries=3, seconds=0) as attack:
        assert len(list(attack)) == 3
    (row,) = rows()
    assert (row["attack"], row["tries"], row["survived"], row["wanted"]) == ("all", 3, 3, 3)


def test_a_failed_try_is_not_survived(rows: Any, capsys: pytest.CaptureFixture[str]) -> None:
    def third_fails() -> None:
        with Attack("falls", tries=9, seconds=0) as attack:
            for _ in attack:
                assert attack.done != 3

    with pytest.raises(AssertionError):
        third_fails()
    (row,) = rows()
    assert (row["tries"], row["survived"]) == (3, 2)
    assert f"YOLOFAST_CHAOS_SEED={chaos.SEED}" in capsys.readouterr().out


def test_time_ends_an_attack_after_one_try_at_least(rows: Any) -> None:
    with Attack("slow", tries=1000, seconds=0.01) as attack:
        for _ in attack:
            time.sleep(0.02)
    (row,) = rows()
    assert (row["tries"], row["survived"], row["wanted"]) == (1, 1, 1000)


def test_a_seed_repeats_every_try(monkeypatch: pytest.MonkeyPatch) -> None:
    def numbers(name: str) -> list[float]:
        with Attack(name, tries=5, seconds=0) as attack:
            return [random.random() for random in attack]

    first = numbers("a")
    assert numbers("a") == first
    assert len({*first, *numbers("b")}) == 10
    monkeypatch.setattr(chaos, "SEED", chaos.SEED + 1)
    assert numbers("a") != first


def test_workers_of_one_run_share_their_seed() -> None:
    """A drawn seed is of the whole suite, which pytest-xdist spreads over processes."""
    code = "from support.chaos import SEED; print(SEED)"
    tests = Path(chaos.__file__).parents[1]
    seeds = [
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONPATH": str(tests), **extra},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for extra in ({"PYTEST_XDIST_TESTRUNUID": "f" * 32}, {"PYTEST_XDIST_TESTRUNUID": "f" * 32})
    ]
    assert seeds[0] == seeds[1]


@pytest.mark.parametrize("code", ["import os; os.abort()", "raise KeyError(7)"])
def test_a_crash_is_a_failure(code: str, rows: Any) -> None:
    def attacked() -> None:
        with Attack("crash", tries=1) as attack:
            for _ in attack:
                attack.saw(chaos.python(code))

    with pytest.raises(AssertionError, match="crash, try 1, seed"):
        attacked()
    assert rows()[0]["survived"] == 0


def test_an_error_for_users_is_no_crash() -> None:
    ran = chaos.python("import sys; sys.exit('yolofast: error: no')")
    assert (ran.code, ran.crashed, ran.err) == (1, False, "yolofast: error: no\n")


def test_the_peak_of_memory_is_the_childs(rows: Any) -> None:
    ballast = bytearray(random.Random(0).randbytes(64)) * (2 << 20)  # 128 MB here are none of the child's
    with Attack("peak", tries=1) as attack:
        for _ in attack:
            small = attack.saw(chaos.python("pass"))
            large = attack.saw(chaos.python("x = b'x' * (64 << 20)"))
    assert len(ballast) == 128 << 20
    assert small.peak_mb < 40
    assert 64 <= large.peak_mb < 110
    assert rows()[0]["peak_mb"] == round(large.peak_mb)


def test_a_command_that_hangs_is_killed_with_its_children(tmp_path: Path) -> None:
    code = (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "open(sys.argv[1], 'w').write(str(child.pid))\n"
        "time.sleep(60)\n"
    )
    with pytest.raises(subprocess.TimeoutExpired):
        chaos.python(code, tmp_path / "pid", timeout=0.5)
    stat = Path(f"/proc/{(tmp_path / 'pid').read_text()}/stat")
    for _ in range(100):
        if not stat.exists() or stat.read_text().rsplit(")")[1].split()[0] == "Z":
            return
        time.sleep(0.02)
    pytest.fail("the child is alive")


def test_output_that_is_no_text_is_kept() -> None:
    ran = chaos.python("import os; os.write(1, b'\\xff\\n')")
    assert ran == Ran(0, "\udcff\n", "", ran.seconds, ran.peak_mb, ran.cpu_seconds)


def test_the_table_adds_up_reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setattr(chaos_table, "RESULTS", tmp_path)
    row = {"attack": "flips", "wanted": 9, "tries": 5, "survived": 5, "peak_mb": 70, "longest_s": 0.5}
    row |= {"seconds": 2.0, "seed": 1}
    reports = []
    for name, changes in (
        ("a", {}),
        ("b", {"peak_mb": 80, "seed": 2}),
        ("c", {"attack": "x", "survived": 4}),
    ):
        (tmp_path / name).write_text(json.dumps(row | changes) + "\n")
        reports.append(str(tmp_path / name))
    assert chaos_table.main(*reports[:2]) == 0
    assert "\n| flips | 10 | 10 | 80 MB | 0.50 s | 4 s |\n" in capsys.readouterr().out
    saved = json.loads((tmp_path / "chaos.json").read_text())["attacks"]["flips"]
    assert (saved["wanted"], saved["seeds"]) == (18, [1, 2])
    assert chaos_table.main(*reports) == 1
    assert capsys.readouterr().err == "not survived: x\n"
