"""Downloads a dataset: streams an archive to disk, verifies, unpacks and removes it."""

from __future__ import annotations

from pathlib import Path

from yolofast.errors import ConfigError, DataError
from yolofast.ingest.expected_file import ExpectedFile
from yolofast.ingest.extract import extract_archive
from yolofast.ingest.partial import partial_file
from yolofast.ingest.target_folder import check_target, write_error
from yolofast.ingest.transfer import Download, transfer
from yolofast.ingest.urls import check_http_url, redacted_url

RETRIES = 5


def download_dataset_from_url(
    url: str,
    target_dir: str | Path,
    *,
    sha256: str | None = None,
    size: int | None = None,
    retries: int = RETRIES,
) -> Path:
    """Download an archive and unpack it into `target_dir`, which must be missing or empty.

    The archive is streamed to a hidden folder next to the target. When the connection breaks, the download is
    resumed up to `retries` times; when these fail too, or the run is killed, the next call with the same URL
    and target resumes it. In all other cases the hidden folder is removed, and a failure leaves nothing
    behind. `sha256` (hex digits) and `size` (bytes) of the archive are verified before it is unpacked. Only
    http and https are supported, for redirects too; user, password and query of the URL, which may contain
    keys, never appear in messages, logs or files. Returns the folder.

    Raises `ConfigError` for an invalid `sha256`, `size` or `retries`, and `DataError` for another kind of
    URL, an error response, a failed connection, an unexpected file, a target that is not empty, and
    everything that `extract_archive` refuses.
    """
    check_http_url(url)
    download = Download(url, redacted_url(url), ExpectedFile(sha256, size))
    return download_and_unpack(download, Path(target_dir), identity=url, retries=retries)


def download_and_unpack(download: Download, target: Path, *, identity: str, retries: int) -> Path:
    """`download_dataset_from_url` for a URL that may change: runs with the same `identity` resume it."""
    if retries < 0:
        raise ConfigError(f"retries: got {retries}, expected 0 or more.")
    check_target(target)
    failure: DataError | None = None
    try:
        with partial_file(target, identity) as part:
            transfer(download, part, retries)
            download.expected.check(download.name, part.path)
            return extract_archive(part.path, target, name=download.name)
    except OSError as error:
        failure = write_error(target, error)
    raise failure
