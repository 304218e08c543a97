from __future__ import annotations

import base64
import html
import json
import time
from typing import Any
from urllib.parse import quote, quote_plus, urlencode

import pytest

from broker_config.data import Cell
from broker_config.journey import Fill, Journey, Step
from broker_config.messages import Dispatch
from runner.core.journey_plan import plan_journey
from runner.core.masking import Masker, is_secret, secrets_of

SECRET = 'a"b&c <wörd>/1'
masker = Masker([SECRET, "ann@example.test", "73", ""])


@pytest.mark.parametrize(
    "written",
    [
        SECRET,
        json.dumps(SECRET)[1:-1],
        json.dumps(SECRET, ensure_ascii=False)[1:-1],
        json.dumps(json.dumps(SECRET))[3:-3],
        quote(SECRET, safe=""),
        quote(SECRET, safe="").lower().replace("a%22b", "a%22b"),
        quote_plus(SECRET),
        quote_plus(SECRET, encoding="cp1252"),
        quote(SECRET, safe="!'()*~"),
        "a&quot;b&amp;c &lt;wörd&gt;/1",
        json.dumps(SECRET)[1:-1].replace("/", r"\/"),
        html.escape(json.dumps(SECRET)[1:-1]),
        quote(quote(SECRET, safe=""), safe=""),
        quote(SECRET, safe=";,/?:@&=+$#!'()*~"),  # as JavaScript's encodeURI
        quote(json.dumps(SECRET)[1:-1]),
        json.dumps(SECRET)[1:-1].replace("&", r"\u0026").replace("<", r"\u003C").replace(">", r"\u003e"),
        'a\\"b\\x26c \\x3cw\\xf6rd\\x3E\\/1',
        "a&#34;b&#38;c&#32;&#60;w&#246;rd&#62;/1",
        "a&amp;quot;b&amp;amp;c &amp;lt;wörd&amp;gt;/1",
        SECRET.encode().decode("latin-1"),
        SECRET.replace(" ", "+"),
    ],
)
def test_a_value_is_masked_however_it_is_written(written: str) -> None:
    assert masker.text(f"before {written} after") == "before *** after"


@pytest.mark.parametrize(
    "written",
    [
        'C:\\ann\\"x\ny 😀',
        json.dumps('C:\\ann\\"x\ny 😀')[1:-1],
        json.dumps(json.dumps('C:\\ann\\"x\ny 😀'))[3:-3],
        quote_plus('C:\\ann\\"x\r\ny 😀'),
        quote_plus('C:\\ann\\"x\r\ny &#128512;'),
    ],
)
def test_backslashes_lines_and_what_an_encoding_lacks(written: str) -> None:
    assert Masker(['C:\\ann\\"x\ny 😀']).text(f"<{written}>") == "<***>"


def test_a_console_shows_the_ends_of_a_long_value() -> None:
    token = "eyJhbGciOiJIUzI1NiJ9." + "payload0123" * 20
    cut = f"sid={token[:45]}…{token[-49:]}"
    assert Masker([token]).text(f"{{cookie: {cut}, other: 1}}") == "{cookie: sid=***, other: 1}"
    assert Masker([token]).text(f"{{cookie: sid={token[:45]}…; path=/}}") == "{cookie: sid=***; path=/}"
    assert Masker([token]).text(f"{{cookie: a=1…{token[-49:]}}}") == "{cookie: a=1***}"


def test_a_text_full_of_backslashes_takes_no_time() -> None:
    began = time.perf_counter()
    assert Masker(['\\"\\"\\\'x']).text("\\" * 50_000) == "\\" * 50_000
    assert time.perf_counter() - began < 5  # it was minutes


def test_an_apostrophe_as_html_has_it() -> None:
    assert Masker(["o'hara"]).text("o&#39;hara o&#x27;hara o&apos;hara") == "*** *** ***"


@pytest.mark.parametrize("lead", ["", "u", "u:", "ann"])
def test_a_value_within_base64(lead: str) -> None:
    coded = base64.b64encode(f"{lead}{SECRET} and more".encode()).decode()
    for written in (coded, coded.translate(str.maketrans("+/", "-_"))):
        kept = base64.b64decode(masker.text(written).partition("***")[0] + "===", "-_")
        assert "***" in masker.text(written)
        assert len(kept) <= len(lead) + 1, "a character more at most"


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("73 pages, 173 ms", "73 pages, 173 ms"),
        ("/in?pin=1234&x=73&y=2", "/in?pin=***&x=***&y=2"),
        ("https://h/?access_token=abc#frag", "https://h/?access_token=***#frag"),
        ("Authorization: Bearer abc.def-ghi_jkl", "Authorization: Bearer ***"),
        ("a basic question", "a basic question"),
        ("opinion=good&author=me", "opinion=good&author=me"),
    ],
)
def test_what_its_place_or_name_gives_away(text: str, masked: str) -> None:
    assert masker.text(text) == masked


@pytest.mark.parametrize(
    "name",
    [
        *("password", "user_password", "newPassword", "PASSWD", "passphrase", "access_token", "accessToken"),
        *("X-Api-Key", "apikey", "X-Auth", "client-secret", "csrfmiddlewaretoken", "X-CSRF", "sid", "pin"),
        *("Cookie", "set-cookie", "Proxy-Authorization", "Authorization"),
    ],
)
def test_names_of_secrets(name: str) -> None:
    assert is_secret(name)


@pytest.mark.parametrize(
    "name", ["author", "opinion", "monkey", "keyboard", "passenger", "Content-Type", "user", "x", "bypass-on"]
)
def test_names_of_other_things(name: str) -> None:
    assert not is_secret(name)


def entry(**request: Any) -> dict[str, Any]:
    return {"log": {"entries": [{"request": request, "response": {}}]}}


def test_headers_cookies_and_parameters_of_a_har() -> None:
    headers = [
        {"name": "Cookie", "value": "sid=1"},
        {"name": "x-api-key", "value": "k"},
        {"name": "Accept", "value": "text/html"},
        {"name": "Referer", "value": "http://h/?token=abc"},
    ]
    query = [{"name": "q", "value": "73"}, {"name": "page", "value": "2"}, {"name": "otp", "value": "5"}]
    out = masker.document(
        entry(headers=headers, queryString=query, cookies=[{"name": "sid", "value": "1", "path": "/"}])
    )["log"]["entries"][0]["request"]
    assert [h["value"] for h in out["headers"]] == ["***", "***", "text/html", "http://h/?token=***"]
    assert [q["value"] for q in out["queryString"]] == ["***", "2", "***"]
    assert out["cookies"] == [{"name": "sid", "value": "***", "path": "/"}]


def test_what_forms_send() -> None:
    form = urlencode({"user": "ann@example.test", "pw": SECRET, "password": "typed by hand", "code": "73"})
    data = {
        "mimeType": "application/x-www-form-urlencoded",
        "text": form,
        "params": [
            {"name": "password", "value": "typed by hand"},
            {"name": "code", "value": "73"},
            {"name": "n", "value": "1"},
        ],
    }
    out = masker.document(entry(postData=data))["log"]["entries"][0]["request"]["postData"]
    assert out["text"] == "user=***&pw=***&password=***&code=***"
    assert [p["value"] for p in out["params"]] == ["***", "***", "1"]


def test_json_that_was_sent() -> None:
    sent = {"login": {"password": "typed", "name": "ann@example.test"}, "pin": 1234, "code": 73, "n": 1}
    assert json.loads(masker.body(json.dumps(sent))) == {
        "login": {"password": "***", "name": "***"},
        "pin": "***",
        "code": "***",
        "n": 1,
    }


def test_a_form_in_parts_is_left_out() -> None:
    assert masker.body('--x\r\nContent-Disposition: form-data; name="password"\r\n\r\ntyped\r\n') == "***"


def test_what_is_broken_is_masked_as_text() -> None:
    assert masker.body('{"password": ann@example.test') == '{"password": ***'


def test_numbers_of_a_har_stay() -> None:
    document = {"time": 73, "status": 1234, "list": [73, None, True, 1.5]}
    assert masker.document(document) == document


def test_sockets_say_nothing() -> None:
    messages = [{"type": "send", "time": 1, "data": "anything"}]
    assert masker.document({"_webSocketMessages": messages}) == {
        "_webSocketMessages": [{"type": "send", "time": 1, "data": "***"}]
    }


def test_fields_in_a_traces_picture_of_a_page() -> None:
    page = [
        "FORM",
        {"action": "/in"},
        ["INPUT", {"type": "password", "__playwright_value_": "by hand", "id": "p", "value": "x"}],
        ["INPUT", {"type": "text", "__playwright_value_": "73", "name": "user"}],
    ]
    assert masker.document({"html": page})["html"] == [
        "FORM",
        {"action": "/in"},
        ["INPUT", {"type": "password", "__playwright_value_": "***", "id": "p", "value": "***"}],
        ["INPUT", {"type": "text", "__playwright_value_": "***", "name": "user"}],
    ]


def test_what_a_trace_says_of_a_step() -> None:
    line = {"type": "log", "message": '  fill("73")'}
    assert masker.document(line) == {"type": "log", "message": '  fill("***")'}


def test_without_secrets_only_names_count() -> None:
    assert Masker([]).text("x=1&token=abc") == "x=1&token=***"


def test_the_secrets_of_a_session() -> None:
    journey = Journey(
        steps=[
            Step(goto="/"),
            Step(fill=Fill(label="Name", value="${user.name}!")),
            Step(fill=Fill(label="Password", value="fixed")),
        ]
    )
    row: dict[str, Cell] = {"user.name": "ann", "user.age": 41, "user.vip": True, "user.none": None}
    dispatch = Dispatch(
        job="j",
        session=1,
        platform="linux-chromium",
        target="t",
        url="http://localhost/",
        journey=journey,
        variables=row,
    )
    assert list(secrets_of(dispatch, plan_journey(dispatch))) == ["ann!", "fixed", "ann", "41"]
