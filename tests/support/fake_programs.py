"""Programs on a PATH of a test's own, such as a compiler that finds no header."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path


def write_program(path: Path, script: str) -> Path:
    """An executable shell script."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def link_programs(folder: Path, names: Iterable[str]) -> None:
    """Links to the real programs, for a PATH of only these."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        found = shutil.which(name)
        assert found is not None, name
        (folder / name).symlink_to(found)


def write_compiler_without(path: Path, header: str) -> Path:
    """A g++ that cannot read `header` in a source that comes from stdin."""
    gxx = shutil.which("g++")
    return write_program(
        path,
        f"""source=$(cat)
case $source in
*{header}*) echo "<stdin>:2:10: fatal error: {header}: No such file or directory" >&2; exit 1 ;;
esac
printf '%s\\n' "$source" | {gxx} "$@\"""",
    )
