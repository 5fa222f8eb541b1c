"""The entry point: finds the command, parses its arguments, runs it, and turns errors into exit codes.

A user's mistake is one line on stderr and exit code 2; a traceback is a bug of ours.
"""

from __future__ import annotations

import io
import logging
import os
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from yolofast import __version__
from yolofast.cli import bench, commands
from yolofast.cli.arguments import (
    AnalyzeArgs,
    BenchLoaderArgs,
    BenchMapArgs,
    BenchNmsArgs,
    CheckArgs,
    CompletionArgs,
    ConvertArgs,
    DemoArgs,
    ExportArgs,
    FetchArgs,
    ImportArgs,
    PredictArgs,
    PrepareArgs,
    TrainArgs,
    ValArgs,
)
from yolofast.cli.completion import HELP, completion_script
from yolofast.cli.hints import command_hint
from yolofast.cli.output import PrintableFormatter
from yolofast.cli.parser import build, parse, summary
from yolofast.config_fields import Section
from yolofast.errors import ConfigError, YolofastError, missing_extra, nearest
from yolofast.printable import printable

USER_ERROR = 2
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Command:
    """One subcommand; `defaults` gives the settings that its flags override, from the flags themselves.

    `run` returns the exit code; None means 0.
    """

    arguments: type[Section]
    run: Callable[[Any], int | None]
    defaults: Callable[[Mapping[str, Any]], Section | None] = lambda given: None


def _completion(args: CompletionArgs) -> None:
    arguments = {name: command.arguments for name, command in COMMANDS.items()}
    print(completion_script(args.shell, arguments), end="")


COMMANDS: dict[str, Command] = {
    "demo": Command(DemoArgs, commands.demo),
    "fetch": Command(FetchArgs, commands.fetch),
    "analyze": Command(AnalyzeArgs, commands.analyze),
    "check": Command(CheckArgs, commands.check),
    "prepare": Command(PrepareArgs, commands.prepare),
    "convert": Command(ConvertArgs, commands.convert),
    "train": Command(TrainArgs, commands.train, commands.train_defaults),
    "val": Command(ValArgs, commands.val),
    "predict": Command(PredictArgs, commands.predict),
    "import": Command(ImportArgs, commands.import_weights),
    "export": Command(ExportArgs, commands.export),
    "bench loader": Command(BenchLoaderArgs, bench.bench_loader),
    "bench nms": Command(BenchNmsArgs, bench.bench_nms),
    "bench map": Command(BenchMapArgs, bench.bench_map),
    "completion": Command(CompletionArgs, _completion),
}


def run(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    argv = list(sys.argv[1:] if argv is None else argv)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(PrintableFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # names that are not UTF-8 are shown escaped, not fatal
            stream.reconfigure(errors="backslashreplace")
    with warnings.catch_warnings():
        warnings.showwarning = _log_warning
        return _main(argv)


def _log_warning(message: Warning | str, category: type[Warning], *_: object, **__: object) -> None:
    """What a library warns of, as one line of the log."""
    _log.warning("%s: %s", category.__name__, message)


def _main(argv: Sequence[str]) -> int:
    try:
        return _run(argv)
    except YolofastError as error:
        return _fail(error)
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        return _fail(missing_extra("torch", "train", f"yolofast {argv[0]}"))
    except BrokenPipeError:
        # The reader of our output (head, say) has closed it: there is nobody left to print to.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        file = f"{error.filename}: " if error.filename is not None else ""
        return _fail(f"{file}{error.strerror or error}")


def _run(argv: Sequence[str]) -> int:
    code: int | None = 0
    if len(argv) > 1 and argv[0] in ("-h", "--help", HELP):  # `help train` is `train --help`
        argv = [*argv[1:], "--help"]
    if not argv or argv[0] in ("-h", "--help", HELP):
        print(_help())
    elif argv[0] in ("-V", "--version"):
        print(__version__)
    elif argv[1:2] in (["-h"], ["--help"]) and _subcommands(argv[0]):
        print(_help(argv[0]))
    else:
        name, arguments = _split_command(argv)
        command = COMMANDS[name]
        try:
            given = parse(command.arguments, f"yolofast {name}", arguments)
        except SystemExit:  # --help
            sys.stdout.flush()
            raise
        code = command.run(build(command.arguments, given, command.defaults(given)))
    sys.stdout.flush()
    return code or 0


def _help(group: str = "") -> str:
    """The commands, or those of a group such as `bench`."""
    named = {name: summary(entry.arguments) for name, entry in COMMANDS.items() if name.startswith(group)}
    usage = f"usage: yolofast {group + ' ' if group else ''}COMMAND [options]"
    lines = [f"yolofast {__version__}: from raw images to a trained, exported YOLO detector", "", usage, ""]
    lines += [f"  {name:13} {what}" for name, what in named.items()]
    explained = f"{group} COMMAND" if group else "COMMAND"
    return "\n".join([*lines, "", f"`yolofast {HELP} {explained}` explains the options of a command."])


def _subcommands(group: str) -> list[str]:
    return [name.split()[1] for name in COMMANDS if name.startswith(f"{group} ")]


def _split_command(argv: Sequence[str]) -> tuple[str, Sequence[str]]:
    """The command's name in `COMMANDS` and its arguments. Raises `ConfigError` for an unknown one."""
    first = argv[0]
    if first in COMMANDS:
        return first, argv[1:]
    if subcommands := _subcommands(first):
        known = f"{', '.join(subcommands[:-1])} or {subcommands[-1]}"
        if len(argv) == 1:
            raise ConfigError(f"{first}: missing subcommand: {known}.")
        if argv[1] not in subcommands:
            hint = nearest(argv[1], subcommands)
            raise ConfigError(f"{first}: unknown subcommand '{argv[1]}', expected {known}.{hint}")
        return f"{first} {argv[1]}", argv[2:]
    names = sorted({name.split()[0] for name in COMMANDS})
    raise ConfigError(f"unknown command '{first}'.{command_hint(argv, names)} Known: {', '.join(names)}.")


def _fail(error: object) -> int:
    print(f"yolofast: error: {printable(str(error))}", file=sys.stderr)
    return USER_ERROR
