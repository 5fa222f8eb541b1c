"""A dataset from a URL: a zip archive, streamed to disk, unpacked, and the archive gone."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit, urlunsplit

import requests
from tqdm import tqdm

from yolofast.errors import DataError
from yolofast.ingest.archive import check_target, extract_zip
from yolofast.work_folder import work_folder

CONNECT_TIMEOUT_S = 15
READ_TIMEOUT_S = 60
_BLOCK = 1 << 20


def _shown(url: str) -> str:
    """The URL without user, password, query and fragment, which may hold keys."""
    try:
        parts = urlsplit(url)
    except ValueError:  # such as http://[half an IPv6 address
        return url.partition("?")[0].partition("#")[0].rpartition("@")[2]
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, "", ""))


def _reason(error: requests.RequestException) -> str:
    if isinstance(error, requests.Timeout):
        return "the server did not answer in time"
    if isinstance(error, requests.TooManyRedirects):
        return "too many redirects"
    if isinstance(error, requests.ConnectionError | requests.exceptions.ChunkedEncodingError):
        return "the connection failed or broke off"
    if isinstance(error, requests.exceptions.InvalidURL):
        return "it is no address, or the server sent us on to something that is none"
    return type(error).__name__


def _get(url: str) -> requests.Response:
    """The server's answer, after redirects; raises `requests.RequestException`."""
    try:
        return requests.get(url, stream=True, timeout=(CONNECT_TIMEOUT_S, READ_TIMEOUT_S))
    except requests.RequestException:
        raise
    except ValueError:  # what urllib says to a malformed address; its text may hold keys
        raise requests.exceptions.InvalidURL from None


def _check_web_address(url: str) -> None:
    with suppress(ValueError):
        parts = urlsplit(url)
        if parts.scheme in ("http", "https") and parts.netloc:
            return
    raise DataError(f"got '{_shown(url)}', expected an address that begins with http:// or https://.")


def name_from_url(url: str) -> str:
    """A folder name for what `url` leads to. Raises `DataError` when it is no web address."""
    _check_web_address(url)
    return PurePosixPath(urlsplit(url).path).stem or "dataset"


def _stream(url: str, file: Path) -> None:
    """Write what `url` answers to `file`; raises `DataError`."""
    shown = _shown(url)
    try:
        with _get(url) as answer:
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

    The archive is streamed to a work folder beside the target, which is removed in any case. Returns
    the folder. When something goes wrong nothing is left behind. Only http and https; keys in the URL's
    query never appear in messages.

    Raises `DataError` for another kind of address, a server's refusal, a broken connection, a target
    that is not empty, and everything that `extract_zip` refuses.
    """
    _check_web_address(url)
    target = Path(target_dir)
    check_target(target)
    try:
        with work_folder(target, "download") as work:
            archive = work / "download.zip"
            _stream(url, archive)
            return extract_zip(archive, target, name=_shown(url))
    except OSError as error:
        place = error.filename or target
        raise DataError(f"{target}: cannot be written: {error.strerror} ('{place}').") from None
