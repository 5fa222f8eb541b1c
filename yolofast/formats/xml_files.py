"""XML label files with expat: every error knows its line, and entities can never expand."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO
from xml.parsers import expat

from yolofast.formats.dataset import LabelFileError
from yolofast.limits import MAX_XML_TAG

_BLOCK = 1 << 17

_ENCODING = re.compile(rb"""\s*<\?xml[^>]{0,200}?\sencoding\s*=\s*["']([A-Za-z][\w.-]{0,40})["']""")
_CODECS = frozenset(
    {
        "utf-8",
        "utf-16",
        "utf-16-le",
        "utf-16-be",
        "ascii",
        "latin-1",
        "iso8859-1",
        "koi8-r",
        "koi8-u",
        "euc_jp",
    }
    | {f"iso8859-{n}" for n in range(2, 17)}
    | {f"cp{n}" for n in (*range(1250, 1259), 874, 932, 936, 949, 950)}
    | {"gbk", "gb2312", "gb18030", "big5", "shift_jis", "euc_kr", "hz"}
)
"""Python's names of the encodings of text that are read; its others pack, escape or guess."""


def declared_encoding(data: bytes) -> str | None:
    """Python's name of the encoding that a document declares; raises `LabelFileError` for an unusual one."""
    found = _ENCODING.match(data)
    if found is None:
        return None
    name = found[1].decode("ascii")
    try:
        codec = codecs.lookup(name).name if name.isascii() else ""
    except LookupError:
        codec = ""
    if codec not in _CODECS:
        raise LabelFileError(f"declares the encoding '{name}', expected one of text such as UTF-8", 1)
    return codec


def safe_parser(encoding: str | None = None) -> expat.XMLParserType:
    """A parser that refuses a DOCTYPE as soon as it is seen; `encoding` overrides the declared one."""
    parser = expat.ParserCreate(encoding)
    parser.buffer_text = True  # one call for a text, however it is cut into references

    def refuse(*_: object) -> None:
        raise LabelFileError("has a DOCTYPE, which is refused; remove it", parser.CurrentLineNumber)

    parser.StartDoctypeDeclHandler = refuse
    return parser


def too_deep(parser: expat.XMLParserType) -> LabelFileError:
    """The error for elements that are nested deeper than `MAX_DEPTH`."""
    return LabelFileError("elements nested too deeply", parser.CurrentLineNumber)


def parse_xml(parser: expat.XMLParserType, stream: BinaryIO) -> None:
    """Parse a document block by block.

    Raises `LabelFileError` for one that is not valid, or has a tag, with its attributes, or a comment of more
    than `MAX_XML_TAG` bytes; `ValueError` or `LookupError` for an encoding that expat cannot read.
    """
    fed = 0
    with parsing_xml():
        while block := stream.read(_BLOCK):
            parser.Parse(block, False)
            fed += len(block)
            if fed - parser.CurrentByteIndex > MAX_XML_TAG:  # which stands at what is not complete
                raise LabelFileError(
                    f"a tag or a comment of more than {MAX_XML_TAG} bytes", parser.CurrentLineNumber
                )
        parser.Parse(b"", True)


@contextmanager
def parsing_xml() -> Iterator[None]:
    """Convert expat's errors into `LabelFileError`."""
    try:
        yield
    except expat.ExpatError as error:
        raise LabelFileError(f"not valid XML: {expat.ErrorString(error.code)}", error.lineno) from None
