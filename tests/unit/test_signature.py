"""Signed messages: what holds, and what is refused."""

from __future__ import annotations

import base64
from collections.abc import Callable

import pytest

from broker_config.errors import SettingsError
from broker_config.keyring import Keyring
from broker_config.signature import KEY_HEADER, SIGNATURE_HEADER, SignatureRefused, Signer, Verifier

OURS, THEIRS = (Signer(Keyring.new().dispatch) for _ in range(2))
SUBJECT, PAYLOAD = "job.dispatch.linux-chromium", b'{"job":"j1","session":1}'
HEADERS = OURS.headers(SUBJECT, PAYLOAD)
VERIFIER = Verifier([OURS.public_key])


def test_what_was_signed_holds() -> None:
    VERIFIER.verify(SUBJECT, PAYLOAD, HEADERS)
    VERIFIER.verify("", b"", OURS.headers("", b""))


@pytest.mark.parametrize(
    ("subject", "payload", "headers", "words"),
    [
        (SUBJECT, PAYLOAD, {}, "not signed"),
        (SUBJECT, PAYLOAD, {KEY_HEADER: OURS.public_key}, "not signed"),
        (SUBJECT, PAYLOAD, {SIGNATURE_HEADER: HEADERS[SIGNATURE_HEADER]}, "not known"),
        (SUBJECT, PAYLOAD, THEIRS.headers(SUBJECT, PAYLOAD), "not known"),
        (SUBJECT, PAYLOAD, THEIRS.headers(SUBJECT, PAYLOAD) | {KEY_HEADER: OURS.public_key}, "does not fit"),
        (SUBJECT, PAYLOAD + b" ", HEADERS, "does not fit"),
        (SUBJECT + ".eu", PAYLOAD, HEADERS, "does not fit"),
        # The boundary between subject and payload cannot be moved.
        (SUBJECT + "\n" + PAYLOAD.decode(), b"", HEADERS, "does not fit"),
        (SUBJECT, PAYLOAD, HEADERS | {SIGNATURE_HEADER: "???"}, "cannot be read"),
        (SUBJECT, PAYLOAD, HEADERS | {SIGNATURE_HEADER: base64.b64encode(b"x" * 63).decode()}, "be read"),
        (SUBJECT, PAYLOAD, HEADERS | {SIGNATURE_HEADER: base64.b64encode(bytes(64)).decode()}, "not fit"),
    ],
)
def test_anything_else_is_refused(subject: str, payload: bytes, headers: dict[str, str], words: str) -> None:
    with pytest.raises(SignatureRefused, match=words):
        VERIFIER.verify(subject, payload, headers)


def test_several_keys_may_hold() -> None:
    both = Verifier([THEIRS.public_key, OURS.public_key])
    assert both.keys == {OURS.public_key, THEIRS.public_key}
    for signer in (OURS, THEIRS):
        both.verify(SUBJECT, PAYLOAD, signer.headers(SUBJECT, PAYLOAD))


@pytest.mark.parametrize(
    "damage",
    [
        lambda key: "",
        lambda key: "U",
        lambda key: "not a key",
        lambda key: "é" * 56,
        lambda key: key[:-1],
        lambda key: key[:20] + ("A" if key[20] != "A" else "B") + key[21:],
    ],
)
def test_what_is_no_key_is_refused_in_words(damage: Callable[[str], str]) -> None:
    with pytest.raises(SettingsError, match="not a public key"):
        Verifier([damage(OURS.public_key)])


def test_the_seed_is_not_shown() -> None:
    ring = Keyring.new()
    assert ring.dispatch.decode() not in repr(Signer(ring.dispatch))
    assert ring.dispatch.decode() not in repr(ring)
