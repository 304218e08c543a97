"""Links that must not be followed are not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.core.journey_links import DENIED, Link, followable, picked

PAGE = "http://shop.test/a"


def follows(href: str, words: str = "", deny: tuple[str, ...] = (), **more: bool) -> bool:
    return bool(followable([Link(index=0, href=href, words=words, **more)], PAGE, deny))


@pytest.mark.parametrize(
    "href", ["http://shop.test/b", "http://shop.test/a?page=2", "http://shop.test/list.html"]
)
def test_a_link_of_the_same_origin_is_followed(href: str) -> None:
    assert follows(href, "Read more")


@pytest.mark.parametrize(
    "href",
    [
        "http://shop.test/a",
        "http://shop.test/a#part",
        "https://shop.test/b",
        "http://shop.test:81/b",
        "http://other.test/b",
        "mailto:a@shop.test",
        "tel:123",
        "javascript:void(0)",
        "data:text/html,x",
        "blob:http://shop.test/1",
        "ftp://shop.test/b",
        "http://[",
        "http://shop.test/report.pdf",
        "http://shop.test/all.ZIP?x=1",
        "http://shop.test/%2Epdf/x.p%64f",
        "http://shop.test/logout",
        "http://shop.test/user/Log-Out",
        "http://shop.test/user?action=sign_out",
        "http://shop.test/item/1/delete",
        "http://shop.test/cart?%72emove=3",
    ],
)
def test_what_leads_elsewhere_or_does_harm_is_not(href: str) -> None:
    assert not follows(href)


@pytest.mark.parametrize(
    "words", ["Log out", "LOGOUT", "log\u00adout", "Sign\u00a0out", "× Remove", "deleteItem(3)"]
)
def test_words_are_found_in_any_writing(words: str) -> None:
    assert not follows("http://shop.test/b", words)


def test_downloads_and_other_windows_are_not_followed() -> None:
    assert not follows("http://shop.test/b", download=True)
    assert not follows("http://shop.test/b", special=True)


def test_a_spec_can_deny_more() -> None:
    assert follows("http://shop.test/check-out")
    assert not follows("http://shop.test/check-out", deny=("Checkout",))
    assert not follows("http://shop.test/b", "Check out now", deny=("Checkout",))
    assert follows("http://shop.test/b", deny=("--",))


@given(st.sampled_from(DENIED), st.text(max_size=10), st.text(max_size=10))
def test_a_denied_word_is_denied_anywhere(word: str, before: str, after: str) -> None:
    assert not follows("http://shop.test/b", f"{before} {word.upper()} {after}")


def test_each_address_counts_once() -> None:
    links = [Link(index=i, href=f"http://shop.test/{'bcb'[i]}#{i}") for i in range(3)]
    assert [link.index for link in followable(links, PAGE)] == [0, 1]


@given(st.integers(0, 30), st.lists(st.floats(0, 1), max_size=8))
def test_picks_are_links_of_the_list_each_once(number: int, picks: list[float]) -> None:
    links = [Link(index=i, href=f"http://shop.test/{i}") for i in range(number)]
    chosen = picked(links, picks)
    assert set(chosen) <= set(links)
    assert len(chosen) == len(set(chosen))
    assert bool(chosen) is bool(links and picks)
