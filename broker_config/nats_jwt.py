"""JSON web tokens of NATS (version 2): who an operator, an account or a user of the broker is.

Signed with nkeys (Ed25519). Only what this project needs of them; the names in claims are NATS's own.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
from typing import Any

import msgspec
import nacl.exceptions
import nacl.signing
import nkeys

from .errors import MessageError

_HEADER = {"typ": "JWT", "alg": "ed25519-nkey"}
#: Of a token that is read, bytes: an account with thousands of revocations has some hundred kilobytes.
MAX_TOKEN = 1 << 20
#: An nkey's prefix byte, 32 bytes of key, two of checksum.
_KEY_BYTES = 35

Claims = dict[str, Any]


def new_user_seed() -> bytes:
    """The seed of a new key pair of a user (`SU…`)."""
    return bytes(nkeys.encode_seed(os.urandom(32), nkeys.PREFIX_BYTE_USER))


def account_seed(secret: bytes) -> bytes:
    """The seed of an account's key pair (`SA…`), always the same for the same 32 bytes."""
    return bytes(nkeys.encode_seed(secret, nkeys.PREFIX_BYTE_ACCOUNT))


def public_key(seed: bytes) -> str:
    """The public key that belongs to a seed."""
    return str(nkeys.from_seed(bytearray(seed)).public_key.decode())


def is_user_key(key: str) -> bool:
    """Whether it is the public key of a user, free of typing errors."""
    return key.startswith("U") and _raw(key) is not None


def sign(seed: bytes, data: bytes) -> bytes:
    """The signature, 64 bytes."""
    return bytes(nkeys.from_seed(bytearray(seed)).sign(data))


def verifies(key: str, data: bytes, signature: bytes) -> bool:
    """Whether it is the signature of the holder of this public key; False where that is none."""
    raw = _raw(key)
    if raw is None or len(signature) != 64:
        return False
    try:
        nacl.signing.VerifyKey(raw).verify(data, signature)
    except nacl.exceptions.BadSignatureError:
        return False
    return True


def encode(claims: Claims, seed: bytes, *, issued_at: float) -> str:
    """The token of these claims, issued by the key of `seed`; `issued_at` in seconds since 1970."""
    full: Claims = {"iat": int(issued_at), "iss": public_key(seed), **claims}
    digest = hashlib.new("sha512_256", msgspec.json.encode(full)).digest()
    full["jti"] = base64.b32encode(digest).rstrip(b"=").decode()
    signed = f"{_b64(msgspec.json.encode(_HEADER))}.{_b64(msgspec.json.encode(full))}"
    return f"{signed}.{_b64(sign(seed, signed.encode()))}"


def decode(token: str) -> Claims:
    """The claims, once their signature is seen to be of the key that they name as their issuer (`iss`).

    Whether that key is to be believed is the caller's to say. Raises `MessageError`.
    """
    if len(token) > MAX_TOKEN:
        raise MessageError(f"a token of {len(token)} characters is over the limit of {MAX_TOKEN}")
    signed, _, signature = token.rpartition(".")
    head, _, body = signed.partition(".")
    try:
        header = msgspec.json.decode(_unb64(head), type=dict[str, Any])
        claims = msgspec.json.decode(_unb64(body), type=dict[str, Any])
        proof = _unb64(signature)
    except (ValueError, msgspec.MsgspecError):
        raise MessageError("not a token of NATS: it cannot be read") from None
    if header.get("alg") != _HEADER["alg"]:
        raise MessageError(f"not a token of NATS: it is signed by {str(header.get('alg'))[:40]!r}")
    if not verifies(str(claims.get("iss", "")), signed.encode(), proof):
        raise MessageError("not a valid token of NATS: its signature does not fit")
    return claims


def operator(name: str, key: str, *, system_account: str) -> Claims:
    """Of the operator with this public key."""
    return {
        "name": name,
        "sub": key,
        "nats": {"type": "operator", "version": 2, "system_account": system_account},
    }


def account(name: str, key: str, **more: Any) -> Claims:
    """Of an account; `more` are `imports`, `exports`, `limits`, `signing_keys`, `revocations`."""
    return {
        "name": name,
        "sub": key,
        "nats": {"type": "account", "version": 2, "default_permissions": {"pub": {}, "sub": {}}, **more},
    }


def user(
    name: str,
    key: str,
    *,
    account: str | None = None,
    tags: list[str] | None = None,
    permissions: Claims | None = None,
    expires_at: float | None = None,
) -> Claims:
    """Of a user. `account` is named where a signing key issues it. Without `permissions` they are those of
    the signing key's template, which `tags` (`word:value`) fill in."""
    nats: Claims = {"type": "user", "version": 2}
    if account is not None:
        nats["issuer_account"] = account
    if tags:
        nats["tags"] = tags
    if permissions is not None:
        nats |= permissions
    claims: Claims = {"name": name, "sub": key, "nats": nats}
    if expires_at is not None:
        claims["exp"] = int(expires_at)
    return claims


def credentials(token: str, seed: bytes) -> str:
    """The text of a credentials file, as every client of NATS reads it."""
    return (
        f"-----BEGIN NATS USER JWT-----\n{token}\n------END NATS USER JWT------\n\n"
        f"-----BEGIN USER NKEY SEED-----\n{seed.decode()}\n------END USER NKEY SEED------\n"
    )


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _unb64(text: str) -> bytes:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("not base64") from None


def _raw(key: str) -> bytes | None:
    """The key itself; None for what is none."""
    try:
        data = base64.b32decode(key.encode("ascii") + b"=" * (-len(key) % 8))
    except (binascii.Error, ValueError):
        return None
    if len(data) != _KEY_BYTES or nkeys.crc16(bytearray(data[:-2])).to_bytes(2, "little") != data[-2:]:
        return None
    return data[1:-2]
