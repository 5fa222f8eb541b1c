"""A dataset from a URL: a zip archive, streamed to disk, unpacked, and the temporary file gone."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import requests
from tqdm import tqdm

from yolofast.errors import DataError
from yolofast.ingest.archive import check_target, extract_zip

CONNECT_TIMEOUT_S = 15
READ_TIMEOUT_S = 60
_BLOCK = 1 << 20


def _shown(url: str) -> str:
    """The URL without user, password, query and fragment, which may hold keys."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, "", ""))


def _reason(error: requests.RequestException) -> str:
    if isinstance(error, requests.Timeout):
        return "the server did not answer in time"
    if isinstance(error, requests.TooManyRedirects):
        return "too many redirects"
    if isinstance(error, requests.ConnectionError | requests.exceptions.ChunkedEncodingError):
        return "the connection failed or broke off"
    return type(error).__name__


def _stream(url: str, file: Path) -> None:
    """Write what `url` answers to `file`; raises `DataError`."""
    shown = _shown(url)
    try:
        with requests.get(url, stream=True, timeout=(CONNECT_TIMEOUT_S, READ_TIMEOUT_S)) as answer:
            if answer.status_code != requests.codes.ok:
                raise DataError(
                    f"{shown}: the server answered {answer.status_code} {answer.reason}, "
                    "expected a zip archive. Check the address."
                )
            length = answer.headers.get("Content-Length", "")
            total = int(length) if length.isdigit() and "Content-Encoding" not in answer.headers else None
            with (
                file.open("wb") as output,
                tqdm(total=total, desc="downloading", unit="B", unit_scale=True, disable=None) as progress,
            ):
                for block in answer.iter_content(_BLOCK):
                    output.write(block)
                    progress.update(len(block))
    except requests.RequestException as error:
        raise DataError(f"{shown}: cannot be downloaded: {_reason(error)}. Try again.") from None
    got = file.stat().st_size
    if total is not None and got != total:
        raise DataError(f"{shown}: got {got} of {total} bytes: the connection broke off. Try again.")


def download_dataset_from_url(url: str, target_dir: str | Path) -> Path:
    """Download a zip archive and unpack it into `target_dir`, which must be missing or empty.

    The archive is streamed to a temporary file beside the target, which is removed in any case. Returns
    the folder. When something goes wrong nothing is left behind. Only http and https; keys in the URL's
    query never appear in messages.

    Raises `DataError` for another kind of address, a server's refusal, a broken connection, a target
    that is not empty, and everything that `extract_zip` refuses.
    """
    if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).netloc:
        raise DataError(f"got '{_shown(url)}', expected an address that begins with http:// or https://.")
    target = Path(target_dir)
    check_target(target)
    archive = target.with_name(f".{target.name}.download.zip")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _stream(url, archive)
        return extract_zip(archive, target)
    except OSError as error:
        place = error.filename or target
        raise DataError(f"{target}: cannot be written: {error.strerror} ('{place}').") from None
    finally:
        archive.unlink(missing_ok=True)
