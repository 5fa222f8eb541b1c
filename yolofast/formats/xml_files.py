"""XML of any origin with expat: a DOCTYPE is refused as soon as it is seen, so entities can never expand."""

from __future__ import annotations

from collections.abc import Callable
from xml.parsers import expat

from yolofast.formats.dataset import LabelFileError

Start = Callable[[str, dict[str, str]], None]


def guarded_parser(
    start: Start, end: Callable[[str], None], text: Callable[[str], None], *, max_depth: int,
    encoding: str | None = None,
) -> expat.XMLParserType:  # fmt: skip
    """An expat parser with these handlers that raises `LabelFileError` for a DOCTYPE, and for elements nested
    more than `max_depth` deep. `encoding` overrides the one that the file declares."""
    parser = expat.ParserCreate(encoding)
    depth = 0

    def refuse(*_: object) -> None:
        raise LabelFileError("has a DOCTYPE, which is refused; remove it", parser.CurrentLineNumber)

    def started(tag: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > max_depth:
            raise LabelFileError("elements nested too deeply", parser.CurrentLineNumber)
        start(tag, attributes)

    def ended(tag: str) -> None:
        nonlocal depth
        depth -= 1
        end(tag)

    parser.StartDoctypeDeclHandler = refuse
    parser.StartElementHandler = started
    parser.EndElementHandler = ended
    parser.CharacterDataHandler = text
    return parser
