"""An answer that only the one who asked can read: `nacl.public.SealedBox` to a one-time X25519 key."""

from __future__ import annotations

from nacl.exceptions import CryptoError
from nacl.public import PrivateKey, PublicKey, SealedBox

from .errors import MessageError

KEY_BYTES = 32


class Envelope:
    """For one question: `address` goes out with it, `open` reads the answer. The private key is kept nowhere
    else."""

    def __init__(self) -> None:
        self._key = PrivateKey.generate()

    def __repr__(self) -> str:
        return "Envelope(…)"

    @property
    def address(self) -> bytes:
        return bytes(self._key.public_key)

    def open(self, data: bytes) -> bytes:
        """Raises `MessageError`."""
        try:
            return bytes(SealedBox(self._key).decrypt(data))
        except (CryptoError, ValueError):
            raise MessageError("the answer was sealed for somebody else, or was changed on its way") from None


def enclose(data: bytes, address: bytes) -> bytes:
    """`data`, for the holder of the envelope with this address. Raises `MessageError` for what is none."""
    if len(address) != KEY_BYTES:
        raise MessageError(f"a key of {len(address)} bytes; an X25519 key has {KEY_BYTES}")
    try:
        return bytes(SealedBox(PublicKey(address)).encrypt(data))
    except (CryptoError, ValueError, RuntimeError):
        raise MessageError("what stands for a key is none") from None
