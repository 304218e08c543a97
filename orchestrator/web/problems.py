"""Errors as `application/problem+json` (RFC 9457): what was wrong, where, and what to do; never internals."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from http import HTTPStatus

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ExceptionHandler

from broker_config import codec
from broker_config.api import API_PREFIX, Problem
from broker_config.errors import (
    ArtifactNotFound,
    BrokerError,
    BrokerIsOpen,
    BrokerUnavailable,
    Conflict,
    IllegalTransition,
    InviteNotFound,
    JobNotFound,
    JoinRefused,
    KillHolds,
    KillNotFound,
    MessageError,
    NameRefused,
    PersonNotFound,
    PoolNotFound,
    RunnerNotFound,
    SealBroken,
    SecretNotFound,
    SpecError,
    StreamFull,
    TargetNotFound,
    TrafficBusterError,
)
from broker_config.errors import Problem as WrongField

MEDIA_TYPE = "application/problem+json"
#: Seconds after which a client may ask again while the broker is away.
RETRY_AFTER = 2

#: The first that fits counts.
STATUS: tuple[tuple[type[TrafficBusterError], int], ...] = (
    (JobNotFound, 404),
    (ArtifactNotFound, 404),
    (PoolNotFound, 404),
    (PersonNotFound, 404),
    (SecretNotFound, 404),
    (TargetNotFound, 404),
    (InviteNotFound, 404),
    (RunnerNotFound, 404),
    (JoinRefused, 403),
    (BrokerIsOpen, 409),
    (SealBroken, 502),
    (IllegalTransition, 409),
    (KillHolds, 409),
    (KillNotFound, 404),
    (Conflict, 409),
    (SpecError, 422),
    (NameRefused, 422),
    (MessageError, 400),
    (StreamFull, 507),
    (BrokerUnavailable, 503),
    (BrokerError, 502),
)


class RequestRefused(HTTPException):
    """Raised by endpoints: a status with words, and the wrong fields one by one."""

    def __init__(
        self,
        status: int,
        detail: str,
        errors: Iterable[WrongField] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(status, detail, dict(headers) if headers else None)
        self.errors = tuple(errors)


def problem_response(
    status: int,
    detail: str,
    errors: Iterable[WrongField] = (),
    headers: Mapping[str, str] | None = None,
) -> Response:
    problem = Problem(
        title=HTTPStatus(status).phrase,
        status=status,
        detail=detail,
        errors=[{"where": e.where, "what": e.what} for e in errors],
    )
    return Response(codec.encode(problem), status, dict(headers) if headers else None, MEDIA_TYPE)


def response_of(refused: RequestRefused) -> Response:
    """For middleware, outside of which nobody turns exceptions into answers."""
    return problem_response(refused.status_code, refused.detail, refused.errors, refused.headers)


def status_of(error: TrafficBusterError) -> int:
    """The HTTP status of an error; 500 for those that no request should cause."""
    return next((status for kind, status in STATUS if isinstance(error, kind)), 500)


async def _http(request: Request, e: Exception) -> Response:
    assert isinstance(e, HTTPException)
    detail, errors = e.detail, e.errors if isinstance(e, RequestRefused) else ()
    if not errors and detail == HTTPStatus(e.status_code).phrase:
        detail = _words(request, e)
    return problem_response(e.status_code, detail, errors, e.headers)


def _words(request: Request, e: HTTPException) -> str:
    path = request.url.path[:200]
    if e.status_code == 404:
        return f"there is nothing at {path}; {API_PREFIX}/openapi.json lists what there is"
    if e.status_code == 405:
        allowed = (e.headers or {}).get("Allow", "")
        return f"{path} does not take {request.method}; allowed: {allowed}"
    return e.detail


async def _ours(request: Request, e: Exception) -> Response:
    assert isinstance(e, TrafficBusterError)
    status = status_of(e)
    if status == 500:
        raise e
    errors = e.problems if isinstance(e, SpecError) else ()
    headers = {"Retry-After": str(RETRY_AFTER)} if status == 503 else None
    return problem_response(status, str(e), errors, headers)


async def _unexpected(request: Request, e: Exception) -> Response:
    # The server logs the exception itself: it is raised again after this answer.
    return problem_response(500, "the orchestrator failed on this request; its log says why")


HANDLERS: dict[int | type[Exception], ExceptionHandler] = {
    HTTPException: _http,
    TrafficBusterError: _ours,
    Exception: _unexpected,
}
