"""Creates valid and hostile archives for the tests of ingest."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

ENDINGS = {"zip": "", "tar": "", "tar.gz": "gz", "tgz": "gz", "tar.bz2": "bz2", "tar.xz": "xz"}
END = bytes(1024)


def zip_bytes(files: Mapping[str, bytes | str]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, contents in files.items():
            archive.writestr(name, contents)
    return buffer.getvalue()


def tar_bytes(
    files: Mapping[str, bytes | str], compression: str = "", tar_format: int = tarfile.PAX_FORMAT
) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(None, f"w:{compression}", buffer, format=tar_format) as archive:  # type: ignore[call-overload]
        for name, contents in files.items():
            data = contents.encode() if isinstance(contents, str) else contents
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            if name.endswith("/"):
                entry.type = tarfile.DIRTYPE
            archive.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


def archive_bytes(ending: str, files: Mapping[str, bytes | str]) -> bytes:
    return zip_bytes(files) if ending == "zip" else tar_bytes(files, ENDINGS[ending])


def make_archive(path: Path, files: Mapping[str, bytes | str]) -> Path:
    """Write an archive of the format that the suffix of `path` names."""
    ending = max((e for e in ENDINGS if path.name.endswith("." + e)), key=len)
    path.write_bytes(archive_bytes(ending, files))
    return path


def record(
    name: str | bytes,
    contents: bytes = b"",
    kind: bytes = b"0",
    *,
    size: int | bytes | None = None,
    link: str = "",
    prefix: bytes = b"",
) -> bytes:
    """One tar entry, byte by byte: any field can be set, and the checksum is correct."""
    raw_name = name if isinstance(name, bytes) else name.encode()
    size = len(contents) if size is None else size
    raw_size = size if isinstance(size, bytes) else b"%011o\0" % size
    header = bytearray(512)
    header[: len(raw_name)] = raw_name
    header[100:108], header[124:136], header[136:148] = b"0004755\0", raw_size, b"0" * 11 + b"\0"
    header[148:156], header[156:157] = b" " * 8, kind
    header[157 : 157 + len(link)] = link.encode()
    header[257:265] = b"ustar\x0000"
    header[345 : 345 + len(prefix)] = prefix
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header) + contents + bytes(-len(contents) % 512)


def pax(**values: str) -> bytes:
    """A pax header for the entry that follows; `__` in a keyword stands for a dot."""
    contents = b"".join(_pax_line(key.replace("__", "."), value) for key, value in values.items())
    return record("pax", contents, b"x")


def global_pax(**values: str) -> bytes:
    contents = b"".join(_pax_line(key, value) for key, value in values.items())
    return record("pax", contents, b"g")


def _pax_line(key: str, value: str) -> bytes:
    line = f" {key}={value}\n".encode()
    length = len(line)
    while length != len(line) + len(str(length)):
        length = len(line) + len(str(length))
    return str(length).encode() + line
