"""Takes secrets out of what a session recorded: HAR, console, the files of a trace. Pure.

Masked are: values of cookies and of headers that authenticate; fields and parameters that are named like
secrets; and, wherever they stand and however they are written (in JSON, in a URL, in HTML), the values that
the session filled in and those of its row of data.
"""

from __future__ import annotations

import base64
import contextlib
import html
import json
import re
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any
from urllib.parse import quote, quote_plus

from broker_config.journey import Fill
from broker_config.messages import Dispatch

from .journey_plan import PlannedStep

MASK = "***"
#: Shorter values stand everywhere, in numbers and in words: they are masked where they are all of a field.
SHORTEST = 4
#: Fewer characters of base64 may stand in any picture.
_MIN_BASE64 = 7
_URL_SAFE = str.maketrans("+/", "-_")

_HEADERS = {"cookie", "set-cookie", "authorization", "proxy-authorization"}
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_SECRET_WORDS = {
    *("pass", "passphrase", "pwd", "auth", "authorization", "apikey", "credential", "credentials", "jwt"),
    *("session", "sessionid", "sid", "csrf", "xsrf", "otp", "pin", "cvv", "cvc"),
}
_SECRET_ENDS = ("password", "passwd", "token", "secret")
_SECRET_PAIRS = {("api", "key"), ("access", "key"), ("private", "key"), ("card", "number")}
#: Names whose text is what a request sent.
_BODIES = {"text", "postData", "body"}
_PARAMETER = re.compile(r"(?P<before>[?&;]|^)(?P<name>[\w.\-\[\]%]{1,80})=(?P<value>[^&;#\s\"'<>\\]+)")
#: Not the words "basic questions": what follows must not look like a word.
_BEARER = re.compile(
    r"\b((?i:bearer)\s+|(?i:basic)\s+(?=\S*(?:\d|=|[a-z][A-Z])))[A-Za-z0-9._~+/=-]{8,}",
)


class Masker:
    """Masks `secrets`, and what its name gives away. One serves a whole session."""

    def __init__(self, secrets: Iterable[str]) -> None:
        self._secrets = {s for s in secrets if s}
        ways = {way for s in self._secrets if len(s) >= SHORTEST for way in _ways(s)}
        # The longer first: one may be a part of another.
        pattern = "|".join(re.escape(w) for w in sorted(ways, key=len, reverse=True))
        self._values = re.compile(pattern) if pattern else None
        short = "|".join(re.escape(s) for s in self._secrets if len(s) < SHORTEST)
        self._quoted = re.compile(f'"(?:{short})"') if short else None

    def text(self, text: str) -> str:
        """Free text: log lines, pages, scripts, addresses."""
        if self._values is not None:
            text = self._values.sub(MASK, text)
        if "=" in text:
            text = _PARAMETER.sub(self._parameter, text)
        return _BEARER.sub(rf"\1{MASK}", text)

    def body(self, text: str) -> str:
        """What a request sent: JSON, a form, or something else."""
        if text.lstrip()[:1] in ("{", "["):
            try:
                return json.dumps(self._sent(json.loads(text), ""), ensure_ascii=False)
            except (ValueError, RecursionError):
                pass
        if "form-data;" in text:
            return MASK
        return self.text(text)

    def document(self, value: Any, name: str = "") -> Any:
        """A HAR, or a line of a trace: plain JSON data. `name` is what it is called where it stands."""
        if isinstance(value, str):
            if value and (value in self._secrets or is_secret(name)):
                return MASK
            if name == "message" and self._quoted is not None:
                value = self._quoted.sub(f'"{MASK}"', value)
            return self.body(value) if name in _BODIES else self.text(value)
        if isinstance(value, list):
            if name == "cookies":
                return [{**c, "value": MASK} if isinstance(c, dict) else MASK for c in value]
            if _takes_password(value):
                shown = {k: MASK if "value" in k.lower() else v for k, v in value[1].items()}
                value = [value[0], shown, *value[2:]]
            return [self.document(v, name) for v in value]
        if isinstance(value, dict):
            out = {self.text(k): self._member(k, v) for k, v in value.items()}
            # A header, a parameter, a field of a form.
            called = value.get("name")
            if isinstance(called, str) and isinstance(value.get("value"), str) and is_secret(called):
                out["value"] = MASK
            return out
        return value

    def _member(self, name: str, value: Any) -> Any:
        if name.lower() in _HEADERS and value:
            return MASK
        if name == "_webSocketMessages" and isinstance(value, list):
            return [{**m, "data": MASK} for m in value if isinstance(m, dict)]
        return self.document(value, name)

    def _sent(self, value: Any, name: str) -> Any:
        """JSON that a request sent: numbers may be secrets there, too."""
        if isinstance(value, list):
            return [self._sent(v, name) for v in value]
        if isinstance(value, dict):
            return {self.text(k): self._sent(v, k) for k, v in value.items()}
        if value is None or isinstance(value, bool):
            return value
        text = str(value)
        if text in self._secrets or is_secret(name):
            return MASK
        return self.text(value) if isinstance(value, str) else value

    def _parameter(self, m: re.Match[str]) -> str:
        if m["value"] in self._secrets or is_secret(m["name"]):
            return f"{m['before']}{m['name']}={MASK}"
        return m[0]


def secrets_of(dispatch: Dispatch, steps: Iterable[PlannedStep]) -> Iterator[str]:
    """The values that a session fills in, and those of its row of data."""
    for step in steps:
        if isinstance(step.argument, Fill):
            yield step.argument.value
    for value in dispatch.variables.values():
        if value is not None and not isinstance(value, bool):
            yield str(value)


def is_secret(name: str) -> bool:
    """Whether a header, parameter or field of this name holds a secret: `user_password`, `accessToken`."""
    if name.lower() in _HEADERS:
        return True
    words = [w.lower() for w in _WORD.findall(name)]
    return any(w in _SECRET_WORDS or w.endswith(_SECRET_ENDS) for w in words) or any(
        pair in _SECRET_PAIRS for pair in pairwise(words)
    )


def _takes_password(value: list[Any]) -> bool:
    """An element in a trace's picture of a page, `["INPUT", {attributes}, …]`, that takes a password."""
    return (
        len(value) > 1
        and value[0] == "INPUT"
        and isinstance(value[1], dict)
        and str(value[1].get("type", "")).lower() == "password"
    )


def _ways(secret: str) -> Iterator[str]:
    """How a value may be written."""
    yield secret
    inner = [json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]]
    yield from inner
    yield from (json.dumps(i)[1:-1] for i in inner)
    yield from (i.replace("/", "\\/") for i in inner)
    for text in (secret, *inner):
        yield html.escape(text, quote=False)
        escaped = html.escape(text)
        yield from (escaped.replace("&#x27;", way) for way in ("&#x27;", "&#39;", "&apos;", "'"))
    yield from _in_base64(secret.encode())
    for encoding in ("utf-8", "cp1252"):
        # A form is sent in the encoding of its page.
        with contextlib.suppress(UnicodeEncodeError):
            for safe in ("", "!'()*~", "/"):
                coded = quote(secret, safe=safe, encoding=encoding, errors="strict")
                yield quote(coded, safe=safe)  # in an address within an address
                yield from (coded, re.sub(r"%[0-9A-F]{2}", lambda m: m[0].lower(), coded))
            yield quote_plus(secret, safe="*", encoding=encoding, errors="strict")


def _in_base64(data: bytes) -> Iterator[str]:
    """The characters of base64 that depend on these bytes alone, wherever they stand in what is coded."""
    for lead in range(3):
        coded = base64.b64encode(bytes(lead) + data).decode()
        part = coded[-(-lead * 8 // 6) : (lead + len(data)) * 8 // 6]
        if len(part) >= _MIN_BASE64:
            yield from (part, part.translate(_URL_SAFE))
