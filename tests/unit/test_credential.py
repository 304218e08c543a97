"""Secrets that are shown, and what is kept of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.credential import ENTROPY, Credential

entropy = st.binary(min_size=ENTROPY, max_size=ENTROPY)


@given(entropy)
def test_what_is_shown_can_be_read_back(random: bytes) -> None:
    made = Credential.made_of(random)
    assert Credential.parse(made.text) == made
    assert made.fits(made.hash)
    assert made.secret not in made.hash
    assert made.secret not in repr(made)


@given(entropy, entropy)
def test_another_secret_does_not_fit(one: bytes, other: bytes) -> None:
    a, b = Credential.made_of(one), Credential.made_of(other)
    assert a.fits(b.hash) is (one[8:] == other[8:])
    assert (a.id == b.id) is (one[:8] == other[:8])


@given(st.text())
def test_no_text_is_an_error(text: str) -> None:
    assert Credential.parse(text) is None or text.startswith("tb_")


@pytest.mark.parametrize(
    "text",
    [
        "tb_0123456789abcdef_",
        "tb_0123456789abcdef_" + "a" * 42,
        "tb_0123456789abcdef_" + "a" * 44,
        "tb_0123456789ABCDEF_" + "a" * 43,
        "tb_0123456789abcdef_" + "a" * 43 + "\n",
        "tb_user.x_" + "a" * 43,
        "xx_0123456789abcdef_" + "a" * 43,
    ],
)
def test_what_is_none(text: str) -> None:
    assert Credential.parse(text) is None


def test_too_little_randomness_is_refused() -> None:
    with pytest.raises(ValueError, match=f"{ENTROPY} bytes"):
        Credential.made_of(b"x" * (ENTROPY - 1))
