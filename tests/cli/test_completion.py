"""Completion of the command line: what Tab offers in bash, and that the other shells get the same words."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from yolofast.cli import COMMANDS, main
from yolofast.cli.parser import arguments_of

needs_bash = pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")


@pytest.fixture(scope="module")
def scripts() -> dict[str, str]:
    from yolofast.cli.completion import completion_script

    kinds = {name: entry.arguments for name, entry in COMMANDS.items()}
    return {shell: completion_script(shell, kinds) for shell in ("bash", "zsh", "fish")}


def offered(script: str, *words: str) -> list[str]:
    """What bash offers for the last of `words`, after `yolofast`."""
    typed = " ".join(f"'{word}'" for word in ("yolofast", *words))
    run = f"COMP_WORDS=({typed}); COMP_CWORD={len(words)}; _yolofast; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    done = subprocess.run(["bash", "-c", f"{script}\n{run}"], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout.split()


@needs_bash
def test_commands_and_groups(scripts: dict[str, str]) -> None:
    bash = scripts["bash"]
    everything = offered(bash, "")
    assert set(everything) == {name.split()[0] for name in COMMANDS} | {"help"}
    assert offered(bash, "pre") == ["prepare", "predict"]
    assert offered(bash, "bench", "") == ["loader", "nms", "map"]
    assert offered(bash, "help", "va") == ["val"]
    assert offered(bash, "help", "bench", "n") == ["nms"]
    assert offered(bash, "completion", "") == ["bash", "zsh", "fish"]


@needs_bash
@pytest.mark.parametrize("name", COMMANDS)
def test_every_flag_of_every_command(name: str, scripts: dict[str, str]) -> None:
    wanted = {flag for argument in arguments_of(COMMANDS[name].arguments) for flag in argument.flags}
    assert set(offered(scripts["bash"], *name.split(), "-")) == wanted | {"--help"}


@needs_bash
def test_values(scripts: dict[str, str]) -> None:
    bash = scripts["bash"]
    assert offered(bash, "train", "--cache", "") == ["none", "ram", "disk"]
    assert offered(bash, "train", "--cache", "=", "r") == ["ram"]
    assert offered(bash, "train", "--cache", "=") == ["none", "ram", "disk"]
    assert offered(bash, "bench", "loader", "--augment", "d") == ["default"]
    assert offered(bash, "train", "--rect", "--sched") == ["--schedule"]
    assert offered(bash, "train", "--data", "") == []  # left to bash, which offers files
    assert offered(bash, "train", "--epochs", "") == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_shell_knows_every_flag(
    shell: str, scripts: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["completion", shell]) == 0
    assert capsys.readouterr().out == scripts[shell]
    mark = "-l " if shell == "fish" else "--"
    for entry in COMMANDS.values():
        for argument in arguments_of(entry.arguments):
            for flag in argument.flags:
                assert mark + flag[2:] in scripts[shell]
    if shutil.which(shell):
        check = [shell, "--no-execute" if shell == "fish" else "-n", "/dev/stdin"]
        done = subprocess.run(check, input=scripts[shell], capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")
