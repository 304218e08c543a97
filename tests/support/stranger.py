"""A program on another machine that has no credential and tries the doors. Its words are JSON.

python -m tests.support.stranger WEB BROKER CA
"""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from broker_config import connection
from broker_config.errors import TrafficBusterError
from broker_config.runner_credential import pinned


async def _plain(broker: str) -> str:
    """What a client gets that does not talk TLS."""
    parts = urlsplit(broker)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    info = json.loads((await reader.readline()).removeprefix(b"INFO "))
    writer.write(b'CONNECT {"verbose":true}\r\nPING\r\n')
    said = await asyncio.wait_for(reader.read(), 5)
    writer.close()
    return f"tls_required={info.get('tls_required')} {said.decode()!r}"


async def _enters(broker: str, tls: ssl.SSLContext | None) -> str:
    try:
        nc = await connection.connect(broker, name="stranger", tls=tls, timeout=1)
    except TrafficBusterError as e:
        return f"{type(e).__name__}: {e}"
    await connection.leave(nc)
    return "let in"


async def _web(url: str, ca: str) -> str:
    async with httpx.AsyncClient(verify=pinned(ca), trust_env=False) as http:
        try:
            return str((await http.get(url)).status_code)
        except httpx.HTTPError as e:
            return type(e).__name__


async def main(web: str, broker: str, ca: str) -> None:
    found = {
        "plain": await _plain(broker),
        "nameless": await _enters(broker, pinned(ca)),
        "careful": await _enters(broker, None),
        "jobs": await _web(f"{web}/api/v1/jobs", ca),
        "http": await _web(f"{web.replace('https:', 'http:')}/api/v1/health", ca),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], Path(sys.argv[3]).read_text()))
