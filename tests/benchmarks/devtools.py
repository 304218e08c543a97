"""Chromium by its DevTools protocol alone: what a session costs without a driver between."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import itertools
import json
import re
import signal
import tempfile
from typing import Any

from websockets.asyncio.client import ClientConnection, connect


class DevTools:
    """One browser. Sessions are flat: `session` is "" for the browser itself. It ends with its process."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._ids = itertools.count(1)
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._waiting: dict[tuple[str, str], asyncio.Future[Any]] = {}
        self._reading = asyncio.create_task(self._read())
        self._draining: asyncio.Task[bytes] | None = None

    @classmethod
    async def launch(cls, path: str, *more: str) -> DevTools:
        profile = tempfile.mkdtemp(prefix="devtools-")
        process = await asyncio.create_subprocess_exec(
            *(path, "--headless", "--no-sandbox", "--remote-debugging-port=0", f"--user-data-dir={profile}"),
            *("--no-first-run", "--disable-dev-shm-usage", "--mute-audio", *more, "about:blank"),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            preexec_fn=_end_with_parent,
        )
        assert process.stderr is not None
        async for line in process.stderr:
            if found := re.search(rb"DevTools listening on (ws://\S+)", line):
                it = cls(await connect(found[1].decode(), max_size=None, compression=None, proxy=None))
                it._draining = asyncio.create_task(process.stderr.read())
                return it
        raise RuntimeError(f"{path} did not start")

    async def call(self, method: str, session: str = "", **arguments: Any) -> Any:
        number = next(self._ids)
        message: dict[str, Any] = {"id": number, "method": method, "params": arguments}
        if session:
            message["sessionId"] = session
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        await self._socket.send(json.dumps(message))
        return await answer

    def event(self, method: str, session: str) -> asyncio.Future[Any]:
        """The next such event."""
        return self._waiting.setdefault((method, session), asyncio.get_running_loop().create_future())

    async def _read(self) -> None:
        async for text in self._socket:
            message = json.loads(text)
            if "id" in message:
                answer = self._answers.pop(message["id"])
                if "error" in message:
                    answer.set_exception(RuntimeError(str(message["error"])))
                else:
                    answer.set_result(message["result"])
                continue
            key = (message["method"], message.get("sessionId", ""))
            if waiting := self._waiting.pop(key, None):
                with contextlib.suppress(asyncio.InvalidStateError):
                    waiting.set_result(message["params"])


def _end_with_parent() -> None:
    ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)
