"""A client of the orchestrator: REST over httpx, live progress over a WebSocket."""

from __future__ import annotations

import asyncio
import json
import random
import ssl
from collections.abc import AsyncGenerator, Callable
from typing import Any, Self, TypeVar

import httpx
import msgspec
import websockets
from websockets.asyncio.client import connect

from broker_config import codec
from broker_config.api import (
    API_PREFIX,
    ArtifactPage,
    AuditEntryPage,
    AuditTail,
    AuditView,
    ChainReport,
    Health,
    JobDetail,
    JobPage,
    JobView,
    PlatformList,
    Problem,
    ProxyImport,
    ProxyPoolList,
    ProxyPoolView,
    ProxyTestReport,
    RunnerList,
    RunnerView,
    SecretList,
    SecretView,
    ServerMessage,
    SessionPage,
    SocketProblem,
    Subscribe,
)
from broker_config.errors import (
    AccessRefused,
    BrokerUnavailable,
    Conflict,
    IllegalTransition,
    JobNotFound,
    MessageError,
    SettingsError,
    SpecError,
    TrafficBusterError,
)
from broker_config.errors import Problem as SpecProblem
from broker_config.job_plan import JobPlan
from broker_config.kill import KillList, KillView
from broker_config.people import DEFAULT_PROJECT

T = TypeVar("T")

#: Seconds without a byte of a report: all records of a large job are read for it.
_REPORT_LIMIT = 300.0
#: Pauses between attempts to come back, s: doubled each time, up to the last.
_FIRST_PAUSE, _LAST_PAUSE = 0.25, 5.0
#: For one answer about tests of proxies, s.
_TEST_LIMIT = 40.0


class ServerError(TrafficBusterError):
    """The orchestrator cannot be reached, or answered what cannot be used."""


class Client:
    """`async with Client("http://127.0.0.1:8700") as c`. Errors come as `TrafficBusterError`s, in words.

    Raises `SettingsError` where `server` is no address, or `ca_file` (PEM: authorities to trust beside the
    system's own) cannot be used. `token` is shown with each request; `token_source` says where it is from.
    """

    def __init__(
        self,
        server: str,
        *,
        token: str = "",
        token_source: str = "",
        timeout: float = 30.0,
        ca_file: str = "",
    ) -> None:
        self.server = server.rstrip("/")
        if not self.server.startswith(("http://", "https://")):
            raise SettingsError(
                f"server {server!r} is no address; write http://host:port (--server, TB_SERVER)"
            )
        self._shown = {"Authorization": f"Bearer {token}"} if token else {}
        self._token_source = token_source
        self._tls = _tls(ca_file) if self.server.startswith("https://") else None
        try:
            self._http = httpx.AsyncClient(
                base_url=self.server + API_PREFIX,
                timeout=timeout,
                trust_env=False,
                verify=self._tls or True,
                headers=self._shown,
            )
        except httpx.InvalidURL as e:
            raise SettingsError(f"server {server!r} is no address ({e}); write http://host:port") from None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._http.aclose()

    async def submit(
        self, document: dict[str, Any], *, key: str | None, source: str, project: str = DEFAULT_PROJECT
    ) -> JobView:
        headers = {"Idempotency-Key": key} if key else {}
        params = {"source": source, "project": project}
        answer = await self._call("POST", "/jobs", json=document, headers=headers, params=params)
        return _read(answer, JobView)

    async def plan(self, document: dict[str, Any], *, project: str = DEFAULT_PROJECT) -> JobPlan:
        answer = await self._call("POST", "/jobs/plan", json=document, params={"project": project})
        return _read(answer, JobPlan)

    async def jobs(
        self,
        *,
        state: str | None = None,
        project: str | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> JobPage:
        answer = await self._get("/jobs", state=state, project=project, limit=limit, cursor=cursor)
        return _read(answer, JobPage)

    async def job(self, job: str) -> JobView:
        return _read(await self._get(f"/jobs/{_part(job)}"), JobView)

    async def detail(self, job: str) -> JobDetail:
        return _read(await self._get(f"/jobs/{_part(job)}/detail"), JobDetail)

    async def command(self, job: str, command: str) -> JobView:
        return _read(await self._call("POST", f"/jobs/{_part(job)}/{command}"), JobView)

    async def retry(self, job: str) -> JobView:
        answer = await self._call("POST", f"/jobs/{_part(job)}/retry", params={"source": "cli"})
        return _read(answer, JobView)

    async def report(self, job: str, format: str, take: Callable[[bytes], object]) -> None:
        """The report in that format, piece by piece. Raises `ServerError` if it breaks off."""
        await self._stream(f"/jobs/{_part(job)}/report", {"format": format}, take)

    async def _stream(self, path: str, params: dict[str, str], take: Callable[[bytes], object]) -> None:
        limit = httpx.Timeout(30, read=_REPORT_LIMIT)
        try:
            async with self._http.stream("GET", path, params=params, timeout=limit) as response:
                if not response.is_success:
                    await response.aread()
                    raise _error(response)
                async for piece in response.aiter_bytes():
                    take(piece)
        except (httpx.HTTPError, httpx.InvalidURL) as e:
            raise ServerError(_unreachable(self.server, e)) from None

    async def audit(self, job: str) -> AuditView:
        return _read(await self._get(f"/jobs/{_part(job)}/audit"), AuditView)

    async def audit_entries(self, *, limit: int, cursor: str | None = None, **only: str) -> AuditEntryPage:
        """`only` as the query of `GET /audit`: actor, action, result, object, project, since."""
        return _read(await self._get("/audit", limit=limit, cursor=cursor, **only), AuditEntryPage)

    async def audit_tail(self, *, after: int | None, wait: float, **only: str) -> AuditTail:
        """`wait` in seconds, for an entry after number `after`."""
        return _read(await self._get("/audit/tail", after=after, wait=wait, **only), AuditTail)

    async def verify_audit(self, head: str = "") -> ChainReport:
        answer = await self._call("GET", "/audit/verify", params={"head": head}, timeout=_REPORT_LIMIT)
        return _read(answer, ChainReport)

    async def export_audit(self, take: Callable[[bytes], object]) -> None:
        """All entries, one a line, piece by piece. Raises `ServerError` if it breaks off."""
        await self._stream("/audit/export", {}, take)

    async def sessions(
        self, job: str, *, status: str | None = None, limit: int = 100, cursor: str | None = None
    ) -> SessionPage:
        answer = await self._get(f"/jobs/{_part(job)}/sessions", status=status, limit=limit, cursor=cursor)
        return _read(answer, SessionPage)

    async def artifacts(
        self, job: str, *, session: int | None = None, limit: int = 100, cursor: str | None = None
    ) -> ArtifactPage:
        answer = await self._get(f"/jobs/{_part(job)}/artifacts", session=session, limit=limit, cursor=cursor)
        return _read(answer, ArtifactPage)

    async def artifact(self, name: str) -> AsyncGenerator[bytes, None]:
        """The content, as it comes. Raises `JobNotFound` where there is none."""
        try:
            async with self._http.stream("GET", f"/artifacts/{name}") as response:
                if not response.is_success:
                    await response.aread()
                    raise _error(response)
                async for chunk in response.aiter_bytes():
                    yield chunk
        except (httpx.HTTPError, httpx.InvalidURL) as e:
            raise ServerError(_unreachable(self.server, e)) from None

    async def runners(self) -> RunnerList:
        return _read(await self._get("/runners"), RunnerList)

    async def runner(self, runner: str) -> RunnerView:
        return _read(await self._get(f"/runners/{_part(runner)}"), RunnerView)

    async def platforms(self) -> PlatformList:
        return _read(await self._get("/runners/available-platforms"), PlatformList)

    async def proxy_pools(self) -> ProxyPoolList:
        return _read(await self._get("/proxies"), ProxyPoolList)

    async def proxy_pool(self, name: str) -> ProxyPoolView:
        return _read(await self._get(f"/proxies/{_part(name)}"), ProxyPoolView)

    async def import_proxies(self, name: str, lines: str, *, replace: bool) -> ProxyImport:
        """Raises `SpecError` that names each line, where none can be used."""
        method, path = ("PUT", "") if replace else ("POST", "/lines")
        return _read(
            await self._call(method, f"/proxies/{_part(name)}{path}", json={"lines": lines}), ProxyImport
        )

    async def switch_proxies(
        self, name: str, proxies: list[str], *, everything: bool, enabled: bool
    ) -> ProxyPoolView:
        body = {"enabled": enabled, "proxies": proxies, "all": everything}
        return _read(await self._call("PATCH", f"/proxies/{_part(name)}", json=body), ProxyPoolView)

    async def test_proxies(self, name: str, *, first: int, url: str, runner: str) -> ProxyTestReport:
        """Takes as long as the proxies do."""
        body = {"first": first, "url": url, "runner": runner}
        answer = await self._call("POST", f"/proxies/{_part(name)}/test", json=body, timeout=_TEST_LIMIT)
        return _read(answer, ProxyTestReport)

    async def remove_proxies(self, name: str) -> None:
        await self._call("DELETE", f"/proxies/{_part(name)}")

    async def secrets(self, project: str) -> SecretList:
        return _read(await self._get(f"/projects/{_part(project)}/secrets"), SecretList)

    async def set_secret(self, project: str, name: str, value: str) -> SecretView:
        path = f"/projects/{_part(project)}/secrets/{_part(name)}"
        return _read(await self._call("PUT", path, json={"value": value}), SecretView)

    async def remove_secret(self, project: str, name: str) -> None:
        await self._call("DELETE", f"/projects/{_part(project)}/secrets/{_part(name)}")

    async def kill(self, *, job: str, project: str, fleet: bool, reason: str) -> KillView:
        body = {"job": job, "project": project, "fleet": fleet, "reason": reason}
        return _read(await self._call("POST", "/kills", json=body), KillView)

    async def lift(self, id: str) -> KillView:
        return _read(await self._call("DELETE", f"/kills/{_part(id)}"), KillView)

    async def kills(self) -> KillList:
        return _read(await self._get("/kills"), KillList)

    async def health(self) -> Health:
        return _read(await self._get("/health"), Health)

    async def follow(
        self,
        job: str,
        *,
        say: Callable[[str], None],
        logs: bool = False,
        rng: random.Random | None = None,
    ) -> AsyncGenerator[ServerMessage, None]:
        """Snapshot and tail of a job, over lost connections too (resuming where it was). Ends by leaving it.

        With `logs` the events of its sessions too, of which some may be missed. `say` is told of each loss.
        Raises `JobNotFound`, `AccessRefused`, and `ServerError` if the server was never reached.
        """
        rng = rng or random.Random()
        url = "ws" + self.server.removeprefix("http") + "/ws"
        since: dict[str, int] = {}
        pause, reached = _FIRST_PAUSE, False
        while True:
            try:
                async with connect(
                    url,
                    max_size=8 << 20,
                    proxy=None,
                    open_timeout=10,
                    ssl=self._tls,
                    additional_headers=self._shown,
                ) as socket:
                    reached, pause = True, _FIRST_PAUSE
                    await socket.send(codec.encode(Subscribe(jobs=[job], since=since, logs=logs)).decode())
                    async for text in socket:
                        message = _message(text)
                        if isinstance(message, SocketProblem) and message.again:
                            say(message.detail)
                            break
                        if hasattr(message, "seq") and hasattr(message, "job"):
                            since = {job: message.seq}
                        yield message
                    else:
                        say("the orchestrator closed the connection; coming back")
            except (OSError, TimeoutError, websockets.WebSocketException) as e:
                if isinstance(e, websockets.InvalidStatus) and e.response.status_code in (401, 403):
                    whose = f" (shown was {self._token_source})" if self._token_source else ""
                    raise AccessRefused(f"{self.server} does not let this be watched{whose}") from None
                if not reached:
                    raise ServerError(_unreachable(self.server, e)) from None
                say(f"the connection is lost; trying again in {pause:.1f} s")
            await asyncio.sleep(pause * rng.uniform(0.5, 1.0))
            pause = min(_LAST_PAUSE, pause * 2)

    async def _get(self, path: str, **query: Any) -> bytes:
        return await self._call("GET", path, params={k: v for k, v in query.items() if v is not None})

    async def _call(self, method: str, path: str, **options: Any) -> bytes:
        try:
            response = await self._http.request(method, path, **options)
        except (httpx.HTTPError, httpx.InvalidURL) as e:
            raise ServerError(_unreachable(self.server, e)) from None
        if response.is_success:
            return response.content
        error = _error(response)
        if isinstance(error, AccessRefused) and self._token_source:
            raise AccessRefused(f"{error} (shown was {self._token_source})")
        raise error


def _tls(ca_file: str) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context()
        if ca_file:
            context.load_verify_locations(ca_file)
        return context
    except ssl.SSLError:
        raise SettingsError(f"--ca-file {ca_file} holds no certificates; it has to be PEM") from None
    except OSError as e:
        raise SettingsError(f"--ca-file {ca_file} cannot be read: {e.strerror or e}") from None


def _part(id: str) -> str:
    from urllib.parse import quote

    return quote(id, safe="") or "-"


def _read(data: bytes, kind: type[T]) -> T:
    try:
        return codec.decode(data, kind, 64 << 20)
    except MessageError as e:
        raise ServerError(
            f"the server's answer cannot be used ({e}); is it a TrafficBuster server?"
        ) from None


def _message(text: str | bytes) -> ServerMessage:
    data = text.encode() if isinstance(text, str) else text
    try:
        return msgspec.json.decode(data, type=ServerMessage, dec_hook=codec.dec_hook)  # type: ignore[no-any-return]
    except msgspec.MsgspecError as e:
        raise ServerError(f"the server's message cannot be used: {e}") from None


def _unreachable(server: str, error: Exception) -> str:
    why = f" ({error})" if str(error) else ""
    if "CERTIFICATE_VERIFY_FAILED" in why:
        return (
            f"the certificate of {server} is not trusted{why}; if it is yours, name its authority (--ca-file)"
        )
    return f"no orchestrator answers at {server}{why}; start one with `tb up`, or name it with --server"


def _error(response: httpx.Response) -> TrafficBusterError:
    try:
        problem = codec.decode(response.content, Problem)
    except MessageError:
        text = f"{response.status_code} {response.reason_phrase}"
        return ServerError(f"{response.url} answered {text}; is it a TrafficBuster server?")
    match response.status_code:
        case 401 | 403:
            return AccessRefused(problem.detail)
        case 404:
            return JobNotFound(problem.detail)
        case 409:
            return Conflict(problem.detail) if "key" in problem.detail else IllegalTransition(problem.detail)
        case 422 if problem.errors:
            places = [SpecProblem(e.get("where", ""), e.get("what", "")) for e in problem.errors]
            return SpecError(places)
        case 503:
            return BrokerUnavailable(problem.detail)
        case _:
            return ServerError(f"{problem.title}: {problem.detail}")


def as_json(value: object) -> str:
    """One line of JSON."""
    return json.dumps(codec.to_builtins(value), ensure_ascii=False, separators=(",", ":"))
