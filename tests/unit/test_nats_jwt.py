from __future__ import annotations

import base64
import json

import nkeys
import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker_config import nats_jwt
from broker_config.errors import MessageError
from broker_config.keyring import Keyring
from broker_config.operator_mode import account_claims, broker_accounts, runner_token
from broker_config.platform import PLATFORMS

SEED = nats_jwt.new_user_seed()
KEY = nats_jwt.public_key(SEED)


def test_what_is_encoded_is_decoded_and_bears_its_issuer() -> None:
    token = nats_jwt.encode(nats_jwt.user("r1", KEY, tags=["a:b"], expires_at=99.5), SEED, issued_at=7.9)
    claims = nats_jwt.decode(token)
    assert (claims["iat"], claims["exp"], claims["iss"], claims["sub"]) == (7, 99, KEY, KEY)
    assert claims["nats"] == {"type": "user", "version": 2, "tags": ["a:b"]}
    assert len(claims["jti"]) == 52


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_a_token_that_was_changed_is_refused(at: int, by: int) -> None:
    token = nats_jwt.encode(nats_jwt.user("r1", KEY), SEED, issued_at=1)
    head, body, signature = token.split(".")
    raw = bytearray(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    raw[at % len(raw)] ^= by
    changed = base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
    with pytest.raises(MessageError):
        nats_jwt.decode(f"{head}.{changed}.{signature}")


@pytest.mark.parametrize("text", ["", ".", "a.b", "a.b.c", "…", "=.=.=", "e30.e30.e30", "x" * (1 << 21)])
def test_what_is_no_token_is_refused_in_words(text: str) -> None:
    with pytest.raises(MessageError, match=r"token"):
        nats_jwt.decode(text)


def test_a_token_without_a_signature_is_none() -> None:
    body = base64.urlsafe_b64encode(json.dumps({"iss": KEY}).encode()).rstrip(b"=").decode()
    head = base64.urlsafe_b64encode(b'{"alg":"none"}').rstrip(b"=").decode()
    with pytest.raises(MessageError, match="signed by 'none'"):
        nats_jwt.decode(f"{head}.{body}.")


def test_keys() -> None:
    assert nats_jwt.is_user_key(KEY)
    broken = KEY[:-1] + ("A" if KEY[-1] != "A" else "B")
    account = nats_jwt.public_key(nats_jwt.account_seed(bytes(32)))
    for wrong in (broken, account, "", "U", KEY.lower(), "ü" * 56):
        assert not nats_jwt.is_user_key(wrong)
    assert nats_jwt.verifies(KEY, b"data", nats_jwt.sign(SEED, b"data"))
    assert not nats_jwt.verifies(KEY, b"other", nats_jwt.sign(SEED, b"data"))
    assert not nats_jwt.verifies(KEY, b"data", b"short")
    assert not nats_jwt.verifies(broken, b"data", nats_jwt.sign(SEED, b"data"))


def test_the_brokers_configuration_depends_on_the_keyring_alone() -> None:
    keyring = Keyring.new()
    assert broker_accounts(keyring) == broker_accounts(keyring)
    assert broker_accounts(keyring) != broker_accounts(Keyring.new())
    assert len({c["sub"] for c in account_claims(keyring)}) == 4


def test_a_runner_is_for_its_lanes_alone() -> None:
    keyring = Keyring.new()

    def tags(**more: object) -> list[str]:
        token = runner_token(keyring, "r1", KEY, now=1, expires_at=2, **more)  # type: ignore[arg-type]
        claims = nats_jwt.decode(token)
        assert claims["iss"] == keyring.public("runners_signing")
        assert claims["nats"]["issuer_account"] == keyring.public("runners_account")
        return list(claims["nats"]["tags"])

    assert tags() == [f"consumer:{p}" for p in PLATFORMS]
    one = {"platforms": ["linux-chromium"]}
    assert tags(**one) == ["consumer:linux-chromium"]
    assert tags(**one, pool="Gold") == ["consumer:linux-chromium_Gold"]
    assert tags(**one, scripts=True) == ["consumer:linux-chromium", "consumer:linux-chromium_scripts"]
    assert tags(**one, pool="Gold", scripts=True)[1:] == ["consumer:linux-chromium_Gold_scripts"]


def test_a_seed_of_an_account_is_always_the_same() -> None:
    seed = nats_jwt.account_seed(b"s" * 32)
    assert seed == nats_jwt.account_seed(b"s" * 32)
    assert nats_jwt.public_key(seed).startswith("A")
    assert nkeys.decode_seed(bytearray(seed))[0] == nkeys.PREFIX_BYTE_ACCOUNT
