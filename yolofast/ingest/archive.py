"""Unpacking zip archives that come from anywhere.

An archive is checked as a whole before a byte is written, unpacked beside its target, and renamed
into place: a bad or broken one leaves nothing behind.
"""

from __future__ import annotations

import lzma
import shutil
import stat
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from tqdm import tqdm

from yolofast.errors import DataError, DatasetNotFoundError
from yolofast.work_folder import whole_folder

MAX_BYTES = 1 << 40
MAX_FILES = 10_000_000
MAX_RATIO = 100
"""Unpacked over packed size; images hardly shrink and label text shrinks about tenfold."""
RATIO_FREE_BYTES = 64 << 20
"""Archives that unpack to less than this may have any ratio."""
_BLOCK = 1 << 20
_DAMAGED = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    NotImplementedError,
    UnicodeDecodeError,  # a name that says it is UTF-8 and is not
)


def check_target(target: Path) -> None:
    """Refuse a target that is a file or a folder with something in it; raises `DataError`."""
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        raise DataError(f"{target}: exists and is no folder. Choose another place for the dataset.")
    if target.is_dir() and any(target.iterdir()):
        raise DataError(f"{target}: the folder is not empty. Use it as it is, remove it, or choose another.")


@contextmanager
def installing(target: Path) -> Iterator[Path]:
    """A path for a folder to be made, which becomes `target` when the block ends well.

    When all of it lies in one folder, that folder becomes `target`.
    """
    check_target(target)
    try:
        with whole_folder(target) as made:
            yield made
            entries = list(made.iterdir())
            if len(entries) == 1 and entries[0].is_dir():
                only = entries[0].rename(made.with_name("only"))
                made.rmdir()
                only.rename(made)
    except OSError as error:
        place = error.filename or target
        raise DataError(f"{target}: cannot be written: {error.strerror} ('{place}').") from None


def _safe_name(archive: str, entry: zipfile.ZipInfo) -> PurePosixPath:
    """The entry's path below the target; raises `DataError` for anything that could leave it."""
    raw = entry.filename.replace("\\", "/")
    name, kind = PurePosixPath(raw), stat.S_IFMT(entry.external_attr >> 16)
    problem = None
    if name.is_absolute() or raw[1:2] == ":":
        problem = "an absolute path"
    elif ".." in name.parts:
        problem = "a path with '..'"
    elif not name.parts:
        problem = "an empty name"
    elif kind == stat.S_IFLNK:
        problem = "a symbolic link"
    elif kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        problem = "a special file"
    elif entry.flag_bits & 1:
        problem = "encrypted"
    if problem is not None:
        raise DataError(f"{archive}: entry '{entry.filename}' is {problem}: refused, nothing was unpacked.")
    return name


def _checked(
    archive: str, packed: int, entries: list[zipfile.ZipInfo]
) -> dict[PurePosixPath, zipfile.ZipInfo]:
    """The files of an archive of `packed` bytes by safe name, after looking at all of them."""
    if len(entries) > MAX_FILES:
        raise DataError(f"{archive}: holds {len(entries)} entries, more than {MAX_FILES}: refused.")
    files: dict[PurePosixPath, zipfile.ZipInfo] = {}
    for entry in entries:
        name = _safe_name(archive, entry)
        if entry.is_dir() or name.parts[0] == "__MACOSX":
            continue
        if name in files:
            raise DataError(f"{archive}: holds '{name}' twice: refused, nothing was unpacked.")
        files[name] = entry
    size = sum(entry.file_size for entry in files.values())
    if size > MAX_BYTES or (size > RATIO_FREE_BYTES and size > MAX_RATIO * packed):
        raise DataError(
            f"{archive}: would unpack {packed} bytes to {size}, more than {MAX_RATIO} times as much: refused."
        )
    return files


def extract_zip(archive: Path, target: Path, *, name: str | None = None) -> Path:
    """Unpack a zip into the folder `target`, which must be missing or empty, and return it.

    Messages call the archive `name` where it is given: the address that a download came from.

    When everything in the archive lies in one folder, that folder becomes `target`. macOS's
    `__MACOSX` entries are skipped. Raises `DatasetNotFoundError` when the archive is missing, and `DataError`
    when it is no zip, is damaged, or has an entry that is absolute, leaves the target, is a link, a
    special file or encrypted, occurs twice, or is far larger unpacked than packed; `target` is then
    untouched.
    """
    if not archive.exists():
        raise DatasetNotFoundError(f"{archive}: no such archive.")
    shown = name if name is not None else str(archive)
    try:
        with zipfile.ZipFile(archive) as source, installing(target) as work:
            files = _checked(shown, max(1, archive.stat().st_size), source.infolist())
            if not files:
                raise DataError(f"{shown}: the archive holds no files.")
            for path, entry in tqdm(files.items(), "unpacking", leave=False, unit="file", disable=None):
                place = work / path
                place.parent.mkdir(parents=True, exist_ok=True)
                with source.open(entry) as packed, place.open("xb") as unpacked:
                    shutil.copyfileobj(packed, unpacked, _BLOCK)
    except _DAMAGED as error:
        raise DataError(f"{shown}: not a zip archive, or a damaged one: {error}") from None
    return target


def ingest_local(path: str | Path, target_dir: str | Path | None = None) -> Path:
    """The dataset folder for a local folder or zip archive.

    A folder is used where it is. A zip is unpacked into `target_dir`, by default a folder of the
    archive's name beside it. Raises as `extract_zip` does.
    """
    path = Path(path)
    if not path.exists():
        raise DatasetNotFoundError(
            f"{path}: no such folder or archive. Give a dataset folder or a .zip file."
        )
    if path.is_dir():
        return path
    if not zipfile.is_zipfile(path):
        raise DataError(
            f"{path}: got a file that is no zip archive, expected a dataset folder or a .zip file."
        )
    return extract_zip(path, Path(target_dir) if target_dir is not None else path.with_suffix(""))
