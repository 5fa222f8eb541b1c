"""Parses Pascal VOC XML: the elements of one image's file."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from yolofast.formats.dataset import LabelFileError, parsing
from yolofast.formats.xml_files import MAX_DEPTH, parsing_xml, safe_parser, too_deep

MAX_BYTES = 16 << 20
_ENCODING = re.compile(rb"""\s*<\?xml[^>]*?\sencoding\s*=\s*["']([A-Za-z][\w.-]*)["']""")


class OtherFormatError(LabelFileError):
    """A sound XML file that is not Pascal VOC: the annotations of another tool, a settings file."""


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
    """The `annotation` element of a file; raises `LabelFileError`, or `OtherFormatError` without one."""
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
        top = root.children[0].tag if root.children else ""
        raise OtherFormatError(f"not a VOC file: got <{top}>, expected an 'annotation' element", 1)
    return found


def _parse_bytes(data: bytes, encoding: str | None = None) -> Element:
    """A root element without a tag around the document; `encoding` overrides the declared one.

    Raises `LabelFileError`, and `ValueError` or `LookupError` for an encoding that expat cannot read.
    """
    parser = safe_parser(encoding)
    stack = [Element("", 0)]

    def start(tag: str, _: dict[str, str]) -> None:
        if len(stack) > MAX_DEPTH:
            raise too_deep(parser)
        element = Element(tag, parser.CurrentLineNumber)
        stack[-1].children.append(element)
        stack.append(element)

    def end(_: str) -> None:
        stack.pop()

    def text(data: str) -> None:
        stack[-1].text += data

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = text
    with parsing_xml():
        parser.Parse(data, True)
    return stack[0]
