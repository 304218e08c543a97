"""Who listens at the ports of `tb up`?"""

from __future__ import annotations

import asyncio
import contextlib
import json

import httpx
import psutil

from broker_config.api import API_PREFIX

from .finding import Finding


async def web_port(port: int) -> Finding:
    name = f"port {port}"
    if not await listens(port):
        return Finding(name, "ok", "free")
    with contextlib.suppress(httpx.HTTPError, ValueError, TypeError, AttributeError):
        async with httpx.AsyncClient(trust_env=False, timeout=3) as client:
            answer = (await client.get(f"http://127.0.0.1:{port}{API_PREFIX}/health")).json()
            if "status" in answer and "broker" in answer:
                return Finding(name, "ok", f"an orchestrator ({answer.get('version') or '?'}) answers there")
    return _taken(name, port, "another program", "--port")


async def nats_port(port: int) -> Finding:
    name = f"port {port}"
    if not await listens(port):
        return Finding(name, "ok", "free")
    greeting = ""
    with contextlib.suppress(OSError, TimeoutError, ValueError):
        async with asyncio.timeout(2):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                greeting = (await reader.readline()).decode(errors="replace")
            finally:
                writer.close()
    if not greeting.startswith("INFO "):
        return _taken(name, port, "another program", "another broker port, and --nats for its address")
    try:
        info = json.loads(greeting[5:])
    except ValueError:
        info = {}
    if not info.get("jetstream"):
        return Finding(
            name,
            "warn",
            "a nats-server without JetStream answers there",
            "turn JetStream on (`nats-server -js`), or use another broker (--nats)",
        )
    return Finding(name, "ok", f"nats-server {info.get('version', '?')} with JetStream answers there")


async def listens(port: int) -> bool:
    try:
        async with asyncio.timeout(2):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True


def _taken(name: str, port: int, by: str, instead: str) -> Finding:
    who = listener(port) or by
    return Finding(name, "warn", f"taken by {who}", f"end it, or use {instead}")


def listener(port: int) -> str:
    """The process that listens there, where the system tells."""
    with contextlib.suppress(psutil.Error, OSError):
        for c in psutil.net_connections("tcp"):
            if c.status == psutil.CONN_LISTEN and c.laddr and c.laddr.port == port and c.pid:
                return f"{psutil.Process(c.pid).name()} (process {c.pid})"
    return ""
