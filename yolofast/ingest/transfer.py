"""One file over HTTP, in as many tries as it takes.

A try goes on where the last one broke off (RFC 9110: Range with If-Range), also one of an earlier run,
as long as the server still has the same version of the file; else it starts anew.
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
from yolofast.ingest.partial import PartialFile, Version
from yolofast.ingest.safe_paths import MAX_BYTES
from yolofast.ingest.urls import redacted_logs

CONNECT_TIMEOUT_S = 15
READ_TIMEOUT_S = 60
FIRST_WAIT_S = 1.0
MAX_WAIT_S = 30.0
MAX_RETRY_AFTER_S = 120.0
_BLOCK = 1 << 16
_CONTENT_RANGE = re.compile(r"bytes (\d{1,19})-\d{1,19}/(\d{1,19}|\*)", re.ASCII)
log = logging.getLogger(__name__)


class _BrokeOff(Exception):  # noqa: N818 - becomes a DataError when the tries are used up
    """A try that failed and may work later; `wait_s` is what the server asked to wait."""

    def __init__(self, reason: str, wait_s: float | None = None) -> None:
        super().__init__(reason)
        self.wait_s = wait_s


class _AnotherVersion(Exception):  # noqa: N818 - never leaves this module
    """What the server has now does not go on from the bytes so far."""


@dataclass(frozen=True, slots=True)
class Download:
    """What to get: the address, what messages call it, and what is known of the file."""

    url: str
    name: str
    expected: ExpectedFile = field(default_factory=ExpectedFile)


def transfer(download: Download, part: PartialFile, retries: int) -> None:
    """Complete `part` with what the address answers, trying again up to `retries` times.

    Tried again: connections that fail or break off, timeouts, answers 5xx and 429 (after its
    Retry-After, two minutes at most). Raises `DataError` for other answers, a file of another size
    than expected or over the cap, and when the tries are used up.
    """
    for failures in range(retries + 1):
        if part.whole:
            return
        problem = _try(download, part)
        if problem is None:
            return
        if failures < retries:
            wait_s = problem.wait_s
            if wait_s is None:
                wait_s = min(MAX_WAIT_S, FIRST_WAIT_S * 2.0**failures)
            log.warning(
                "%s: %s. Trying again in %.0f s (%d of %d).",
                download.name,
                problem,
                wait_s,
                failures + 1,
                retries,
            )
            sleep(wait_s)
    raise DataError(_given_up(download.name, str(problem), part, retries + 1))


def _given_up(name: str, reason: str, part: PartialFile, tries: int) -> str:
    count = f" {tries} times" if tries > 1 else ""
    if not part.resumable:
        return f"{name}: cannot be downloaded: {reason}{count}. Try again later."
    total = f" of {part.version.total}" if part.version.total is not None else ""
    return (
        f"{name}: cannot be downloaded: {reason}{count}. {part.size}{total} bytes are kept in "
        f"'{part.path.parent}': the same command goes on from there; remove that folder to give up."
    )


def _try(download: Download, part: PartialFile) -> _BrokeOff | None:
    """One try. What it returns and raises holds no exception of the libraries: their texts hold keys."""
    problem: str | None = None
    with redacted_logs():
        try:
            with _get(download.url, part) as answer:
                _receive(download, answer, part)
        except _AnotherVersion:
            part.begin(Version())
            return _try(download, part)  # not resumable now, so it cannot come here again
        except _BrokeOff as error:
            return _BrokeOff(str(error), error.wait_s)
        except (requests.RequestException, urllib3.exceptions.HTTPError, UnicodeError) as error:
            problem = _fatal_reason(error)
            reason = _reason(error)
        else:
            return None
    if problem is not None:
        raise DataError(f"{download.name}: cannot be downloaded: {problem}. Check the address.")
    return _BrokeOff(reason)


def _fatal_reason(error: Exception) -> str | None:
    """Why trying again cannot help, if so."""
    if isinstance(error, requests.TooManyRedirects):
        return "the server sends us on without end"
    if isinstance(error, requests.exceptions.InvalidSchema):
        return "the server sent us on to an address that does not begin with http:// or https://"
    if isinstance(error, requests.exceptions.InvalidURL | requests.exceptions.MissingSchema | UnicodeError):
        return "it is no address, or the server sent us on to something that is none"
    if isinstance(error, requests.exceptions.SSLError):
        return "the server's certificate cannot be trusted"
    return None


def _reason(error: Exception) -> str:
    if isinstance(error, requests.Timeout | urllib3.exceptions.TimeoutError):
        return "the server did not answer in time"
    return "the connection failed or broke off"


def _get(url: str, part: PartialFile) -> requests.Response:
    """The server's answer, after redirects; raises `requests.RequestException`."""
    headers = {"Accept-Encoding": "identity"}  # sizes, ranges and hashes are of the file as it is stored
    if part.resumable:
        headers |= {"Range": f"bytes={part.size}-", "If-Range": str(part.version.validator)}
    elif part.size:
        part.begin(Version())
    try:
        return requests.get(url, headers=headers, stream=True, timeout=(CONNECT_TIMEOUT_S, READ_TIMEOUT_S))
    except requests.RequestException:
        raise
    except ValueError:  # what urllib says to a malformed address
        raise requests.exceptions.InvalidURL from None


def _receive(download: Download, answer: requests.Response, part: PartialFile) -> None:
    """Write an answer's body to `part`; raises `_BrokeOff` and `DataError`."""
    _check_status(download.name, answer, part)
    if answer.status_code == requests.codes.ok:
        part.begin(Version(_validator(answer), _length(answer)))
    total = part.version.total
    if total is None and answer.status_code == requests.codes.partial_content:
        total = _content_range(answer)[1]
    if total is not None:
        _check_stated(download, total, part)
    with tqdm(
        desc="downloading", total=total, initial=part.size, unit="B", unit_scale=True, disable=None
    ) as progress:
        for block in answer.raw.stream(_BLOCK, decode_content=False):
            if total is not None and part.size + len(block) > total:
                part.begin(Version())
                raise _BrokeOff(f"the server sent more than the {total} bytes that it had stated")
            _check_cap(download.name, part.size + len(block), part)
            part.write(block)
            progress.update(len(block))
    if total is not None and part.size < total:
        raise _BrokeOff(f"the connection broke off at {part.size} of {total} bytes")
    part.end()


def _check_status(name: str, answer: requests.Response, part: PartialFile) -> None:
    code = answer.status_code
    said = f"the server answered {code} {answer.reason}"
    if code == requests.codes.ok:
        return
    if code == requests.codes.partial_content and part.resumable:
        if not _goes_on(answer, part):
            raise _AnotherVersion
        return
    if code == requests.codes.requested_range_not_satisfiable and part.resumable:
        raise _AnotherVersion
    if code == requests.codes.too_many_requests or code >= 500:
        raise _BrokeOff(said, _retry_after(answer))
    raise DataError(f"{name}: {said}, expected a zip or tar archive. Check the address.")


def _goes_on(answer: requests.Response, part: PartialFile) -> bool:
    """Whether a partial answer begins where `part` ends, and is of the same version of the file."""
    start, whole = _content_range(answer)
    total = part.version.total
    if start != part.size or (total is not None and whole is not None and whole != total):
        return False
    etag, ours = answer.headers.get("ETag"), str(part.version.validator)
    return etag is None or not ours.startswith('"') or etag == ours


def _content_range(answer: requests.Response) -> tuple[int | None, int | None]:
    """Where a partial answer begins and the size of the whole file, as far as it says so."""
    found = _CONTENT_RANGE.fullmatch(answer.headers.get("Content-Range", ""))
    if found is None:
        return None, None
    return int(found[1]), None if found[2] == "*" else int(found[2])


def _validator(answer: requests.Response) -> str | None:
    """What tells this version of the file from others: a strong ETag, else its date."""
    etag = answer.headers.get("ETag", "")
    if re.fullmatch(r'"[\x21\x23-\x7e]*"', etag):
        return etag
    date = answer.headers.get("Last-Modified", "")
    return date if date and email.utils.parsedate_tz(date) is not None else None


def _length(answer: requests.Response) -> int | None:
    length = answer.headers.get("Content-Length", "")
    return int(length) if length.isascii() and length.isdecimal() and len(length) < 20 else None


def _check_stated(download: Download, total: int, part: PartialFile) -> None:
    """Refuse a file by the size that the server states; what there is of it is dropped."""
    _check_cap(download.name, total, part)
    try:
        download.expected.check_size(download.name, total)
    except DataError:
        part.begin(Version())
        raise


def _check_cap(name: str, size: int, part: PartialFile) -> None:
    if size > MAX_BYTES:
        part.begin(Version())
        raise DataError(f"{name}: is of {size} bytes or more; at most {MAX_BYTES} are taken.")


def _retry_after(answer: requests.Response) -> float | None:
    """The seconds that the server asks to wait: a number or a date (RFC 9110, 10.2.3), capped."""
    said = answer.headers.get("Retry-After", "")
    if said.isascii() and said.isdecimal():
        return min(MAX_RETRY_AFTER_S, float(said))
    try:
        moment = email.utils.parsedate_to_datetime(said).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None
    return min(MAX_RETRY_AFTER_S, max(0.0, moment - time()))
