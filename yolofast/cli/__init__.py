"""The command line: one subcommand per stage, its flags generated from dataclasses.

`arguments` declares the flags, `parser` turns them into argparse, `completion` into scripts for shells, and
`hints` knows what other trainers call them; `commands` and `bench` call the stages and print the results;
`entry` dispatches and turns errors into exit codes.
"""

from yolofast.cli.entry import COMMANDS, main

__all__ = ["COMMANDS", "main"]
