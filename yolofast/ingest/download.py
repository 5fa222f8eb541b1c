"""Downloads a dataset: streams an archive to disk, verifies, unpacks and removes it."""

from __future__ import annotations

from pathlib import Path

from yolofast.errors import ConfigError, DataError
from yolofast.ingest.expected_file import ExpectedFile
from yolofast.ingest.extract import extract_archive
from yolofast.ingest.partial import PartialFile, Version, discard_partial_files, partial_file
from yolofast.ingest.reach import Reach
from yolofast.ingest.redaction import Secrets, hidden
from yolofast.ingest.target_folder import begin_target, write_error
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
    unsafe_redirects: bool = False,
) -> Path:
    """Download an archive and unpack it into `target_dir`, which must be missing or empty.

    The archive is streamed to a hidden folder next to the target. When the connection breaks, the download is
    resumed up to `retries` times; when these fail too, or the run is killed, the next call with the same URL
    and target resumes it: if the server proves with a strong ETag that it still has the same version, or
    `sha256` is given; otherwise it begins anew. In all other cases the hidden folder is removed, and a
    failure leaves nothing behind. `sha256` (hex digits) and `size` (bytes) of the archive are verified before
    it is unpacked. Free space is checked before the download and before unpacking.

    Only http and https are supported. Redirects from https to http, and to private, loopback and link-local
    addresses, are refused, unless `unsafe_redirects`; the host of `url` itself may have such an address, and
    may then redirect to others of its intranet (10.x, 172.16.x, 192.168.x) or to other names of this machine.
    User, password and query of the URL, which may contain keys, never appear in messages, logs, output or
    files. Returns the folder.

    Raises `ConfigError` for an invalid `sha256`, `size` or `retries`, and `DataError` for another kind of
    URL, an error response, a failed or too slow connection, a refused redirect, an unexpected file, a target
    that is not empty, a full disk, and everything that `extract_archive` refuses.
    """
    check_http_url(url)
    secrets = Secrets()
    secrets.learn_url(url)
    reach = Reach(is_given=True, anywhere=unsafe_redirects)
    download = Download(url, redacted_url(url), reach, secrets, ExpectedFile(sha256, size))
    return download_and_unpack(download, Path(target_dir), identity=url, retries=retries)


def download_and_unpack(download: Download, target: Path, *, identity: str, retries: int) -> Path:
    """`download_dataset_from_url` for a URL that may change: runs with the same `identity` resume it."""
    if retries < 0:
        raise ConfigError(f"retries: got {retries}, expected 0 or more.")
    try:
        begin_target(target)
    except DataError:
        discard_partial_files(target)
        raise
    failure: DataError | None = None
    is_verified = download.expected.sha256 is not None
    try:
        with hidden(download.secrets), partial_file(target, identity, is_verified=is_verified) as part:
            _transfer_verified(download, part, retries)
            return extract_archive(part.path, target, name=download.name)
    except OSError as error:
        failure = write_error(target, error)
    raise failure


def _transfer_verified(download: Download, part: PartialFile, retries: int) -> None:
    """Download the file and verify it: anew where it was joined from parts of perhaps different versions."""
    transfer(download, part, retries)
    try:
        download.expected.check(download.name, part.path)
    except DataError:
        if not part.joined_weakly:
            raise
        part.begin(Version())
        transfer(download, part, retries)
        download.expected.check(download.name, part.path)
