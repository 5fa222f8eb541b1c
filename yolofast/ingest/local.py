"""A dataset that is already on this machine: a folder, or an archive to unpack."""

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

    A folder is used in place. An archive (zip; tar, optionally compressed with gzip, bzip2 or xz) is unpacked
    into `target_dir` (default: a folder with the name of the archive, next to it), after `sha256` and `size`
    (bytes) are verified. The archive is never changed. Raises as `extract_archive` does, `ConfigError` for an
    invalid `sha256` or `size` or one given for a folder, and `DataError` when they differ.
    """
    path, expected = Path(path), ExpectedFile(sha256, size)
    if not path.exists():
        raise DatasetNotFoundError(
            f"{path}: no such folder or archive. Give a dataset folder, or {ARCHIVES}."
        )
    if path.is_dir():
        if expected != ExpectedFile():
            raise ConfigError(f"{path}: is a folder; only archives can be verified. Omit sha256 and size.")
        return path
    expected.check(str(path), path)
    target = Path(target_dir) if target_dir is not None else path.with_name(name_of_archive(path.name))
    return extract_archive(path, target)
