"""Parses Pascal VOC XML: the elements of one image's file."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from pathlib import Path

from yolofast.formats.dataset import LabelFileError, parsing
from yolofast.formats.xml_files import declared_encoding, parse_xml, safe_parser, too_deep
from yolofast.limits import MAX_DEPTH, MAX_XML_ELEMENTS

MAX_BYTES = 8 << 20


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
        declared = declared_encoding(data)
        try:
            root = _parse_bytes(data)
        except (ValueError, LookupError):
            # Expat knows no multi-byte encodings such as gbk and shift_jis; Python does.
            if declared is None:
                raise
            root = _parse_bytes(data.decode(declared).encode(), "utf-8")
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
    stack, texts, count = [Element("", 0)], [list[str]()], 0

    def start(tag: str, _: dict[str, str]) -> None:
        nonlocal count
        count += 1
        if len(stack) > MAX_DEPTH:
            raise too_deep(parser)
        if count > MAX_XML_ELEMENTS:
            raise LabelFileError(f"more than {MAX_XML_ELEMENTS} elements", parser.CurrentLineNumber)
        element = Element(tag, parser.CurrentLineNumber)
        stack[-1].children.append(element)
        stack.append(element)
        texts.append([])

    def end(_: str) -> None:
        stack.pop().text = "".join(texts.pop())

    def text(data: str) -> None:
        texts[-1].append(data)

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = text
    parse_xml(parser, io.BytesIO(data))
    return stack[0]
