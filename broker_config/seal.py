"""Seals what is stored: `nacl.secret.SecretBox` under the key `seal` of the keyring."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from nacl.exceptions import CryptoError
from nacl.secret import SecretBox

from .errors import SealBroken

#: What is sealed begins so; JSON never does.
_MARK = b"\x00tb1"


class Seal:
    """What is sealed for one `place` (a key of a bucket) opens for that place alone: nobody can give a stored
    secret another name. `older` are keys that were in use before: what they sealed can still be opened."""

    def __init__(self, key: bytes, older: Sequence[bytes] = ()) -> None:
        self._box = SecretBox(key)
        self._boxes = [self._box, *map(SecretBox, older)]
        self._hash_key = hashlib.blake2b(key, person=b"tb mark").digest()

    def __repr__(self) -> str:
        return "Seal(…)"

    def seal(self, place: str, data: bytes) -> bytes:
        return _MARK + bytes(self._box.encrypt(place.encode() + b"\0" + data))

    def open(self, place: str, data: bytes) -> bytes:
        """Raises `SealBroken`."""
        if not self.is_sealed(data):
            raise SealBroken(f"what is stored as {place} is not sealed")
        for box in self._boxes:
            try:
                plain = box.decrypt(data[len(_MARK) :])
            except (CryptoError, ValueError):
                continue
            name, _, rest = plain.partition(b"\0")
            if name != place.encode():
                raise SealBroken(f"what is stored as {place} was sealed for another place; set it anew")
            return rest
        raise SealBroken(
            f"what is stored as {place} cannot be opened: it was sealed with another key, or was changed; "
            "give the orchestrator the keys that sealed it, or set it anew"
        )

    def is_current(self, data: bytes) -> bool:
        """Whether it is sealed with the key in use."""
        try:
            self._box.decrypt(data[len(_MARK) :])
        except (CryptoError, ValueError):
            return False
        return self.is_sealed(data)

    @staticmethod
    def is_sealed(data: bytes) -> bool:
        return data.startswith(_MARK)

    def mark(self, data: bytes) -> str:
        """A short name of the data that says nothing of it to those without the key."""
        return hashlib.blake2b(data, digest_size=16, key=self._hash_key).hexdigest()
