from __future__ import annotations

import pytest

from broker_config import document
from broker_config.duration import Duration
from broker_config.egress import Egress, dns_server, egress_problems, pattern_problems
from broker_config.errors import SpecError
from broker_config.job_spec import read_spec
from broker_config.proxy import Proxy, read_proxies


@pytest.mark.parametrize(
    ("line", "url"),
    [
        ("1.2.3.4:8080", "http://1.2.3.4:8080"),
        ("Proxy.Example:8080", "http://proxy.example:8080"),
        ("p.example:8080:user:pa:ss", "http://user:pa%3Ass@p.example:8080"),
        ("p.example:8080:user:", "http://user:@p.example:8080"),
        ("user:pass@p.example:8080", "http://user:pass@p.example:8080"),
        ("[::1]:8080", "http://[::1]:8080"),
        ("[::1]:8080:u:p", "http://u:p@[::1]:8080"),
        ("https://p.example", "https://p.example:443"),
        ("socks5://u:p%40q@p.example", "socks5://u:p%40q@p.example:1080"),
        ("SOCKS5H://p.example:9", "socks5://p.example:9"),
        ("http://p.example/", "http://p.example:80"),
        ("p.example:8080:joe@x.example:p@ss:1", "http://joe%40x.example:p%40ss%3A1@p.example:8080"),
        ("[::1]:8080:u:p@ss", "http://u:p%40ss@[::1]:8080"),
        ("joe:8080@p.example:80", "http://joe:8080@p.example:80"),
        ("p.example:8080:u:se://cret", "http://u:se%3A%2F%2Fcret@p.example:8080"),
    ],
)
def test_forms_of_a_proxy(line: str, url: str) -> None:
    assert Proxy.parse(line).url == url
    assert Proxy.parse(url).url == url


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ("p.example", "no port"),
        ("p.example:0", "not a port"),
        ("p.example:70000", "not a port"),
        ("p.example:80:user", "without a password"),
        ("p.example:80::secret", "user name is empty"),
        ("ftp://p.example:80", "the scheme of the URL is not allowed; use http, https, socks5"),
        ("joe:secret:p.example:80", "not a port"),
        ("joe:secret@p.example:80:x", "more behind the port"),
        ("secret joe p.example 80", "no port"),
        ("http://joe:secret/@p.example:80", "not the URL of a proxy"),
        ("http://joe:1#secret@p.example:80", "more behind the host"),
        ("joe://secret@p.example:80", "the scheme of the URL"),
        ("se cret:80", "is not a host"),
        ("http://p.example:80/path", "a proxy has no path"),
        ("socks5://u:s%0aecret@p.example:80", "control character"),
        (f"p.example:80:u:{'secret' * 50}", "longer than 255"),
        ("a b:80", "is not a host"),
        ("http://:80", "has no host"),
    ],
)
def test_what_is_wrong_is_said_without_the_password(line: str, wrong: str) -> None:
    with pytest.raises(ValueError, match=wrong) as caught:
        Proxy.parse(line)
    assert "secret" not in str(caught.value)


def test_credentials_are_not_in_the_text_of_a_proxy() -> None:
    proxy = Proxy.parse("socks5://joe:secret@p.example:1080")
    for text in (str(proxy), repr(proxy), f"{[proxy]}"):
        assert "secret" not in text
        assert "joe" not in text
        assert "p.example" in text


def test_a_list_tells_what_is_wrong_by_line() -> None:
    proxies, problems = read_proxies(
        "\ufeff# mine\n1.2.3.4:80\n\nnonsense\n1.2.3.4:80\nsocks5://1.2.3.4:80\n1.2.3.4:80:u:p,q\r\n1.2.3.4:x"
    )
    assert [p.url for p in proxies.values()] == [
        "http://1.2.3.4:80",
        "socks5://1.2.3.4:80",
        "http://u:p%2Cq@1.2.3.4:80",
    ]
    assert [p.where for p in problems] == ["line 4", "line 5", "line 8"]
    assert "stands in line 2 already" in problems[1].what


@pytest.mark.parametrize(
    "text",
    [
        'host,port,user,password,note\n1.2.3.4,80,u,"p,:@",x\n5.6.7.8,81,,,\n',
        "URL;note\nhttp://u:p%2C%3A%40@1.2.3.4:80;x\nhttp://5.6.7.8:81;y\n",
        "host\tport\tusername\tpass\ttype\n1.2.3.4\t80\tu\tp,:@\thttp\n5.6.7.8\t81\t\t\tHTTP\n",
    ],
)
def test_csv_with_a_header(text: str) -> None:
    proxies, problems = read_proxies(text)
    assert problems == []
    assert [p.url for p in proxies.values()] == ["http://u:p%2C%3A%40@1.2.3.4:80", "http://5.6.7.8:81"]


def test_csv_without_a_header() -> None:
    proxies, problems = read_proxies("1.2.3.4,80,u,p\n5.6.7.8,81\n")
    assert problems == []
    assert [p.url for p in proxies.values()] == ["http://u:p@1.2.3.4:80", "http://5.6.7.8:81"]


def test_a_spec_of_egress_is_checked() -> None:
    egress = Egress(
        pool="p", proxies=["nonsense", "a:1:u:secret"], rotation="interval", interval=Duration(0),
        bypass=["*"], dns=["x", "1.1.1.1"],
    )  # fmt: skip
    problems = {p.where: p.what for p in egress_problems(egress)}
    assert set(problems) == {
        "egress.proxies", "egress.proxies[0]", "egress.interval", "egress.bypass[0]", "egress.dns[0]"
    }  # fmt: skip
    assert list(egress_problems(Egress())) == []
    assert [p.where for p in pattern_problems(["a.example", "a/b"])] == ["third_party[1]"]
    assert list(pattern_problems("all")) == []


def test_a_document_of_egress_is_read_strictly() -> None:
    egress = document.read({"proxies": ["a:1"], "interval": "2m", "rotation": "interval"}, Egress)
    assert egress.interval == Duration(120)
    assert not egress.is_direct
    with pytest.raises(SpecError, match="rotation"):
        document.read({"rotation": "request"}, Egress)


@pytest.mark.parametrize(
    ("text", "server"),
    [
        ("1.1.1.1", ("1.1.1.1", 53)),
        ("1.1.1.1:5353", ("1.1.1.1", 5353)),
        ("::1", ("::1", 53)),
        ("[::1]:54", ("::1", 54)),
    ],
)
def test_dns_servers(text: str, server: tuple[str, int]) -> None:
    assert dns_server(text) == server


@pytest.mark.parametrize("text", ["", "dns.example", "1.1.1.1:0", "1.1.1.1:x", "[::1", "1.1.1"])
def test_wrong_dns_servers(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not the address|has no port"):
        dns_server(text)


@pytest.mark.parametrize(
    "egress",
    [
        "http://joe:secret@p.example:80",
        {"proxies": "p.example:80:joe:secret"},
        {"proxies": [["p.example:80:joe:secret"]]},
        {"proxies": ["p.example:80:joe:secret" * 60]},
        {"proxies": ["p.example:joe:80:secret"]},
        {"proxies": ["p.example:80:joe:secret", "p.example:80:joe:secret2"]},
        {"proxies": [{"url": "p.example:80:joe:secret"}]},
    ],
)
def test_a_wrong_spec_is_refused_without_its_passwords(egress: object) -> None:
    document = {"targets": [{"url": "http://127.0.0.1:1/"}], "sessions": 1, "egress": egress}
    with pytest.raises(SpecError, match="egress") as caught:
        read_spec(document)
    assert "secret" not in str(caught.value)
