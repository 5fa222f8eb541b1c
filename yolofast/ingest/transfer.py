"""Downloads one file over HTTP, with retries.

Each attempt resumes the previous one, of this or an earlier run (RFC 9110: Range with If-Range), as long as
the server still has the same version of the file; otherwise it starts over.
"""

from __future__ import annotations

import email.utils
import logging
import re
from dataclasses import dataclass, field
from time import sleep, time

import requests
import urllib3
from tqdm import tqdm

from yolofast.errors import DataError
from yolofast.ingest.expected_file import ExpectedFile
from yolofast.ingest.extract import not_an_archive, what_it_is
from yolofast.ingest.http import CheckedSession
from yolofast.ingest.partial import PartialFile, Version
from yolofast.ingest.reach import HOW_TO_ALLOW, Reach, UnsafeRedirectError
from yolofast.ingest.redaction import Secrets
from yolofast.ingest.slowness import SpeedWatch
from yolofast.ingest.target_folder import check_space
from yolofast.limits import DOWNLOAD_WINDOW_S, MAX_ARCHIVE_BYTES, MIN_DOWNLOAD_SPEED, MIN_FREE_BYTES
from yolofast.printable import printable

FIRST_WAIT_S = 1.0
MAX_WAIT_S = 30.0
MAX_RETRY_AFTER_S = 120.0
_BLOCK = 1 << 14
_START = 512
_MAX_REASON = 100
_CONTENT_RANGE = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19})", re.ASCII)
_log = logging.getLogger(__name__)


class _RetryableError(Exception):
    """An attempt that failed and may succeed later; `wait_s` is how long the server asked to wait."""

    def __init__(self, reason: str, wait_s: float | None = None) -> None:
        super().__init__(reason)
        self.wait_s = wait_s


class _VersionChangedError(Exception):
    """The server no longer has the version to which the bytes received so far belong."""


@dataclass(frozen=True, slots=True)
class Download:
    """What to download: the URL, its name in messages, where it may lead, what is known about the file."""

    url: str
    name: str
    reach: Reach
    secrets: Secrets
    expected: ExpectedFile = field(default_factory=ExpectedFile)


def transfer(download: Download, part: PartialFile, retries: int) -> None:
    """Download the file into `part`, with up to `retries` retries.

    Failed and interrupted connections, timeouts and responses 5xx and 429 are retried (after their
    Retry-After, at most two minutes). Raises `DataError` for other error responses, a file of an unexpected
    size or above the limit, and when no retries are left.
    """
    for failures in range(retries + 1):
        if part.complete:
            return
        problem = _attempt(download, part)
        if problem is None:
            return
        if failures < retries:
            wait_s = problem.wait_s
            if wait_s is None:
                wait_s = min(MAX_WAIT_S, FIRST_WAIT_S * 2.0**failures)
            _log.warning(
                "%s: %s. Retrying in %.0f s (%d of %d).%s",
                download.name,
                problem,
                wait_s,
                failures + 1,
                retries,
                _why_anew(part),
            )
            sleep(wait_s)
    raise DataError(_given_up(download.name, str(problem), part, retries + 1))


def _given_up(name: str, reason: str, part: PartialFile, attempts: int) -> str:
    count = f" ({attempts} attempts)" if attempts > 1 else ""
    if not part.resumable:  # nothing is kept
        return f"{name}: cannot be downloaded: {reason}{count}. Try again later.{_why_anew(part)}"
    total = f" of {part.version.total}" if part.version.total is not None else ""
    return (
        f"{name}: cannot be downloaded: {reason}{count}. {part.size}{total} bytes are kept in "
        f"'{part.path.parent}': the same command resumes there; remove that folder to discard them."
    )


def _why_anew(part: PartialFile) -> str:
    """Why the next attempt cannot use what this one received; nothing where it can, or received nothing."""
    if part.resumable or not part.size:
        return ""
    return (
        f" It begins anew, without the {part.size} bytes received: the server sends no strong ETag to resume "
        "by. Where the SHA-256 is known, --sha256 (sha256=) resumes without one."
    )


def _attempt(download: Download, part: PartialFile) -> _RetryableError | None:
    """One attempt. No exception of the libraries is returned or chained: their messages contain keys."""
    problem: str | None = None
    with SpeedWatch(MIN_DOWNLOAD_SPEED, DOWNLOAD_WINDOW_S) as watch:
        try:
            with (
                CheckedSession(download.reach, watch) as session,
                session.open_url(download.url, _headers(part), download.secrets) as response,
            ):
                _receive(download, response, part, watch)
        except _VersionChangedError:
            part.begin(Version())
            return _attempt(download, part)  # not resumable any more, so this does not recur
        except _RetryableError as error:
            return _RetryableError(str(error), error.wait_s)
        except UnsafeRedirectError as error:
            problem = f"{error}. {HOW_TO_ALLOW}"
        except (requests.RequestException, urllib3.exceptions.HTTPError, UnicodeError) as error:
            reason = str(watch) if watch.expired else reason_of(error)
            problem = None if watch.expired else fatal_reason(error)
        else:
            return None
    if problem is not None:
        raise DataError(f"{download.name}: cannot be downloaded: {problem}.")
    return _RetryableError(reason)


def fatal_reason(error: Exception) -> str | None:
    """Why a retry cannot help, and what to do; or None."""
    if isinstance(error, requests.TooManyRedirects):
        return "the server redirects endlessly. Check the address"
    if isinstance(error, requests.exceptions.InvalidSchema):
        return (
            "the server redirected to a URL that does not begin with http:// or https://. Check the address"
        )
    if isinstance(error, requests.exceptions.InvalidURL | requests.exceptions.MissingSchema | UnicodeError):
        return "the URL, or one that the server redirected to, is invalid. Check the address"
    if isinstance(error, requests.exceptions.SSLError):
        return "the server's certificate cannot be trusted. Check the address"
    return None


def reason_of(error: Exception) -> str:
    """What is wrong with a connection that may work later."""
    if isinstance(error, requests.Timeout | urllib3.exceptions.TimeoutError):
        return "the server did not answer in time"
    return "the connection failed or was interrupted"


def _headers(part: PartialFile) -> dict[str, str]:
    """What to ask for; begins anew where the part cannot be resumed."""
    headers = {"Accept-Encoding": "identity"}  # sizes, ranges and hashes refer to the file as stored
    if part.resumable:
        headers["Range"] = f"bytes={part.size}-"
        if part.version.validator is not None:
            headers["If-Range"] = part.version.validator
    elif part.size:
        part.begin(Version())
    return headers


def _receive(download: Download, response: requests.Response, part: PartialFile, watch: SpeedWatch) -> None:
    """Write the body of a response to `part`; raises `_RetryableError` and `DataError`."""
    _check_status(download, response, part)
    if response.status_code == requests.codes.ok:
        part.begin(Version(_validator(response, download.secrets), _length(response)))
        end = part.version.total
    else:
        _, end, total = _content_range(response)
        part.version = Version(part.version.validator, total)
        part.joined_weakly |= not part.version.is_strong
    total = part.version.total
    if total is not None:
        _check_stated(download, total, part)
    with tqdm(
        desc="downloading", total=total, initial=part.size, unit="B", unit_scale=True, disable=None
    ) as progress:
        while block := _block(response):
            watch.count(len(block))
            _check_block(download, block, part, end)
            part.write(block)
            progress.update(len(block))
    if watch.expired:  # which looks like the end of a body of unknown size
        raise _RetryableError(str(watch))
    if total is not None and part.size < total:
        raise _RetryableError(f"the connection was interrupted at {part.size} of {total} bytes")
    part.end()


def _block(response: requests.Response) -> bytes:
    try:
        return bytes(response.raw.read(_BLOCK, decode_content=False))
    except ValueError:  # http.client passes a negative size of a chunk on
        raise _RetryableError("the server sent invalid chunks") from None


def _check_block(download: Download, block: bytes, part: PartialFile, end: int | None) -> None:
    """Refuse a block that a file up to byte `end` cannot go on with; what was received is discarded."""
    size = part.size + len(block)
    if end is not None and size > end:
        part.begin(Version())
        raise _RetryableError(f"the server sent more than the {end} bytes that it had stated")
    _check_limit(download.name, size, part)
    other = what_it_is(block) if part.size == 0 and len(block) >= _START else None
    if other is not None:
        part.begin(Version())
        raise not_an_archive(download.name, other)
    if end is None:
        _check_free(MIN_FREE_BYTES, part)


def _check_status(download: Download, response: requests.Response, part: PartialFile) -> None:
    code = response.status_code
    said = printable(download.secrets.hide(response.reason or ""), _MAX_REASON)
    status = f"the server answered {code} {said}".rstrip()
    if code == requests.codes.partial_content and part.resumable:
        if not _continues(response, part):
            raise _VersionChangedError
    elif code == requests.codes.requested_range_not_satisfiable and part.resumable:
        raise _VersionChangedError
    elif code == requests.codes.too_many_requests or code >= 500:
        raise _RetryableError(status, _retry_after(response))
    elif code != requests.codes.ok:
        raise DataError(f"{download.name}: {status}, expected a zip or tar archive. Check the address.")
    encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in ("", "identity", "gzip", "x-gzip"):  # gzip: what some servers call a .tgz itself
        raise DataError(
            f"{download.name}: the server sent it encoded as '{printable(encoding, _MAX_REASON)}', expected "
            "the file as it is. Download it with a browser, and give the path of the file."
        )


def _continues(response: requests.Response, part: PartialFile) -> bool:
    """Whether a partial response begins where `part` ends, and has the same version of the file.

    RFC 9110, 15.3.7 demands the ETag in it.
    """
    start, _, total = _content_range(response)
    etag, ours = response.headers.get("ETag"), part.version.validator
    if start != part.size or total is None or part.version.total not in (None, total):
        return False
    return etag == ours if part.version.is_strong else True


def _content_range(response: requests.Response) -> tuple[int | None, int | None, int | None]:
    """Where a partial response begins and ends, and the size of the whole file; None where it is invalid."""
    found = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
    if found is None:
        return None, None, None
    start, last, total = map(int, found.groups())
    return (start, last + 1, total) if start <= last < total else (None, None, None)


def _validator(response: requests.Response, secrets: Secrets) -> str | None:
    """What identifies this version of the file: a strong ETag, else its date."""
    etag = response.headers.get("ETag", "")
    if re.fullmatch(r'"[\x21\x23-\x7e]{0,1000}"', etag) and secrets.hide(etag) == etag:
        return etag
    date = response.headers.get("Last-Modified", "")
    return date if len(date) < 100 and email.utils.parsedate_tz(date) is not None else None


def _length(response: requests.Response) -> int | None:
    if "Transfer-Encoding" in response.headers:  # then the length means nothing: RFC 9112, 6.3
        return None
    length = response.headers.get("Content-Length", "")
    return int(length) if length.isascii() and length.isdecimal() and len(length) < 20 else None


def _check_stated(download: Download, total: int, part: PartialFile) -> None:
    """Refuse a file because of its stated size; the bytes received so far are discarded."""
    _check_limit(download.name, total, part)
    try:
        download.expected.check_size(download.name, total)
    except DataError:
        part.begin(Version())
        raise
    _check_free(2 * total - part.size, part)  # images hardly compress, so unpacking needs as much again


def _check_free(needed: int, part: PartialFile) -> None:
    """Refuse to go on without enough space on the disk; the bytes received so far are discarded."""
    try:
        check_space(part.target, needed, "download and unpack")
    except DataError:
        part.begin(Version())
        raise


def _check_limit(name: str, size: int, part: PartialFile) -> None:
    if size > MAX_ARCHIVE_BYTES:
        part.begin(Version())
        raise DataError(f"{name}: has {size} bytes or more, expected at most {MAX_ARCHIVE_BYTES}.")


def _retry_after(response: requests.Response) -> float | None:
    """The seconds that the server asks to wait: a number or a date (RFC 9110, 10.2.3), limited."""
    value = response.headers.get("Retry-After", "")
    if value.isascii() and value.isdecimal():
        return min(MAX_RETRY_AFTER_S, float(value))
    try:
        moment = email.utils.parsedate_to_datetime(value).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None
    return min(MAX_RETRY_AFTER_S, max(0.0, moment - time()))
