"""What is sealed opens with its key, at its place, unchanged; else there are words."""

from __future__ import annotations

from pathlib import Path

import pytest

from broker_config.envelope import Envelope, enclose
from broker_config.errors import MessageError, SealBroken, SettingsError
from broker_config.keyring import Keyring
from broker_config.seal import Seal

ONE, TWO = Seal(bytes(32)), Seal(bytes(range(32)))


def test_what_is_sealed_opens_again_and_says_nothing() -> None:
    sealed = ONE.seal("secrets/p.NAME", b"canary-4711")
    assert b"canary" not in sealed
    assert b"NAME" not in sealed
    assert ONE.open("secrets/p.NAME", sealed) == b"canary-4711"
    assert sealed != ONE.seal("secrets/p.NAME", b"canary-4711")
    assert Seal.is_sealed(sealed)
    assert not Seal.is_sealed(b'{"proxies":[]}')


def test_it_opens_for_its_own_place_alone() -> None:
    with pytest.raises(SealBroken, match="sealed for another place"):
        ONE.open("secrets/p.OTHER", ONE.seal("secrets/p.NAME", b"canary-4711"))


@pytest.mark.parametrize("at", [0, 5, 40, -1])
def test_what_was_changed_does_not_open(at: int) -> None:
    sealed = bytearray(ONE.seal("x", b"canary-4711"))
    sealed[at] ^= 1
    with pytest.raises(SealBroken) as caught:
        ONE.open("x", bytes(sealed))
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize("data", [b"", b"{}", b"\x00tb1", b"\x00tb1short"])
def test_what_is_no_seal_does_not_open(data: bytes) -> None:
    with pytest.raises(SealBroken):
        ONE.open("x", data)


def test_another_key_gives_words() -> None:
    with pytest.raises(SealBroken, match="sealed with another key"):
        TWO.open("x", ONE.seal("x", b"canary-4711"))


def test_an_older_key_opens_and_does_not_seal() -> None:
    both = Seal(bytes(range(32)), [bytes(32)])
    assert both.open("x", ONE.seal("x", b"text")) == b"text"
    assert not both.is_current(ONE.seal("x", b"text"))
    assert both.is_current(both.seal("x", b"text"))
    with pytest.raises(SealBroken):
        ONE.open("x", both.seal("x", b"text"))


def test_the_older_keys_of_a_keyring(tmp_path: Path) -> None:
    first = Keyring.load_or_make(tmp_path / "keys")
    sealed = Seal(first.seal).seal("x", b"text")
    (tmp_path / "keys" / "seal").rename(tmp_path / "keys" / "seal-older")
    (tmp_path / "keys" / "seal").touch(0o600)
    (tmp_path / "keys" / "seal").write_bytes(bytes(range(32)))
    then = Keyring.load(tmp_path / "keys")
    assert (then.seal, then.older_seals) == (bytes(range(32)), (first.seal,))
    assert Seal(then.seal, then.older_seals).open("x", sealed) == b"text"
    (tmp_path / "keys" / "seal-older").write_bytes(b"short")
    with pytest.raises(SettingsError, match="keys of 32 bytes"):
        Keyring.load(tmp_path / "keys")


def test_a_mark_is_the_same_for_the_same_data_under_one_key_alone() -> None:
    assert ONE.mark(b"a") == Seal(bytes(32)).mark(b"a") != ONE.mark(b"b")
    assert ONE.mark(b"a") != TWO.mark(b"a")


def test_only_the_envelope_that_was_addressed_opens_an_answer() -> None:
    mine, other = Envelope(), Envelope()
    answer = enclose(b"canary-4711", mine.address)
    assert b"canary" not in answer
    assert mine.open(answer) == b"canary-4711"
    with pytest.raises(MessageError, match="somebody else"):
        other.open(answer)
    with pytest.raises(MessageError):
        mine.open(answer[:-1])
    with pytest.raises(MessageError):
        mine.open(b"")


@pytest.mark.parametrize("address", [b"", b"short", bytes(33), bytes(32)])
def test_what_is_no_address_is_refused(address: bytes) -> None:
    with pytest.raises(MessageError):
        enclose(b"x", address)


def test_nothing_shows_its_key() -> None:
    for it in (ONE, Envelope()):
        assert repr(it).endswith("(…)")
