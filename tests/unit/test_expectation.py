"""What should stand in a field, in words."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
import pytest
from msgspec import Meta

from broker_config.expectation import in_words, unquoted


def said(value: Any, kind: Any) -> tuple[str, str]:
    """msgspec's own message about the value in our words, and the hint."""
    with pytest.raises(msgspec.ValidationError) as e:
        msgspec.convert(value, kind)
    return in_words(str(e.value)), unquoted(value, str(e.value))


@pytest.mark.parametrize(
    ("value", "kind", "words"),
    [
        ("a few", int | None, "expected a whole number or nothing, got text"),
        (2.5, int, "expected a whole number, got a number with a fraction"),
        (True, int | str, "expected a whole number or text"),
        (None, dict[str, str], "expected an object with fields"),
        ([], bool, "expected true or false, got a list"),
        ({}, list[int] | str | None, "expected text, a list or nothing, got an object with fields"),
        (0, Annotated[int, Meta(ge=1)], "expected a whole number of at least 1"),
        (10, Annotated[float, Meta(le=9.5)], "expected a number of at most 9.5"),
        (0, Annotated[float, Meta(gt=0)], "expected a number above 0"),
        (9.5, Annotated[float, Meta(lt=9.5)], "expected a number below 9.5"),
        (9, Annotated[int, Meta(lt=9)], "expected a whole number of at most 8"),
        ("", Annotated[str, Meta(min_length=1)], "expected text of at least 1 character"),
        ("abc", Annotated[str, Meta(max_length=2)], "expected text of at most 2 characters"),
        ([], Annotated[list[int], Meta(min_length=1)], "expected a list of at least 1 entry"),
        ("-", Annotated[str, Meta(pattern="^[a-z]+$")], "expected text of the form ^[a-z]+$"),
    ],
)
def test_what_is_expected(value: Any, kind: Any, words: str) -> None:
    assert said(value, kind) == (words, "")


@pytest.mark.parametrize(
    ("value", "kind", "hint"),
    [
        ("12", int | None, "; write 12 without quotes"),
        ("1.5", float, "; write 1.5 without quotes"),
        ("1.5", int, ""),
        ("true", bool, "; write true without quotes"),
        ("yes", bool, ""),
    ],
)
def test_quotes_that_are_too_many(value: str, kind: Any, hint: str) -> None:
    assert said(value, kind)[1] == hint


def test_other_messages_stay_as_they_are() -> None:
    assert in_words("Object missing required field `x`") == "object missing required field `x`"
