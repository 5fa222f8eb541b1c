"""The command line: one subcommand per stage, its flags generated from dataclasses.

`arguments` declares the flags, `parser` turns them into argparse, `completion` into scripts for shells, and
`hints` knows what other trainers call them; `commands` and `bench` call the stages and print the results;
`entry` dispatches and turns errors into exit codes, `signals` does so for Ctrl-C and its like.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from yolofast.cli.signals import handled
from yolofast.lazy_names import lazy_names

if TYPE_CHECKING:
    from yolofast.cli.entry import COMMANDS

__all__ = ["COMMANDS", "main"]

__getattr__, __dir__ = lazy_names(__name__, {"entry": ("COMMANDS",)})


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code: 130 after Ctrl-C, 143 after SIGTERM, 129 after SIGHUP."""
    with handled() as signals:
        try:
            from yolofast.cli import entry  # takes a moment, in which Ctrl-C is handled, too

            return entry.run(argv)
        except BaseException as error:
            if signals.number is None and not isinstance(error, KeyboardInterrupt):
                raise
        print(signals.line, file=sys.stderr)
        return signals.exit_code
