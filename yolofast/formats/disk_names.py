"""Finds paths that exist under a name with the same key: other case, other Unicode form, percent-encoded."""

from __future__ import annotations

import os

from yolofast.formats.name_keys import KEYS, by_key, same_name


class DiskNames:
    """Looks up paths on disk, folder by folder; each folder is listed once, and only if needed."""

    def __init__(self) -> None:
        self._listings: dict[str, list[dict[str, list[str]]]] = {}
        self._known: dict[str, str | None] = {}

    def find(self, path: str) -> str | None:
        """`path` if it exists, else the only path whose parts have the same keys; None without one."""
        missing: list[str] = []
        name = path
        while name and path not in self._known and not os.path.exists(path):  # noqa: PTH110
            missing.append(path)
            path, name = os.path.split(path)
        found = self._known.get(path, path if name else None)
        for path in reversed(missing):
            found = None if found is None else self._entry(found, os.path.basename(path))  # noqa: PTH119
            self._known[path] = found
        return found

    def _entry(self, folder: str, name: str) -> str | None:
        if os.path.exists(exact := os.path.join(folder, name)):  # noqa: PTH110, PTH118
            return exact
        listing = self._listings.get(folder)
        if listing is None:
            try:
                names = os.listdir(folder)  # noqa: PTH208
            except OSError:
                names = []
            listing = self._listings[folder] = [by_key(names, key) for key in KEYS]
        for key, names_by_key in zip(KEYS, listing, strict=True):
            found = names_by_key.get(key(name), ())
            if len(found) == 1 and same_name(name, found[0]):
                return os.path.join(folder, found[0])  # noqa: PTH118
        return None
