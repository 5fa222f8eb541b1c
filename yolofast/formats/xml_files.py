"""XML label files with expat: every error knows its line, and entities can never expand."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from xml.parsers import expat

from yolofast.formats.dataset import LabelFileError

MAX_DEPTH = 32
"""Files whose elements are nested deeper are refused: no format needs half of that."""


def safe_parser(encoding: str | None = None) -> expat.XMLParserType:
    """A parser that refuses a DOCTYPE as soon as it is seen; `encoding` overrides the declared one."""
    parser = expat.ParserCreate(encoding)

    def refuse(*_: object) -> None:
        raise LabelFileError("has a DOCTYPE, which is refused; remove it", parser.CurrentLineNumber)

    parser.StartDoctypeDeclHandler = refuse
    return parser


def too_deep(parser: expat.XMLParserType) -> LabelFileError:
    """The error for elements that are nested deeper than `MAX_DEPTH`."""
    return LabelFileError("elements nested too deeply", parser.CurrentLineNumber)


@contextmanager
def parsing_xml() -> Iterator[None]:
    """Convert expat's errors into `LabelFileError`."""
    try:
        yield
    except expat.ExpatError as error:
        raise LabelFileError(f"not valid XML: {expat.ErrorString(error.code)}", error.lineno) from None
