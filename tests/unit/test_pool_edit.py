from __future__ import annotations

import pytest

from broker_config.errors import SpecError
from broker_config.proxy import Proxy, read_proxies
from broker_config.proxy_pool import ProxyPool, mark
from orchestrator.core.pool_edit import merged, nothing_usable, switched


def proxies(*lines: str) -> list[Proxy]:
    return [Proxy.parse(line) for line in lines]


def test_lines_are_added_behind_those_of_before() -> None:
    result = merged(proxies("a.example:1"), read_proxies("b.example:2\nsocks5://a.example:1")[0])
    assert [str(p) for p in result.proxies] == [
        "http://a.example:1", "http://b.example:2", "socks5://a.example:1"
    ]  # fmt: skip
    assert (result.added, result.changed, result.problems) == (2, 0, [])


def test_a_proxy_that_is_there_takes_the_password_at_its_place() -> None:
    before = proxies("a.example:1:u:old", "b.example:2")
    before[0] = switched(ProxyPool(proxies=before), ["a.example:1"], enabled=False)[0]
    result = merged(before, read_proxies("b.example:2\na.example:1:u:new\na.example:1:w:p")[0])
    assert [p.url for p in result.proxies] == [
        "http://u:new@a.example:1", "http://b.example:2", "http://w:p@a.example:1"
    ]  # fmt: skip
    assert [p.enabled for p in result.proxies] == [False, True, True]
    assert (result.added, result.changed) == (1, 1)
    assert [str(p) for p in result.problems] == ["line 1: http://b.example:2 is in the pool already"]


POOL = ProxyPool(proxies=proxies("a.example:1:u:p", "a.example:1:w:p", "socks5://a.example:1", "b.example:2"))


@pytest.mark.parametrize(
    ("names", "off"),
    [
        (["a.example:1"], [0, 1, 2]),
        (["http://a.example:1"], [0, 1]),
        (["w:@a.example:1"], [1]),
        (["socks5://A.example:1", "b.example:2"], [2, 3]),
        (None, [0, 1, 2, 3]),
    ],
)
def test_who_is_named_is_switched(names: list[str] | None, off: list[int]) -> None:
    after = switched(POOL, names, enabled=False)
    assert [i for i, p in enumerate(after) if not p.enabled] == off
    assert switched(ProxyPool(proxies=after), names, enabled=True) == POOL.proxies


def test_names_that_fit_none_are_said_each() -> None:
    with pytest.raises(SpecError) as caught:
        switched(POOL, ["c.example:1", "b.example:2", "nonsense"], enabled=False)
    assert [p.where for p in caught.value.problems] == ["proxies[0]", "proxies[2]"]


def test_nothing_usable_names_the_lines_or_the_forms() -> None:
    assert "line 1" in str(nothing_usable(read_proxies("x")[1]))
    assert "host:port:user:password" in str(nothing_usable([]))


def test_a_mark_says_nothing_and_changes_with_the_password() -> None:
    one, two = proxies("a.example:1:u:secret", "a.example:1:u:other")
    assert mark(one) != mark(two)
    assert "secret" not in mark(one)
