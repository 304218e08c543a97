from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker_config.origin import Origin


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("http://shop.example", "http://shop.example"),
        ("HTTP://Shop.Example:80/a/b?c#d", "http://shop.example"),
        ("https://shop.example:443/", "https://shop.example"),
        ("https://shop.example:80/", "https://shop.example:80"),
        ("http://shop.example./", "http://shop.example"),
        ("http://shop.example\u3002/", "http://shop.example"),  # an ideographic full stop
        ("http://[::1]:8080/", "http://[::1]:8080"),
        ("http://user:secret@shop.example/", "http://shop.example"),
        ("http://bücher.example/", "http://xn--bcher-kva.example"),
        ("http://127.0.0.1:0080/", "http://127.0.0.1"),
    ],
)
def test_the_origin_of_a_url(url: str, text: str) -> None:
    assert str(Origin.of(url)) == text


@pytest.mark.parametrize(
    "url",
    [
        "",
        "shop.example",
        "//shop.example/",
        "/path",
        "ftp://shop.example/",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "data:text/html,x",
        "about:blank",
        "http://",
        "http:///path",
        "http://./",
        "http://shop.example:0/",
        "http://shop.example:99999/",
        "http://shop.example:x/",
        "http://[::1/",
        "http://shop.example /",
        "http://shop.example\\@evil.example/",
        "http://shop\n.example/",
        "http://shop.example\x00/",
        " http://shop.example/",
        "http://shop.example/\x7f",
        "http://%31%32%37.0.0.1/",
        "http://a|b.example/",
        "http://\u00af.example/",  # becomes a space when it is normalised
        "http://[fe80::1%25eth0]/",
        "http://" + "a" * 64 + "ü.example/",
    ],
)
def test_what_has_no_origin_is_refused_in_words(url: str) -> None:
    with pytest.raises(ValueError, match=r"has|is not|holds"):
        Origin.of(url)


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("localhost", True),
        ("a.b.localhost", True),
        ("127.0.0.1", True),
        ("127.255.255.254", True),
        ("[::1]", True),
        ("128.0.0.1", False),
        ("0.0.0.0", False),
        ("[::]", False),
        ("10.0.0.1", False),
        ("localhost.example", False),
        ("notlocalhost", False),
        ("127.0.0.1.example", False),
        ("0x7f000001", False),
        ("2130706433", False),
    ],
)
def test_loopback(host: str, loopback: bool) -> None:
    assert Origin.of(f"http://{host}/").is_loopback is loopback


@given(
    st.sampled_from(["http", "https"]),
    st.from_regex(r"[a-z]{1,10}(\.[a-z]{1,10}){0,2}", fullmatch=True),
    st.none() | st.integers(1, 65_535),
    st.from_regex(r"(/[a-zA-Z0-9._~-]{0,8}){0,3}(\?[a-z=&]{0,8})?", fullmatch=True),
)
def test_it_does_not_depend_on_case_path_or_query_and_reads_itself(
    scheme: str, host: str, port: int | None, rest: str
) -> None:
    base = f"{scheme}://{host}" + (f":{port}" if port else "")
    origin = Origin.of(base)
    assert Origin.of(base.upper()) == origin == Origin.of(base + rest)
    assert Origin.of(str(origin)) == origin


@given(st.text(max_size=40))
def test_any_text_has_an_origin_or_is_refused(text: str) -> None:
    for url in (text, f"http://{text}", f"http://{text}/x"):
        try:
            origin = Origin.of(url)
        except ValueError:
            continue
        assert origin.scheme in ("http", "https")
        assert origin.host
        assert Origin.of(str(origin)) == origin
