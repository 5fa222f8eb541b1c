"""Ctrl-C, SIGTERM and SIGHUP: one line, the exit code that shells expect, and no traceback at any moment."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from yolofast.cli import main
from yolofast.cli.signals import handled

CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}


def cli(code: str, **options: object) -> subprocess.Popen[str]:
    """Code that calls `main` in a process of its own."""
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, "-c", code], stdout=pipe, stderr=pipe, text=True, **options)


@pytest.mark.parametrize("number", CODES)
def test_a_signal_ends_a_command_with_one_line(
    number: signal.Signals, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cleaned = []

    def work(_: object) -> None:
        try:
            os.kill(os.getpid(), number)
        finally:
            os.kill(os.getpid(), number)  # `timeout` sends it to the process and to its group
            cleaned.append(True)

    monkeypatch.setattr("yolofast.cli.entry._run", work)
    assert main([]) == CODES[number]
    assert cleaned
    by = "" if number == signal.SIGINT else f" ({number.name})"
    assert capsys.readouterr().err == f"yolofast: interrupted{by}\n"


def test_an_interrupt_that_was_turned_into_another_error_is_still_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def work(_: object) -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        except BaseException:
            raise RuntimeError("a library failed") from None

    monkeypatch.setattr("yolofast.cli.entry._run", work)
    assert main([]) == 143
    assert capsys.readouterr().err == "yolofast: interrupted (SIGTERM)\n"


def test_a_second_one_ends_at_once() -> None:
    code = """
import os, signal, sys, time
from yolofast.cli import entry, main
def work(_):
    try:
        os.kill(os.getpid(), signal.SIGINT)
    finally:
        print("saving", flush=True)
        time.sleep(60)
entry._run = work
main([])
"""
    process = cli(code)
    assert process.stdout is not None
    assert process.stdout.readline() == "saving\n"
    threading.Event().wait(0.6)
    process.send_signal(signal.SIGINT)
    assert process.wait(10) == -signal.SIGINT


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_during_an_import_there_is_no_traceback(tmp_path: Path, number: signal.Signals) -> None:
    (tmp_path / "slow.py").write_text(
        "import time\n"
        "try:\n    print('importing', flush=True)\n    time.sleep(60)\n"
        "except BaseException:\n    pass\n"  # as native modules do with what they do not know
    )
    code = f"""
import sys; sys.path.insert(0, {str(tmp_path)!r})
from yolofast.cli import entry, main
def work(_):
    import slow
entry._run = work
sys.exit(main([]))
"""
    process = cli(code)
    assert process.stdout is not None
    assert process.stdout.readline() == "importing\n"
    process.send_signal(number)
    _, err = process.communicate(timeout=10)
    assert process.returncode == CODES[number]
    assert err.startswith("yolofast: interrupted")
    assert err.count("\n") == 1


def test_in_a_finalizer_it_is_not_lost() -> None:
    code = """
import os, signal, sys, time
from yolofast.cli import entry, main
class Closing:
    def __del__(self): os.kill(os.getpid(), signal.SIGTERM)
def work(_):
    Closing()
    time.sleep(60)
entry._run = work
sys.exit(main([]))
"""
    process = cli(code)
    assert process.communicate(timeout=10) == ("", "yolofast: interrupted (SIGTERM)\n")
    assert process.returncode == 143


def test_signals_that_are_ignored_or_handled_stay_so() -> None:
    def mine(*_: object) -> None:
        return

    before = signal.signal(signal.SIGHUP, signal.SIG_IGN), signal.signal(signal.SIGTERM, mine)
    try:
        with handled():
            assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
            assert signal.getsignal(signal.SIGTERM) == mine
        assert signal.getsignal(signal.SIGINT) == signal.default_int_handler
    finally:
        signal.signal(signal.SIGHUP, before[0])
        signal.signal(signal.SIGTERM, before[1])
