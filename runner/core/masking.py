"""Takes secrets out of what a session recorded: HAR, console, the files of a trace. Pure.

Masked are: values of cookies and of headers that authenticate; fields and parameters that are named like
secrets; and, wherever they stand and however they are written (in JSON, in a URL, in HTML), the values that
the session filled in and those of its row of data.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any

import msgspec

from broker_config.journey import Fill
from broker_config.messages import Dispatch
from broker_config.secret_ref import secret_name

from .journey_plan import PlannedStep, plan_journey
from .outcome import Outcome
from .writings import writings

MASK = "***"
#: Shorter values stand everywhere, in numbers and in words: they are masked where they are all of a field.
SHORTEST = 4
#: Characters from which on only both ends of a secret are looked for, in pieces of so many.
_LONG = 4_000
_PIECE = 100

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
        # The longer first: one may be a part of another.
        long = sorted((s for s in self._secrets if len(s) >= SHORTEST), key=lambda s: (-len(s), s))
        pattern = "|".join(dict.fromkeys(way for s in long for way in _ways(s)))
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


class SessionMask:
    """Called with a text about a session, for its log and its errors: gives it without what the session fills
    in, and without its row of data. Costs nothing until the first call."""

    def __init__(self, dispatch: Dispatch) -> None:
        self._dispatch = dispatch
        self._masker: Masker | None = None

    def __call__(self, text: str) -> str:
        """Before it is cut: the beginning of a secret is not found."""
        if self._masker is None:
            try:
                steps = plan_journey(self._dispatch)
            except (KeyError, msgspec.ValidationError):
                steps = []  # it cannot run: only its row can be told
            self._masker = Masker(secrets_of(self._dispatch, steps))
        return self._masker.text(text)


class SecretMask:
    """Called with any text that leaves the runner: gives it without the values of the session's stored
    secrets. Costs nothing where it has none."""

    def __init__(self, dispatch: Dispatch) -> None:
        values = [str(v) for n, v in dispatch.variables.items() if secret_name(n) is not None]
        self._masker = Masker(values) if values else None

    def __call__(self, text: str) -> str:
        return text if self._masker is None or not text else self._masker.text(text)

    def outcome(self, outcome: Outcome) -> Outcome:
        """What a session has come to, its files left as they are."""
        if self._masker is None:
            return outcome
        replace, error = msgspec.structs.replace, outcome.error
        return replace(
            outcome,
            error=None if error is None else replace(error, detail=self(error.detail)),
            pages=[replace(p, url=self(p.url)) for p in outcome.pages],
            steps=[replace(s, name=self(s.name), error=self(s.error)) for s in outcome.steps],
        )


def _ways(secret: str) -> Iterator[str]:
    """Patterns of a secret. Of a very long one: from its beginning to its end, and pieces from both ends."""
    if len(secret) <= _LONG:
        yield from writings(secret)
        return
    first, last = (next(iter(writings(part))) for part in (secret[:_PIECE], secret[-_PIECE:]))
    between = len(secret) - 2 * _PIECE
    yield rf"{first}[\s\S]{{{between},{12 * between}}}?{last}"
    for part in (secret[: _LONG // 2], secret[-_LONG // 2 :]):
        for at in range(0, len(part), _PIECE):
            yield from writings(part[at : at + _PIECE])


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
