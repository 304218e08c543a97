"""A proxy, and the lists of proxies that users have: TXT, CSV, one a line.

A line is `host:port`, `host:port:user:password`, `user:password@host:port`, or a URL such as
`socks5://user:password@host:1080`. Without a scheme it is an HTTP proxy. Lines that are empty or begin with
`#` are passed over. In CSV the columns have a header with `host` and `port`, or `url`, or else stand as in
the line with colons.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from urllib.parse import quote, unquote, urlsplit

import msgspec

from .errors import Problem
from .origin import Origin

SCHEMES = ("http", "https", "socks5")
_PORTS = {"http": 80, "https": 443, "socks5": 1080}
#: Other words for the same. `h` says that the proxy resolves names: here it always does.
_ALIASES = {"socks5h": "socks5", "socks": "socks5"}
MAX_PROXIES = 10_000
#: What a SOCKS5 proxy can be told of each.
_MAX_CREDENTIAL = 255

FORMS = "host:port, host:port:user:password, or a URL with http, https or socks5"
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
#: The form with colons, whose user name and password may hold an @.
_COLONS = re.compile(r"(\[[^\]]*\]|[^:@\[]+):[0-9]{1,5}:[^:]+:")


class Proxy(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One way out. Its text forms (`str`, `repr`) never hold user name or password; `url` does."""

    scheme: str
    host: str
    port: int
    user: str | None = None
    password: str | None = None
    enabled: bool = True

    @classmethod
    def parse(cls, text: str) -> Proxy:
        """Read a line. `ValueError` says what is wrong. It repeats nothing of the line but a proper host with
        its port: in a line that is written wrongly, a password may stand anywhere."""
        text = text.strip()
        if _URL.match(text):
            return _from_url(text)
        credentials, at, address = text.rpartition("@")
        if at and not _COLONS.match(text):
            user, _, password = credentials.partition(":")
            host, port, rest = _split(address)
            if rest:
                raise ValueError(f"there is more behind the port; write {FORMS}")
            return _checked("http", host, port, user, password)
        host, port, rest = _split(text)
        if not rest:
            return _checked("http", host, port, None, None)
        # A password may hold colons, a user name may not.
        user, colon, password = rest[1:].partition(":")
        if not colon:
            raise ValueError(f"there is a user name without a password; write {FORMS}")
        return _checked("http", host, port, user, password)

    @property
    def address(self) -> str:
        """`host:port`, with brackets where they belong."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """The URL with its credentials."""
        if self.user is None:
            return str(self)
        user, password = quote(self.user, safe=""), quote(self.password or "", safe="")
        return f"{self.scheme}://{user}:{password}@{self.address}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.address}"

    def __repr__(self) -> str:
        return f"Proxy({self}{', with credentials' if self.user is not None else ''})"


def read_proxies(text: str) -> tuple[dict[int, Proxy], list[Problem]]:
    """The proxies of a list by their line, in order, and what is wrong in it by line (`line 3`): bad lines
    and repeated proxies."""
    proxies: dict[int, Proxy] = {}
    problems: list[Problem] = []
    seen: dict[tuple[str, str, int, str | None], int] = {}
    for number, line in _lines(text.removeprefix("\ufeff")):
        where = f"line {number}"
        try:
            proxy = Proxy.parse(line)
        except ValueError as e:
            problems.append(Problem(where, str(e)))
            continue
        key = (proxy.scheme, proxy.host, proxy.port, proxy.user)
        if key in seen:
            problems.append(Problem(where, f"{proxy} stands in line {seen[key]} already"))
        elif len(proxies) == MAX_PROXIES:
            problems.append(Problem(where, f"more than {MAX_PROXIES} proxies; this and the rest is left out"))
            break
        else:
            seen[key] = number
            proxies[number] = proxy
    return proxies, problems


def _lines(text: str) -> Iterator[tuple[int, str]]:
    columns: list[str] | None = None
    delimiter = ""
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        if columns is None:
            delimiter = next((d for d in ",;\t" if _is_cells(line, d)), "")
            names = [n.strip().lower() for n in line.split(delimiter)] if delimiter else [line.lower()]
            columns = names if "url" in names or {"host", "port"} <= set(names) else []
            if columns:
                continue
        yield number, _joined(line, columns, delimiter)


def _joined(line: str, columns: list[str], delimiter: str) -> str:
    """The CSV line in the form with colons, or as a URL."""
    if not columns and not (delimiter and _is_cells(line, delimiter)):
        return line
    try:
        cells = [c.strip() for c in next(csv.reader(io.StringIO(line), delimiter=delimiter or ","))]
    except (csv.Error, StopIteration):
        return line
    if not columns:
        return ":".join(c for c in cells if c)
    row = dict(zip(columns, cells, strict=False))
    if row.get("url"):
        return row["url"]
    user = row.get("user") or row.get("username") or row.get("login") or ""
    password = row.get("password") or row.get("pass") or ""
    scheme = row.get("scheme") or row.get("type") or row.get("protocol") or "http"
    credentials = f"{quote(user, safe='')}:{quote(password, safe='')}@" if user else ""
    host = row.get("host", "")
    host = f"[{host}]" if ":" in host and not host.startswith("[") else host
    return f"{scheme.lower()}://{credentials}{host}:{row.get('port', '')}"


def _is_cells(line: str, delimiter: str) -> bool:
    """Whether it is a line of CSV: a password may hold a comma, but a colon stands before it then."""
    return delimiter in line and ":" not in line.split(delimiter)[0]


def _split(text: str) -> tuple[str, str, str]:
    """Host, port, and what follows, with its colon."""
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or not rest.startswith(":"):
            raise ValueError(f"there is no port behind the bracket; write {FORMS}")
        rest = rest[1:]
    else:
        host, colon, rest = text.partition(":")
        if not colon:
            raise ValueError(f"there is no port; write {FORMS}")
    port, colon, rest = rest.partition(":")
    return host, port, colon + rest


def _from_url(text: str) -> Proxy:
    scheme, _, rest = text.partition("://")
    scheme = _ALIASES.get(scheme.lower(), scheme.lower())
    if scheme not in SCHEMES:
        raise ValueError(f"the scheme of the URL is not allowed; use {', '.join(SCHEMES)}")
    try:
        parts = urlsplit(f"{scheme}://{rest}")
        port = parts.port
    except ValueError:
        # Where its parts are mixed up, the reason would repeat the password.
        raise ValueError(
            "it is not the URL of a proxy: the port is not one from 1 to 65535, or user name or password "
            "hold @ : or / as they are; write these as %40 %3A %2F"
        ) from None
    if not parts.hostname:
        raise ValueError(f"the URL has no host; write {FORMS}")
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise ValueError("there is more behind the host and its port; a proxy has no path")
    user = None if parts.username is None else unquote(parts.username)
    password = None if parts.username is None else unquote(parts.password or "")
    return _checked(scheme, parts.hostname, str(_PORTS[scheme] if port is None else port), user, password)


def _checked(scheme: str, host: str, port: str, user: str | None, password: str | None) -> Proxy:
    if not port.isascii() or not port.isdigit() or not 1 <= int(port) <= 65_535:
        raise ValueError(f"what stands for the port is not a port from 1 to 65535; write {FORMS}")
    shown = f"[{host}]" if ":" in host else host
    try:
        host = Origin.of(f"http://{shown}").host
    except ValueError:
        raise ValueError(f"what stands for the host is not a host; write {FORMS}") from None
    if user == "":
        raise ValueError(f"the user name is empty (at {host}:{port})")
    for value in (user or "", password or ""):
        if len(value.encode()) > _MAX_CREDENTIAL or any(c < " " or c == "\x7f" for c in value):
            raise ValueError(
                f"user name or password at {host}:{port} is longer than {_MAX_CREDENTIAL} bytes, "
                "or holds a control character"
            )
    if user is not None and ":" in user and scheme != "socks5":
        raise ValueError(f"a user name with a colon is not possible for an HTTP proxy (at {host}:{port})")
    return Proxy(scheme=scheme, host=host, port=int(port), user=user, password=password)
