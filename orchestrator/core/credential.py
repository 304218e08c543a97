"""Secrets that people and programs show: `tb_<id>_<secret>`. Only a hash of the secret is ever kept."""

from __future__ import annotations

import hashlib
import hmac
import re
from base64 import urlsafe_b64encode
from typing import NamedTuple

#: Random bytes that a credential is made of: those of its id, then 256 bits of secret.
_ID_BYTES = 8
ENTROPY = _ID_BYTES + 32
_FORM = re.compile(r"tb_([0-9a-f]{16})_([A-Za-z0-9_-]{43})")


class Credential(NamedTuple):
    """The repr shows the id alone."""

    id: str
    secret: str

    @property
    def text(self) -> str:
        """As it is shown, once."""
        return f"tb_{self.id}_{self.secret}"

    @property
    def hash(self) -> str:
        """As it is kept. The secret is random and long: one round of SHA-256 is enough."""
        return hashlib.sha256(self.secret.encode()).hexdigest()

    def fits(self, hash: str) -> bool:
        """Whether `hash` is that of the secret, in a time that does not tell how much of it fits."""
        return hmac.compare_digest(self.hash.encode(), hash.encode())

    def __repr__(self) -> str:
        return f"Credential(id={self.id!r}, …)"

    @classmethod
    def made_of(cls, entropy: bytes) -> Credential:
        """Of `ENTROPY` random bytes."""
        if len(entropy) != ENTROPY:
            raise ValueError(f"a credential is made of {ENTROPY} bytes, not {len(entropy)}")
        secret = urlsafe_b64encode(entropy[_ID_BYTES:]).rstrip(b"=").decode()
        return cls(entropy[:_ID_BYTES].hex(), secret)

    @classmethod
    def parse(cls, text: str) -> Credential | None:
        """None for what cannot be one."""
        found = _FORM.fullmatch(text)
        return cls(found[1], found[2]) if found else None
