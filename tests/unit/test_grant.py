from __future__ import annotations

import json

import pytest

from broker_config.contact import check_contact, is_contact
from broker_config.errors import SettingsError
from broker_config.grant import Ceiling, Grant, SignedGrant
from broker_config.keyring import Keyring
from broker_config.signature import SignatureRefused, Signer, Verifier

KEYS = Keyring.new()
SIGNER, VERIFIER = Signer(KEYS.dispatch), Verifier(KEYS.dispatch_keys)
GRANT = Grant(
    job="j1",
    project="shop",
    origins=["https://shop.example"],
    private_hosts=["shop.example"],
    ceilings={"https://shop.example": Ceiling(sessions=2)},
    issued_at=1.0,
    expires_at=2.0,
)


def test_what_is_signed_is_read_as_it_was() -> None:
    signed = SignedGrant.of(GRANT, SIGNER)
    assert signed.verified("j1", VERIFIER) == GRANT == signed.read()
    assert json.loads(signed.body)["origins"] == ["https://shop.example"]


@pytest.mark.parametrize(
    "forged",
    [
        SignedGrant.plain(GRANT),
        SignedGrant.of(GRANT, Signer(Keyring.new().dispatch)),
        SignedGrant(
            body=SignedGrant.of(GRANT, SIGNER).body.replace("shop.example", "evil.example"),
            signature=SignedGrant.of(GRANT, SIGNER).signature,
            key=SIGNER.public_key,
        ),
    ],
    ids=["unsigned", "by another key", "changed"],
)
def test_what_was_not_signed_so_is_refused(forged: SignedGrant) -> None:
    with pytest.raises(SignatureRefused):
        forged.verified("j1", VERIFIER)


def test_the_grant_of_another_job_is_refused() -> None:
    with pytest.raises(SignatureRefused):
        SignedGrant.of(GRANT, SIGNER).verified("j2", VERIFIER)


def test_a_signed_message_is_no_grant() -> None:
    body = SignedGrant.plain(GRANT).body
    headers = SIGNER.headers("job.dispatch.linux-chromium", body.encode())
    message = SignedGrant(body=body, signature=headers["TB-Signature"], key=headers["TB-Key"])
    with pytest.raises(SignatureRefused):
        message.verified("j1", VERIFIER)


@pytest.mark.parametrize("text", ["https://example.com/traffic", "http://a.example", "mailto:a@b.example"])
def test_contacts(text: str) -> None:
    assert check_contact(text) == text


@pytest.mark.parametrize(
    "text", ["a@b.example", "https://a b", "https://a)", "https://a;b", 'https://a"', "x\n"]
)
def test_what_is_no_contact(text: str) -> None:
    assert not is_contact(text)
    with pytest.raises(SettingsError):
        check_contact(text)
