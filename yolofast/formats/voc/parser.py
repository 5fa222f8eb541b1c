"""Parses Pascal VOC XML with expat, without building or executing anything else.

Expat gives line numbers, and a DOCTYPE is refused as soon as it is seen, so entities can never expand.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from xml.parsers import expat

from yolofast.formats.dataset import LabelFileError, parsing

MAX_BYTES = 16 << 20
MAX_DEPTH = 32
_ENCODING = re.compile(rb"""\s*<\?xml[^>]*?\sencoding\s*=\s*["']([A-Za-z][\w.-]*)["']""")


@dataclass(slots=True)
class Element:
    """An XML element without its attributes."""

    tag: str
    line: int
    text: str = ""
    children: list[Element] = field(default_factory=list)

    def child(self, tag: str) -> Element | None:
        """The first child with this tag."""
        return next((c for c in self.children if c.tag == tag), None)

    def value(self, *path: str) -> str:
        """The text at a path of child tags, or an empty string."""
        element: Element | None = self
        for tag in path:
            element = element.child(tag) if element is not None else None
        return element.text.strip() if element is not None else ""


def parse_annotation(path: Path) -> Element:
    """The `annotation` element of a file; raises `LabelFileError`."""
    with parsing():
        if path.stat().st_size > MAX_BYTES:
            raise LabelFileError(f"larger than {MAX_BYTES >> 20} MB, expected the xml of one image")
        data = path.read_bytes()
        try:
            root = _parse_bytes(data)
        except (ValueError, LookupError):
            # Expat knows no multi-byte encodings such as gbk and shift_jis; Python does.
            declared = _ENCODING.match(data)
            if declared is None:
                raise
            text = data.decode(declared[1].decode("ascii"))
            root = _parse_bytes(text.encode(), "utf-8")
    found = root.child("annotation")
    if found is None:
        raise LabelFileError("not a VOC file: expected an 'annotation' element", 1)
    return found


def _parse_bytes(data: bytes, encoding: str | None = None) -> Element:
    """A root element without a tag around the document; `encoding` overrides the declared one.

    Raises `LabelFileError`, and `ValueError` or `LookupError` for an encoding that expat cannot read.
    """
    parser = expat.ParserCreate(encoding)
    stack = [Element("", 0)]

    def refuse(*_: object) -> None:
        raise LabelFileError("has a DOCTYPE, which is refused; remove it", parser.CurrentLineNumber)

    def start(tag: str, _: dict[str, str]) -> None:
        if len(stack) > MAX_DEPTH:
            raise LabelFileError("elements nested too deeply for a VOC file", parser.CurrentLineNumber)
        element = Element(tag, parser.CurrentLineNumber)
        stack[-1].children.append(element)
        stack.append(element)

    def end(_: str) -> None:
        stack.pop()

    def text(data: str) -> None:
        stack[-1].text += data

    parser.StartDoctypeDeclHandler = refuse
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = text
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        raise LabelFileError(f"not valid XML: {expat.ErrorString(error.code)}", error.lineno) from None
    return stack[0]
