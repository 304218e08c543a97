"""`tb-runner start --join-token-file`: a join token becomes a credential, once."""

from __future__ import annotations

import asyncio
import base64
import ipaddress
import random
import socket
import ssl
import time
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from broker_config import codec
from broker_config.api import API_PREFIX, Problem
from broker_config.enrolment import TOKEN_PREFIX, RunnerGrant, RunnerJoin, joined
from broker_config.errors import BrokerUnavailable, JoinRefused, MessageError, SettingsError
from broker_config.runner_credential import RunnerCredential, pinned
from runner.core import names

#: Statuses after which the same may work in a moment.
_AGAIN = (429, 502, 503)
#: For so long it is tried, s: the orchestrator may still be starting.
_WITHIN = 30.0
_PAUSE = 1.0


async def credential(
    data_dir: Path, *, token_file: Path | None, server: str, ca_file: str, name: str, insecure: bool
) -> RunnerCredential | None:
    """The credential in `data_dir`; with `token_file` it is got by joining where there is none, or where its
    time is over. None for a runner that has none and needs none.

    Raises `SettingsError`, `JoinRefused` and `BrokerUnavailable`.
    """
    found = RunnerCredential.load(data_dir)
    holds = found is not None and bool(found.token) and time.time() < found.expires_at
    if token_file is None or holds:
        if found is not None and not found.token:
            raise SettingsError(
                f"the runner in {data_dir} has not joined yet; start it with --join-token-file, or forget "
                "its key by `tb-runner leave`"
            )
        return found
    token = _token(token_file)
    if found is None:
        found = RunnerCredential.new(name or names.runner_id(socket.gethostname(), random.SystemRandom()))
    # Kept before it is shown to anybody: an answer that is lost can be asked for again, by the same key.
    found.save(data_dir)
    grant = await _join(found, token, server, ca_file, insecure)
    found = found.granted(grant, now=time.time(), reached=urlsplit(server).hostname or "")
    found.save(data_dir)
    return found


def _token(path: Path) -> str:
    try:
        token = path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as e:
        why = e.strerror if isinstance(e, OSError) else "it is not text"
        raise SettingsError(f"--join-token-file {path} cannot be read: {why}") from None
    if not token.startswith(TOKEN_PREFIX) or len(token) > 200:
        raise SettingsError(
            f"--join-token-file {path} holds no join token; `tb runners invite` makes one ({TOKEN_PREFIX}…)"
        )
    return token


async def _join(
    credential: RunnerCredential, token: str, server: str, ca_file: str, insecure: bool
) -> RunnerGrant:
    parts = urlsplit(server)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise SettingsError(f"server {server!r} is no address; write https://host:port (--server, TB_SERVER)")
    if parts.scheme == "http" and not insecure and not _is_loopback(parts.hostname):
        raise SettingsError(
            f"--server {server} would get the join token in the clear; use https, or --insecure where the "
            "network is trusted"
        )
    wish = RunnerJoin(
        token=token,
        runner=credential.runner,
        key=credential.key,
        signature=base64.b64encode(credential.sign(joined(token, credential.runner))).decode(),
    )
    deadline = time.monotonic() + _WITHIN
    url = f"{server.rstrip('/')}{API_PREFIX}/runner-join"
    async with httpx.AsyncClient(verify=_tls(ca_file), trust_env=False, timeout=10) as http:
        while True:
            pause = _PAUSE
            try:
                answer = await http.post(
                    url, content=codec.encode(wish), headers={"Content-Type": "application/json"}
                )
            except httpx.HTTPError as e:
                failure = f"the orchestrator at {server} cannot be reached: {e or type(e).__name__}"
                if "CERTIFICATE_VERIFY_FAILED" in str(e):
                    raise SettingsError(f"{failure}; name its authority by --ca-file") from None
            else:
                if answer.is_success:
                    return _read(answer)
                failure = f"the orchestrator at {server} did not let this runner join: {_why(answer)}"
                if answer.status_code not in _AGAIN:
                    raise JoinRefused(failure)
                wanted = answer.headers.get("Retry-After", "")
                pause = float(wanted) if wanted.isdecimal() else _PAUSE
            if time.monotonic() + pause > deadline:
                raise BrokerUnavailable(failure)
            await asyncio.sleep(pause)


def _read(answer: httpx.Response) -> RunnerGrant:
    try:
        return codec.decode(answer.content, RunnerGrant)
    except MessageError as e:
        raise JoinRefused(f"the answer of the orchestrator cannot be read: {e}") from None


def _why(answer: httpx.Response) -> str:
    try:
        return codec.decode(answer.content, Problem).detail
    except MessageError:
        return f"it answered {answer.status_code}"


def _tls(ca_file: str) -> ssl.SSLContext | bool:
    if not ca_file:
        return True
    try:
        return pinned(Path(ca_file).read_text("ascii"))
    except (OSError, UnicodeDecodeError, SettingsError) as e:
        why = e.strerror if isinstance(e, OSError) else "it has to be PEM"
        raise SettingsError(f"--ca-file {ca_file} cannot be used: {why}") from None


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
