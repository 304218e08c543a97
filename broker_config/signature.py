"""Signed messages: Ed25519 over subject and payload, in two headers.

What is signed under one subject proves nothing under another. The key is named as nkeys write it (`U…`); a
verifier believes none but those that it was given beforehand.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from .errors import MessageError, SettingsError

# nacl and nkeys are imported where they are used: all that knows messages imports this, commands too.
if TYPE_CHECKING:
    import nacl.signing

#: The signature, base64, and the public key by which it can be verified.
SIGNATURE_HEADER = "TB-Signature"
KEY_HEADER = "TB-Key"
#: Before all that is signed: a signature that the same key made for something else does not fit.
_PURPOSE = b"trafficbuster message 1\n"
#: An nkey's prefix byte, 32 bytes of key, two of checksum.
_KEY_BYTES = 35
_SIGNATURE_BYTES = 64


class SignatureRefused(MessageError):
    """A message is not signed, or not by whom it should be, or it was changed since."""


class Signer:
    """Signs with one key; `seed` is that of an nkey."""

    def __init__(self, seed: bytes) -> None:
        import nacl.signing
        import nkeys

        _, raw = nkeys.decode_seed(bytearray(seed))
        self._key = nacl.signing.SigningKey(bytes(raw))
        self.public_key = str(nkeys.from_seed(bytearray(seed)).public_key.decode())

    def __repr__(self) -> str:
        return f"Signer({self.public_key})"

    def headers(self, subject: str, payload: bytes) -> dict[str, str]:
        """What a message on `subject` needs beside its payload."""
        signature = self._key.sign(_signed(subject, payload)).signature
        return {SIGNATURE_HEADER: base64.b64encode(signature).decode(), KEY_HEADER: self.public_key}


class Verifier:
    """Believes the given public keys. Raises `SettingsError` for what is none."""

    def __init__(self, keys: Iterable[str]) -> None:
        import nacl.signing

        self._keys: dict[str, nacl.signing.VerifyKey] = {
            key: nacl.signing.VerifyKey(_raw(key)) for key in keys
        }

    @property
    def keys(self) -> frozenset[str]:
        return frozenset(self._keys)

    def verify(self, subject: str, payload: bytes, headers: Mapping[str, str]) -> None:
        """Raises `SignatureRefused`, in words."""
        import nacl.exceptions

        name, text = headers.get(KEY_HEADER, ""), headers.get(SIGNATURE_HEADER, "")
        if not text:
            raise SignatureRefused("it is not signed")
        key = self._keys.get(name)
        if key is None:
            raise SignatureRefused(f"it is signed with the key {name[:80]!r}, which is not known here")
        try:
            signature = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            signature = b""
        if len(signature) != _SIGNATURE_BYTES:
            raise SignatureRefused("its signature cannot be read")
        try:
            key.verify(_signed(subject, payload), signature)
        except nacl.exceptions.BadSignatureError:
            raise SignatureRefused("its signature does not fit: it was changed, or sent elsewhere") from None


def _signed(subject: str, payload: bytes) -> bytes:
    # No subject has a line break: where it ends is beyond doubt.
    return b"%s%s\n%s" % (_PURPOSE, subject.encode(), payload)


def _raw(key: str) -> bytes:
    """The key itself. Its checksum is looked at: a typing error must not pass for a foreign key."""
    import nkeys

    try:
        data = base64.b32decode(key.encode() + b"=" * (-len(key) % 8))
    except (binascii.Error, ValueError):
        data = b""
    if len(data) != _KEY_BYTES or nkeys.crc16(bytearray(data[:-2])).to_bytes(2, "little") != data[-2:]:
        raise SettingsError(f"{key[:80]!r} is not a public key (56 characters that begin with U)")
    return data[1:-2]
