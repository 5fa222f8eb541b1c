"""`make audit`: the versions of the lock file, looked up by pip-audit.

    python requirements/audit.py requirements/lock.txt [torch==VERSION ...]

Exit code 0: all were looked up and none is vulnerable; 1: some are; 2: some or all could not be looked up, as
without a network. pip-audit alone calls that "no known vulnerabilities".
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

PINNED = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", re.MULTILINE)


def pinned(texts: list[str]) -> list[list[str]]:
    """The requirements NAME==VERSION of all Pythons, in lists with a name once, as pip-audit wants them."""
    lists: list[dict[str, str]] = []
    for name, version in (found for text in texts for found in PINNED.findall(text)):
        for chosen in lists:
            if chosen.setdefault(name, version) == version:
                break
        else:
            lists.append({name: version})
    return [[f"{name}=={version}" for name, version in chosen.items()] for chosen in lists]


def look_up(requirements: list[str]) -> list[dict[str, Any]]:
    """pip-audit's findings for requirements; raises `OSError` with its last line where it gives none."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write("\n".join(requirements))
        file.flush()
        options = ["--no-deps", "--disable-pip", "--format", "json", "--progress-spinner", "off"]
        command = [sys.executable, "-m", "pip_audit", *options, "-r", file.name]
        done = subprocess.run(command, capture_output=True, text=True)
    try:
        found: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        lines = done.stderr.strip().splitlines() or ["no output"]
        raise OSError(f"pip-audit ended with exit code {done.returncode}: {lines[-1]}") from None
    return found


def report(found: list[dict[str, Any]]) -> int:
    """Print what was found, one line for a package; returns the exit code."""
    unknown = [entry for entry in found if "skip_reason" in entry]
    vulnerable = [entry for entry in found if entry.get("vulns")]
    for entry in vulnerable:
        for vulnerability in entry["vulns"]:
            fixed = ", ".join(vulnerability.get("fix_versions", [])) or "no version yet"
            print(f"{entry['name']} {entry['version']}: {vulnerability['id']}, fixed in {fixed}")
    looked_up = len(found) - len(unknown)
    print(f"{looked_up} of {len(found)} packages looked up, {len(vulnerable)} vulnerable")
    if unknown or not found:
        names = ", ".join(entry["name"] for entry in unknown[:3])
        print(
            f"The audit could not be run for {len(unknown)} packages ({names}, ...): the database of"
            " vulnerabilities was not reached, or does not know them. This is no result: run it where the"
            " network allows",
            file=sys.stderr,
        )
    return 1 if vulnerable else 2 if unknown or not found else 0


def main(lock: str, *more: str) -> int:
    unpinned = [requirement for requirement in more if not PINNED.match(requirement)]
    if unpinned:
        print(
            f"The audit could not be run: '{unpinned[0]}' has no version, as in torch==2.13.0",
            file=sys.stderr,
        )
        return 2
    try:
        found = [entry for part in pinned([Path(lock).read_text(), *more]) for entry in look_up(part)]
    except OSError as error:
        print(f"The audit could not be run: {error}", file=sys.stderr)
        return 2
    return report(found)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
