"""Passwords, by argon2id: slow and large on purpose, so in threads, and only so many at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError

#: Each takes a core for some 50 ms, and 64 MiB.
AT_ONCE = 2
MIN_LENGTH, MAX_LENGTH = 12, 1024

T = TypeVar("T")


class Passwords:
    """`waiting` is how many are being checked or wait to be."""

    def __init__(self, hasher: PasswordHasher | None = None) -> None:
        self._hasher = hasher or PasswordHasher()
        self._threads = ThreadPoolExecutor(AT_ONCE, "password")
        #: Of no password: what is checked where there is nobody of that name.
        self._nobodys = ""
        self.waiting = 0

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def hash(self, password: str) -> str:
        return await self._run(lambda: self._hasher.hash(password))

    async def verify(self, hash: str, password: str) -> bool:
        """Whether it is the password of that hash. Takes as long where `hash` is empty, and is False then."""
        if not self._nobodys:
            self._nobodys = await self.hash("nobody's password")
        return await self._run(lambda: self._fits(hash or self._nobodys, password)) and bool(hash)

    def is_weak(self, hash: str) -> bool:
        """Whether it was made with other parameters than are used now."""
        return self._hasher.check_needs_rehash(hash)

    def _fits(self, hash: str, password: str) -> bool:
        try:
            return self._hasher.verify(hash, password)
        except (Argon2Error, InvalidHashError):
            return False

    async def _run(self, work: Callable[[], T]) -> T:
        self.waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            self.waiting -= 1
