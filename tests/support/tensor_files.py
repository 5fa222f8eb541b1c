"""Safetensors containers of any header, also of one that is damaged or a lie."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def container(header: Any, data: bytes) -> bytes:
    """The bytes of a file: `header` is JSON values, or bytes to take as they are."""
    encoded = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(encoded).to_bytes(8, "little") + encoded + data


def header_of(path: Path) -> dict[str, Any]:
    """The header of a file."""
    data = path.read_bytes()
    header: dict[str, Any] = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    return header
