"""The Python of docs/*.md runs: every block of a page, in order, beside the data.yaml of a small dataset."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest

DOCS = Path(__file__).resolve().parents[2] / "docs"
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def blocks(page: str) -> list[tuple[int, str]]:
    """(line of its first statement, code) of each block."""
    return [(page.count("\n", 0, found.start(1)), found[1]) for found in BLOCK.finditer(page)]


@pytest.mark.parametrize("page", sorted(DOCS.rglob("*.md")), ids=lambda page: str(page.relative_to(DOCS)))
def test_the_python_of_a_page_runs(
    page: Path, sample_yolo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name of one block is there in the next; the lines of a traceback are those of the page."""
    shutil.copytree(sample_yolo.parent, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": f"docs_{page.stem}"}
    for line, code in blocks(page.read_text(encoding="utf-8")):
        exec(compile("\n" * line + code, str(page), "exec"), names)


def test_blocks_are_found_with_their_lines() -> None:
    page = "# A\n\n```python\na = 1\n```\n\n```sh\nls\n```\n```python\nb = a\nc = b\n```\n"
    assert blocks(page) == [(3, "a = 1\n"), (10, "b = a\nc = b\n")]
