"""Results that could not be published yet, on disk: one file each, bounded in number and bytes.

    <data_dir>/spool/<instance>/<number>.json     one result
    <data_dir>/spool/<instance>.lock              held by the process that owns the folder

A process that starts takes over the folders of processes that are gone.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from broker_config.errors import SettingsError
from broker_config.file_lock import try_lock

from .result import Result

log = logging.getLogger(__name__)

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Result)


class Spool:
    """`open` before use. Not for several threads."""

    def __init__(self, data_dir: Path, instance: str, *, max_records: int, max_bytes: int) -> None:
        self._root = data_dir / "spool"
        self._own = self._root / instance
        self._max_records = max_records
        self._max_bytes = max_bytes
        self._files: dict[Path, int] = {}
        self._locks: dict[Path, int] = {}
        self._number = 0
        self._bytes = 0

    def open(self) -> int:
        """Take over what is there; how many results that is. Raises `SettingsError`."""
        try:
            # What sessions have seen is nobody else's business, whatever the umask says.
            for folder in (self._root.parent, self._root, self._own):
                folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._lock(self._own)
            for folder in sorted(p for p in self._root.iterdir() if p.is_dir()):
                if folder == self._own or self._lock(folder):
                    for path in sorted(folder.glob("*.json")):
                        self._add(path, path.stat().st_size)
        except OSError as e:
            raise SettingsError(
                f"the data directory {self._root.parent} cannot be used: {e.strerror}; check its owner and "
                "free space, or give another"
            ) from None
        return len(self._files)

    def __len__(self) -> int:
        return len(self._files)

    @property
    def full(self) -> bool:
        return len(self._files) >= self._max_records or self._bytes >= self._max_bytes

    def put(self, result: Result) -> Path:
        """Store it, survives the process. Raises `OSError`."""
        self._number += 1
        path = self._own / f"{self._number:09d}.json"
        data = _encoder.encode(result)
        partly = path.with_suffix(".part")
        partly.write_bytes(data)
        partly.replace(path)
        self._add(path, len(data))
        return path

    def read(self) -> Iterator[tuple[Path, Result]]:
        """All that is there, oldest first. What cannot be read is put aside."""
        for path in list(self._files):
            try:
                result = _decoder.decode(path.read_bytes())
            except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as e:
                log.error("the stored result %s cannot be read and is put aside: %s", path, e)
                with contextlib.suppress(OSError):
                    path.replace(path.with_suffix(".bad"))
                self._forget(path)
                continue
            yield path, result

    def remove(self, path: Path) -> None:
        path.unlink(missing_ok=True)
        self._forget(path)

    def close(self) -> None:
        """Let go; empty folders go too."""
        for folder, fd in self._locks.items():
            with contextlib.suppress(OSError):
                folder.rmdir()
                folder.with_suffix(".lock").unlink()
            os.close(fd)
        self._locks.clear()

    def _lock(self, folder: Path) -> bool:
        fd = os.open(folder.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)
        if not try_lock(fd):
            os.close(fd)
            return False
        self._locks[folder] = fd
        return True

    def _add(self, path: Path, size: int) -> None:
        self._files[path] = size
        self._bytes += size

    def _forget(self, path: Path) -> None:
        self._bytes -= self._files.pop(path, 0)
