"""docs/limits.md and yolofast/limits.py are the same table."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from support.chaos import python

from yolofast import limits

PAGE = Path(__file__).parents[2] / "docs/limits.md"


def test_the_page_has_every_limit_with_its_value() -> None:
    rows = re.findall(r"^\| `(\w+)` \| ([\d,]+) \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    stated = {name: int(value.replace(",", "")) for name, value in rows}
    mine = {name: stated.get(name) for name in vars(limits) if name.isupper()}
    assert mine == {name: value for name, value in vars(limits).items() if name.isupper()}


@pytest.mark.parametrize(
    ("text", "value"), [("12", 12), ("0", 1 << 28), ("1e9", 1 << 28), ("9" * 5000, 1 << 28)]
)
def test_limits_from_the_environment(text: str, value: int) -> None:
    code = "from yolofast.limits import MAX_PIXELS; print(MAX_PIXELS)"
    ran = python(code, env={"YOLOFAST_MAX_PIXELS": text})
    assert ran.out == f"{value}\n"
    assert ("YOLOFAST_MAX_PIXELS: got" in ran.err) == (value != 12)
