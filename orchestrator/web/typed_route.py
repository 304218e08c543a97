"""Endpoints for Starlette that say who may use them, and typed JSON ones: msgspec checks what comes in, and
`openapi` reads the same types."""

from __future__ import annotations

import asyncio
import inspect
import re
from collections.abc import Awaitable, Callable
from functools import partial
from types import UnionType
from typing import Any, Generic, NamedTuple, TypeVar, get_args, get_origin, get_type_hints

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from broker_config import codec
from broker_config.audit_actions import ACTIONS
from broker_config.errors import Problem, SpecError
from orchestrator.core.access import Access

from .access_check import Resolver, check
from .audit_trail import audited
from .problems import RequestRefused
from .rate_limit import Kind
from .web_state import rate_limit

MAX_BODY = 1 << 20
#: All of a body has to come within this time, s: some routes read those of anybody.
BODY_WITHIN = 60.0
#: Bodies larger than this are checked in a thread, so that nobody else waits meanwhile.
_LARGE = 64 << 10
_AT = re.compile(r"^(?P<what>.*) - at `\$\.?(?P<where>.*)`$", re.DOTALL)
_NO_NAME = re.compile(r"Object contains unknown field `(?![a-z][a-z_]{0,39}`).*?`(?= - at `\$|$)", re.DOTALL)
_UNKNOWN = re.compile(r"Object contains unknown field `(?P<name>.*)`", re.DOTALL)

T = TypeVar("T")
Handler = Callable[..., Awaitable[Any]]


class Reply(NamedTuple, Generic[T]):
    """An answer with a status of its own."""

    value: T
    status: int


class Operation(NamedTuple):
    """What `openapi` needs to know of an endpoint."""

    method: str
    handler: Handler
    tag: str
    #: Success statuses with their meaning.
    statuses: dict[int, str]
    #: Statuses of the problems that the endpoint answers by itself.
    problems: tuple[int, ...]
    #: Headers that it reads, with their meaning.
    headers: dict[str, str]
    #: Types of the answers that are no JSON.
    media: tuple[str, ...]
    hints: dict[str, Any]
    path_names: tuple[str, ...]
    access: Access
    #: Whether it is about an object that someone else may not know of.
    owned: bool

    @property
    def answer(self) -> Any:
        """Type of the answer's body."""
        hint = self.hints["return"]
        return get_args(hint)[0] if get_origin(hint) in (Reply, UnionType) else hint


class GuardedRoute(Route):
    """A route that declares who may use it; nothing of the request is read before that is checked.

    `of` finds the project of the object that the request is about. Where `access` is to a project and there
    is no `of`, the route is about a list or about all that one has, which the handler narrows by `role_in`.
    `audits` is the action (of `broker_config.audit_actions`) as which a request is noted in the audit log,
    whatever becomes of it; of a route that changes nothing only refusals are noted.
    """

    def __init__(
        self,
        path: str,
        endpoint: Callable[[Request], Awaitable[Response]],
        *,
        methods: list[str],
        access: Access,
        of: Resolver | None = None,
        rate: Kind | None = None,
        audits: str = "",
        name: str | None = None,
    ) -> None:
        if not isinstance(access, Access):
            raise TypeError(f"{path}: access must be an Access, not {access!r}")
        if of is not None and access.scope != "project":
            raise TypeError(f"{path}: whose the object is does not matter where the access is {access.scope}")
        if audits and audits not in ACTIONS:
            raise TypeError(f"{path}: {audits!r} is no action of broker_config.audit_actions")
        if not audits and not {"GET", "HEAD"}.issuperset(methods):
            raise TypeError(f"{path}: {', '.join(methods)} changes something; name its action: audits=…")
        self.access = access
        self.of = of
        self.audits = audits

        async def checked(request: Request) -> Response:
            await check(request, access, of)
            rate_limit(request).route(rate, request)
            return await endpoint(request)

        async def guarded(request: Request) -> Response:
            return await audited(request, audits, partial(checked, request))

        super().__init__(path, guarded, methods=methods, name=name or endpoint.__name__)


class TypedRoute(GuardedRoute):
    """`handler(request, *, body: Struct, query: Struct, <path parameters>: str) -> Struct | Reply[Struct]`.

    A handler of `Struct | Response` may answer by itself, with one of the types `media`.
    Body and query may be left out. `read` turns the body's plain JSON into what the handler gets, and may
    raise `SpecError`; without it the body is converted to its type. The rest is as in `GuardedRoute`.
    """

    def __init__(
        self,
        method: str,
        path: str,
        handler: Handler,
        *,
        tag: str,
        access: Access,
        of: Resolver | None = None,
        rate: Kind | None = None,
        audits: str = "",
        statuses: dict[int, str] | None = None,
        problems: tuple[int, ...] = (),
        headers: dict[str, str] | None = None,
        read: Callable[[Any], Any] | None = None,
        max_body: int = MAX_BODY,
        media: tuple[str, ...] = (),
    ) -> None:
        hints = get_type_hints(handler, include_extras=True)
        names = inspect.signature(handler).parameters
        self.operation = Operation(
            method=method,
            handler=handler,
            tag=tag,
            statuses=statuses or {200: "Done."},
            problems=problems,
            headers=headers or {},
            media=media,
            hints=hints,
            path_names=tuple(n for n in names if n not in ("request", "body", "query")),
            access=access,
            owned=of is not None,
        )
        status = next(iter(self.operation.statuses))

        async def endpoint(request: Request) -> Response:
            given: dict[str, Any] = {n: request.path_params[n] for n in self.operation.path_names}
            if "query" in hints:
                given["query"] = read_query(request, hints["query"])
            if "body" in hints:
                given["body"] = await _body(request, hints["body"], read, max_body)
            out = await handler(request, **given)
            if isinstance(out, Response):
                return out
            value, code = out if isinstance(out, Reply) else (out, status)
            return Response(codec.encode(value), code, media_type="application/json")

        super().__init__(
            path,
            endpoint,
            methods=[method],
            access=access,
            of=of,
            rate=rate,
            audits=audits,
            name=handler.__name__,
        )


def read_query(request: Request, kind: type[T]) -> T:
    """The query string as a Struct; 422 that names the parameter."""
    params = dict(request.query_params)
    if len(params) != len(request.query_params.multi_items()):
        twice = next(n for n in params if len(request.query_params.getlist(n)) > 1)
        raise RequestRefused(422, f"{twice}: is given twice", [Problem(twice, "is given twice")])
    try:
        return msgspec.convert(params, kind, strict=False)
    except msgspec.ValidationError as e:
        unknown = _UNKNOWN.fullmatch(str(e))
        if unknown:
            allowed = ", ".join(f.encode_name for f in msgspec.structs.fields(kind))  # type: ignore[arg-type]
            wrong = Problem(unknown["name"], f"there is no such parameter; allowed: {allowed}")
        else:
            wrong = _wrong(str(e))
        raise RequestRefused(422, str(wrong), [wrong]) from None


async def _body(request: Request, kind: type, read: Callable[[Any], Any] | None, limit: int) -> Any:
    media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media != "application/json":
        raise RequestRefused(415, f"the body is {media or 'of no declared type'}; send application/json")
    data = await _bounded(request, limit)
    if len(data) > _LARGE:
        return await asyncio.to_thread(_parse, data, kind, read)
    return _parse(data, kind, read)


async def _bounded(request: Request, limit: int) -> bytes:
    too_large = RequestRefused(413, f"the body is over the limit of {limit} bytes")
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and (len(declared) > 18 or int(declared) > limit):
        raise too_large
    data = bytearray()
    try:
        async with asyncio.timeout(BODY_WITHIN):
            async for chunk in request.stream():
                data += chunk
                if len(data) > limit:
                    raise too_large
    except TimeoutError:
        raise RequestRefused(408, f"the body did not come within {BODY_WITHIN:g} s") from None
    return bytes(data)


def _parse(data: bytes, kind: type, read: Callable[[Any], Any] | None) -> Any:
    try:
        raw = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as e:
        raise RequestRefused(400, f"the body is not JSON: {e}") from None
    try:
        if read is not None:
            return read(raw)
        return msgspec.convert(raw, kind, dec_hook=codec.dec_hook)
    except msgspec.ValidationError as e:
        wrong = _wrong(str(e))
        raise RequestRefused(422, str(wrong), [wrong]) from None
    except RecursionError:
        raise SpecError([Problem("", "the document is nested too deeply")]) from None


def _wrong(text: str) -> Problem:
    # Whoever sends a password where a field's name should be must not find it in the answer, and in the log.
    text = _NO_NAME.sub("Object contains an unknown field", text)
    at = _AT.match(text)
    return Problem(at["where"], at["what"][0].lower() + at["what"][1:]) if at else Problem("", text)
