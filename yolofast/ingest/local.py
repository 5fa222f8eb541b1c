"""A dataset that is on this machine already: a folder, or an archive to unpack."""

from __future__ import annotations

from pathlib import Path

from yolofast.errors import ConfigError, DatasetNotFoundError
from yolofast.ingest.expected_file import ExpectedFile
from yolofast.ingest.extract import ARCHIVES, extract_archive, name_of_archive


def ingest_local(
    path: str | Path,
    target_dir: str | Path | None = None,
    *,
    sha256: str | None = None,
    size: int | None = None,
) -> Path:
    """The dataset folder for a local folder or archive.

    A folder is used where it is. An archive (zip; tar, also compressed by gzip, bzip2 or xz) is unpacked
    into `target_dir`, by default a folder of the archive's name beside it; `sha256` and `size` (bytes)
    are checked before. The archive is never changed. Raises as `extract_archive` does, `ConfigError` for
    a `sha256` or `size` that is none or is given for a folder, and `DataError` when they differ.
    """
    path, expected = Path(path), ExpectedFile(sha256, size)
    if not path.exists():
        raise DatasetNotFoundError(
            f"{path}: no such folder or archive. Give a dataset folder, or {ARCHIVES}."
        )
    if path.is_dir():
        if expected != ExpectedFile():
            raise ConfigError(f"{path}: is a folder; sha256 and size can be checked of an archive only.")
        return path
    expected.check(str(path), path)
    target = Path(target_dir) if target_dir is not None else path.with_name(name_of_archive(path.name))
    return extract_archive(path, target)
