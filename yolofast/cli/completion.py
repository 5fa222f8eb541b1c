"""Completion scripts for bash, zsh and fish, from the same dataclasses as the flags and their help.

The scripts are complete in themselves: pressing Tab starts no Python.
"""

from __future__ import annotations

import shlex
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

from yolofast.cli.parser import Argument, arguments_of, summary
from yolofast.config_fields import Section

Shell = Literal["bash", "zsh", "fish"]
Commands = Mapping[str, type[Section]]
"""Name of a command, such as `train` or `bench loader`, -> its arguments."""

HELP = "help"
_MAX_TEXT = 72


def completion_script(shell: Shell, commands: Commands) -> str:
    """The script that `shell` reads to complete `yolofast` with `commands`."""
    return {"bash": _bash, "zsh": _zsh, "fish": _fish}[shell](commands)


def _names(commands: Commands) -> list[str]:
    """What can come first: the commands, and the groups such as `bench`."""
    return [*dict.fromkeys(name.split()[0] for name in commands), HELP]


def _groups(commands: Commands) -> dict[str, list[str]]:
    """`bench` -> `loader`, `nms`, `map`."""
    groups: dict[str, list[str]] = {}
    for name in commands:
        group, _, member = name.partition(" ")
        if member:
            groups.setdefault(group, []).append(member)
    return groups


def _described(commands: Commands) -> Iterator[tuple[str, str]]:
    """Each first word, and what it is for."""
    groups = _groups(commands)
    for name in _names(commands):
        if name in commands:
            yield name, _short(summary(commands[name]))
        else:
            yield name, "Explain a command" if name == HELP else f"One of {', '.join(groups[name])}"


def _short(text: str) -> str:
    """The first sentence of a help text, or its beginning."""
    return textwrap.shorten(text.partition(". ")[0].rstrip("."), _MAX_TEXT, placeholder=" ...")


def _takes_file(argument: Argument) -> bool:
    return argument.kind is Path or (argument.positional and not argument.choices)


# ---------------------------------------------------------------- bash

_BASH = """\
# bash completion for yolofast; to use it: eval "$(yolofast completion bash)"
_yolofast() {{
    local -a typed=("${{COMP_WORDS[@]}}")
    local position=$COMP_CWORD words= flags=
    if [[ ${{typed[1]}} == {help} ]] && ((position > 1)); then
        typed=("${{typed[@]:1}}")
        ((position -= 1))
    fi
    local current=${{typed[position]}} previous=${{typed[position - 1]}} command=${{typed[1]}}
    if [[ $current == "=" ]]; then  # to bash, --flag=value is three words
        current=
    elif [[ $previous == "=" ]]; then
        previous=${{typed[position - 2]}}
    fi
    COMPREPLY=()
    if ((position == 1)); then
        words="{names}"
    elif [[ $command == @({groups}) ]] && ((position > 2)); then
        command+=" ${{typed[2]}}"
    fi
    ((position == 1)) || case $command in
{commands}
    esac
    [[ $current == -* ]] && words=$flags
    COMPREPLY=($(compgen -W "$words" -- "$current"))
}}
complete -o default -F _yolofast yolofast
"""
_BASH_NO_FILES = "compopt +o default 2>/dev/null; return"


def _bash(commands: Commands) -> str:
    groups = _groups(commands)
    cases = [f'        {group}) words="{" ".join(members)}" ;;' for group, members in groups.items()]
    for name, kind in commands.items():
        cases += [f'        "{name}")', *_bash_command(list(arguments_of(kind))), "            ;;"]
    return _BASH.format(
        help=HELP, names=" ".join(_names(commands)), groups="|".join(groups), commands="\n".join(cases)
    )


def _bash_command(arguments: Sequence[Argument]) -> Iterator[str]:
    """The flags of a command, and the values of those that take one."""
    flags = [flag for argument in arguments for flag in argument.flags]
    yield f'            flags="--help {" ".join(flags)}"'
    files = [flag for argument in arguments if _takes_file(argument) for flag in argument.flags]
    texts: list[str] = []
    yield "            case $previous in"
    for argument in arguments:
        if argument.choices and argument.flags:
            yield f'                {argument.flags[0]}) words="{" ".join(argument.choices)}" ;;'
        elif argument.kind is not bool and not _takes_file(argument):
            texts += argument.flags
    if files:
        yield f"                {' | '.join(files)}) return ;;"
    if texts:
        yield f"                {' | '.join(texts)}) {_BASH_NO_FILES} ;;"
    for argument in arguments:
        if argument.choices and argument.positional:
            yield f'                *) words="{" ".join(argument.choices)}" ;;'
    yield "            esac"


# ---------------------------------------------------------------- zsh

_ZSH = """\
#compdef yolofast
# zsh completion for yolofast; to use it, after compinit: eval "$(yolofast completion zsh)"
_yolofast() {{
    local -a names
    if [[ $words[2] == {help} ]] && ((CURRENT > 2)); then
        shift words
        ((CURRENT -= 1))
    fi
    if ((CURRENT == 2)); then
        names=({names})
        _describe command names
        return
    fi
    shift words
    ((CURRENT -= 1))
    if [[ $words[1] == ({groups}) ]] && ((CURRENT > 2)); then
        words=("$words[1] $words[2]" "${{(@)words[3,-1]}}")
        ((CURRENT -= 1))
    fi
    case $words[1] in
{commands}
    esac
}}
if [[ $funcstack[1] == _yolofast ]]; then
    _yolofast "$@"
else
    compdef _yolofast yolofast
fi
"""


def _zsh(commands: Commands) -> str:
    groups = _groups(commands)
    cases = []
    for group, members in groups.items():
        described = " ".join(
            shlex.quote(f"{member}:{_short(summary(commands[f'{group} {member}']))}") for member in members
        )
        cases.append(f"        {group}) names=({described}); _describe command names ;;")
    for name, kind in commands.items():
        specs = [spec for argument in arguments_of(kind) for spec in _zsh_specs(argument)]
        lines = " \\\n".join(f"                {shlex.quote(spec)}" for spec in ("--help[Help]", *specs))
        cases.append(f'        "{name}")\n            _arguments \\\n{lines} ;;')
    names = " ".join(shlex.quote(f"{name}:{text}") for name, text in _described(commands))
    return _ZSH.format(help=HELP, names=names, groups="|".join(groups), commands="\n".join(cases))


def _zsh_specs(argument: Argument) -> Iterator[str]:
    """What `_arguments` wants for an argument."""
    action = f"({' '.join(argument.choices)})" if argument.choices else "_files" * _takes_file(argument)
    value = f":{argument.name}:{action or ' '}"
    if argument.positional:
        yield f"1{value}"
    text = _short(argument.help)
    for special in "\\[]:":
        text = text.replace(special, f"\\{special}")
    for flag in argument.flags:
        yield f"{flag}[{text}]" if argument.kind is bool else f"{flag}=[{text}]{value}"


# ---------------------------------------------------------------- fish


_FISH = """\
# fish completion for yolofast; to use it: yolofast completion fish | source
function __yolofast_begins
    set -l typed (commandline -opc)[2..]
    test "$typed[1..$(count $argv)]" = "$argv"
end
function __yolofast_is
    set -l typed (commandline -opc)[2..]
    test "$typed" = "$argv"
end
complete -c yolofast -f
"""


def _fish(commands: Commands) -> str:
    lines = []
    for name, text in _described(commands):
        lines.append(_fish_word("__yolofast_is", name, text))
        if name != HELP:
            lines.append(_fish_word(f"__yolofast_is {HELP}", name, text))
    for group, members in _groups(commands).items():
        for member in members:
            text = _short(summary(commands[f"{group} {member}"]))
            lines.append(_fish_word(f"__yolofast_is {group}", member, text))
    for name, kind in commands.items():
        for argument in arguments_of(kind):
            lines += _fish_lines(argument, f"complete -c yolofast -n '__yolofast_begins {name}'")
    return _FISH + "\n".join(lines) + "\n"


def _fish_word(condition: str, word: str, text: str) -> str:
    return f"complete -c yolofast -n '{condition}' -a {word} -d {_fish_quoted(text)}"


def _fish_lines(argument: Argument, start: str) -> Iterator[str]:
    if argument.choices:
        value = f" -x -a {_fish_quoted(' '.join(argument.choices))}"
    else:
        value = " -r -F" if _takes_file(argument) else " -x"
    if argument.positional:
        yield start + value.replace(" -r", "").replace(" -x", "")
    text = _fish_quoted(_short(argument.help))
    for flag in argument.flags:
        yield f"{start} -l {flag[2:]}{'' if argument.kind is bool else value} -d {text}"


def _fish_quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
