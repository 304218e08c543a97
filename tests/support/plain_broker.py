"""A nats-server without JetStream, with one user."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

from broker_config.server_binary import find_server
from tests.support.waiting import eventually


@asynccontextmanager
async def plain_broker(directory: Path) -> AsyncIterator[int]:
    """The port of a broker that lets in user `u` with password `right`."""
    config = directory / "users.conf"
    config.write_text('authorization { user: "u", password: "right" }\n')
    arguments = ["-a", "127.0.0.1", "-p", "-1", "-c", str(config), "--ports_file_dir", str(directory)]
    process = await asyncio.create_subprocess_exec(
        str(find_server()), *arguments, stderr=asyncio.subprocess.DEVNULL
    )

    def port() -> int:
        for path in directory.glob("*.ports"):
            if (text := path.read_text()).endswith("}"):
                return urlsplit(json.loads(text)["nats"][0]).port or 0
        return 0

    try:
        yield await eventually(port, what="the ports file")
    finally:
        process.terminate()
        await process.wait()
