"""Dataclasses to command-line flags: a field is a flag, the text under it is its help.

argparse only splits the command line. Values are checked by the dataclasses themselves
(`config_fields.Section`), so a setting has one check and one error message, whether it comes from a flag or
from a YAML file.
"""

from __future__ import annotations

import argparse
import ast
import dataclasses
import inspect
import itertools
import sys
import typing
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from types import NoneType
from typing import Any, Literal, NoReturn, TypeVar

from yolofast.cli.hints import flag_hint
from yolofast.config_fields import UNIONS, Section, from_text
from yolofast.errors import ConfigError

SectionT = TypeVar("SectionT", bound=Section)

METAVARS = {int: "INT", float: "FLOAT", str: "TEXT", Path: "PATH"}
HELP_COLUMN = 28
POSITIONAL = {"positional": True}
"""Metadata of a required field that is given by its position, without a flag."""


def parse(kind: type[Section], prog: str, arguments: Sequence[str]) -> dict[str, Any]:
    """The fields that `arguments` give, by name; fields of nested sections are flat, like their flags.

    Values are not checked yet; see `build`. `--help` prints the help and exits with code 0. Raises
    `ConfigError` for unknown or missing arguments.
    """
    parser, kinds, known = _parser(kind, prog), _flat_kinds(kind), _flags(kind)
    end = arguments.index("--") if "--" in arguments else len(arguments)  # no flags from there on
    flags = [_hyphenated(argument) for argument in arguments[:end]]
    # A misspelt flag is named before anything that is missing: it may be the very one.
    unknown = [flag for flag in flags if _looks_like_flag(flag) and flag.partition("=")[0] not in known]
    if not unknown:
        try:
            given, left = parser.parse_known_args([*flags, *arguments[end:]])
            unknown = [argument for argument in left if argument != "--"]
        except ConfigError:  # `weights=FILE` explains why --weights is missing
            unknown = [flag for flag in flags if not flag.startswith("-") and flag_hint(flag, known)][:1]
            if not unknown:
                raise
    if unknown:
        wrong = next((argument for argument in unknown if argument.startswith("-")), unknown[0])
        parser.error(f"unknown argument '{wrong}'.{flag_hint(wrong, known)}")
    return {name: _value(name, value, kinds.get(name, str)) for name, value in vars(given).items()}


def build(kind: type[SectionT], given: Mapping[str, Any], defaults: SectionT | None = None) -> SectionT:
    """A `kind` of the fields in `given`; the others come from `defaults`, or else from the dataclass.

    Raises `ConfigError` for a value of the wrong type or out of range.
    """
    values: dict[str, Any] = {}
    for name, field_kind in typing.get_type_hints(kind).items():
        if _is_section(field_kind):
            nested = None if defaults is None else getattr(defaults, name)
            values[name] = build(field_kind, given, nested)
        elif name in given:
            values[name] = given[name]
        elif defaults is not None:
            values[name] = getattr(defaults, name)
    return kind(**values)


@dataclasses.dataclass(frozen=True)
class Argument:
    """One argument of a command."""

    name: str
    """The field's name."""
    kind: Any
    """The type of one value."""
    is_list: bool
    """Whether it takes several values."""
    positional: bool
    required: bool
    help: str
    """What it is for, without its default."""
    optional_value: str | None = None
    """The name of the value that a switch may have, such as `run` of --resume."""
    aliases: tuple[str, ...] = ()
    """Other flags for it."""
    metavar: str = ""
    """What its value is called in the help, where the type does not say it."""

    @property
    def flags(self) -> list[str]:
        """`--flag` or, for bools too, `--no-flag`, and aliases; none for a positional argument."""
        if self.positional:
            return []
        flag = _flag(self.name)
        negated = [f"--no-{flag[2:]}"] if self.kind is bool and self.optional_value is None else []
        return [flag, *negated, *self.aliases]

    @property
    def choices(self) -> tuple[str, ...]:
        """The values that are allowed, where they are listed."""
        return tuple(map(str, typing.get_args(self.kind))) if typing.get_origin(self.kind) is Literal else ()


def arguments_of(kind: type[Section]) -> Iterator[Argument]:
    """All arguments of a command, those of nested sections included."""
    kinds = typing.get_type_hints(kind)
    docs = _field_docs(kind.__module__).get(kind.__name__, {})
    for field in dataclasses.fields(typing.cast(Any, kind)):
        if _is_section(kinds[field.name]):
            yield from arguments_of(kinds[field.name])
        else:
            yield _argument(field, kinds[field.name], docs)


def _argument(field: dataclasses.Field[Any], kind: Any, docs: Mapping[str, str]) -> Argument:
    single, is_list = _single(kind)
    positional = bool(field.metadata.get("positional"))
    required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    text, optional = docs.get(field.name, ""), field.metadata.get("optional_value")
    aliases = tuple(field.metadata.get("aliases", ()))
    metavar = field.metadata.get("metavar", "")
    return Argument(field.name, single, is_list, positional, required, text, optional, aliases, metavar)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        command = self.prog.partition(" ")[2]
        end = "" if message.endswith("?") else "."
        raise ConfigError(f"{command}: {message.removesuffix('.')}{end} See {self.prog} --help.")


def _parser(kind: type[Section], prog: str) -> argparse.ArgumentParser:
    parser = _Parser(
        prog=prog,
        usage=" ".join([prog, *_required(kind), "[options]"]).replace("%", "%%"),
        description=summary(kind),
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
        formatter_class=lambda prog: argparse.HelpFormatter(prog, max_help_position=HELP_COLUMN),
    )
    _add_fields(parser, parser, kind)
    return parser


def _add_fields(parser: argparse.ArgumentParser, group: Any, kind: type[Section]) -> None:
    kinds = typing.get_type_hints(kind)
    docs = _field_docs(kind.__module__).get(kind.__name__, {})
    for field in dataclasses.fields(typing.cast(Any, kind)):
        value_kind = kinds[field.name]
        if _is_section(value_kind):
            section = parser.add_argument_group(f"{field.name} options", summary(value_kind))
            _add_fields(parser, section, value_kind)
            continue
        argument = _argument(field, value_kind, docs)
        text = (argument.help + _shown_default(argument, field.default)).replace("%", "%%")
        if argument.positional:
            group.add_argument(field.name, metavar=field.name.upper(), help=text)
            continue
        options: dict[str, Any] = {"help": text, "required": argument.required}
        if (value := argument.optional_value) is not None:
            options |= {"action": _SwitchWithValue, "nargs": "?", "const": value, "metavar": value.upper()}
        elif argument.kind is bool:
            options["action"] = argparse.BooleanOptionalAction
        else:
            options["metavar"] = argument.metavar or _metavar(argument.kind)
            options |= {"nargs": "*"} if argument.is_list else {}
        group.add_argument(_flag(field.name), *argument.aliases, **options)


class _SwitchWithValue(argparse.Action):
    """A switch that may have a value, which is given under a name of its own: see `Argument`."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        setattr(namespace, self.dest, True)
        if values != self.const:
            setattr(namespace, str(self.const), values)


def _is_section(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Section)


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _hyphenated(argument: str) -> str:
    """`--hsv_h` as `--hsv-h`: other tools write their flags with underscores."""
    flag, equals, value = argument.partition("=")
    return flag.replace("_", "-") + equals + value if argument.startswith("--") else argument


def _flat_kinds(kind: type[Section]) -> dict[str, Any]:
    """Name -> type of all fields, those of nested sections included."""
    kinds: dict[str, Any] = {}
    for name, field_kind in typing.get_type_hints(kind).items():
        kinds |= _flat_kinds(field_kind) if _is_section(field_kind) else {name: field_kind}
    return kinds


def _flags(kind: type[Section]) -> list[str]:
    """Every flag of `kind` and its sections, and help's."""
    return ["-h", "--help", *(flag for argument in arguments_of(kind) for flag in argument.flags)]


def _looks_like_flag(argument: str) -> bool:
    """Whether `argument` can only be meant as a flag: neither a negative number nor a text with spaces."""
    name = argument.partition("=")[0]
    return name.startswith("-") and name.lstrip("-")[:1].isalpha() and " " not in name


def _required(kind: type[Section]) -> list[str]:
    """What the usage line names: the required arguments of `kind` and its sections."""
    return [
        argument.name.upper() if argument.positional else f"{_flag(argument.name)} {_metavar(argument.kind)}"
        for argument in arguments_of(kind)
        if argument.required
    ]


def _single(kind: Any) -> tuple[Any, bool]:
    """The type of one value of a field, and whether it takes several (`tuple[type, ...]`, a mapping)."""
    if typing.get_origin(kind) in UNIONS:
        kind = next(option for option in typing.get_args(kind) if option is not NoneType)
    if typing.get_origin(kind) is tuple:
        return typing.get_args(kind)[0], True
    return kind, typing.get_origin(kind) is Mapping


def _metavar(kind: Any) -> str:
    if typing.get_origin(kind) is Literal:
        return "{" + ",".join(map(str, typing.get_args(kind))) + "}"
    if typing.get_origin(kind) is Mapping:
        return "OLD=NEW"
    return METAVARS[kind]


def _value(name: str, given: Any, kind: Any) -> Any:
    """What argparse gives (text, a list of texts, or a bool) as the field's type, where it is one."""
    if isinstance(given, list):
        single = _single(kind)[0]
        if typing.get_origin(single) is Mapping:
            return _pairs(name, given)
        return tuple(from_text(text, single) for text in given)
    return from_text(given, kind) if isinstance(given, str) else given


def _pairs(name: str, given: Sequence[str]) -> dict[str, str]:
    """The mapping that OLD=NEW OLD=NEW ... means. Raises `ConfigError` for anything else."""
    pairs: dict[str, str] = {}
    for text in given:
        old, found, new = text.partition("=")
        if not found or pairs.setdefault(old, new) != new:
            raise ConfigError(
                f"{name}: got '{text}', expected OLD=NEW once for each class, such as car=vehicle."
            )
    return pairs


def _shown_default(argument: Argument, value: Any) -> str:
    if argument.positional:
        return ""
    if argument.required:
        return " (required)"
    if value is None or isinstance(value, bool) or value == ():
        return " (default: on)" if value is True else ""
    return f" (default: {' '.join(map(str, value)) if isinstance(value, tuple) else value})"


def summary(kind: type[Section]) -> str:
    """The docstring of `kind` on one line: what a command does, or a section is about."""
    return " ".join((kind.__doc__ or "").split())


@cache
def _field_docs(module: str) -> dict[str, dict[str, str]]:
    """Class -> field -> the text under it, for the classes of a module."""
    tree = ast.parse(inspect.getsource(sys.modules[module]))
    return {
        node.name: dict(_documented_fields(node.body)) for node in tree.body if isinstance(node, ast.ClassDef)
    }


def _documented_fields(body: Sequence[ast.stmt]) -> list[tuple[str, str]]:
    return [
        (field.target.id, " ".join(text.value.value.split()))
        for field, text in itertools.pairwise(body)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(text, ast.Expr)
        and isinstance(text.value, ast.Constant)
        and isinstance(text.value.value, str)
    ]
